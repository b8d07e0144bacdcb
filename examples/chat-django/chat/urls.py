"""Where the views are."""

from django.urls import path

from . import views

urlpatterns = [
    path("", views.page),
    path("login", views.login),
    path("logout", views.logout),
    path("messages", views.messages),
    path("centrifugo/connect", views.connect),
]

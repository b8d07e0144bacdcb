"""A backend in Django: it logs users in, and answers the server's calls.

Run it with ``python django_backend.py 8001``.
"""

import sys

from django.conf import settings
from django.core.servers.basehttp import run
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

from centrifugo_tx.backend import (
    CONNECT,
    PUBLISH,
    RPC,
    ConnectRequest,
    ConnectResult,
    Disconnect,
    Error,
    PublishRequest,
    PublishResult,
    RPCRequest,
    RPCResult,
)
from centrifugo_tx.backend.django import proxy_view

SECRET = "change me"

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    ROOT_URLCONF=__name__,
    SECRET_KEY=SECRET,
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
)


def login(request: HttpRequest, user: str) -> HttpResponse:
    """Log a user in; a real application asks for a password."""
    request.session["user"] = user
    return HttpResponse(f"You are {user}.")


@proxy_view(CONNECT, secrets=SECRET)
def connect(http: HttpRequest, call: ConnectRequest) -> ConnectResult | Disconnect:
    """Know the user by the session, whose cookie the server has passed on."""
    user = http.session.get("user")
    if user is None:
        return Disconnect(4501, "log in first")
    return ConnectResult(user=user, info={"name": user.title()}, channels=["news"])


@proxy_view(PUBLISH, secrets=SECRET)
def publish(http: HttpRequest, call: PublishRequest) -> PublishResult:
    """Accept texts, and add who wrote them."""
    text = call.data_as(dict[str, str]).get("text", "").strip()
    if not text:
        raise Error(1000, "the text is empty")
    return PublishResult(data={"text": text, "from": call.user})


@proxy_view(RPC, secrets=SECRET)
def rpc(http: HttpRequest, call: RPCRequest) -> RPCResult:
    """Add numbers."""
    if call.method != "sum":
        raise Error(1001, "no such method")
    return RPCResult(data={"sum": sum(call.data_as(list[float]))})


urlpatterns = [
    path("login/<str:user>", login),
    path("centrifugo/connect", connect),
    path("centrifugo/publish", publish),
    path("centrifugo/rpc", rpc),
]

if __name__ == "__main__":
    # Django's development server; a real application runs under a WSGI server.
    run("127.0.0.1", int(sys.argv[1]), get_wsgi_application(), threading=True)

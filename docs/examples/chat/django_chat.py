"""A chat in Django.  Run it with ``python django_chat.py``."""

import itertools
import json
import logging
from pathlib import Path

import cent
from django.conf import settings
from django.core.servers.basehttp import run
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.http import require_POST

from centrifugo_tx.backend import TokenSigner

settings.configure(
    ALLOWED_HOSTS=["localhost"],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="a secret that signs the sessions",
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
)

page = Path(__file__).with_name("index.html")
signer = TokenSigner(key="a-long-random-secret-of-32-bytes-or-more")
server = cent.Client("http://localhost:8000/api", "another-long-random-secret")
messages: list[dict[str, object]] = []  # a real application has a table
ids = itertools.count(1)


def index(request: HttpRequest) -> HttpResponse:
    return HttpResponse(page.read_bytes())


@require_POST
def login(request: HttpRequest) -> HttpResponse:
    """Log a user in; a real application asks for a password."""
    request.session["user"] = json.loads(request.body)["name"]
    return HttpResponse()


def token(request: HttpRequest) -> HttpResponse:
    """Return a token with which the user of this session can connect."""
    user = request.session.get("user")
    if not user:
        return HttpResponse(status=403)
    return HttpResponse(signer.connection_token(user, expires_in=3600))


def chat(request: HttpRequest) -> HttpResponse:
    """Return the latest messages, or store and publish a new one."""
    user = request.session.get("user")
    if not user:
        return HttpResponse(status=403)
    if request.method == "POST":
        text = str(json.loads(request.body)["text"])[:1000]
        message = {"id": next(ids), "from": user, "text": text}
        messages.append(message)
        try:
            server.publish(cent.PublishRequest(channel="chat:lobby", data=message))
        except cent.CentError:
            logging.exception("stored, but not published")
    return JsonResponse(messages[-100:], safe=False)


urlpatterns = [
    path("", index),
    path("login", login),
    path("token", token),
    path("messages", chat),
]

if __name__ == "__main__":
    run("127.0.0.1", 3000, get_wsgi_application(), threading=True)

"""A chat whose messages are in the database; the channel only brings the new ones."""

from functools import partial

from cent import Client, DisconnectRequest, PublishRequest
from django.conf import settings
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from centrifugo_tx.backend import CONNECT, ConnectRequest, ConnectResult, Disconnect
from centrifugo_tx.backend.django import proxy_view

from .models import Message

CHANNEL = "chat:general"

centrifugo = Client(settings.CENTRIFUGO_API_URL, settings.CENTRIFUGO_API_KEY)


def page(request: HttpRequest) -> HttpResponse:
    """Show the chat, or a form to log in."""
    return render(request, "chat.html", {"user": request.session.get("user", "")})


@require_POST
def login(request: HttpRequest) -> HttpResponse:
    """Begin a session; a real application asks for a password, too."""
    request.session["user"] = request.POST["name"].strip()[:20]
    return redirect(page)


@require_POST
def logout(request: HttpRequest) -> HttpResponse:
    """End the session first, so that no connection of it can come back."""
    user = request.session.get("user")
    request.session.flush()
    if user:
        centrifugo.disconnect(DisconnectRequest(user=user))
    return redirect(page)


@proxy_view(CONNECT, secrets=settings.CENTRIFUGO_PROXY_SECRET)
def connect(http: HttpRequest, call: ConnectRequest) -> ConnectResult | Disconnect:
    """Tell the server whose connection it is: it has passed on the session's cookie."""
    user = http.session.get("user")
    if not user:
        return Disconnect(4501, "log in first")
    return ConnectResult(user=user, channels=[CHANNEL])


def messages(request: HttpRequest) -> HttpResponse:
    """Return the latest messages, or add one."""
    user = request.session.get("user")
    if not user:
        return HttpResponse(status=401)
    if request.method == "POST":
        return _add(user, request.POST.get("text", "").strip())
    latest = Message.objects.order_by("-pk")[:50]
    return JsonResponse({"messages": [each.as_json() for each in reversed(latest)]})


def _add(user: str, text: str) -> HttpResponse:
    """Store a message, and publish it once it is stored."""
    if not 0 < len(text) <= 1000:
        return HttpResponse(status=400)
    with transaction.atomic():
        message = Message.objects.create(user=user, text=text)
        publication = PublishRequest(channel=CHANNEL, data=message.as_json())
        transaction.on_commit(
            # A page that misses a publication finds the message here later.
            partial(centrifugo.publish, publication),
            robust=True,
        )
    return HttpResponse(status=204)

"""A node inside Django, with the users of its sessions: uvicorn django_app:app"""

import os
from http.cookies import SimpleCookie

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpResponse, JsonResponse
from django.urls import path

from centrifugo_tx import (
    Admission,
    AsyncNode,
    Disconnect,
    DisconnectClient,
    Policy,
    SubscribeOptions,
)
from centrifugo_tx.asgi import Endpoints

settings.configure(
    SECRET_KEY="not-for-production",
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
)
django.setup()


class SessionUsers(Policy):
    """Clients are the users who have logged in to Django."""

    async def connect(self, client, request):
        """Read the cookie that the browser sends with the WebSocket."""
        from django.contrib.sessions.backends.cache import SessionStore

        cookies = SimpleCookie(client.transport.info.headers.get("cookie", ("",))[0])
        morsel = cookies.get(settings.SESSION_COOKIE_NAME)
        session = SessionStore(morsel.value if morsel else None)
        user = await session.aget("user")
        if user is None:
            raise DisconnectClient(Disconnect(4501, "not logged in"))
        return Admission(user=user)

    def subscribe(self, client, request):
        return SubscribeOptions(presence=True)


async def log_in(request, user):
    """Log in without a password; a real view would ask for one."""
    await request.session.aset("user", user)
    return HttpResponse(f"You are {user}.\n")


async def greet(request):
    """Send the channel "news" a greeting."""
    await node.publish("news", {"text": "hello"})
    return JsonResponse({"clients": node.node.num_clients})


urlpatterns = [path("login/<str:user>", log_in), path("greet", greet)]

node = AsyncNode(SessionUsers())
app = Endpoints(
    node,
    allowed_origins=os.environ.get("ORIGINS", "http://localhost:8000").split(),
    headers=["cookie"],
    others=get_asgi_application(),
)

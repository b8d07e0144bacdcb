"""Notifications: publishes them, and remembers up to when each user has read them."""

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from cent import AsyncClient, PublishRequest
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse
from pydantic import BaseModel, StringConstraints
from starlette.middleware.sessions import SessionMiddleware

from centrifugo_tx.backend import TokenSigner

# The secrets of centrifugo.json.
SIGNER = TokenSigner(key="sign-tokens-with-a-long-random-secret")
API_KEY = "call-the-api-with-another-secret"
API_URL = os.environ.get("CENTRIFUGO_API_URL", "http://localhost:8000/api")

PAGE = Path(__file__).with_name("index.html")
Name = Annotated[str, StringConstraints(pattern=r"^\w{1,20}$")]

#: When each user has read all notifications; in a real application it is in a database.
read_until: dict[str, float] = {}


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep one client of the server API."""
    app.state.centrifugo = AsyncClient(API_URL, API_KEY)
    yield
    await app.state.centrifugo.close()


app = FastAPI(lifespan=lifespan)
app.add_middleware(SessionMiddleware, secret_key="sign-cookies-with-a-third-one")


def current_user(request: Request) -> str:
    """Return the user of the session."""
    user = request.session.get("user")
    if user is None:
        raise HTTPException(401, "log in first")
    return str(user)


User = Annotated[str, Depends(current_user)]


class Login(BaseModel):
    """A real application asks for a password, too."""

    name: Name


class Notification(BaseModel):
    """A text for one user."""

    to: Name
    text: Annotated[str, StringConstraints(min_length=1, max_length=200)]


@app.get("/")
def page() -> FileResponse:
    """Return the page."""
    return FileResponse(PAGE)


@app.post("/login")
def login(login: Login, request: Request) -> None:
    """Begin a session."""
    request.session["user"] = login.name


@app.get("/token")
def token(user: User) -> dict[str, str]:
    """Return a token for ten minutes."""
    return {"user": user, "token": SIGNER.connection_token(user, expires_in=600)}


@app.post("/notifications")
async def notify(notification: Notification, user: User, request: Request) -> None:
    """Send a notification to a user, who may be offline: it stays in the history."""
    data = {"text": notification.text, "from": user, "at": time.time()}
    await _publish(request, notification.to, data)


@app.get("/read")
def read(user: User) -> dict[str, float]:
    """Return up to when the user has read everything, in Unix seconds."""
    return {"until": read_until.get(user, 0.0)}


@app.post("/read")
async def mark_read(user: User, request: Request) -> None:
    """Mark all as read, in all windows of the user."""
    read_until[user] = time.time()
    await _publish(request, user, {"until": read_until[user]}, skip_history=True)


async def _publish(
    request: Request, user: str, data: dict[str, Any], skip_history: bool = False
) -> None:
    publication = PublishRequest(
        channel=f"personal:#{user}", data=data, skip_history=skip_history
    )
    await request.app.state.centrifugo.publish(publication)

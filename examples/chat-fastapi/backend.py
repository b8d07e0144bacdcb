"""A chat: knows its users, makes their tokens, and publishes their messages."""

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

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

CHANNEL = "chat:general"
PAGE = Path(__file__).with_name("index.html")


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

    name: Annotated[str, StringConstraints(pattern=r"^\w{1,20}$")]


class Message(BaseModel):
    """What a user has written."""

    text: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000)
    ]


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
    """Return a token for ten minutes; the page fetches a new one in time."""
    return {"user": user, "token": SIGNER.connection_token(user, expires_in=600)}


@app.post("/messages")
async def post(message: Message, user: User, request: Request) -> None:
    """Publish a message.  A real application also stores it in its database."""
    data = {"from": user, "text": message.text, "at": time.time()}
    await request.app.state.centrifugo.publish(
        PublishRequest(channel=CHANNEL, data=data)
    )

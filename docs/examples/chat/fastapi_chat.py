"""A chat in FastAPI.  Run it with ``uvicorn fastapi_chat:app --port 3000``."""

import itertools
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import cent
from fastapi import Body, Depends, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, PlainTextResponse
from starlette.middleware.sessions import SessionMiddleware

from centrifugo_tx.backend import TokenSigner


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the connection to the server inside the event loop."""
    api = cent.AsyncClient("http://localhost:8000/api", "another-long-random-secret")
    app.state.server = api
    yield
    await api.close()


app = FastAPI(lifespan=lifespan)
app.add_middleware(SessionMiddleware, secret_key="a secret that signs the sessions")

page = Path(__file__).with_name("index.html")
signer = TokenSigner(key="a-long-random-secret-of-32-bytes-or-more")
messages: list[dict[str, object]] = []  # a real application has a table
ids = itertools.count(1)


def current_user(request: Request) -> str:
    user = request.session.get("user")
    if not user:
        raise HTTPException(status_code=403)
    return str(user)


User = Annotated[str, Depends(current_user)]


@app.get("/")
async def index() -> FileResponse:
    return FileResponse(page)


@app.post("/login")
async def login(request: Request, name: Annotated[str, Body(embed=True)]) -> None:
    """Log a user in; a real application asks for a password."""
    request.session["user"] = name


@app.get("/token")
async def token(user: User) -> PlainTextResponse:
    """Return a token with which the user of this session can connect."""
    return PlainTextResponse(signer.connection_token(user, expires_in=3600))


@app.get("/messages")
async def latest(user: User) -> list[dict[str, object]]:
    return messages[-100:]


@app.post("/messages")
async def send(user: User, text: Annotated[str, Body(embed=True)]) -> None:
    """Store a message and publish it."""
    message = {"id": next(ids), "from": user, "text": text[:1000]}
    messages.append(message)
    try:
        request = cent.PublishRequest(channel="chat:lobby", data=message)
        await app.state.server.publish(request)
    except cent.CentError:
        logging.exception("stored, but not published")

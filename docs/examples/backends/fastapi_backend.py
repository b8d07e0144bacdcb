"""A backend in FastAPI: it logs users in, and answers the server's calls.

Run it with ``uvicorn fastapi_backend:app --port 8001``.
"""

import hashlib
import hmac

from fastapi import FastAPI, Request, Response

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
from centrifugo_tx.backend.fastapi import proxy_view

SECRET = "change me"

app = FastAPI()


def session_of(user: str) -> str:
    """Return the cookie of a user, signed."""
    return f"{user}.{hmac.digest(SECRET.encode(), user.encode(), hashlib.sha256).hex()}"


@app.get("/login/{user}")
async def login(user: str, response: Response) -> str:
    """Log a user in; a real application asks for a password."""
    response.set_cookie("session", session_of(user), httponly=True, samesite="lax")
    return f"You are {user}."


@app.post("/centrifugo/connect")
@proxy_view(CONNECT, secrets=SECRET)
async def connect(call: ConnectRequest, http: Request) -> ConnectResult | Disconnect:
    """Know the user by the cookie, which the server has passed on."""
    session = http.cookies.get("session", "")
    user = session.rpartition(".")[0]
    if not user or not hmac.compare_digest(session_of(user), session):
        return Disconnect(4501, "log in first")
    return ConnectResult(user=user, info={"name": user.title()}, channels=["news"])


@app.post("/centrifugo/publish")
@proxy_view(PUBLISH, secrets=SECRET)
async def publish(call: PublishRequest) -> PublishResult:
    """Accept texts, and add who wrote them."""
    text = call.data_as(dict[str, str]).get("text", "").strip()
    if not text:
        raise Error(1000, "the text is empty")
    return PublishResult(data={"text": text, "from": call.user})


@app.post("/centrifugo/rpc")
@proxy_view(RPC, secrets=SECRET)
async def rpc(call: RPCRequest) -> RPCResult:
    """Add numbers."""
    if call.method != "sum":
        raise Error(1001, "no such method")
    return RPCResult(data={"sum": sum(call.data_as(list[float]))})

"""Endpoints of FastAPI."""

from __future__ import annotations

import asyncio
import threading
from typing import Annotated, Any
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.backend import (
    CONNECT,
    PUBLISH,
    RPC,
    ConnectRequest,
    ConnectResult,
    Disconnect,
    Error,
    PublishRequest,
    RPCRequest,
    RPCResult,
    sign,
)

try:
    from fastapi import Depends, FastAPI, Request
except ImportError:
    raise SkipTest("FastAPI is not installed") from None

from centrifugo_tx.backend.fastapi import proxy_view

app = FastAPI()
BODY = b'{"user":"42","channel":"news","data":{"text":"hi"}}'


def limits(http: Request) -> dict[str, int]:
    """Return the value of a dependency."""
    return {"length": int(http.headers.get("X-Length", 5))}


Limits = Annotated[dict[str, int], Depends(limits)]


@app.post("/connect")
@proxy_view(CONNECT, max_body=100)
async def connect(call: ConnectRequest, http: Request) -> ConnectResult | Disconnect:
    """Know the user by a cookie."""
    user = http.cookies.get("user", "")
    return ConnectResult(user=user) if user else Disconnect(4501, "log in")


@app.post("/publish/{room}")
@proxy_view(PUBLISH)
async def publish(call: PublishRequest, room: str, limits: Limits) -> None:
    """Refuse a payload that exceeds the limit of a dependency."""
    if len(call.data["text"]) > limits["length"]:
        raise Error(400, f"too long for {room}")


@app.post("/rpc")
@proxy_view(RPC, secrets="secret")
def rpc(call: RPCRequest) -> RPCResult:
    """Run in a thread."""
    return RPCResult(data=threading.current_thread() is threading.main_thread())


async def post_async(
    path: str, chunks: list[bytes], headers: dict[str, str], method: str
) -> tuple[int, bytes, str]:
    """Send one request to the application; return status, body and type."""
    sent: list[Any] = []
    waiting = [
        {"type": "http.request", "body": chunk, "more_body": index + 1 < len(chunks)}
        for index, chunk in enumerate(chunks)
    ]

    async def receive() -> Any:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(k.lower().encode(), v.encode()) for k, v in headers.items()],
    }
    await app(scope, receive, send)
    body = b"".join(part.get("body", b"") for part in sent[1:])
    kinds = dict(sent[0]["headers"])
    return sent[0]["status"], body, kinds[b"content-type"].decode()


class FastAPITests(SynchronousTestCase):
    """Requests and responses of endpoints."""

    def post(
        self, path: str, *chunks: bytes, method: str = "POST", **headers: str
    ) -> tuple[int, bytes, str]:
        """Send a POST; underscores in header names become hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return asyncio.run(post_async(path, list(chunks), named, method))

    def test_endpoint(self) -> None:
        """The endpoint answers with JSON from the HTTP request."""
        self.assertEqual(
            self.post("/connect", b"{", b"}", cookie="user=42"),
            (200, b'{"result":{"user":"42"}}', "application/json"),
        )
        expected = b'{"disconnect":{"code":4501,"reason":"log in"}}'
        self.assertEqual(self.post("/connect", b"{}")[:2], (200, expected))

    def test_dependencies(self) -> None:
        """FastAPI fills in the other parameters."""
        self.assertEqual(self.post("/publish/r1", BODY)[:2], (200, b"{}"))
        answer = self.post("/publish/r1", BODY, X_Length="1")
        expected = b'{"error":{"code":400,"message":"too long for r1"}}'
        self.assertEqual(answer[:2], (200, expected))

    def test_refused(self) -> None:
        """A malformed or too large request is refused."""
        status, body, kind = self.post("/connect", b"[]")
        self.assertEqual((status, kind), (400, "text/plain; charset=utf-8"))
        self.assertIn(b"no connect request", body)
        self.assertEqual(self.post("/connect", b" " * 60, b" " * 60)[0], 413)
        self.assertEqual(self.post("/connect", method="GET")[0], 405)

    def test_thread(self) -> None:
        """A plain function runs in a thread, also when signed."""
        self.assertEqual(self.post("/rpc", b"{}")[0], 403)
        signature = sign(b"{}", ["secret"])
        answer = self.post("/rpc", b"{}", X_Centrifugo_Signature=signature)
        self.assertEqual(answer[:2], (200, b'{"result":{"data":false}}'))

    def test_described(self) -> None:
        """The description of the application holds the endpoints."""
        described = app.openapi()["paths"]
        self.assertEqual(set(described), {"/connect", "/publish/{room}", "/rpc"})
        parameters = described["/publish/{room}"]["post"]["parameters"]
        self.assertEqual([each["name"] for each in parameters], ["room"])

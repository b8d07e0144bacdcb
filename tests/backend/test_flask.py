"""Views of Flask."""

from typing import Any
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.backend import (
    CONNECT,
    PUBLISH,
    RPC,
    ConnectRequest,
    ConnectResult,
    Error,
    PublishRequest,
    PublishResult,
    RPCRequest,
    RPCResult,
    sign,
)

try:
    from flask import Flask, request
except ImportError:
    raise SkipTest("Flask is not installed") from None

from centrifugo_tx.backend.flask import proxy_view

app = Flask(__name__)
BODY = b'{"user":"42","method":"sum","data":[1,2]}'


@app.post("/connect")
@proxy_view(CONNECT, max_body=100)
def connect(call: ConnectRequest) -> ConnectResult:
    """Know the user by a cookie."""
    return ConnectResult(user=request.cookies.get("user", ""))


@app.post("/publish/<room>")
@proxy_view(PUBLISH)
def publish(call: PublishRequest, room: str) -> PublishResult | Error:
    """Refuse one room."""
    return Error(400, room) if room == "closed" else PublishResult(data=room)


@app.post("/rpc")
@proxy_view(RPC, secrets="secret")
def rpc(call: RPCRequest) -> RPCResult:
    """Add."""
    return RPCResult(data=sum(call.data_as(list[int])))


@app.post("/rpc/async")
@proxy_view(RPC)
async def rpc_async(call: RPCRequest) -> RPCResult:
    """Add in a coroutine."""
    if not call.data:
        raise Error(400, "nothing to add")
    return RPCResult(data=sum(call.data))


class FlaskTests(SynchronousTestCase):
    """Requests and responses of views."""

    def setUp(self) -> None:
        self.client = app.test_client()

    def post(self, path: str, body: bytes, **options: Any) -> tuple[int, bytes, str]:
        """Post; return status, body and type of the response."""
        response = self.client.post(path, data=body, **options)
        return response.status_code, response.data, response.content_type

    def test_view(self) -> None:
        """The view answers in JSON, with what Flask's request and the URL say."""
        self.client.set_cookie("user", "42")
        self.assertEqual(
            self.post("/connect", b"{}"),
            (200, b'{"result":{"user":"42"}}', "application/json"),
        )
        self.assertEqual(
            self.post("/publish/r1", b"{}")[1], b'{"result":{"data":"r1"}}'
        )
        status, body, _ = self.post("/publish/closed", b"{}")
        expected = b'{"error":{"code":400,"message":"closed"}}'
        self.assertEqual((status, body), (200, expected))

    def test_refused(self) -> None:
        """A malformed or too large request is refused."""
        status, body, kind = self.post("/connect", b"[]")
        self.assertEqual((status, kind), (400, "text/plain"))
        self.assertIn(b"no connect request", body)
        self.assertEqual(self.post("/connect", b" " * 101)[0], 413)
        self.assertEqual(self.client.get("/connect").status_code, 405)

    def test_signed(self) -> None:
        """With secrets, only signed requests are accepted."""
        self.assertEqual(self.post("/rpc", BODY)[0], 403)
        headers = {"X-Centrifugo-Signature": sign(BODY, ["secret"])}
        answer = self.post("/rpc", BODY, headers=headers)
        self.assertEqual(answer[:2], (200, b'{"result":{"data":3}}'))

    def test_async(self) -> None:
        """A coroutine function makes an async view."""
        try:
            import asgiref  # noqa: F401
        except ImportError:
            raise SkipTest("asgiref is not installed") from None
        answer = self.post("/rpc/async", BODY)
        self.assertEqual(answer[:2], (200, b'{"result":{"data":3}}'))
        answer = self.post("/rpc/async", b"{}")
        expected = b'{"error":{"code":400,"message":"nothing to add"}}'
        self.assertEqual(answer[:2], (200, expected))
        self.assertEqual(self.post("/rpc/async", b"x")[0], 400)

"""A backend that is asked over HTTP, and a real server."""

import gzip
import hmac
import tempfile
from pathlib import Path
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from centrifugo_tx.protocol.codes import Disconnect, Error
from centrifugo_tx.protocol.messages import Raw
from centrifugo_tx.proxies import BackendFailed, ProxyOptions, http_agent
from centrifugo_tx.proxies.http import HTTPProxyClient, decode_response
from centrifugo_tx.proxies.options import (
    DisconnectReply,
    ErrorReply,
    HTTPProxyOptions,
    SignatureOptions,
    StatusTransform,
)
from centrifugo_tx.proxy_messages import RPC, ProxyResponse, RPCAnswer, RPCEvent

ANSWER = b'{"result":{"data":{"a": 1}}}'


class Answers(Resource):  # type: ignore[misc]  # untyped
    """Answers as the path says, and keeps the requests with their bodies."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Any] = []
        self.bodies: list[bytes] = []
        self.hanging: list[Any] = []
        self.answer = ANSWER

    def render(self, request: Any) -> Any:
        """Take a question."""
        self.requests.append(request)
        self.bodies.append(request.content.read())
        word, _, rest = request.path[1:].decode().partition("/")
        if word == "hang":
            self.hanging.append(request)
            return NOT_DONE_YET
        if word == "packed":
            request.setHeader("Content-Encoding", "gzip")
            return self.answer
        request.setResponseCode(int(word))
        if rest:
            request.setHeader("Location", f"/{rest}")
        return self.answer


class HTTPCase(TestCase):
    """A server, and clients of it."""

    def setUp(self) -> None:
        self.answers = Answers()
        site = Site(self.answers)
        self.port: Any = cast("Any", reactor).listenTCP(0, site, 5, "127.0.0.1")

    def tearDown(self) -> Any:
        """Let go of the port."""
        return self.port.stopListening()

    def client(self, path: str, **http: Any) -> HTTPProxyClient:
        """Return a client that asks under *path*."""
        endpoint = f"http://127.0.0.1:{self.port.getHost().port}{path}"
        return self.client_of(endpoint, **http)

    def client_of(self, endpoint: str, **http: Any) -> HTTPProxyClient:
        """Return a client of *endpoint*."""
        options = ProxyOptions(
            endpoint=endpoint, timeout=30.0, http=HTTPProxyOptions(**http)
        )
        client = HTTPProxyClient(reactor, options)
        self.addCleanup(client.stop)
        return client

    def ask(
        self, client: HTTPProxyClient, headers: Any = None
    ) -> "Deferred[ProxyResponse[Any]]":
        """Put a call to a client."""
        event = RPCEvent(client="c", user="", method="m", data=Raw(b'{"b": 2}'))
        return client.call(RPC, event, headers or {})

    async def failure(self, asked: Any) -> str:
        """Return the message of a failed call."""
        return str(await self.assertFailure(asked, BackendFailed))


class HTTPProxyClientTests(HTTPCase):
    """Requests and responses."""

    async def test_answer(self) -> None:
        """The event is posted as JSON, and payloads pass as they are."""
        response = await self.ask(self.client("/200"))
        self.assertEqual(bytes(response.result.data), b'{"a": 1}')
        self.assertEqual(
            self.answers.bodies,
            [b'{"client":"c","user":"","method":"m","data":{"b": 2}}'],
        )
        [request] = self.answers.requests
        self.assertEqual(request.method, b"POST")
        names = {name for name, _ in request.requestHeaders.getAllRawHeaders()}
        wanted = {b"Host", b"User-Agent", b"Accept-Encoding", b"Content-Length"}
        self.assertEqual(names - {b"Connection"}, wanted | {b"Content-Type"})
        self.assertEqual(request.getHeader("content-type"), "application/json")
        self.assertEqual(request.getHeader("accept-encoding"), "gzip")

    async def test_headers(self) -> None:
        """Forwarded headers replace static ones; those of the connection stay."""
        static = {
            "X-Key": "static",
            "x-other": "o",
            "content-type": "x",
            "Host": "evil",
        }
        client = self.client("/200", static_headers=static)
        forwarded = {
            "x-key": ("one", "two"),
            "host": ("evil",),
            "connection": ("close",),
        }
        await self.ask(client, forwarded)
        [request] = self.answers.requests
        values = request.requestHeaders.getRawHeaders
        self.assertEqual(values("x-key"), ["one", "two"])
        self.assertEqual(values("x-other"), ["o"])
        self.assertEqual(values("content-type"), ["application/json"])
        self.assertEqual(values("host"), [f"127.0.0.1:{self.port.getHost().port}"])

    async def test_control_characters(self) -> None:
        """A header value that could end its line is never sent."""
        for value in ("a\r\nX-User: 1", "a\n", "\0", "\x7f"):
            said = await self.failure(self.ask(self.client("/200"), {"x-a": (value,)}))
            self.assertIn("control character", said)
        await self.ask(self.client("/200"), {"x-a": ("tab\tand \u00e9",)})
        self.assertEqual(len(self.answers.requests), 1)

    async def test_kept(self) -> None:
        """The connection is kept for the next call."""
        client = self.client("/200")
        for _ in range(2):
            await self.ask(client)
        first, second = (request.transport for request in self.answers.requests)
        self.assertIs(first, second)

    async def test_status(self) -> None:
        """Any status but 200 is a failure."""
        for status in (201, 204, 304, 404, 500):
            said = await self.failure(self.ask(self.client(f"/{status}")))
            self.assertEqual(said, f"status {status}")

    async def test_transforms(self) -> None:
        """The first transform of a status is the response."""
        transforms = (
            StatusTransform(404, to_error=ErrorReply(404, "not here", True)),
            StatusTransform(404, to_error=ErrorReply(405, "second")),
            StatusTransform(403, to_disconnect=DisconnectReply(4500, "go away")),
        )
        for status, error, disconnect in (
            (404, Error(404, "not here", True), None),
            (403, None, Disconnect(4500, "go away")),
        ):
            client = self.client(f"/{status}", status_to_code_transforms=transforms)
            response = await self.ask(client)
            self.assertEqual(response, ProxyResponse(None, error, disconnect))
        client = self.client("/500", status_to_code_transforms=transforms)
        self.assertEqual(await self.failure(self.ask(client)), "status 500")

    async def test_redirects(self) -> None:
        """307 and 308 repeat the request, others become GET without a body."""
        for status in (301, 302, 303, 307, 308):
            self.answers.bodies.clear()
            await self.ask(self.client(f"/{status}/200"))
            last = self.answers.requests[-1]
            repeated = status in (307, 308)
            self.assertEqual(last.method, b"POST" if repeated else b"GET")
            self.assertEqual(self.answers.bodies[1] != b"", repeated)
            self.assertEqual(bool(last.getHeader("content-type")), repeated)

    async def test_endless_redirects(self) -> None:
        """After ten redirects the call fails."""
        loop = "/".join(["307"] * 11)
        said = await self.failure(self.ask(self.client(f"/{loop}/200")))
        self.assertIn("more than 10 redirects", said)
        self.answers.requests.clear()
        loop = "/".join(["307"] * 10)
        await self.ask(self.client(f"/{loop}/200"))
        self.assertEqual(len(self.answers.requests), 11)

    async def test_secrets_on_redirect(self) -> None:
        """Credentials do not go to another host."""
        port = self.port.getHost().port
        self.answers.render = lambda request: self._to_localhost(request, port)
        await self.ask(self.client("/200"), {"authorization": ("a",), "x-a": ("b",)})
        _, second = self.answers.requests
        self.assertIsNone(second.getHeader("authorization"))
        self.assertEqual(second.getHeader("x-a"), "b")

    def _to_localhost(self, request: Any, port: int) -> bytes:
        self.answers.requests.append(request)
        if len(self.answers.requests) == 1:
            request.setResponseCode(307)
            request.setHeader("Location", f"http://localhost:{port}/200")
        return ANSWER

    async def test_packed(self) -> None:
        """A gzip response is unpacked."""
        self.answers.answer = gzip.compress(ANSWER)
        response = await self.ask(self.client("/packed"))
        self.assertEqual(bytes(response.result.data), b'{"a": 1}')

    async def test_packed_badly(self) -> None:
        """A gzip response that is malformed, truncated or too large is a failure."""
        self.patch(http_agent, "MAX_RESPONSE", 1000)
        for answer, said in (
            (b"plain", "malformed gzip"),
            (gzip.compress(ANSWER)[:-4], "cut off"),
            (gzip.compress(b" " * 1001), "more than 1000 bytes"),
        ):
            self.answers.answer = answer
            found = await self.failure(self.ask(self.client("/packed")))
            self.assertIn(said, found)

    async def test_too_large(self) -> None:
        """A response above the limit is a failure."""
        self.patch(http_agent, "MAX_RESPONSE", len(ANSWER) - 1)
        lost: Deferred[None] = Deferred()
        render = self.answers.render

        def watched(request: Any) -> Any:
            channel = request.channel
            end = channel.connectionLost

            def ended(reason: Any) -> None:
                end(reason)
                lost.callback(None)

            self.patch(channel, "connectionLost", ended)
            return render(request)

        self.answers.render = watched
        said = await self.failure(self.ask(self.client("/200")))
        self.assertIn(f"larger than {len(ANSWER) - 1} bytes", said)
        await lost

    async def test_signature(self) -> None:
        """Each secret signs time and body."""
        client = self.client("/200", signature=SignatureOptions(("new", "old")))
        await self.ask(client)
        [request], [body] = self.answers.requests, self.answers.bodies
        parts = request.getHeader("x-centrifugo-signature").split(",")
        name, _, time = parts[0].partition("=")
        self.assertEqual(name, "t")
        signed = time.encode() + b"." + body
        digests = [hmac.digest(key, signed, "sha256").hex() for key in (b"new", b"old")]
        self.assertEqual(parts[1:], [f"v1={digest}" for digest in digests])
        now = cast("Any", reactor).seconds()
        self.assertLess(abs(now - int(time)), 60)

    async def test_forged_signature(self) -> None:
        """A client cannot send a signature by a forwarded header."""
        await self.ask(self.client("/200"), {"x-centrifugo-signature": ("t=1",)})
        [request] = self.answers.requests
        self.assertIsNone(request.getHeader("x-centrifugo-signature"))

    async def test_socket(self) -> None:
        """An endpoint may be a Unix socket."""
        folder = tempfile.mkdtemp()
        self.addCleanup(Path(folder).rmdir)
        path = str(Path(folder) / "app.sock")
        port = cast("Any", reactor).listenUNIX(path, Site(self.answers))
        self.addCleanup(port.stopListening)
        client = self.client_of(f"http+unix://{path.replace('/', '%2F')}/200?a=b")
        response = await self.ask(client)
        self.assertEqual(bytes(response.result.data), b'{"a": 1}')
        [request] = self.answers.requests
        self.assertEqual(request.getHeader("host"), "localhost")
        self.assertEqual(request.uri, b"/200?a=b")

    async def test_away(self) -> None:
        """A backend that is not there is a failure."""
        port = cast("Any", reactor).listenTCP(0, Site(self.answers), 5, "127.0.0.1")
        endpoint = f"http://127.0.0.1:{port.getHost().port}/"
        await port.stopListening()
        said = await self.failure(self.ask(self.client_of(endpoint)))
        self.assertIn("refused", said)

    async def test_cancelled(self) -> None:
        """Cancelling a call closes its connection."""
        client = self.client("/hang")
        asked = self.ask(client)
        while not self.answers.hanging:
            turn: Deferred[None] = Deferred()
            cast("Any", reactor).callLater(0.001, turn.callback, None)
            await turn
        lost = self.answers.hanging[0].notifyFinish()
        asked.cancel()
        failed: list[Any] = []
        asked.addErrback(failed.append)
        await self.assertFailure(lost, Exception)
        self.assertEqual(len(failed), 1)


class DecodeTests(TestCase):
    """Responses as the reference reads them."""

    def test_lenient(self) -> None:
        """Case of names, unknown names and null are forgiven."""
        for body in (
            b'{"result":{"data":1,"other":[2]},"more":{}}',
            b'{"Result":{"DATA":1}}',
            b'{"result":{"data":1,"b64data":null},"error":null}',
            b' {"result":{"data":1}}\n',
        ):
            response = decode_response(RPC, body)
            self.assertIsInstance(response.result, RPCAnswer, body)
            self.assertEqual(bytes(response.result.data), b"1", body)
        self.assertEqual(decode_response(RPC, b"{}"), ProxyResponse())
        null = decode_response(RPC, b'{"result":{"data":null}}')
        self.assertEqual(bytes(null.result.data), b"null")

    def test_malformed(self) -> None:
        """A wrong type, text behind the object, and no object are failures."""
        for body in (
            *(b"", b"x", b"[]", b"1", b"{", b'{"result":{}} {}', b"\xff"),
            *(b'{"result":1}', b'{"error":{"code":"1"}}', b'{"result":{"b64data":1}}'),
            b"[" * 100_000,
        ):
            with self.assertRaises(BackendFailed, msg=body[:20]):
                decode_response(RPC, body)

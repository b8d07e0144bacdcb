"""One port for WebSocket and HTTP, over real connections on the loopback interface."""

import gc
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, UNIXClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from centrifugo_tx.options import Answer
from centrifugo_tx.transports.lean_websocket import (
    LeanWebSocketFactory,
    LeanWebSocketProtocol,
)
from centrifugo_tx.web.site import (
    BACKLOG,
    Endpoints,
    ListenerSettings,
    listen,
    port_factory,
)

from ..integration.websocket import frame
from ..transports.websocket_stream import handshake

clock: Any = reactor
LOCAL = ListenerSettings(interface="127.0.0.1")
SOCKET = handshake("/ws")
HI = frame(b"hi")
ECHO = b"\x81\x02hi"


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """Return a request with these headers (``_`` for ``-``)."""
    lines = [f"{n.replace('_', '-')}: {value}\r\n" for n, value in headers.items()]
    head = f"{method} {path} HTTP/1.1\r\nHost: a\r\n{''.join(lines)}"
    if method == "POST" and "Transfer_Encoding" not in headers:
        head += f"Content-Length: {len(body)}\r\n"
    return f"{head}\r\n".encode() + body


def alive() -> int:
    """Return how many objects there are that belong to connections."""
    names = {
        "ProtocolDetector",
        "HTTP1Channel",
        "QuickRequest",
        "Echo",
        "EagerTCPServer",
    }
    return sum(type(each).__name__ in names for each in gc.get_objects())


class Echo(LeanWebSocketProtocol):
    """Echoes its input."""

    def onOpen(self) -> None:
        self.factory.opened.append(self.transport.getPeer())

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.sendMessage(payload, isBinary)


class EchoFactory(LeanWebSocketFactory):
    """Makes them."""

    protocol = Echo

    def __init__(self) -> None:
        super().__init__(clock)
        self.opened: list[Any] = []


class Caller(Protocol):
    """A client that sends given bytes."""

    def __init__(self) -> None:
        self.data = b""
        self.closed: Deferred[None] = Deferred()
        self._wanted: list[tuple[bytes, Deferred[bytes]]] = []

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        self._look()

    def connectionLost(self, reason: Any = None) -> None:
        self.closed.callback(None)

    def send_bytes(self, data: bytes) -> "Caller":
        """Send."""
        assert self.transport is not None
        self.transport.write(data)
        return self

    def until(self, mark: bytes) -> "Deferred[bytes]":
        """Wait for *mark*; return the bytes up to it, and remove them."""
        found: Deferred[bytes] = Deferred()
        found.addTimeout(5, clock)
        self._wanted.append((mark, found))
        self._look()
        return found

    def _look(self) -> None:
        while self._wanted and self._wanted[0][0] in self.data:
            mark, found = self._wanted.pop(0)
            before, mark, self.data = self.data.partition(mark)
            found.callback(before + mark)


class PortTestCase(TestCase):
    """Serves an echo, and a few handlers."""

    timeout = 60

    def setUp(self) -> None:
        self.sockets = EchoFactory()
        self.slow: Deferred[Answer] = Deferred()
        self.endpoints = Endpoints(
            sockets={b"/ws": self.sockets},
            handlers={
                b"/hello": lambda request: Answer(200, b"hello"),
                b"/echo": lambda request: Answer(200, request.content.read() + b"!"),
                b"/slow": lambda request: self.slow,
                b"/broken": lambda request: 1 // 0,
            },
            body_limits={b"/echo": 1000},
        )
        self.callers: list[Caller] = []
        self.serve()

    def serve(self) -> None:
        """Listen."""
        self.port: Any = listen(clock, self.endpoints, LOCAL)
        self.endpoint: Any = TCP4ClientEndpoint(
            clock, "127.0.0.1", self.port.getHost().port
        )

    async def tearDown(self) -> None:
        for caller in self.callers:
            if caller.transport is not None:
                caller.transport.abortConnection()
        await gatherResults([caller.closed for caller in self.callers])
        await self.port.stopListening()
        await deferLater(clock, 0)

    async def call(self, data: bytes = b"") -> Caller:
        """Connect, and send *data*."""
        caller: Caller = await self.endpoint.connect(Factory.forProtocol(Caller))
        self.callers.append(caller)
        if data:
            caller.send_bytes(data)
        return caller


class SharedTests:
    """Behavior of every kind of port."""

    call: Any

    async def test_upgrade(self) -> None:
        """A request for a WebSocket gets one; frames in its segment are not lost."""
        caller = await self.call(SOCKET + HI + HI)
        self.assertIn(b" 101 ", await caller.until(b"\r\n\r\n"))  # type: ignore[attr-defined]
        await caller.until(ECHO + ECHO)

    async def test_in_pieces(self) -> None:
        """A head may come in any pieces."""
        caller = await self.call()
        for at in range(0, len(SOCKET), 7):
            caller.send_bytes(SOCKET[at : at + 7])
            await deferLater(clock, 0)
        await caller.until(b" 101 ")
        await caller.send_bytes(HI).until(ECHO)

    async def test_after_requests(self) -> None:
        """A connection that has carried requests can become a WebSocket."""
        caller = await self.call(request("GET", "/hello"))
        await caller.until(b"hello")
        await caller.send_bytes(request("POST", "/echo", b"post")).until(b"post!")
        await caller.send_bytes(SOCKET + HI).until(ECHO)

    async def test_pipelined(self) -> None:
        """Request, upgrade and frame may share a segment; answers keep their order."""
        caller = await self.call(
            request("GET", "/hello") + request("POST", "/echo", b"x") + SOCKET + HI
        )
        for mark in (b"hello", b"x!", b" 101 ", ECHO):
            await caller.until(mark)

    async def test_handlers(self) -> None:
        """Paths match exactly; others are not found."""
        for path, status, body in (
            ("/hello", b"200 OK", b"hello"),
            ("/hello?a=/b", b"200 OK", b"hello"),
            ("/hello/", b"404 Not Found", b"404 page not found\n"),
            ("/ws", b"426 Upgrade Required", b"Upgrade Required\n"),
        ):
            caller = await self.call(request("GET", path))
            head = await caller.until(body)
            self.assertTrue(head.startswith(b"HTTP/1.1 " + status), head)  # type: ignore[attr-defined]


class TCPTests(SharedTests, PortTestCase):
    """TCP, in the clear."""

    async def test_backlog(self) -> None:
        """Many may wait to be accepted."""
        self.assertEqual(self.port.backlog, BACKLOG)

    async def test_post_to_a_socket(self) -> None:
        """A WebSocket's path answers a POST with 426, too."""
        caller = await self.call(request("POST", "/ws", b"x"))
        head = await caller.until(b"\r\n\r\n")
        self.assertIn(b" 426 ", head)
        self.assertIn(b"upgrade: websocket\r\n", head.lower())

    async def test_unknown_socket(self) -> None:
        """Other paths have no WebSocket."""
        caller = await self.call(handshake("/no"))
        await caller.until(b"HTTP/1.1 404 ")

    async def test_hosts(self) -> None:
        """A request names its host once."""
        for bad in (b"", b"Host: a\r\nHost: b\r\n"):
            caller = await self.call(
                request("GET", "/hello").replace(b"Host: a\r\n", bad)
            )
            await caller.until(b"HTTP/1.1 400 ")
            await caller.closed

    async def test_slow_answer(self) -> None:
        """Input behind a request waits for its response."""
        for first in (request("POST", "/slow", b"x"), request("GET", "/slow")):
            self.slow = Deferred()
            caller = await self.call(first + request("POST", "/echo", b"y") + SOCKET)
            other = await self.call(request("GET", "/hello"))
            await other.until(b"hello")
            self.assertEqual(caller.data, b"")
            self.slow.callback(Answer(200, b"slow"))
            for mark in (b"slow", b"y!", b" 101 "):
                await caller.until(mark)

    async def test_left_while_waiting(self) -> None:
        """A response for a client that has left is discarded."""
        caller = await self.call(request("POST", "/slow", b"x"))
        await deferLater(clock, 0.01)
        caller.transport.abortConnection()
        await caller.closed
        await (await self.call(request("GET", "/hello"))).until(b"hello")
        self.slow.callback(Answer(200, b"slow"))

    async def test_broken_handler(self) -> None:
        """A handler's error is logged once, gets a 500, and keeps the connection."""
        for method in ("GET", "POST"):
            caller = await self.call(request(method, "/broken"))
            await caller.until(b"HTTP/1.1 500 ")
            await caller.send_bytes(request("GET", "/hello")).until(b"hello")
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    async def test_large_bodies(self) -> None:
        """A body over its path's limit is refused at once, without being read."""
        head = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n"
        for data in (
            f"{head}\r\n".encode(),
            f"{head}Expect: 100-continue\r\n\r\n".encode(),
            request("POST", "/echo", b"x" * 1001),
            request("POST", "/echo", Transfer_Encoding="chunked")
            + b"400\r\n"
            + b"x" * 1024
            + b"\r\n",
        ):
            caller = await self.call(data)
            await caller.until(b"HTTP/1.1 413 ")
            self.assertNotIn(b"100 Continue", caller.data)

    async def test_allowed_bodies(self) -> None:
        """Bodies within the limit, announced or chunked, are read."""
        chunked = request("POST", "/echo", Transfer_Encoding="chunked")
        for data in (
            request("POST", "/echo", b"z" * 1000),
            chunked + b"2\r\nzz\r\n0\r\n\r\n",
        ):
            await (await self.call(data)).until(b"zz!")

    async def test_slow_heads(self) -> None:
        """A client that does not send a head in time is dropped."""
        caller = await self.call(SOCKET[:10])
        late = await self.call()
        await (await self.call(request("GET", "/hello"))).until(b"hello")
        factory = self.port.factory
        self.assertEqual(len(factory.waiting), 2)
        for front in factory.waiting:
            factory.waiting[front] -= 11
        factory.expire()
        await gatherResults([caller.closed, late.closed])
        self.assertEqual(factory.waiting, {})

    async def test_peer(self) -> None:
        """The WebSocket knows the address of its peer."""
        caller = await self.call(SOCKET)
        await caller.until(b" 101 ")
        self.assertEqual(self.sockets.opened, [caller.transport.getHost()])

    async def test_no_cycles(self) -> None:
        """When connections have closed, nothing of them waits for the collector."""
        halves = [SOCKET[:9], request("POST", "/echo", b"x" * 9)[:-1]]
        whole = [
            request("GET", "/hello"),
            request("POST", "/echo", b"a"),
            SOCKET + HI,
            request("GET", "/hello") + SOCKET + HI,
        ]
        gc.collect()
        before = alive()
        gc.disable()
        try:
            for data in (*whole, *halves):
                caller = await self.call(data)
                if data in whole:
                    await caller.until(b"HTTP/1.1 ")
                await deferLater(clock, 0.01)
                caller.transport.loseConnection()
                await caller.closed
            self.callers.clear()
            del caller
            await deferLater(clock, 0.01)
            self.assertEqual(alive(), before)
        finally:
            gc.enable()

    async def test_full(self) -> None:
        """Near the file limit accepting pauses, and resumes when there is room."""
        accept_limiter = self.port.factory.accept_limiter
        (await self.call(request("GET", "/hello"))).send_bytes(b"")
        limit, accept_limiter.limit = accept_limiter.limit, 10
        first = await self.call(request("GET", "/hello"))
        await first.until(b"hello")
        self.assertTrue(accept_limiter.waiting)
        self.assertEqual(accept_limiter._paused.value, 1)
        second = await self.call(request("GET", "/hello"))
        accept_limiter.resume_if_possible()
        self.assertTrue(accept_limiter.waiting)
        await first.send_bytes(request("GET", "/hello")).until(b"hello")
        self.assertEqual(second.data, b"")
        accept_limiter.limit = limit
        accept_limiter.resume_if_possible()
        await second.until(b"hello")


class UNIXTests(SharedTests, PortTestCase):
    """A socket in the file system."""

    def serve(self) -> None:
        path = self.mktemp()[-60:].replace("/", "_")
        self.port = clock.listenUNIX(path, port_factory(clock, self.endpoints))
        self.endpoint = UNIXClientEndpoint(clock, path)

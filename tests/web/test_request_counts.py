"""HTTP requests counted by endpoint, method and status."""

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource

from centrifugo_tx.metrics import Metrics
from centrifugo_tx.options import Answer
from centrifugo_tx.transports.settings import TransportSettings
from centrifugo_tx.transports.websocket import WebSocketFactory
from centrifugo_tx.web.request_counts import RequestCounts
from centrifugo_tx.web.site import Endpoints, HTTPSite

from ..support import World
from ..transports.websocket_stream import Stream

UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


class Page(Resource):  # type: ignore[misc]  # untyped
    """Answers every path."""

    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        return b"page"


class CountTests(SynchronousTestCase):
    """One connection for each request."""

    def setUp(self) -> None:
        self.metrics, world = Metrics(), World()
        endpoints = Endpoints(
            sockets={b"/ws": WebSocketFactory(TransportSettings.unlimited(world.node))},
            handlers={
                b"/api/publish": lambda request: Answer(200, b"{}"),
                b"/wrong": lambda request: Answer(401),
            },
        )
        self.endpoints = endpoints
        self.clock = Clock()

    def ask(self, method: str, path: str, headers: str = "") -> None:
        """Send one request over a connection of its own."""
        site = HTTPSite(self.clock, self.endpoints, counts=RequestCounts(self.metrics))
        channel: Any = site.buildProtocol(None)
        stream = Stream()
        stream.protocol = channel
        channel.makeConnection(stream)
        if method == "POST":
            headers += "Content-Length: 2\r\n"
        body = "{}" if method == "POST" else ""
        text = f"{method} {path} HTTP/1.1\r\nHost: a\r\n{headers}\r\n{body}"
        channel.dataReceived(text.encode())
        self.clock.advance(0)
        stream.protocol.connectionLost(Failure(ConnectionDone()))

    def counts(self) -> dict[tuple[str, ...], float]:
        """Return the counts by path, method and status."""
        return {
            tuple(value for _, value in labels): counter.value
            for name, labels, counter in self.metrics.counters()
            if name == "node_incoming_http_requests_total"
        }

    def test_handlers(self) -> None:
        """Endpoints are counted by path, unknown paths not at all."""
        for path in ("/api/publish", "/api/publish?a=1", "/nope"):
            self.ask("POST", path)
        self.ask("GET", "/wrong")
        self.assertEqual(
            self.counts(),
            {("/api/publish", "POST", "200"): 2, ("/wrong", "GET", "401"): 1},
        )

    def test_methods(self) -> None:
        """Invented methods share one label."""
        for method in ("FOO", "BAR"):
            self.ask(method, "/wrong")
        self.assertEqual(self.counts(), {("/wrong", "other", "401"): 2})

    def test_tree(self) -> None:
        """All paths of a tree count as one route."""
        self.endpoints.tree, self.endpoints.tree_route = Page(), b"/admin/"
        for path in ("/admin/a", "/admin/b"):
            self.ask("GET", path)
        self.assertEqual(self.counts(), {("/admin/", "GET", "200"): 2})

    def test_handshakes(self) -> None:
        """Handshakes of WebSockets are counted by their outcome."""
        self.ask("GET", "/ws", UPGRADE)
        self.ask("GET", "/ws", UPGRADE.replace("13", "12"))
        self.ask("GET", "/ws")
        self.assertEqual(
            self.counts(),
            {
                ("/ws", "GET", "101"): 1,
                ("/ws", "GET", "400"): 1,
                ("/ws", "GET", "426"): 1,
            },
        )

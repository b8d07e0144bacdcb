"""HTTP requests in the log, at level debug."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from centrifugo_tx.options import Answer
from centrifugo_tx.web.site import Endpoints, HTTPSite

from ..log_lines import LogTestCase
from ..transports.websocket_stream import Stream

FIELDS = ("method", "status", "path", "addr")


class AccessLogCase(LogTestCase):
    """A connection to a site with a few handlers."""

    access_log = True

    def setUp(self) -> None:
        super().setUp()
        self.clock, self.stream = Clock(), Stream()
        self.later: Deferred[Answer] = Deferred()
        endpoints = Endpoints(
            handlers={
                b"/api/publish": lambda request: Answer(200, b"{}"),
                b"/wrong": lambda request: Answer(401),
                b"/later": lambda request: self.later,
            },
            streams={b"/stream": lambda request: None},
        )
        site = HTTPSite(self.clock, endpoints, self.access_log)
        self.channel: Any = site.buildProtocol(None)
        self.channel.makeConnection(self.stream)
        self.addCleanup(self.lose)

    def lose(self) -> None:
        """End the connection."""
        self.channel.connectionLost(Failure(ConnectionDone()))

    def ask(self, method: str, path: str, **headers: str) -> int:
        """Send a request; return the status, 0 without a response."""
        more = [f"{n.replace('_', '-')}: {value}\r\n" for n, value in headers.items()]
        head = f"{method} {path} HTTP/1.1\r\nHost: a\r\n{''.join(more)}"
        if method == "POST":
            head += "Content-Length: 2\r\n"
        self.channel.dataReceived(f"{head}\r\n".encode() + b"{}" * (method == "POST"))
        self.clock.advance(0)
        return int((self.stream.take()[9:12]) or b"0")


class AccessLogTests(AccessLogCase):
    """A line for each request, when its response is over."""

    def test_statuses(self) -> None:
        """Quick and slow handlers, and unknown paths."""
        self.assertEqual(self.ask("POST", "/api/publish"), 200)
        self.assertEqual(self.ask("GET", "/wrong"), 401)
        self.assertEqual(self.ask("GET", "/nope"), 404)
        peer = "192.168.1.1"
        self.assertEqual(
            self.lines(*FIELDS),
            [
                ("debug", "http request", "POST", 200, "/api/publish", peer),
                ("debug", "http request", "GET", 401, "/wrong", peer),
                ("debug", "http request", "GET", 404, "/nope", peer),
            ],
        )

    def test_secrets(self) -> None:
        """Neither the query nor headers are shown."""
        self.ask("POST", "/api/publish?api_key=SECRET", Authorization="apikey SECRET")
        self.assertNotIn("SECRET", self.text())
        self.assertEqual(len(self.events), 1)

    def test_address(self) -> None:
        """The address is the connection's, regardless of headers."""
        self.ask("GET", "/wrong", X_Forwarded_For="10.0.0.1", X_Real_IP="10.0.0.3")
        self.assertEqual([line[2] for line in self.lines("addr")], ["192.168.1.1"])

    def test_duration(self) -> None:
        """The line comes with the answer, and tells the time in seconds."""
        self.assertEqual(self.ask("GET", "/later"), 0)
        self.assertEqual(self.events, [])
        self.clock.advance(1.5)
        self.later.callback(Answer(200))
        self.assertEqual(
            self.lines("status", "duration"), [("debug", "http request", 200, 1.5)]
        )

    def test_gone(self) -> None:
        """A client that goes before it is answered has status 499."""
        self.ask("GET", "/stream")
        self.lose()
        self.assertEqual(
            self.lines("status", "path"), [("debug", "http request", 499, "/stream")]
        )

    def test_long(self) -> None:
        """Long paths are cut."""
        self.ask("GET", "/" + "x" * 2000)
        self.assertEqual(len(self.events[0]["path"]), 256 + 1)


class NoAccessLogTests(AccessLogCase):
    """Above debug no lines are written, and quick requests stay quick."""

    access_log = False

    def test_statuses(self) -> None:
        """Requests leave no line."""
        self.assertEqual(self.ask("POST", "/api/publish"), 200)
        self.assertEqual(self.ask("GET", "/nope"), 404)
        self.assertEqual(self.lines(), [])
        self.assertIn(b"/api/publish", self.channel.site.quick)

"""Log lines about HTTP requests without stream or commands."""

from centrifugo_tx.core import Node
from centrifugo_tx.transports.uni_sse import UniSSE
from centrifugo_tx.web.request import StreamHandler
from centrifugo_tx.web.site import Endpoints, HTTPSite

from ..log_lines import LogTestCase
from .streams import CONNECT
from .test_emulation import EmulationTestCase


class EmulationTests(LogTestCase, EmulationTestCase):
    """Requests of clients on streams."""

    def test_malformed(self) -> None:
        """A malformed emulation request is logged, without its content."""
        self.assertEqual(self.ask("POST", "/emulation", b'{"SECRET').status, 400)
        self.assertNotIn("SECRET", self.text())
        (line,) = self.lines("error")
        self.assertEqual(line[:2], ("info", "can't unmarshal emulation request"))
        self.assertTrue(line[2])

    def test_unknown_node(self) -> None:
        """So is an unknown node."""
        self.assertEqual(self.send_commands(node="nope").status, 404)
        self.assertEqual(
            self.lines("node"),
            [("info", "emulation request for an unknown node", "nope")],
        )

    def test_flood(self) -> None:
        """A flood of such requests is counted."""
        for _ in range(50):
            self.ask("POST", "/emulation", b"{")
        self.clock.advance(1)
        told = [line[1] for line in self.lines()]
        self.assertLessEqual(len(told), 7)
        self.assertIn("log lines left out: can't unmarshal emulation request", told)


class UniStreamTests(LogTestCase, EmulationTestCase):
    """Connect requests of clients that only listen."""

    def handler(self) -> StreamHandler:
        return UniSSE(self.streams)

    def setUp(self) -> None:
        super().setUp()
        self.node: Node
        self.site = HTTPSite(self.clock, Endpoints(streams={b"/": self.handler()}))
        self.connect()
        self.events.clear()

    def test_malformed(self) -> None:
        """A malformed request is logged with its transport."""
        self.assertEqual(self.ask("POST", "/", b'{"token":"SECRET').status, 400)
        self.assertNotIn("SECRET", self.text())
        (line,) = self.lines("transport")
        self.assertEqual(line, ("info", "malformed connect request", "uni_sse"))

    def test_large(self) -> None:
        """So is one that is too long."""
        self.assertEqual(self.ask("POST", "/", CONNECT + b" " * 70_000).status, 413)
        self.assertEqual(self.lines("path"), [("info", "request body too large", "/")])

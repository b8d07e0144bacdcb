"""Log lines about requests that make no connection."""

from twisted.internet.task import Clock
from twisted.logger import Logger

from centrifugo_tx.bounded_log import BoundedLog
from centrifugo_tx.transports.cors import CORS
from centrifugo_tx.transports.origin import LONGEST, REMEMBERED, OriginRule
from centrifugo_tx.transports.resource import websocket_resource

from ..log_lines import LogTestCase
from ..support import World
from .test_cors import Asked
from .websocket_stream import Stream, handshake

EVIL = "https://evil.example"


class OriginTests(LogTestCase):
    """Pages of other origins."""

    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()

    def rule(self, *patterns: str) -> OriginRule:
        """Return a rule that logs."""
        log = BoundedLog(Logger("centrifugo_tx.test"), self.clock)
        return OriginRule(patterns, log)

    def test_refused(self) -> None:
        """The line has the origin and those that are allowed."""
        self.assertFalse(self.rule("https://a", "https://*.b").passes(EVIL))
        self.assertEqual(
            self.lines("origin", "allowed_origins"),
            [
                (
                    *("info", "request Origin is not authorized"),
                    *(EVIL, ["https://a", "https://*.b"]),
                )
            ],
        )

    def test_none_allowed(self) -> None:
        """Without any allowed origin the line says that."""
        self.assertFalse(self.rule().passes(EVIL))
        message = "request Origin is not authorized due to empty allowed_origins"
        self.assertEqual(self.lines("origin"), [("info", message, EVIL)])

    def test_passes(self) -> None:
        """An accepted request leaves no line."""
        rule = self.rule("https://a")
        self.assertTrue(rule.passes("https://a"))
        self.assertTrue(rule.passes(None))
        self.assertEqual(self.lines(), [])

    def test_remembered(self) -> None:
        """Origins that have passed are remembered, but not without a bound."""
        rule = self.rule("https://*")
        for number in range(2 * REMEMBERED):
            self.assertTrue(rule.passes(f"https://{number}"))
            self.assertTrue(rule.passes(f"https://{number}"))
        self.assertEqual(len(rule._passed), REMEMBERED)
        rule = self.rule("https://*")
        self.assertTrue(rule.passes("https://" + LONGEST * "a"))
        self.assertFalse(rule.passes("http://a"))
        self.assertEqual(len(rule._passed), 0)

    def test_cors(self) -> None:
        """Responses that a page may not read are logged likewise."""
        CORS(self.rule("https://a")).headers(Asked({b"origin": EVIL.encode()}))
        self.assertEqual(len(self.lines()), 1)

    def test_flood(self) -> None:
        """Ten thousand refusals write a bounded number of lines, and their count."""
        rule = self.rule("https://a")
        for number in range(10_000):
            rule.passes(f"{EVIL}:{number}")
        self.clock.advance(1)
        self.assertEqual(len(self.events), 6)
        self.assertEqual(self.events[-1]["count"], 9995)

    def test_long(self) -> None:
        """Of a long origin only the beginning is written."""
        self.rule("https://a").passes("x" * 10_000)
        self.assertLess(len(self.text()), 700)


class WebSocketTests(LogTestCase):
    """Handshakes of WebSockets."""

    def handshake_status_line(self, path: str = "/", **headers: str) -> bytes:
        """Return the first line of the answer to a handshake."""
        factory = websocket_resource(World().node, ["https://a"])._factory
        stream, protocol = Stream(), factory.buildProtocol(None)
        protocol.makeConnection(stream)
        protocol.dataReceived(handshake(path, **headers))
        return stream.take().partition(b"\r\n")[0]

    def test_origin(self) -> None:
        """A page that may not connect is logged."""
        self.assertEqual(
            self.handshake_status_line(Origin=EVIL), b"HTTP/1.1 403 Forbidden"
        )
        self.assertEqual(
            self.lines("origin"), [("info", "request Origin is not authorized", EVIL)]
        )

    def test_version(self) -> None:
        """So is a version of the protocol that is not served."""
        self.assertIn(b" 400 ", self.handshake_status_line("/?cf_protocol_version=v9"))
        self.assertEqual(
            self.lines("version"), [("info", "unknown protocol version", "v9")]
        )

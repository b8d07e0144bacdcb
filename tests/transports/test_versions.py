"""Both versions of the client protocol on one WebSocket endpoint."""

import json

from centrifugo_tx.errors import ReplyError
from centrifugo_tx.protocol.codes import FORCE_DISCONNECT, SHUTDOWN, TOKEN_EXPIRED
from centrifugo_tx.transports.websocket import WebSocketOptions

from ..integration.websocket import CLOSE, PONG, frame
from .test_websocket import CONNECT, WebSocketTestCase

_OLD = b'{"id":1,"params":{}}'


class VersionTests(WebSocketTestCase):
    """The first message tells the version, unless the URL does."""

    def test_first_message(self) -> None:
        """Each client is answered in its own version."""
        self.open()
        self.assertIn("connect", self.ask(CONNECT)[0])
        self.open()
        (reply,) = self.ask(_OLD)
        self.assertIn("client", reply["result"])
        self.assertNotIn("ping", reply["result"])

    def test_url(self) -> None:
        """The version in the URL takes precedence; an unknown one is a bad request."""
        self.open("/?cf_protocol_version=v2")
        self.assertEqual(self.ask(CONNECT)[0]["id"], 1)
        self.open("/?cf_protocol_version=v2")
        self.protocol.dataReceived(frame(_OLD))
        self.assertEqual(self.closing(), (3501, b"bad request"))
        self.open("/?cf_protocol_version=v1")
        self.assertIn("result", self.ask(_OLD)[0])
        self.assertEqual(self.status("/?cf_protocol_version=v3"), 400)

    def test_known_by_url(self) -> None:
        """Then it is spoken from the start: pings are frames, reasons are JSON."""
        self.open("/?cf_protocol_version=v1")
        stale = self.world.node.options.stale_close_delay
        self.clock.advance(stale + 1)
        told = {"reason": "stale", "reconnect": False}
        code, reason = self.closing()
        self.assertEqual((code, json.loads(reason)), (3502, told))
        self.open("/?cf_protocol_version=v1")
        self.assertNotIn("ping", self.ask(_OLD)[0]["result"])
        self.clock.advance(25)
        self.assertEqual(self.stream.take(), b"\x89\x00")

    def test_goodbye_after_an_error(self) -> None:
        """A client whose connect failed closes, and is answered at once."""
        self.world.policy.admission = ReplyError(TOKEN_EXPIRED)
        self.open()
        self.assertEqual(self.ask(_OLD)[0]["error"]["code"], 109)
        self.assertEqual(self.stream.producerState, "producing")
        self.protocol.dataReceived(frame(b"\x03\xe8", 0x80 | CLOSE))
        self.assertEqual(self.closing()[0], 1000)
        self.assertTrue(self.stream.disconnecting)

    def test_fixed(self) -> None:
        """A command of the other version is a bad request from then on."""
        for first, other in ((CONNECT, b'{"id":2,"method":7}'), (_OLD, CONNECT)):
            self.open()
            self.ask(first)
            self.protocol.dataReceived(frame(other))
            self.clock.advance(0)
            data = self.stream.take()
            self.assertEqual(int.from_bytes(data[2:4], "big"), 3501)

    def test_reason(self) -> None:
        """A reason is JSON in v1, and text in v2."""
        self.open()
        self.ask(_OLD)
        self.protocol.client.close(FORCE_DISCONNECT)
        code, reason = self.closing()
        told = {"reason": "force disconnect", "reconnect": False}
        self.assertEqual((code, json.loads(reason)), (3503, told))
        self.open()
        self.ask(_OLD)
        self.protocol.client.close(SHUTDOWN)
        self.assertTrue(json.loads(self.closing()[1])["reconnect"])

    def test_pings(self) -> None:
        """Pings are WebSocket frames; a client that does not answer is dropped."""
        self.open()
        self.ask(_OLD)
        self.clock.advance(25)
        self.assertEqual(self.stream.take(), b"\x89\x00")
        self.protocol.dataReceived(frame(b"", 0x80 | PONG))
        self.clock.advance(25)
        self.assertEqual(self.stream.take(), b"\x89\x00")
        self.assertFalse(self.protocol.client.closed)
        client = self.protocol.client
        self.clock.advance(9)
        self.assertTrue(client.closed)


class EraTests(WebSocketTestCase):
    """The options of v1."""

    options = WebSocketOptions(v1_positions="seqgen", v1_whole_history=True)

    def test_options(self) -> None:
        """Positions in two halves, and history without a limit."""
        for number in range(3):
            self.world.publish("c", number, history_size=9, history_ttl=60.0)
        self.open()
        self.ask(_OLD)
        (reply,) = self.ask(b'{"id":2,"method":6,"params":{"channel":"c"}}')
        self.assertEqual([p["seq"] for p in reply["result"]["publications"]], [1, 2, 3])

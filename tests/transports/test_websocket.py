"""Clients over WebSocket: the handshake, encodings, closes, pings, compression."""

import json
import zlib
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from centrifugo_tx.interfaces import ITransport
from centrifugo_tx.metrics import Counter
from centrifugo_tx.options import NodeOptions
from centrifugo_tx.protocol.codes import CONNECTION_CLOSED, FORCE_DISCONNECT, Disconnect
from centrifugo_tx.protocol.messages import Raw
from centrifugo_tx.transports.connection_limit import ConnectionLimiter
from centrifugo_tx.transports.origin import OriginRule
from centrifugo_tx.transports.settings import TransportSettings
from centrifugo_tx.transports.websocket import WebSocketFactory, WebSocketOptions

from ..integration.websocket import frame
from ..support import World, unframed
from .websocket_stream import Stream, handshake

CONNECT = b'{"id":1,"connect":{}}'
DEFLATE = "permessage-deflate"


class WebSocketTestCase(SynchronousTestCase):
    """Has a node and a factory."""

    options = WebSocketOptions()
    limit = rate = 0

    def setUp(self) -> None:
        self.world = World(NodeOptions(ping_interval=25, pong_timeout=8))
        self.clock = self.world.clock
        node = self.world.node
        count = lambda: len(node.connections.open)  # noqa: E731
        self.refused = Counter()
        limiter = ConnectionLimiter(
            self.clock, count, self.refused, self.limit, self.rate
        )
        settings = TransportSettings(
            node,
            limiter,
            OriginRule(["http://good.example", "null"]),
            queue_max_size=1000,
            kept_headers=frozenset({"x-user"}),
        )
        self.factory = WebSocketFactory(settings, self.options)

    def open(self, path: str = "/", **headers: str) -> str:
        """Shake hands on a new connection; return the head of the answer."""
        self.stream = Stream()
        self.protocol = self.factory.buildProtocol(None)
        self.protocol.makeConnection(self.stream)
        self.protocol.dataReceived(handshake(path, **headers))
        return self.stream.take().partition(b"\r\n\r\n")[0].decode()

    def status(self, path: str = "/", **headers: str) -> int:
        """Return the status of a handshake."""
        return int(self.open(path, **headers).split(" ")[1])

    def ask(self, message: bytes) -> list[Any]:
        """Send a message; return the replies."""
        self.protocol.dataReceived(frame(message))
        self.clock.advance(0)
        return [json.loads(payload) for payload in unframed(self.stream.take())]

    def closing(self) -> tuple[int, bytes]:
        """Return code and reason of the close frame that was sent."""
        self.clock.advance(0)
        data = self.stream.take()
        self.assertEqual(data[0], 0x88)
        return int.from_bytes(data[2:4], "big"), data[4:]


class HandshakeTests(WebSocketTestCase):
    """Which requests are accepted, and how."""

    def test_origin(self) -> None:
        """Pages of other origins get 403; no browser sends no origin."""
        for origin, expected in (
            (None, 101),
            ("http://good.example", 101),
            ("HTTP://Good.Example", 101),
            ("null", 101),
            ("http://bad.example", 403),
        ):
            headers = {"Origin": origin} if origin else {}
            self.assertEqual(self.status(**headers), expected, origin)

    def test_refused(self) -> None:
        """Pages of allowed origins may read why they were refused; others not."""
        cors = "Access-Control-Allow-Origin: "
        for old in ({}, {"Sec_WebSocket_Version": "12"}):
            for origin in ("http://good.example", "HTTP://Good.Example"):
                self.factory.limiter.limit = 1
                self.world.node.connections.open["x"] = None  # type: ignore[assignment]
                answer = self.open(Origin=origin, **old)
                self.assertIn(f"\r\n{cors}{origin}\r\n", answer)
                self.assertIn("\r\nAccess-Control-Allow-Credentials: true", answer)
        for headers in ({"Origin": "http://bad.example"}, {}):
            answer = self.open(**headers)
            self.assertNotIn(cors, answer)
            self.assertRegex(answer, "^HTTP/1.1 (403|503) ")
            self.assertIn("\r\nSec-WebSocket-Version: 13\r\n", answer)
            self.assertIn("\r\nX-Content-Type-Options: nosniff\r\n", answer)

    def test_subprotocol(self) -> None:
        """The first that the server knows is chosen, and echoed."""
        answer = self.open(Sec_WebSocket_Protocol="x, centrifuge-json")
        self.assertIn("Sec-WebSocket-Protocol: centrifuge-json", answer)
        self.assertNotIn("Protocol:", self.open(Sec_WebSocket_Protocol="x"))
        self.assertNotIn("Protocol:", self.open())

    def test_messages(self) -> None:
        """Messages reach the client, and replies the peer."""
        self.open()
        self.assertEqual(self.ask(CONNECT)[0]["id"], 1)

    def test_transport(self) -> None:
        """The client's transport is one; it knows the headers that are kept."""
        self.open(X_User="42", X_Other="1")
        transport = self.protocol.client.transport
        verifyObject(ITransport, transport)
        self.assertEqual(transport.info.headers, {"x-user": ("42",)})
        self.assertEqual(transport.peer_address, "192.168.1.1")
        transport.detach(drop=True)
        self.assertEqual(transport.peer_address, "")

    def test_lost(self) -> None:
        """When the connection is gone, the node knows."""
        self.open()
        self.ask(CONNECT)
        self.stream.lose(self.protocol)
        self.assertEqual(len(self.world.node.connections.open), 0)

    def test_pause(self) -> None:
        """The client can stop reading, and go on."""
        self.open()
        self.protocol.client.transport.pause()
        self.assertEqual(self.stream.producerState, "paused")
        self.protocol.client.transport.resume()
        self.assertEqual(self.stream.producerState, "producing")


class LimitTests(WebSocketTestCase):
    """The node has a connection limit."""

    limit = 1

    def test_full(self) -> None:
        """One too many gets 503, and is counted."""
        self.assertEqual(self.status(), 101)
        self.assertEqual(self.status(), 503)
        self.assertEqual(self.refused.value, 1)


class RateTests(WebSocketTestCase):
    """The node has a limit of connections per second."""

    rate = 2

    def test_too_many(self) -> None:
        """Connections over the rate get 503; a second later new ones are accepted."""
        self.assertEqual([self.status() for _ in range(3)], [101, 101, 503])
        self.clock.advance(1)
        self.assertEqual([self.status() for _ in range(3)], [101, 101, 503])


class CloseTests(WebSocketTestCase):
    """The end of a connection, by either side."""

    def setUp(self) -> None:
        super().setUp()
        self.open()
        self.ask(CONNECT)
        self.client = self.protocol.client

    def test_with_a_reason(self) -> None:
        """Waiting frames are sent, then code and reason; the answer closes."""
        self.client.ping()
        self.client.close(FORCE_DISCONNECT)
        data = self.stream.take()
        self.assertTrue(data.startswith(b"\x81\x02{}\x88"), data)
        self.assertTrue(data.endswith(b"\x0d\xafforce disconnect"), data)
        self.assertFalse(self.stream.aborted)
        self.protocol.dataReceived(frame(b"\x0d\xaf", 0x88))
        self.assertTrue(self.stream.disconnecting)
        self.assertFalse(self.stream.aborted)

    def test_paused(self) -> None:
        """The answer is seen even if nothing was read before."""
        self.client.transport.pause()
        self.client.close(FORCE_DISCONNECT)
        self.assertEqual(self.stream.producerState, "producing")

    def test_unanswered(self) -> None:
        """Without an answer the connection is dropped after 5 seconds."""
        self.client.close(FORCE_DISCONNECT)
        self.clock.advance(4.9)
        self.assertFalse(self.stream.aborted)
        self.clock.advance(0.2)
        self.assertTrue(self.stream.aborted)

    def test_silent(self) -> None:
        """3000 ends the connection without a close frame."""
        self.client.ping()
        self.client.close(CONNECTION_CLOSED)
        self.clock.advance(0)
        self.assertEqual((self.stream.take(), self.stream.aborted), (b"", True))

    def test_slow(self) -> None:
        """A peer for which too much waits gets none of that, but the code: 3008."""
        self.client.transport.pauseProducing()
        for _ in range(400):
            self.client.ping()
        self.assertTrue(self.client.closed)
        self.assertEqual(self.stream.take(), b"\x88\x06\x0b\xc0slow")
        self.assertEqual(self.disconnects("3008"), 1)
        self.clock.advance(5)
        self.assertTrue(self.stream.aborted)

    def test_large_reply(self) -> None:
        """A reply that no queue has room for ends the connection with 3008."""
        self.world.policy.answer = Raw(b"[" + b"1," * 500 + b"1]")
        self.protocol.dataReceived(frame(b'{"id":2,"rpc":{}}'))
        self.assertEqual(self.closing(), (3008, b"slow"))

    def test_unread_pongs(self) -> None:
        """Pings of a peer that does not read are not answered: that would pile up."""
        ping = frame(b"?", 0x89)
        self.protocol.dataReceived(ping)
        self.assertEqual(self.stream.take(), b"\x8a\x01?")
        self.client.transport.pauseProducing()
        self.protocol.dataReceived(ping * 100)
        self.assertEqual(self.stream.take(), b"")
        self.client.transport.resumeProducing()
        self.protocol.dataReceived(ping)
        self.assertEqual(self.stream.take(), b"\x8a\x01?")

    def test_stuck(self) -> None:
        """A peer that takes nothing for the write timeout is aborted: 3009."""
        self.client.transport.pauseProducing()
        self.clock.advance(1)
        self.assertTrue(self.stream.aborted)
        self.assertEqual(self.disconnects("3009"), 1)

    def disconnects(self, code: str) -> float:
        """Return how many were counted with *code*."""
        counters = self.world.node.metrics.counters()
        return sum(
            counter.value
            for name, labels, counter in counters
            if name == "client_num_server_disconnects" and ("code", code) in labels
        )

    def close_frames(self) -> dict[str, float]:
        """Return how many closing handshakes the server began, by their codes."""
        return {
            dict(labels)["code"]: counter.value
            for name, labels, counter in self.world.node.metrics.counters()
            if name == "transport_outgoing_close_count"
            and ("transport", "websocket") in labels
        }

    def test_counted(self) -> None:
        """A closing handshake that the server begins is counted once, by its code."""
        self.client.close(FORCE_DISCONNECT)
        self.protocol.dataReceived(frame(b"\x0d\xaf", 0x88))
        self.assertEqual(self.close_frames(), {"3503": 1})
        self.open()
        self.protocol.dataReceived(frame(b"\xff"))
        self.assertEqual(self.close_frames(), {"3503": 1, "1007": 1})

    def test_not_counted(self) -> None:
        """One that the peer begins, or none at all, is not."""
        self.protocol.dataReceived(frame(b"\x03\xe8", 0x88))
        self.open()
        self.stream.lose(self.protocol)
        self.assertEqual(self.close_frames(), {})

    def test_by_the_peer(self) -> None:
        """Replies that wait leave before the answer to the peer's close frame."""
        self.protocol.dataReceived(
            frame(b'{"id":2,"rpc":{}}') + frame(b"\x03\xe8", 0x88)
        )
        data = self.stream.take()
        self.assertEqual(data[0], 0x81)
        self.assertIn(b"\x88\x02\x03\xe8", data)
        self.assertTrue(self.client.closed)

    def test_by_a_violation(self) -> None:
        """After a frame that RFC 6455 forbids the client is gone at once."""
        self.protocol.dataReceived(frame(b"\xff"))
        self.assertEqual(self.closing()[0], 1007)
        self.assertTrue(self.client.closed)

    def test_any_code(self) -> None:
        """Codes and reasons of applications are sent as they are, cut to fit."""
        self.client.close(Disconnect(5000, "ä" * 100))
        code, reason = self.closing()
        self.assertEqual((code, len(reason)), (5000, 122))
        self.assertEqual(reason.decode(), "ä" * 61)

    def test_shutdown(self) -> None:
        """While the node stops, new clients are disconnected with 3001."""
        self.world.node.stop()
        self.open()
        self.protocol.onClose(True, None, None)
        self.assertEqual(len(self.world.node.connections.open), 1)


class FramePingTests(WebSocketTestCase):
    """Clients that asked for pings by WebSocket frames."""

    def setUp(self) -> None:
        super().setUp()
        self.open("/?cf_ws_frame_ping_pong=true")
        (self.reply,) = self.ask(CONNECT)

    def test_no_others(self) -> None:
        """They get no pings of the protocol's own."""
        self.assertNotIn("ping", self.reply["connect"])

    def test_pings(self) -> None:
        """A ping comes every interval, as long as each is answered in time."""
        for _ in range(3):
            self.clock.pump([0.1] * 250)
            self.assertEqual(self.stream.take(), b"\x89\x00")
            self.protocol.dataReceived(frame(b"", 0x8A))
        self.assertFalse(self.stream.aborted)

    def test_no_pong(self) -> None:
        """Without an answer the connection ends, without a word."""
        self.clock.pump([0.1] * 250)
        self.stream.take()
        self.clock.pump([0.1] * 82)
        self.assertEqual((self.stream.take(), self.stream.aborted), (b"", True))

    def test_end(self) -> None:
        """When the connection is closed, no timer is left."""
        self.clock.pump([0.1] * 250)
        self.stream.lose(self.protocol)
        self.stream.take()
        self.clock.pump([0.1] * 500)
        self.assertEqual(self.stream.take(), b"")


class CompressionTests(WebSocketTestCase):
    """permessage-deflate without memory from message to message."""

    options = WebSocketOptions(compression=True)

    def negotiated(self, offer: str) -> str:
        """Return the extension with which *offer* is answered."""
        lines = self.open(Sec_WebSocket_Extensions=offer).split("\r\n")
        name = "Sec-WebSocket-Extensions: "
        return next((x.removeprefix(name) for x in lines if x.startswith(name)), "")

    def test_negotiation(self) -> None:
        """Neither side may remember; the window is as small as asked for, or 12."""
        both = f"{DEFLATE}; server_no_context_takeover; client_no_context_takeover"
        bits = "server_max_window_bits"
        for offer, expected in (
            (DEFLATE, both),
            (f"{DEFLATE}; client_max_window_bits", both),
            (
                f"{DEFLATE}; server_max_window_bits=9",
                f"{both}; server_max_window_bits=9",
            ),
            (
                f"{DEFLATE}; server_max_window_bits=15",
                f"{both}; server_max_window_bits=12",
            ),
            (f"{DEFLATE}; {bits}=8", ""),
            (f"{DEFLATE}; {bits}=8, {DEFLATE}", both),
            (f"{DEFLATE}; x=1", ""),
            ("x-unknown", ""),
        ):
            self.assertEqual(self.negotiated(offer), expected, offer)

    def test_window(self) -> None:
        """Frames are compressed within the window that was negotiated."""
        self.negotiated(f"{DEFLATE}; server_max_window_bits=9")
        small = self.protocol.client.transport.wire
        self.negotiated(DEFLATE)
        usual = self.protocol.client.transport.wire
        self.assertIsNot(small, usual)
        self.negotiated(DEFLATE)
        self.assertIs(self.protocol.client.transport.wire, usual)

    def compressed(self, payload: bytes) -> bytes:
        """Return a message of one compressed frame."""
        deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
        data = deflate.compress(payload) + deflate.flush(zlib.Z_SYNC_FLUSH)
        return frame(data[:-4], 0xC1)

    def reply(self) -> bytes:
        """Return the compressed message that was sent."""
        self.clock.advance(0)
        data = self.stream.take()
        self.assertEqual(data[0], 0xC1)
        return zlib.decompressobj(-12).decompress(data[2:] + b"\0\0\xff\xff")

    def test_inbound(self) -> None:
        """Compressed messages are read; no window stays behind."""
        self.negotiated(DEFLATE)
        self.protocol.dataReceived(self.compressed(CONNECT))
        self.assertIn(b'"connect"', self.reply())
        self.assertIsNone(self.protocol._perMessageCompress._decompressor)

    def test_sizes(self) -> None:
        """Ten times the limit may come out of a message; more is 1009."""
        self.negotiated(DEFLATE)
        room = b" " * (10 * 65536 - len(CONNECT))
        self.protocol.dataReceived(self.compressed(CONNECT + room))
        self.assertIn(b'"connect"', self.reply())
        self.protocol.dataReceived(self.compressed(b" " * (11 * 65536)))
        self.assertEqual(self.closing(), (1009, b""))
        self.protocol.dataReceived(frame(b"\x03\xf1", 0x88))
        self.assertTrue(self.stream.disconnecting)
        self.assertFalse(self.stream.aborted)

    def test_uncompressed_size(self) -> None:
        """Uncompressed messages have the usual limit on such a connection, too."""
        self.negotiated(DEFLATE)
        self.protocol.dataReceived(frame(b" " * 65537))
        self.assertEqual(self.closing(), (1009, b""))

    def test_garbage(self) -> None:
        """Malformed compressed data ends in 1007, and the answer is still read."""
        self.negotiated(DEFLATE)
        self.protocol.dataReceived(frame(b"\xff" * 50, 0xC1))
        self.assertEqual(self.closing()[0], 1007)
        self.protocol.dataReceived(frame(b"\x03\xef", 0x88))
        self.assertTrue(self.stream.disconnecting)
        self.assertFalse(self.stream.aborted)


class CompressionLevelTests(WebSocketTestCase):
    """A level that zlib does not have is the quickest."""

    options = WebSocketOptions(compression=True, compression_level=20)

    def test_level(self) -> None:
        """Frames are compressed as by level 1."""
        self.open(Sec_WebSocket_Extensions=DEFLATE)
        wire = self.protocol.client.transport.wire
        self.factory.options = WebSocketOptions(compression=True, compression_level=1)
        self.open(Sec_WebSocket_Extensions=DEFLATE)
        self.assertIs(wire, self.protocol.client.transport.wire)


class NoCompressionTests(WebSocketTestCase):
    """By default nothing is compressed."""

    def test_declined(self) -> None:
        """All offers are declined."""
        for offer in (DEFLATE, f"{DEFLATE}; x=1"):
            answer = self.open(Sec_WebSocket_Extensions=offer)
            self.assertNotIn("Extensions", answer)

"""Clients that only listen, over WebSocket: their one request, pushes, the end."""

import json
import zlib
from typing import Any
from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from centrifugo_tx.errors import ReplyError
from centrifugo_tx.interfaces import ITransport
from centrifugo_tx.metrics import Counter
from centrifugo_tx.options import Admission, NodeOptions, SubscribeOptions
from centrifugo_tx.protocol.codes import (
    CONNECTION_CLOSED,
    FORCE_DISCONNECT,
    TOKEN_EXPIRED,
)
from centrifugo_tx.transports.connection_limit import ConnectionLimiter
from centrifugo_tx.transports.origin import OriginRule
from centrifugo_tx.transports.settings import TransportSettings
from centrifugo_tx.transports.uni_websocket import (
    UniWebSocketFactory,
    UniWebSocketOptions,
)

from ..integration.websocket import frame
from ..support import World, unframed
from .websocket_stream import Stream, handshake

PUSH = b'{"disconnect":{"code":3503,"reason":"force disconnect"}}'
CLOSE = b"\x88\x12\x0d\xafforce disconnect"
NEWS = {"news": SubscribeOptions()}


class UniWebSocketTestCase(SynchronousTestCase):
    """Has a node and a factory."""

    options = UniWebSocketOptions()
    limit = 0

    def setUp(self) -> None:
        self.world = World(NodeOptions(ping_interval=25, pong_timeout=8))
        self.world.policy.admission = Admission(user="u", subs=NEWS)
        self.clock = self.world.clock
        node = self.world.node
        count = lambda: len(node.connections.open)  # noqa: E731
        settings = TransportSettings(
            node,
            ConnectionLimiter(self.clock, count, Counter(), self.limit),
            OriginRule(["http://good.example"]),
            queue_max_size=1000,
            kept_headers=frozenset({"x-user"}),
        )
        self.factory = UniWebSocketFactory(settings, self.options)

    def open(self, request: str = "", **headers: str) -> str:
        """Shake hands, with a connect request in the URL; return the answer."""
        self.stream = Stream()
        self.protocol = self.factory.buildProtocol(None)
        self.protocol.makeConnection(self.stream)
        path = f"/?cf_connect={quote(request)}" if request else "/"
        self.protocol.dataReceived(handshake(path, **headers))
        head, _, rest = self.stream.take().partition(b"\r\n\r\n")
        self.stream.write(rest)
        return head.decode()

    def status(self, request: str = "", **headers: str) -> int:
        """Return the status of a handshake."""
        return int(self.open(request, **headers).split(" ")[1])

    def send_message(self, message: bytes) -> None:
        """Send a message."""
        self.protocol.dataReceived(frame(message))

    def drained(self) -> bytes:
        """Return the bytes that came since the last look."""
        self.clock.advance(0)
        return self.stream.take()

    def messages(self) -> list[bytes]:
        """Return the messages that came since the last look."""
        return unframed(self.drained())

    def pushes(self) -> list[Any]:
        """Return the pushes that came since the last look."""
        return [json.loads(message) for message in self.messages()]


class HandshakeTests(UniWebSocketTestCase):
    """Which requests are accepted, and where the connect request stands."""

    limit = 2

    def test_in_url(self) -> None:
        """A connect request in the URL is answered without a message."""
        self.assertEqual(self.status('{"token":"t","name":"ä"}'), 101)
        ((call, request),) = self.world.policy.calls
        self.assertEqual((call, request.token, request.name), ("connect", "t", "ä"))
        (push,) = self.pushes()
        self.assertEqual(push["connect"]["subs"], {"news": {}})

    def test_first_message(self) -> None:
        """Otherwise the first message is the connect request."""
        self.assertEqual(self.status(), 101)
        self.assertEqual(self.pushes(), [])
        self.send_message(b'{"name":"x"}')
        self.assertIn("connect", self.pushes()[0])

    def test_null(self) -> None:
        """``null`` is an empty request."""
        self.open("null")
        self.assertIn("connect", self.pushes()[0])
        self.open()
        self.send_message(b"null")
        self.assertIn("connect", self.pushes()[0])

    def test_malformed_url(self) -> None:
        """A URL with anything else is refused with 400, in words."""
        self.assertEqual(self.status("{"), 400)
        self.assertEqual(self.drained(), b"invalid connect request\n")

    def test_malformed_message(self) -> None:
        """A first message that is something else is answered by a close frame."""
        for message in (b"{", b"[]", b'{"token":1}', b""):
            self.open()
            self.send_message(message)
            self.assertEqual(self.drained(), b"\x88\x0d\x0d\xadbad request", message)
            self.stream.lose(self.protocol)

    def test_silent(self) -> None:
        """A client that sends nothing is stale."""
        self.open()
        self.clock.advance(11)
        push, close = self.messages()
        self.assertEqual(
            json.loads(push), {"disconnect": {"code": 3502, "reason": "stale"}}
        )
        self.assertEqual(close, b"\x0d\xaestale")

    def test_later_messages(self) -> None:
        """Messages after the request are read and ignored."""
        self.open("{}")
        self.pushes()
        for message in (b"{}", b"{", b'{"token":"t"}'):
            self.send_message(message)
        self.assertEqual((self.drained(), len(self.world.policy.calls)), (b"", 1))

    def test_origin(self) -> None:
        """Pages of other origins get 403."""
        self.assertEqual(self.status(Origin="http://good.example"), 101)
        self.assertEqual(self.status(Origin="http://bad.example"), 403)

    def test_full(self) -> None:
        """Over the connection limit it is 503."""
        self.assertEqual([self.status() for _ in range(3)], [101, 101, 503])

    def test_subprotocol(self) -> None:
        """No subprotocol is chosen: there is only JSON."""
        answer = self.open(Sec_WebSocket_Protocol="centrifuge-protobuf")
        self.assertNotIn("Protocol:", answer)

    def test_transport(self) -> None:
        """The client's transport is one; it knows the headers that are kept."""
        self.open(X_User="42", X_Other="1")
        transport = self.protocol.client.transport
        verifyObject(ITransport, transport)
        info = transport.info
        self.assertEqual(info.headers, {"x-user": ("42",)})
        self.assertEqual((info.name, info.unidirectional), ("uni_websocket", True))

    def test_large_message(self) -> None:
        """A message over the limit is answered with 1009."""
        self.open()
        self.send_message(b" " * 65537)
        self.assertEqual(self.drained(), b"\x88\x02\x03\xf1")


class PushTests(UniWebSocketTestCase):
    """Messages that a connected client receives."""

    def setUp(self) -> None:
        super().setUp()
        self.open("{}")
        self.pushes()

    def test_publications(self) -> None:
        """Each push is a message of its own, without an envelope."""
        self.world.publish("news", 1)
        self.world.publish("news", 2)
        pushes = [{"channel": "news", "pub": {"data": n}} for n in (1, 2)]
        self.assertEqual(self.pushes(), pushes)

    def test_pings(self) -> None:
        """Pings come as empty pushes and as WebSocket frames; the latter count."""
        for _ in range(3):
            self.clock.pump([0.1] * 250)
            data = self.stream.take()
            self.assertEqual(data.count(b"\x81\x02{}"), 1)
            self.assertEqual(data.count(b"\x89\x00"), 1)
            self.protocol.dataReceived(frame(b"", 0x8A))
        self.assertFalse(self.stream.aborted)

    def test_no_pong(self) -> None:
        """A peer that answers no ping frame is dropped, without a word."""
        self.clock.pump([0.1] * 250)
        self.stream.take()
        self.clock.pump([0.1] * 82)
        self.assertTrue(self.stream.aborted)
        self.assertNotIn(b"disconnect", self.stream.take())


class CloseTests(UniWebSocketTestCase):
    """The end of a connection."""

    def close(self) -> bytes:
        """Let the server end a connection; return the bytes that say so."""
        self.open("{}")
        self.pushes()
        self.world.publish("news", 1)
        self.protocol.client.close(FORCE_DISCONNECT)
        data = self.drained()
        news = b'\x81\x23{"channel":"news","pub":{"data":1}}'
        self.assertTrue(data.startswith(news), data)
        return data.removeprefix(news)

    def test_both(self) -> None:
        """A push and a close frame say why; the answer ends the connection."""
        self.assertEqual(self.close(), b"\x81\x38" + PUSH + CLOSE)
        self.assertFalse(self.stream.aborted)
        self.protocol.dataReceived(frame(b"\x0d\xaf", 0x88))
        self.assertTrue(self.stream.disconnecting)
        self.assertFalse(self.stream.aborted)

    def test_refused(self) -> None:
        """An error of connect becomes a disconnect."""
        self.world.policy.admission = ReplyError(TOKEN_EXPIRED)
        self.open("{}")
        push, close = self.messages()
        reason = {"code": 3005, "reason": "connection expired"}
        self.assertEqual(json.loads(push), {"disconnect": reason})
        self.assertEqual(close, b"\x0b\xbdconnection expired")

    def test_silent(self) -> None:
        """3000 ends the connection without a word."""
        self.open("{}")
        self.pushes()
        self.protocol.client.close(CONNECTION_CLOSED)
        self.assertEqual((self.drained(), self.stream.aborted), (b"", True))

    def test_lost(self) -> None:
        """When the connection closes, the client leaves the node, and pings stop."""
        self.open("{}")
        self.pushes()
        self.stream.lose(self.protocol)
        self.assertEqual(len(self.world.node.connections.open), 0)
        self.clock.pump([0.1] * 500)
        self.assertEqual(self.stream.take(), b"")

    def test_slow(self) -> None:
        """A peer for which too much waits gets none of that, and no push."""
        self.open("{}")
        self.pushes()
        self.protocol.client.transport.pauseProducing()
        self.world.publish("news", "x" * 1000)
        self.assertEqual(self.drained(), b"\x88\x06\x0b\xc0slow")


class WithoutPushTests(CloseTests):
    """The push is switched off."""

    options = UniWebSocketOptions(disable_disconnect_push=True)

    def test_both(self) -> None:
        """Only a close frame says why."""
        self.assertEqual(self.close(), CLOSE)

    def test_refused(self) -> None:
        """So it is after a failed connect."""
        self.world.policy.admission = ReplyError(TOKEN_EXPIRED)
        self.open("{}")
        self.assertEqual(self.messages(), [b"\x0b\xbdconnection expired"])


class WithoutCloseFrameTests(UniWebSocketTestCase):
    """The close frame is switched off."""

    options = UniWebSocketOptions(disable_closing_handshake=True)

    def test_end(self) -> None:
        """The push says why, and the connection is closed at once, but whole."""
        self.open("{}")
        self.pushes()
        self.protocol.client.close(FORCE_DISCONNECT)
        self.assertEqual(self.drained(), b"\x81\x38" + PUSH)
        self.assertTrue(self.stream.disconnecting)
        self.assertFalse(self.stream.aborted)
        self.stream.lose(self.protocol)
        self.assertEqual(len(self.world.node.connections.open), 0)

    def test_malformed(self) -> None:
        """After a bad first message the connection is closed without a word."""
        self.open()
        self.send_message(b"{")
        self.assertEqual((self.drained(), self.stream.disconnecting), (b"", True))


class JoiningTests(UniWebSocketTestCase):
    """Pushes of one turn share a message."""

    options = UniWebSocketOptions(join_push_messages=True, compression=True)

    def test_joined(self) -> None:
        """Pushes are separate lines; the last one has no newline."""
        self.open("{}")
        self.world.publish("news", 1)
        self.world.publish("news", 2)
        (message,) = self.messages()
        connect, *pushes = message.split(b"\n")
        self.assertIn("connect", json.loads(connect))
        pub = b'{"channel":"news","pub":{"data":%d}}'
        self.assertEqual(pushes, [pub % 1, pub % 2])

    def test_alone(self) -> None:
        """A single push has its usual form."""
        self.open("{}")
        self.messages()
        self.world.publish("news", 1)
        self.assertEqual(self.messages(), [b'{"channel":"news","pub":{"data":1}}'])

    def test_end(self) -> None:
        """The disconnect push joins the queue, before the close frame."""
        self.open("{}")
        self.messages()
        self.world.publish("news", 1)
        self.protocol.client.close(FORCE_DISCONNECT)
        message, close = self.messages()
        news = b'{"channel":"news","pub":{"data":1}}'
        self.assertEqual(message, news + b"\n" + PUSH)
        self.assertEqual(close, b"\x0d\xafforce disconnect")

    def test_compressed(self) -> None:
        """Joined messages are compressed as one."""
        self.open("{}", Sec_WebSocket_Extensions="permessage-deflate")
        self.messages()
        for _ in range(2):
            self.world.publish("news", "x" * 100)
        data = self.drained()
        self.assertEqual(data[0], 0xC1)
        inflate = zlib.decompressobj(-15)
        text = inflate.decompress(data[2:] + b"\x00\x00\xff\xff")
        self.assertEqual(text.count(b"\n"), 1)
        self.assertEqual(text.count(b'"pub"'), 2)

    def test_slow(self) -> None:
        """The bound of the queue applies here, too."""
        self.open("{}")
        self.messages()
        self.protocol.client.transport.pauseProducing()
        self.world.publish("news", "x" * 1000)
        self.assertEqual(self.drained(), b"\x88\x06\x0b\xc0slow")


class CompressionTests(UniWebSocketTestCase):
    """permessage-deflate, as bidirectional clients have it."""

    options = UniWebSocketOptions(compression=True)

    def test_shared(self) -> None:
        """Clients that negotiated the same compression share frames."""
        wires = []
        for offer in ("permessage-deflate", "permessage-deflate", "x"):
            self.open("{}", Sec_WebSocket_Extensions=offer)
            wires.append(self.protocol.client.transport.wire)
        self.assertIs(wires[0], wires[1])
        self.assertIsNot(wires[0], wires[2])

    def test_compressed(self) -> None:
        """Pushes are compressed when that makes them shorter."""
        self.open("{}", Sec_WebSocket_Extensions="permessage-deflate")
        self.messages()
        self.world.publish("news", "x" * 100)
        data = self.drained()
        self.assertEqual(data[0], 0xC1)
        inflate = zlib.decompressobj(-15)
        text = inflate.decompress(data[2:] + b"\x00\x00\xff\xff")
        self.assertEqual(json.loads(text)["channel"], "news")

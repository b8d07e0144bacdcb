"""Streams over HTTP/2: many on one connection, each with a window of its own."""

from typing import Any
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.core import Client
from centrifugo_tx.metrics import Counter
from centrifugo_tx.options import NodeOptions, TransportInfo
from centrifugo_tx.protocol.codes import CONNECTION_CLOSED, FORCE_DISCONNECT
from centrifugo_tx.protocol.wire import http_stream_json
from centrifugo_tx.transports.connection_limit import ConnectionLimiter
from centrifugo_tx.transports.origin import OriginRule
from centrifugo_tx.transports.response_stream import StreamFactory
from centrifugo_tx.transports.settings import TransportSettings
from centrifugo_tx.web.site import Endpoints, HTTPSite

from ..support import World
from .websocket_stream import Stream

INFO = TransportInfo(name="http_stream", emulated=True)
#: Bytes of a stream's window at first (RFC 9113, 6.9.2).
WINDOW = 65535


class HTTP2TestCase(SynchronousTestCase):
    """A client and a server of HTTP/2, and a stream for every request."""

    def setUp(self) -> None:
        try:
            from h2.connection import H2Connection as Peer

            from centrifugo_tx.web.http2 import HTTP2Factory
        except ImportError:
            raise SkipTest("h2 is not installed") from None
        options = NodeOptions(ping_interval=-1, stale_close_delay=1000)
        self.world = World(options)
        self.clock, node = self.world.clock, self.world.node
        limiter = ConnectionLimiter(self.clock, lambda: 0, Counter())
        self.streams = StreamFactory(
            TransportSettings(node, limiter, OriginRule(), queue_max_size=1000)
        )
        self.clients: list[Client] = []
        site = HTTPSite(self.clock, Endpoints(streams={b"/": self.opened}))
        self.server: Any = HTTP2Factory(site).buildProtocol(None)
        self.network = Stream()
        self.server.makeConnection(self.network)
        self.peer = Peer()
        self.peer.initiate_connection()
        self.settle()

    def opened(self, request: Any) -> None:
        info = self.streams.info(request, INFO)
        client = self.streams.open(request, http_stream_json(), info, (), b"hi\n")
        self.clients.append(client)

    def settle(self) -> list[Any]:
        """Let both ends talk until they have nothing more to say."""
        events = []
        for _ in range(20):
            self.server.dataReceived(self.peer.data_to_send())
            self.clock.advance(0)
            events += self.peer.receive_data(self.network.take())
        return events

    def ask(self, id: int) -> list[Any]:
        """Begin a stream; return what happens then."""
        names = {":method": "POST", ":path": "/", ":scheme": "https", ":authority": "a"}
        self.peer.send_headers(id, list(names.items()), end_stream=True)
        return self.settle()

    def named(self, name: str) -> list[Any]:
        """Return the events of this kind that happen by now."""
        return [each for each in self.settle() if type(each).__name__ == name]

    def data(self) -> list[bytes]:
        """Return the frames of data that have come."""
        return [each.data for each in self.named("DataReceived")]


class StreamTests(HTTP2TestCase):
    """One stream."""

    def setUp(self) -> None:
        super().setUp()
        self.events = self.ask(1)
        (self.client,) = self.clients

    def write(self, frame: bytes) -> None:
        self.client.transport.write(frame)

    def test_head(self) -> None:
        """Headers that belong to HTTP/1 are left out, the others are there."""
        kinds = {type(each).__name__: each for each in self.events}
        head, body = kinds["ResponseReceived"], kinds["DataReceived"]
        headers = dict(head.headers)
        self.assertEqual(headers[b":status"], b"200")
        self.assertEqual(headers[b"x-accel-buffering"], b"no")
        self.assertEqual(set(headers) & {b"connection", b"transfer-encoding"}, set())
        self.assertEqual(body.data, b"hi\n")

    def test_info(self) -> None:
        """The HTTP version is not a label, as in the reference."""
        self.client.receive(b'{"id":1,"connect":{}}')
        labels = [
            dict(labels)
            for name, labels, _ in self.world.node.metrics.counters()
            if name == "client_connections_accepted"
        ]
        self.assertEqual([each["accept_protocol"] for each in labels], [""])

    def test_one_frame(self) -> None:
        """Frames of one turn make one frame of data."""
        self.write(b"one\n")
        self.write(b"two\n")
        self.assertEqual(self.data(), [b"one\ntwo\n"])

    def test_close(self) -> None:
        """The body ends with the reason, and the connection continues."""
        self.client.close(FORCE_DISCONNECT)
        events = self.settle()
        self.assertIn(b'"code":3503', b"".join(getattr(e, "data", b"") for e in events))
        self.assertIn("StreamEnded", [type(each).__name__ for each in events])
        self.assertNotIn(self.client, self.world.node.connections.open)
        self.assertFalse(self.network.disconnecting)
        self.ask(3)
        self.assertEqual(len(self.clients), 2)

    def test_unheard(self) -> None:
        """A stream is reset without a word, and without the others."""
        self.ask(3)
        self.client.close(CONNECTION_CLOSED)
        (reset,) = self.named("StreamReset")
        self.assertEqual(reset.stream_id, 1)
        self.assertNotIn(self.client, self.world.node.connections.open)
        self.clients[1].transport.write(b"one\n")
        self.assertEqual(self.data(), [b"one\n"])

    def test_reset_by_peer(self) -> None:
        """A peer that resets its stream takes its client with it."""
        self.peer.reset_stream(1)
        self.settle()
        self.assertTrue(self.client.closed)
        self.assertNotIn(self.client, self.world.node.connections.open)
        self.write(b"late\n")
        self.assertEqual(self.data(), [])

    def test_gone(self) -> None:
        """A connection that goes takes the clients of all its streams with it."""
        self.ask(3)
        self.network.lose(self.server)
        self.assertEqual([client.closed for client in self.clients], [True, True])
        self.assertEqual(list(self.world.node.connections.open), [])

    def test_timeout(self) -> None:
        """The connection's time-out runs only without a stream."""
        self.ask(3)
        self.clock.advance(100)
        self.settle()
        self.assertFalse(self.network.disconnecting)
        self.client.close(FORCE_DISCONNECT)
        self.settle()
        self.clock.advance(100)
        self.assertFalse(self.network.disconnecting)
        self.clients[1].close(FORCE_DISCONNECT)
        self.settle()
        self.clock.advance(29)
        self.assertFalse(self.network.disconnecting)
        self.clock.advance(2)
        self.assertTrue(self.network.disconnecting)


class SlowTests(HTTP2TestCase):
    """A peer that does not keep up."""

    def setUp(self) -> None:
        super().setUp()
        self.ask(1)
        (self.client,) = self.clients

    def write(self, frame: bytes) -> None:
        self.client.transport.write(frame)

    def fill(self) -> None:
        """Use the window up."""
        self.client.transport._stream.write(b"x" * WINDOW)
        self.clock.advance(0)

    def test_window(self) -> None:
        """Frames wait for the peer's window, and leave together."""
        self.fill()
        self.write(b"one\n")
        self.write(b"two\n")
        came = b"".join(self.data())
        self.assertEqual(came.count(b"x"), WINDOW - 3)
        self.assertNotIn(b"one", came)
        self.peer.increment_flow_control_window(100, stream_id=1)
        self.peer.increment_flow_control_window(100)
        self.assertTrue(b"".join(self.data()).endswith(b"one\ntwo\n"))

    def test_too_slow(self) -> None:
        """More than the limit resets the stream."""
        self.fill()
        self.settle()
        self.write(b"y" * 1000)
        self.assertFalse(self.client.closed)
        self.write(b"y")
        self.assertTrue(self.client.closed)
        self.assertEqual(len(self.named("StreamReset")), 1)

    def test_stuck(self) -> None:
        """So does a second in which nothing leaves."""
        self.fill()
        self.settle()
        self.clock.advance(1)  # the window was filled in this one
        self.assertFalse(self.client.closed)
        self.clock.advance(1)
        self.assertTrue(self.client.closed)

    def test_slowly(self) -> None:
        """A peer that takes some of it in time is not given up."""
        self.client.transport._stream.write(b"x" * (WINDOW + 50))
        self.settle()
        for _ in range(5):
            self.clock.advance(0.9)
            self.peer.increment_flow_control_window(10, stream_id=1)
            self.peer.increment_flow_control_window(10)
            self.settle()
        self.assertFalse(self.client.closed)

    def test_end(self) -> None:
        """An ended stream that is not read is reset after 15 s without progress."""
        self.fill()
        self.write(b"one\n")
        self.client.close(FORCE_DISCONNECT)
        self.settle()
        self.peer.increment_flow_control_window(1, stream_id=1)
        self.peer.increment_flow_control_window(1)
        self.settle()
        self.clock.advance(15)
        self.assertEqual(self.named("StreamReset"), [])
        self.clock.advance(15)
        self.assertEqual(len(self.named("StreamReset")), 1)
        self.assertEqual(self.server.streams, {})

    def test_large_window(self) -> None:
        """However large the window, little of the body waits in the connection."""
        self.peer.increment_flow_control_window(2**30, stream_id=1)
        self.peer.increment_flow_control_window(2**30)
        self.settle()
        self.client.transport.limit = 2**20
        for _ in range(6):
            self.write(b"x" * 50_000)
            self.client.transport.flush()
        waiting = sum(map(len, self.server._outboundStreamQueues[1]))
        self.assertLess(waiting, 150_000)
        self.assertTrue(self.client.transport.full)
        self.assertEqual(b"".join(self.data()).count(b"x"), 300_000)
        self.assertFalse(self.client.transport.full)

    def test_full_connection(self) -> None:
        """Frames wait also while the connection itself takes nothing."""
        self.server.pauseProducing()
        self.write(b"one\n")
        self.clock.advance(0)
        self.write(b"y" * 900)
        self.clock.advance(0)
        self.assertEqual(self.network.take(), b"")
        self.server.resumeProducing()
        self.assertEqual(b"".join(self.data()), b"one\n" + b"y" * 900)
        self.server.pauseProducing()
        self.write(b"one\n")
        self.clock.advance(0)
        self.write(b"y" * 1001)
        self.assertTrue(self.client.closed)

"""The protocol of a connection, by its first bytes."""

from typing import Any

from h2.connection import H2Connection as Peer
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.options import Answer
from centrifugo_tx.web.protocol_detection import HTTP2_PREFACE
from centrifugo_tx.web.site import Endpoints, ListenerSettings, port_factory

from ..transports.websocket_stream import Stream

HEAD = [(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "a")]


class PlainHTTP2Tests(SynchronousTestCase):
    """HTTP/2 without TLS, for clients that begin with it."""

    def setUp(self) -> None:
        self.clock = Clock()

    def connect(self, h2c: bool) -> tuple[Any, Stream]:
        """Return a new connection of a port, and its network."""
        endpoints = Endpoints(handlers={b"/": lambda request: Answer(200, b"hello")})
        settings = ListenerSettings(h2c=h2c, http2=True)
        factory = port_factory(self.clock, endpoints, settings)
        factory.doStart()
        self.addCleanup(factory.doStop)
        network = Stream()
        front: Any = factory.buildProtocol(None)
        network.protocol = front
        front.makeConnection(network)
        self.addCleanup(lambda: network.lose(network.protocol))
        return front, network

    def ask(self, pieces: int) -> bytes:
        """Send a request in pieces; return the data of the response."""
        front, network = self.connect(h2c=True)
        peer = Peer()
        peer.initiate_connection()
        sent = peer.data_to_send()
        for at in range(pieces):
            network.protocol.dataReceived(sent[at : at + 1])
        network.protocol.dataReceived(sent[pieces:])
        self.assertIsNot(network.protocol, front)
        peer.send_headers(1, HEAD, end_stream=True)
        found = b""
        for _ in range(10):
            network.protocol.dataReceived(peer.data_to_send())
            self.clock.advance(0)
            for event in peer.receive_data(network.take()):
                found += getattr(event, "data", b"")
        return found

    def test_served(self) -> None:
        """The preface leads to HTTP/2, however it comes in."""
        self.assertEqual(self.ask(0), b"hello")
        self.assertEqual(self.ask(len(HTTP2_PREFACE) - 1), b"hello")

    def test_http1(self) -> None:
        """Other requests are HTTP/1.1, also those that begin like the preface."""
        for method, status in ((b"GET", b"200"), (b"PROPFIND", b"200")):
            _, network = self.connect(h2c=True)
            head = method + b" / HTTP/1.1\r\nHost: a\r\n\r\n"
            for at in range(len(head)):
                network.protocol.dataReceived(head[at : at + 1])
            self.clock.advance(0)
            self.assertTrue(network.take().startswith(b"HTTP/1.1 " + status), method)

    def test_not_offered(self) -> None:
        """Without the option the preface is a bad request."""
        _, network = self.connect(h2c=False)
        network.protocol.dataReceived(HTTP2_PREFACE)
        self.clock.advance(0)
        answer = network.take()
        self.assertFalse(answer.startswith(b"HTTP/1.1 200"), answer)
        self.assertIn(b"HTTP/1.1 ", answer)

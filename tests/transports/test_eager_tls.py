"""TLS that sends at once what a producer writes."""

import contextlib

from OpenSSL import SSL
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from centrifugo_tx.options import TLSOptions
from centrifugo_tx.tls import server_context
from centrifugo_tx.transports.eager_tls import EagerTLSFactory

from ..integration.certificates import Authority


@implementer(IPushProducer)
class Producer:
    """A producer that is never paused."""

    def pauseProducing(self) -> None:
        """Do nothing."""

    def resumeProducing(self) -> None:
        """Do nothing."""

    def stopProducing(self) -> None:
        """Do nothing."""


class EagerTLSTests(SynchronousTestCase):
    """When encrypted bytes leave."""

    def setUp(self) -> None:
        cert, key = Authority().issue("localhost")
        context = server_context(TLSOptions(cert_pem=cert, key_pem=key))
        self.clock = Clock()
        factory = EagerTLSFactory(
            context, False, Factory.forProtocol(Protocol), self.clock
        )
        server = factory.buildProtocol(None)
        assert server is not None
        self.server, self.below = server, StringTransport()
        self.client = SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)
        self.client.set_connect_state()
        self.server.makeConnection(self.below)
        for _ in range(3):
            with contextlib.suppress(SSL.WantReadError):
                self.client.do_handshake()
            self.exchange()

    def exchange(self) -> None:
        """Carry what both sides have sent."""
        with contextlib.suppress(SSL.WantReadError):
            self.server.dataReceived(self.client.bio_read(1 << 16))
        if sent := self.below.value():
            self.client.bio_write(sent)
            self.below.clear()

    def received(self) -> bytes:
        """Return what the client can read now."""
        self.exchange()
        try:
            return self.client.recv(1 << 16)
        except SSL.WantReadError:
            return b""

    def test_without_producer(self) -> None:
        """Small writes leave together in the next turn."""
        self.server.write(b"one ")
        self.server.write(b"two")
        self.assertEqual(self.received(), b"")
        self.clock.advance(0)
        self.assertEqual(self.received(), b"one two")

    def test_producer(self) -> None:
        """The writes of a push producer leave at once."""
        self.server.registerProducer(Producer(), True)
        self.server.write(b"one")
        self.assertEqual(self.received(), b"one")

    def test_order(self) -> None:
        """What was written before the producer came leaves before its writes."""
        self.server.write(b"one ")
        self.server.registerProducer(Producer(), True)
        self.server.write(b"two")
        self.assertEqual(self.received(), b"one ")
        self.assertEqual(self.received(), b"two")
        self.clock.advance(0)
        self.assertEqual(self.received(), b"")

    def test_closed(self) -> None:
        """Writes after the end are discarded."""
        self.server.registerProducer(Producer(), True)
        self.server.unregisterProducer()
        self.server.loseConnection()
        self.below.clear()
        self.server.write(b"late")
        self.assertEqual(self.below.value(), b"")

"""Commands of one turn on a real socket."""

import socket

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.tcp import Connection
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.engines.redis.connection import CommandProtocol
from centrifugo_tx.errors import BrokerUnavailable


class UnixConnection(Connection):
    """A connection without the options of TCP."""

    setTcpNoDelay = setTcpKeepAlive = lambda self, enabled: None


class GatheringTests(SynchronousTestCase):
    """When commands reach the socket."""

    def setUp(self) -> None:
        ours, self.server = socket.socketpair()
        for each in ours, self.server:
            each.setblocking(False)
            self.addCleanup(each.close)
        self.reactor = MemoryReactorClock()
        self.protocol = CommandProtocol(
            self.reactor, "Redis", 4.0, lambda protocol, reason: None
        )
        self.transport = UnixConnection(ours, self.protocol, self.reactor)
        self.transport.connected = True
        self.protocol.makeConnection(self.transport)

    def received(self) -> bytes:
        """Return the bytes that the server can read now."""
        try:
            return self.server.recv(1 << 20)
        except BlockingIOError:
            return b""

    def test_turn(self) -> None:
        """The first command leaves at once, further ones at the end of the turn."""
        for name in b"A", b"B", b"C":
            self.protocol.send(name)
        self.assertEqual(self.received(), b"*1\r\n$1\r\nA\r\n")
        self.assertEqual(self.received(), b"")
        self.reactor.advance(0)
        self.assertEqual(self.received(), b"*1\r\n$1\r\nB\r\n*1\r\n$1\r\nC\r\n")
        self.assertEqual(self.reactor.getWriters(), [])
        self.protocol.send(b"D")
        self.assertEqual(self.received(), b"")
        self.protocol.dataReceived(b"+OK\r\n" * 3)
        self.reactor.advance(0)
        self.assertEqual(self.received(), b"*1\r\n$1\r\nD\r\n")
        self.protocol.dataReceived(b"+OK\r\n")
        self.protocol.send(b"E")
        self.assertEqual(self.received(), b"*1\r\n$1\r\nE\r\n")

    def test_full(self) -> None:
        """What the kernel does not take is queued, and stays in order."""
        texts = [b"%d" % number * 100_000 for number in range(20)]
        for text in texts:
            self.protocol.send(text)
            self.reactor.advance(0)
        self.assertEqual(self.reactor.getWriters(), [self.transport])
        data = b""
        while self.reactor.getWriters():
            data += self.received()
            self.transport.doWrite()
        data += self.received()
        expected = [b"*1\r\n$%d\r\n%b\r\n" % (len(text), text) for text in texts]
        self.assertEqual(data, b"".join(expected))

    def test_lost(self) -> None:
        """Commands that were not sent fail with the connection."""
        replies: list[Deferred[object]] = [self.protocol.send(b"A") for _ in range(2)]
        self.assertEqual(self.received(), b"*1\r\n$1\r\nA\r\n")
        self.protocol.connectionLost(Failure(ConnectionDone()))
        for reply in replies:
            self.failureResultOf(reply, BrokerUnavailable)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(self.received(), b"")

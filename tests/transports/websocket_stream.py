"""A WebSocket handshake, and the byte stream that a connection writes to."""

from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

__all__ = ["HANDSHAKE", "Stream", "handshake"]


def handshake(path: str = "/", **headers: str) -> bytes:
    """Return a request for a WebSocket, with more headers (``_`` for ``-``)."""
    lines = [
        f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()
    ]
    return (
        f"GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{''.join(lines)}\r\n"
    ).encode()


HANDSHAKE = handshake()


class Stream(StringTransport):
    """A connection whose other end takes everything at once."""

    protocol: Any
    aborted = False
    #: How many bytes the other end took late.
    drained = 0

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Accept it."""

    def unregisterProducer(self) -> None:
        """Forget the producer, if there is one, as real streams do."""
        self.producer = None

    def pauseProducing(self) -> None:
        """Note it; as real streams do, more than once if need be."""
        self.producerState = "paused"

    def resumeProducing(self) -> None:
        """Likewise."""
        self.producerState = "producing"

    def abortConnection(self) -> None:
        """Note it."""
        self.aborted = True

    def loseWriteConnection(self) -> None:
        """Note that this side has ended."""
        self.disconnecting = True

    def take(self) -> bytes:
        """Return the bytes written since the last call."""
        data: bytes = self.value()
        self.clear()
        return data

    def lose(self, protocol: Any) -> None:
        """Tell *protocol* that the connection is gone."""
        reason = ConnectionAborted() if self.aborted else ConnectionDone()
        protocol.connectionLost(Failure(reason))

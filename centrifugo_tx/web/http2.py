"""HTTP/2 over TLS (RFC 9113)."""

from typing import Any

from twisted.internet.protocol import ServerFactory
from twisted.web._http2 import H2Connection

__all__ = ["HTTP2Connection", "HTTP2Factory"]


class HTTP2Connection(H2Connection):  # type: ignore[misc]  # untyped
    """One HTTP/2 connection.

    Twisted's own looks for room in every turn of the reactor for as long as something
    waits for a window, which a peer need never open (RFC 9113, 5.2).
    """

    _sendingDeferred: Any

    def __init__(self, reactor: Any) -> None:
        self._blocked: set[int] = set()
        super().__init__(reactor)

    def connectionMade(self) -> None:
        """Begin; the transport tells when to pause."""
        super().connectionMade()
        self.transport.registerProducer(self, True)

    def timeoutConnection(self) -> None:
        """Send an idle client away."""
        self.transport.unregisterProducer()  # TLS would wait for it
        super().timeoutConnection()

    def connectionLost(self, reason: Any, _cancelTimeouts: bool = True) -> None:
        """Tell those who answer requests; leave no cycle behind.

        Twisted calls it, without cancelling, also when the peer has said goodbye.
        """
        self.transport.unregisterProducer()
        super().connectionLost(reason, _cancelTimeouts)
        if _cancelTimeouts:
            self.requestFactory = self.site = self.factory = self.callLater = None

    def remainingOutboundWindow(self, streamID: int) -> int:
        """Return the room that is left; without a window, rest until there is one."""
        remaining: int = super().remainingOutboundWindow(streamID)
        if remaining < 0 and self.conn.local_flow_control_window(streamID) <= 0:
            self._blocked.add(streamID)
            self.priority.block(streamID)
        return remaining

    def dataReceived(self, data: bytes) -> None:
        """Take what comes, and go on with what has got room by it."""
        super().dataReceived(data)
        if self._blocked and self._stillProducing:
            self._wake()

    def _wake(self) -> None:
        self._blocked &= self.streams.keys()
        window = self.conn.local_flow_control_window
        free = {each for each in self._blocked if window(each) > 0}
        if not free:
            return
        self._blocked -= free
        for each in free:
            self.priority.unblock(each)
        sending, self._sendingDeferred = self._sendingDeferred, None
        if sending is not None:
            sending.callback(None)


class HTTP2Factory(ServerFactory):
    """Makes connections whose requests a *site* answers."""

    noisy = False

    def __init__(self, site: Any) -> None:
        self._site = site

    def buildProtocol(self, address: Any) -> HTTP2Connection:
        """Return the protocol of a connection."""
        site = self._site
        connection = HTTP2Connection(site.reactor)
        connection.requestFactory = site.requestFactory
        connection.site = connection.factory = site
        connection.timeOut = site.timeOut
        connection.callLater = site.reactor.callLater
        return connection

"""HTTP/2 connections that rest while their peer gives them no window."""

from typing import Any

from twisted.web._http2 import H2Connection

__all__ = ["HTTP2Connection"]


class HTTP2Connection(H2Connection):  # type: ignore[misc]  # untyped
    """One HTTP/2 connection.

    Twisted's own looks for room in every turn of the reactor for as long as something
    waits for a window, which a peer need never open (RFC 9113, 5.2).
    """

    _sendingDeferred: Any

    def __init__(self, reactor: Any) -> None:
        self._blocked: set[int] = set()
        super().__init__(reactor)

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

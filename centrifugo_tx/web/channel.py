"""HTTP/1.1 connections that can become WebSockets, and refuse large bodies early."""

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.protocol import Factory
from twisted.web.http import HTTPChannel

from ..transports.handover import take_over

__all__ = ["Channel"]

#: Seconds in which a refused body may still arrive and is ignored.
LINGER = 2


class Channel(HTTPChannel):  # type: ignore[misc]  # untyped
    """One HTTP/1.1 connection.

    Its site has ``sockets``, WebSocket factories by path, and ``body_limit``, a
    function from a path to the bytes its body may have.
    """

    transport: Any
    _networkProducer: Any

    def resetTimeout(self) -> None:
        """Do nothing, so that the site's timeout bounds a whole request."""

    def allHeadersReceived(self) -> None:
        """Look for an upgrade and for a body that is too large."""
        request = self.requests[-1]
        path = self._path.partition(b"?")[0]
        if self._command == b"GET":
            upgrade = request.requestHeaders.getRawHeaders(b"upgrade")
            if upgrade and b"websocket" in upgrade[0].lower():
                sockets: Mapping[bytes, Factory] = self.site.sockets
                factory = sockets.get(path)
                if factory is not None:
                    take_over(self, request, factory)
                    return
        limit: Callable[[bytes], int] = self.site.body_limit
        if self.length is not None and self.length > limit(path):
            self.refuse()
            return
        super().allHeadersReceived()

    def refuse(self) -> None:
        """Answer 413, and ignore for a moment what still comes.

        Closing at once would send a reset, which can destroy the answer.
        """
        self.transport.write(
            b"HTTP/1.1 413 Content Too Large\r\n"
            b"Connection: close\r\nContent-Length: 0\r\n\r\n"
        )
        self.length = None
        self.rawDataReceived = self.dataReceived = _ignore
        self.setTimeout(LINGER)


def _ignore(data: bytes) -> None:
    """Drop what a refused client sends."""

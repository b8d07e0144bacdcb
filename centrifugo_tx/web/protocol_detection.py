"""Detection of the protocol of a connection by its first request head."""

from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IProtocolNegotiationFactory, IReactorTime
from twisted.internet.protocol import Factory, Protocol, ServerFactory
from twisted.internet.task import LoopingCall
from zope.interface import implementer

from ..transports.protocol_switch import switch_protocol
from .accept_limit import AcceptLimiter

__all__ = ["PortFactory", "ProtocolDetector", "websocket_path"]

#: Bytes of the largest request head that is examined here.
HEAD_LIMIT = 16384
#: The first bytes of HTTP/2 (RFC 9113, 3.4).
HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#: Seconds for the first head of a connection, including the TLS handshake.
HEAD_SECONDS = 10.0


def websocket_path(head: bytes) -> bytes | None:
    """Return the path of a request head that asks for a WebSocket, else None."""
    lower = head.lower()
    at = lower.find(b"\r\nupgrade:")
    if at < 0 or b"websocket" not in lower[at + 10 : lower.find(b"\r\n", at + 10)]:
        return None
    return head[4 : head.find(b" ", 4)].partition(b"?")[0]


class ProtocolDetector(Protocol):
    """Reads until the protocol is known, then switches to it; never writes.

    Anything but a whole head of a WebSocket request on a known path goes to HTTP, even
    if it is malformed: Autobahn and Twisted Web validate requests.
    """

    factory: "PortFactory"
    transport: Any
    _data = b""

    def connectionMade(self) -> None:
        """Start the timeout of the first head."""
        self.factory.waiting[self] = self.factory.clock.seconds()

    def connectionLost(self, reason: Any = None) -> None:
        """Stop the timeout."""
        self.factory.waiting.pop(self, None)

    def dataReceived(self, data: bytes) -> None:
        """Switch the protocol as soon as the head is complete."""
        if self._data:
            data = self._data + data
        head_end = -1
        if data.startswith(b"GET "):
            head_end = data.find(b"\r\n\r\n", max(0, len(self._data) - 3))
            if head_end < 0 and len(data) <= HEAD_LIMIT:
                self._data = data
                return
        elif any(
            len(data) < len(start) and start.startswith(data)
            for start in self.factory.beginnings
        ):
            self._data = data
            return
        self._data = b""
        del self.factory.waiting[self]
        if self.factory.h2c and data.startswith(HTTP2_PREFACE):
            factory: Factory = self.factory.http2
        else:
            path = websocket_path(data[: head_end + 2]) if head_end >= 0 else None
            factory = self.factory.factory_for(path, self.transport)
        protocol = factory.buildProtocol(self.transport.getPeer())
        switch_protocol(self.transport, protocol, data)


@implementer(IProtocolNegotiationFactory)
@define(eq=False, slots=False, kw_only=True)
class PortFactory(ServerFactory):
    """The factories of one port.

    ``http`` serves HTTP/1.1; ``http2``, if set, HTTP/2 over TLS or, with ``h2c``,
    without TLS to clients that know of it (RFC 9113, 3.3).  ``sockets`` are the
    WebSocket factories by path; ``accept_limiter`` pauses accepting.
    """

    protocol: Any = ProtocolDetector
    noisy = False

    clock: IReactorTime
    http: Factory
    sockets: dict[bytes, Factory]
    http2: Any = None
    h2c: bool = False
    accept_limiter: AcceptLimiter | None = None
    waiting: dict[ProtocolDetector, float] = field(factory=dict, init=False)
    #: The first bytes that decide on the protocol.
    beginnings: tuple[bytes, ...] = field(init=False)
    _loop: LoopingCall = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.beginnings = (b"GET ", HTTP2_PREFACE) if self.h2c else (b"GET ",)
        self._loop = LoopingCall(self._check_every_second)
        self._loop.clock = self.clock

    def factory_for(self, path: bytes | None, transport: Any) -> Factory:
        """Return the factory that serves this connection."""
        sockets = self.sockets.get(path) if path is not None else None
        if sockets is not None:
            return sockets
        if self.http2 is not None and _protocol_of(transport) == b"h2":
            factory: Factory = self.http2
            return factory
        return self.http

    def acceptableProtocols(self) -> list[bytes]:
        """Return the protocols to negotiate by ALPN (RFC 7301)."""
        return [b"h2", b"http/1.1"] if self.http2 is not None else [b"http/1.1"]

    def _inner_factories(self) -> "dict[Any, None]":
        inner = [self.http, *self.sockets.values()]
        return dict.fromkeys(inner if self.http2 is None else [*inner, self.http2])

    def startFactory(self) -> None:
        """Start the inner factories, and a check every second."""
        for factory in self._inner_factories():
            factory.doStart()
        self._loop.start(1, now=False)

    def stopFactory(self) -> None:
        """Stop the inner factories and the check."""
        self._loop.stop()
        for factory in self._inner_factories():
            factory.doStop()

    def _check_every_second(self) -> None:
        if self.accept_limiter is not None:
            self.accept_limiter.resume_if_possible()
        self.expire()

    def expire(self) -> None:
        """Abort connections that have not sent a head in time."""
        limit = self.clock.seconds() - HEAD_SECONDS
        for front, since in list(self.waiting.items()):
            if since > limit:
                break
            front.transport.abortConnection()


def _protocol_of(transport: Any) -> bytes | None:
    return getattr(transport, "negotiatedProtocol", None)

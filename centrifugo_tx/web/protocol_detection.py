"""The first to read a connection: one request head, then it steps aside."""

from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IProtocolNegotiationFactory, IReactorTime
from twisted.internet.protocol import Factory, Protocol, ServerFactory
from twisted.internet.task import LoopingCall
from zope.interface import implementer

from ..transports.protocol_switch import switch_protocol
from .accept_limit import AcceptLimiter

__all__ = ["PortFactory", "ProtocolDetector", "websocket_path"]

#: Bytes of the largest request head that is looked at here.
HEAD_LIMIT = 16384
#: Seconds that a connection has for its first head, TLS included.
HEAD_SECONDS = 10.0


def websocket_path(head: bytes) -> bytes | None:
    """Return the path if this whole request head asks for a WebSocket, else None."""
    lower = head.lower()
    at = lower.find(b"\r\nupgrade:")
    if at < 0 or b"websocket" not in lower[at + 10 : lower.find(b"\r\n", at + 10)]:
        return None
    return head[4 : head.find(b" ", 4)].partition(b"?")[0]


class ProtocolDetector(Protocol):
    """Reads until it knows who should read; never writes.

    What is not a whole head of a WebSocket request on a known path is HTTP's, also
    if it is malformed: all judgment is left to Autobahn and Twisted Web.
    """

    factory: "PortFactory"
    transport: Any
    _data = b""

    def connectionMade(self) -> None:
        """Begin to count the time."""
        self.factory.waiting[self] = self.factory.clock.seconds()

    def connectionLost(self, reason: Any = None) -> None:
        """Stop counting."""
        self.factory.waiting.pop(self, None)

    def dataReceived(self, data: bytes) -> None:
        """Hand over as soon as the head is whole."""
        if self._data:
            data = self._data + data
        head_end = -1
        if data.startswith(b"GET "):
            head_end = data.find(b"\r\n\r\n", max(0, len(self._data) - 3))
            if head_end < 0 and len(data) <= HEAD_LIMIT:
                self._data = data
                return
        elif len(data) < 4 and b"GET ".startswith(data):
            self._data = data
            return
        self._data = b""
        del self.factory.waiting[self]
        path = websocket_path(data[: head_end + 2]) if head_end >= 0 else None
        factory = self.factory.factory_for(path, self.transport)
        protocol = factory.buildProtocol(self.transport.getPeer())
        switch_protocol(self.transport, protocol, data)


@implementer(IProtocolNegotiationFactory)
@define(eq=False, slots=False, kw_only=True)
class PortFactory(ServerFactory):
    """All that one port serves.

    ``http`` speaks HTTP/1.1, ``http2`` (if any) HTTP/2 over TLS, ``sockets`` are
    the WebSocket factories by path, ``accept_limiter`` watches the open files.
    """

    protocol: Any = ProtocolDetector
    noisy = False

    clock: IReactorTime
    http: Factory
    sockets: dict[bytes, Factory]
    http2: Any = None
    accept_limiter: AcceptLimiter | None = None
    waiting: dict[ProtocolDetector, float] = field(factory=dict, init=False)
    _loop: LoopingCall = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._loop = LoopingCall(self._check_every_second)
        self._loop.clock = self.clock

    def factory_for(self, path: bytes | None, transport: Any) -> Factory:
        """Return whose connection this is."""
        sockets = self.sockets.get(path) if path is not None else None
        if sockets is not None:
            return sockets
        if self.http2 is not None and _protocol_of(transport) == b"h2":
            factory: Factory = self.http2
            return factory
        return self.http

    def acceptableProtocols(self) -> list[bytes]:
        """Return what may be negotiated by ALPN (RFC 7301)."""
        return [b"h2", b"http/1.1"] if self.http2 is not None else [b"http/1.1"]

    def _inner_factories(self) -> "dict[Any, None]":
        inner = [self.http, *self.sockets.values()]
        return dict.fromkeys(inner if self.http2 is None else [*inner, self.http2])

    def startFactory(self) -> None:
        """Start what is behind; once a second look for slow heads, and for room."""
        for factory in self._inner_factories():
            factory.doStart()
        self._loop.start(1, now=False)

    def stopFactory(self) -> None:
        """Stop what is behind."""
        self._loop.stop()
        for factory in self._inner_factories():
            factory.doStop()

    def _check_every_second(self) -> None:
        if self.accept_limiter is not None:
            self.accept_limiter.resume_if_possible()
        self.expire()

    def expire(self) -> None:
        """Drop connections that did not send a head in time."""
        limit = self.clock.seconds() - HEAD_SECONDS
        for front, since in list(self.waiting.items()):
            if since > limit:
                break
            front.transport.abortConnection()


def _protocol_of(transport: Any) -> bytes | None:
    return getattr(transport, "negotiatedProtocol", None)

"""Sites: the endpoints of a port, and the port itself.

See configuration rules, "Ports and endpoints".
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

from attrs import define, field, frozen
from twisted.internet import tcp
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.web.resource import IResource, Resource
from twisted.web.server import Site

from ..bounded_log import BoundedLog
from ..core.time_slices import RoundRobin
from ..metrics import Counter
from ..options import Answer
from ..transports.cors import CORS
from ..transports.eager_tls import EagerTLSFactory
from .accept_limit import INTERNAL_RESERVED, INTERNAL_ROOM, AcceptLimiter
from .access_log import LoggedRequest
from .http2 import HTTP2Factory
from .http_channel import HTTP1Channel
from .protocol_detection import PortFactory
from .request import NOT_FOUND, TOO_LARGE, Handler, QuickRequest, StreamHandler
from .request_counts import RequestCounts
from .reuseport import listen_inherited, listen_reuseport

__all__ = [
    "BACKLOG",
    "Endpoints",
    "HTTPSite",
    "ListenerSettings",
    "listen",
    "port_factory",
]

#: Connections that may wait to be accepted; Twisted's 50 overflows in a storm.
BACKLOG = 4096
#: Seconds for a client to send one request, and to start the next.
REQUEST_SECONDS = 30
#: Default limits of request bodies, in bytes: of handlers, and of a tree.
BODY_LIMIT = 65536
TREE_BODY_LIMIT = 16 * 1024 * 1024
#: Bytes of a body that is read without asking the handler first.
SMALL_BODY = 65536


@define(eq=False)
class Endpoints:
    """The endpoints of one address: WebSockets and handlers by exact path.

    ``streams`` are handlers that may stream their response; ``body_limits`` are in
    bytes, by path; ``tree`` serves all other paths, below ``tree_route``.
    """

    sockets: dict[bytes, Factory] = field(factory=dict)
    handlers: dict[bytes, Handler] = field(factory=dict)
    streams: dict[bytes, StreamHandler] = field(factory=dict)
    body_limits: dict[bytes, int] = field(factory=dict)
    tree: IResource | None = None
    tree_route: bytes = b"/"

    def __bool__(self) -> bool:
        return bool(self.sockets or self.handlers or self.streams or self.tree)

    def merge(self, other: "Endpoints") -> None:
        """Add the endpoints of *other*."""
        self.sockets.update(other.sockets)
        self.handlers.update(other.handlers)
        self.streams.update(other.streams)
        self.body_limits.update(other.body_limits)
        if self.tree is None:
            self.tree, self.tree_route = other.tree, other.tree_route


class HTTPSite(Site):  # type: ignore[misc]  # untyped
    """HTTP/1.1 without form parsing; with an access log, and counts, if wanted."""

    protocol = HTTP1Channel
    noisy = False

    def __init__(
        self,
        reactor: Any,
        endpoints: Endpoints,
        access_log: bool = False,
        counts: RequestCounts | None = None,
    ) -> None:
        recorded = access_log or counts is not None
        super().__init__(
            endpoints.tree or Resource(),
            LoggedRequest if recorded else QuickRequest,
            reactor=reactor,
            timeout=REQUEST_SECONDS,
            parsePOSTFormSubmission=False,
        )
        self.robin = RoundRobin(reactor)
        self.notices = BoundedLog(Logger(), reactor)
        self.sockets = endpoints.sockets
        self.access_log, self.counts = access_log, counts
        # Quick requests make no object that could be logged.
        self.quick = {} if recorded else endpoints.handlers
        self.handlers = {
            **_upgrade_required(endpoints.sockets),
            **endpoints.handlers,
            **endpoints.streams,
        }
        self.tree = endpoints.tree is not None
        self.tree_route = endpoints.tree_route
        if counts is not None:
            for path, factory in endpoints.sockets.items():
                cast(Any, factory).handshakes = partial(counts.count, path, b"GET")
        #: Limits of request bodies by path, and that of all other paths, in bytes.
        self.body_limits = endpoints.body_limits
        self.default_body_limit = TREE_BODY_LIMIT if self.tree else BODY_LIMIT

    def body_limit(self, path: bytes) -> int:
        """Return the limit of request bodies for *path*, in bytes."""
        return self.body_limits.get(path, self.default_body_limit)

    def refusal(self, path: bytes, request: Any, length: int | None) -> Answer | None:
        """Return the response that refuses the body of *request*, or None.

        A handler with a method ``refusal`` decides on large bodies.

        :param length: bytes of the body; None if it is not announced.
        """
        if length is not None and length <= SMALL_BODY:
            return self.too_large(path) if length > self.body_limit(path) else None
        handler = self.handlers.get(path)
        if handler is None and not self.tree:
            return NOT_FOUND
        if length is not None and length > self.body_limit(path):
            return self.too_large(path)
        refusal: Callable[[Any], Answer | None] | None
        refusal = getattr(handler, "refusal", None)
        return refusal(request) if refusal is not None else None

    def too_large(self, path: bytes) -> Answer:
        """Return the response to a body over the limit, and log it."""
        self.notices.info("request body too large", path=path.decode(errors="replace"))
        return TOO_LARGE

    def log(self, request: Any) -> None:
        """Do nothing: requests have their own access log."""


def _upgrade_required(sockets: Mapping[bytes, Factory]) -> dict[bytes, Handler]:
    """Return handlers that answer plain requests to WebSocket paths with 426."""
    return {
        path: partial(_ask_for_upgrade, getattr(factory, "cors", None))
        for path, factory in sockets.items()
    }


def _ask_for_upgrade(cors: CORS | None, request: Any) -> Answer:
    headers = cors.headers(request) if cors is not None else ()
    headers += ((b"Sec-WebSocket-Version", b"13"), (b"Upgrade", b"websocket"))
    return Answer(426, b"Upgrade Required\n", "text/plain; charset=utf-8", headers)


@frozen(kw_only=True)
class ListenerSettings:
    """How one TCP port listens.

    ``tls`` is a context factory, None for plain text.  ``http2`` offers HTTP/2 over
    TLS, ``h2c`` without TLS.  ``shared`` lets other processes of this user listen on
    the same port.  ``access_log`` logs every request, at level ``debug``.
    ``inherited`` is the descriptor of a socket that listens already, in place of one
    at this address.  ``counts`` counts every request; None does not.  ``internal``: it
    accepts while descriptors are too short for clients.
    """

    interface: str = ""
    port: int = 0
    tls: Any = None
    http2: bool = False
    h2c: bool = False
    shared: bool = False
    access_log: bool = False
    inherited: int | None = None
    counts: RequestCounts | None = None
    internal: bool = False


_PLAIN = ListenerSettings()


def port_factory(
    reactor: Any, endpoints: Endpoints, settings: ListenerSettings = _PLAIN
) -> PortFactory:
    """Return the factory of a port that serves *endpoints*."""
    site = HTTPSite(reactor, endpoints, settings.access_log, settings.counts)
    h2c = settings.h2c and settings.tls is None
    http2 = h2c or (settings.http2 and settings.tls is not None)
    return PortFactory(
        clock=reactor,
        http=site,
        sockets=endpoints.sockets,
        http2=HTTP2Factory(site) if http2 else None,
        h2c=h2c,
    )


def listen(
    reactor: Any,
    endpoints: Endpoints,
    settings: ListenerSettings = _PLAIN,
    paused: Counter | None = None,
) -> IListeningPort:
    """Listen on a TCP port.

    :param paused: counts how often accepting pauses because descriptors run out.
    :raises CannotListenError: the address is in use, or cannot be bound.
    """
    factory = port_factory(reactor, endpoints, settings)
    port, interface, served = settings.port, settings.interface, cast(Any, factory)
    if settings.tls is not None:
        served = EagerTLSFactory(settings.tls, False, factory, reactor)
    listening: IListeningPort
    if settings.inherited is not None:
        listening = listen_inherited(reactor, settings.inherited, served)
    elif settings.shared:
        listening = listen_reuseport(reactor, port, interface, served, BACKLOG)
    else:
        listening = reactor.listenTCP(port, served, BACKLOG, interface)
    if isinstance(listening, tcp.Port):
        limiter = AcceptLimiter(listening, paused or Counter(), reactor)
        if settings.internal:
            limiter.reserved, limiter.room = INTERNAL_RESERVED, INTERNAL_ROOM
            # Twisted begins with batches of 100, for which there is never room.
            listening.numberAccepts = 1
        factory.accept_limiter = limiter
    return listening

"""The endpoints of a node as one ASGI application."""

from collections.abc import Collection, Sequence
from typing import cast

from attrs import define, field, frozen
from twisted.logger import Logger

from ..api import Api, HTTPAPIOptions, http_handlers
from ..api.http import BODY_LIMIT as API_BODY_LIMIT
from ..bounded_log import BoundedLog
from ..core import Node as CoreNode
from ..embedding import AsyncNode
from ..metrics import Counter
from ..transports.connection_limit import ConnectionLimiter
from ..transports.cors import CORS
from ..transports.emulation import EmulationEndpoint
from ..transports.http_stream import HTTPStream
from ..transports.origin import OriginRule
from ..transports.response_stream import BODY_LIMIT, StreamFactory
from ..transports.settings import TransportSettings
from ..transports.sse import SSE
from ..transports.uni_http_stream import UniHTTPStream
from ..transports.uni_sse import UniSSE
from .http import HTTPEndpoint
from .interface import ASGIApp, Message, Receive, Scope, Send
from .websocket import UniWebSocketEndpoint, WebSocketEndpoint

__all__ = ["Endpoints"]

_BODIES = {404: b"404 page not found\n", 503: b"the node has not started\n"}


@frozen
class _Routes:
    """The endpoints of one node, by path."""

    sockets: dict[str, WebSocketEndpoint]
    requests: dict[str, HTTPEndpoint]


_NO_ROUTES = _Routes({}, {})


@define(eq=False)
class Endpoints:
    """An ASGI application that serves the clients of a node, and the server API.

    Its paths are those of the server: ``/connection/websocket``, ``/connection/sse``
    and ``/connection/http_stream`` with ``/emulation``, and ``/api``.  It is mounted
    into another application, or is the whole one; then it starts and stops the node.

    :param allowed_origins: globs of the origins whose pages may connect; without any,
        only clients outside browsers can.
    :param api_key: the key that callers of the HTTP API must send; empty: no HTTP API.
    :param unidirectional: also serve ``/connection/uni_websocket``, ``uni_sse`` and
        ``uni_http_stream``.
    :param headers: names of the request headers that the policy reads in
        ``client.transport.info.headers``, such as ``cookie``.
    :param message_size_limit: the size of the largest WebSocket message, in bytes.
    :param connection_limit: how many clients may be connected; 0: no limit.
    :param others: the application that serves all other paths, and WebSockets.
    """

    node: AsyncNode
    allowed_origins: Sequence[str] = field(default=(), kw_only=True)
    api_key: str = field(default="", kw_only=True)
    unidirectional: bool = field(default=False, kw_only=True)
    headers: Collection[str] = field(default=(), kw_only=True)
    message_size_limit: int = field(default=65536, kw_only=True)
    connection_limit: int = field(default=0, kw_only=True)
    others: ASGIApp | None = field(default=None, kw_only=True)
    _core: object = field(default=None, init=False)
    _routes: _Routes = field(default=_NO_ROUTES, init=False)

    def __attrs_post_init__(self) -> None:
        OriginRule(self.allowed_origins)  # refuses what is not a glob

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, request, or the life of the application."""
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
            return
        path = _path(scope)
        routes = self._current()
        if scope["type"] == "websocket" and path in routes.sockets:
            await routes.sockets[path](scope, receive, send)
        elif scope["type"] == "http" and path in routes.requests:
            await routes.requests[path](scope, path, receive, send)
        elif self.others is not None:
            await self.others(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close"})
        else:
            await _refuse(send, 404 if self.node.started else 503)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Start and stop the node with the server."""
        await receive()
        try:
            await self.node.start()
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.node.stop()
        await send({"type": "lifespan.shutdown.complete"})

    def _current(self) -> _Routes:
        """Return the routes of the node, which are new after each of its starts."""
        if not self.node.started:
            return _NO_ROUTES
        core = self.node.core
        if core is not self._core:
            self._routes = self._make(cast(CoreNode, core))
            self._core = core
        return self._routes

    def _make(self, core: CoreNode) -> _Routes:
        origins = OriginRule(self.allowed_origins, BoundedLog(Logger(), core.clock))
        limiter = ConnectionLimiter(
            core.clock,
            lambda: core.connections.num_clients,
            Counter(),
            limit=self.connection_limit,
        )
        kept = frozenset(name.lower() for name in self.headers)
        settings = TransportSettings(
            core, limiter, origins, core.options.queue_max_size, kept
        )
        streams, limit = StreamFactory(settings), self.message_size_limit
        emulation = EmulationEndpoint(core, CORS(origins))
        sockets = {"/connection/websocket": WebSocketEndpoint(settings, limit)}
        requests = {
            "/connection/http_stream": HTTPEndpoint(HTTPStream(streams), BODY_LIMIT),
            "/connection/sse": HTTPEndpoint(SSE(streams), BODY_LIMIT),
            "/emulation": HTTPEndpoint(emulation, BODY_LIMIT),
        }
        if self.unidirectional:
            uni = "/connection/uni_"
            sockets[f"{uni}websocket"] = UniWebSocketEndpoint(settings, limit)
            requests[f"{uni}sse"] = HTTPEndpoint(UniSSE(streams), BODY_LIMIT)
            requests[f"{uni}http_stream"] = HTTPEndpoint(
                UniHTTPStream(streams), BODY_LIMIT
            )
        if self.api_key:
            handlers = http_handlers(Api(core), HTTPAPIOptions(key=self.api_key))
            for path, handler in handlers.items():
                requests[path.decode()] = HTTPEndpoint(handler, API_BODY_LIMIT)
        return _Routes(sockets, requests)


def _path(scope: Scope) -> str:
    """Return the path below the place where the application is mounted."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path.removeprefix(root) if root else path


async def _refuse(send: Send, status: int) -> None:
    body = _BODIES[status]
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
    ]
    start: Message
    start = {"type": "http.response.start", "status": status, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": body, "more_body": False})

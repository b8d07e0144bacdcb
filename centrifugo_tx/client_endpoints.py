"""The endpoints for clients, as configured."""

from collections.abc import Iterator
from typing import Any

from attrs import define, field
from twisted.logger import Logger

from .bounded_log import BoundedLog
from .config.model import Config
from .core import Node
from .proxy_services import forwarded_headers
from .transports.connection_limit import ConnectionLimiter
from .transports.emulation import EmulationEndpoint
from .transports.http_stream import HTTPStream
from .transports.origin import OriginRule
from .transports.overload import OverloadGuard
from .transports.response_stream import BODY_LIMIT, StreamFactory
from .transports.settings import TransportSettings
from .transports.sse import SSE
from .transports.uni_http_stream import UniHTTPStream
from .transports.uni_sse import UniSSE
from .transports.uni_websocket import UniWebSocketFactory
from .transports.websocket import WebSocketFactory
from .web.probes import init
from .web.request import StreamHandler
from .web.site import Endpoints

__all__ = ["ClientEndpoints", "connection_limiter"]


def connection_limiter(
    reactor: Any, config: Config, node: Node, overload: OverloadGuard | None = None
) -> ConnectionLimiter:
    """Return the limits of new connections; ``limit`` and ``rate`` may change."""
    return ConnectionLimiter(
        reactor,
        lambda: node.connections.num_clients,
        node.metrics.counter("node_client_connection_limit"),
        config.client.connection_limit,
        config.client.connection_rate_limit,
        overload,
    )


@define(eq=False)
class ClientEndpoints:
    """Makes the endpoints for clients, which share one `TransportSettings`."""

    _reactor: Any
    _config: Config
    _node: Node
    _limiter: ConnectionLimiter | None = None
    _settings: TransportSettings = field(init=False)
    _streams: StreamFactory = field(init=False)

    def __attrs_post_init__(self) -> None:
        client, node = self._config.client, self._node
        header = client.user_id_http_header.lower()
        self._settings = TransportSettings(
            node,
            self._limiter or connection_limiter(self._reactor, self._config, node),
            OriginRule(client.allowed_origins, BoundedLog(Logger(), self._reactor)),
            client.queue_max_size,
            forwarded_headers(self._config) | ({header} if header else frozenset()),
        )
        self._streams = StreamFactory(self._settings)

    def enabled(self) -> Iterator[tuple[str, Endpoints]]:
        """Yield the enabled endpoints, by name."""
        config, streams = self._config, self._streams
        if not config.websocket.disabled:
            yield "websocket", self.websocket()
        if config.http_stream.enabled:
            limit = config.http_stream.max_request_body_size
            handler: StreamHandler = HTTPStream(streams, limit)
            yield "http_stream", streaming(config.http_stream, handler)
        if config.sse.enabled:
            handler = SSE(streams, config.sse.max_request_body_size)
            yield "sse", streaming(config.sse, handler)
        if config.http_stream.enabled or config.sse.enabled:
            yield "emulation", self.emulation()
        if config.uni_websocket.enabled:
            yield "uni_websocket", self.uni_websocket()
        if config.uni_sse.enabled:
            handler = UniSSE(streams, config.uni_sse)
            yield "uni_sse", streaming(config.uni_sse, handler)
        if config.uni_http_stream.enabled:
            handler = UniHTTPStream(streams, config.uni_http_stream)
            yield "uni_http_stream", streaming(config.uni_http_stream, handler)
        if config.init.enabled:
            handlers = {path_of(config.init): init(streams.limiter, streams.cors)}
            yield "init", Endpoints(handlers=handlers)

    def websocket(self) -> Endpoints:
        """Return the endpoint of bidirectional WebSockets."""
        options = self._config.websocket
        factory = WebSocketFactory(self._settings, options)
        return Endpoints(sockets={path_of(options): factory})

    def uni_websocket(self) -> Endpoints:
        """Return the endpoint of unidirectional WebSockets."""
        options = self._config.uni_websocket
        factory = UniWebSocketFactory(self._settings, options)
        return Endpoints(sockets={path_of(options): factory})

    def emulation(self) -> Endpoints:
        """Return the endpoint for the commands of emulated clients."""
        options = self._config.emulation
        path, limit = path_of(options), options.max_request_body_size
        return Endpoints(
            handlers={path: EmulationEndpoint(self._node, self._streams.cors, limit)},
            body_limits={path: limit or BODY_LIMIT},
        )


def streaming(options: Any, handler: StreamHandler) -> Endpoints:
    """Return the endpoint of a section whose *handler* opens streams."""
    path, limit = path_of(options), options.max_request_body_size
    return Endpoints(streams={path: handler}, body_limits={path: limit or BODY_LIMIT})


def path_of(options: Any) -> bytes:
    """Return the path of a section's endpoint, without a trailing slash."""
    prefix: str = options.handler_prefix
    return (prefix.rstrip("/") or "/").encode()

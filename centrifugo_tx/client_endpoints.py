"""The endpoints by which clients come, as configured."""

from typing import Any

from attrs import define, field

from .config.model import Config
from .core import Node
from .transports.admission import Gate
from .transports.origin import OriginRule
from .transports.stream import Turn
from .transports.uni_websocket import UniWebSocketFactory
from .transports.websocket import WebSocketFactory
from .web.site import Endpoints

__all__ = ["ClientEndpoints"]


@define(eq=False)
class ClientEndpoints:
    """Makes the endpoints of clients; one gate bounds them all."""

    _reactor: Any
    _config: Config
    _node: Node
    _gate: Gate = field(init=False)
    _origins: OriginRule = field(init=False)
    _headers: frozenset[str] = field(init=False)

    def __attrs_post_init__(self) -> None:
        client, node = self._config.client, self._node
        self._gate = Gate(
            self._reactor,
            lambda: node.hub.num_clients,
            node.metrics.counter("node_client_connection_limit"),
            client.connection_limit,
            client.connection_rate_limit,
        )
        self._origins = OriginRule(client.allowed_origins)
        header = client.user_id_http_header.lower()
        self._headers = frozenset({header} if header else ())

    def websocket(self) -> Endpoints:
        """Return the endpoint of bidirectional WebSockets."""
        options = self._config.websocket
        factory = WebSocketFactory(
            self._node,
            Turn(self._reactor, options.write_timeout),
            self._gate,
            self._origins,
            options,
            self._config.client.queue_max_size,
            self._headers,
        )
        return Endpoints(sockets={path_of(options): factory})

    def uni_websocket(self) -> Endpoints:
        """Return the endpoint of unidirectional WebSockets."""
        options = self._config.uni_websocket
        factory = UniWebSocketFactory(
            self._node,
            Turn(self._reactor, options.write_timeout),
            self._gate,
            self._origins,
            options,
            self._config.client.queue_max_size,
            self._headers,
        )
        return Endpoints(sockets={path_of(options): factory})


def path_of(options: Any) -> bytes:
    """Return the path of a section's endpoint, without a slash at its end."""
    prefix: str = options.handler_prefix
    return (prefix.rstrip("/") or "/").encode()

"""The gRPC ports, on one asyncio loop beside the reactor."""

import socket
from typing import Any

from attrs import define, field
from twisted.internet.defer import gatherResults
from twisted.logger import Logger

from .config.model import Config
from .core import Node
from .grpc.asyncio_bridge import AsyncioBridge
from .options import TLSOptions
from .transports.uni_grpc import UniGRPC

__all__ = ["GRPCPorts"]

#: Seconds for calls to end when the server stops; clients are disconnected before.
GRACE = 1.0


@define(eq=False)
class GRPCPorts:
    """Starts and stops the configured gRPC ports; imports grpcio only if needed."""

    _reactor: Any
    _config: Config
    _node: Node
    _shared: bool
    _bridge: AsyncioBridge = field(init=False)
    _servers: list[Any] = field(factory=list, init=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._bridge = AsyncioBridge(self._reactor)

    async def start(self) -> None:
        """Listen on the configured ports.

        :raises CannotListenError: an address cannot be bound.
        """
        if not self._config.uni_grpc.enabled:
            return
        self._bridge.start()
        await self._serve_uni()

    async def _serve_uni(self) -> None:
        from .grpc.server import GRPCServer

        options, client = self._config.uni_grpc, self._config.client
        consumers = UniGRPC(self._node, self._bridge, client.queue_max_size)
        any_host = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"
        server = GRPCServer(
            bridge=self._bridge,
            interface=options.address or any_host,
            port=options.port,
            streams=consumers.streams,
            limit=options.max_receive_message_size,
            shared=self._shared,
            **_security(options.tls),
        )
        port = await server.start()
        self._servers.append(server)
        where = f"{options.address}:{port}"
        self._log.info("serving unidirectional GRPC on {where}", where=where)

    async def stop(self) -> None:
        """Accept no more calls, and wait for open ones to end."""
        if self._bridge.loop is None:
            return
        servers, self._servers = self._servers, []
        await gatherResults([server.stop(GRACE) for server in servers])
        await self._bridge.stop()


def _security(tls: TLSOptions) -> dict[str, bytes]:
    if not tls.enabled:
        return {}
    return {
        "certificate": tls.cert_pem.encode(),
        "key": tls.key_pem.encode(),
        "authorities": tls.client_ca_pem.encode(),
    }

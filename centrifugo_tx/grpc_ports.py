"""The gRPC ports, on one asyncio loop beside the reactor."""

import socket
from typing import Any

from attrs import define, field
from twisted.internet.defer import gatherResults
from twisted.logger import Logger

from .api import Api
from .api.spans import Tracer
from .config.model import Config
from .core import Node
from .grpc.asyncio_bridge import AsyncioBridge
from .options import TLSOptions
from .proxy_services import forwarded_metadata
from .transports.overload import OverloadGuard
from .transports.uni_grpc import UniGRPC

__all__ = ["GRPCPorts"]

#: Seconds for calls to end when the server stops; clients are disconnected before.
GRACE = 1.0
#: Calls of the server API that may run at the same time.
API_CALLS = 16384


@define(eq=False)
class GRPCPorts:
    """Starts and stops the configured gRPC ports; imports grpcio only if needed.

    It also stops the bridge, which calls to backends may have started.
    """

    _reactor: Any
    _config: Config
    _node: Node
    _shared: bool
    _bridge: AsyncioBridge
    _overload: OverloadGuard | None = None
    _tracer: Tracer | None = None
    _api_server: Any = field(default=None, init=False)
    _servers: list[Any] = field(factory=list, init=False)
    #: All servers, by the section that describes them.
    _by_section: dict[str, Any] = field(factory=dict, init=False)
    _log = Logger()

    async def start(self) -> None:
        """Listen on the configured ports.

        :raises CannotListenError: an address cannot be bound.
        """
        api, uni = self._config.grpc_api.enabled, self._config.uni_grpc.enabled
        if not (api or uni):
            return
        self._bridge.start()
        if api:
            await self._serve_api()
        if uni:
            await self._serve_uni()

    async def _serve_api(self) -> None:
        from .api.grpc_service import SERVICE, GRPCService

        options = self._config.grpc_api
        api = Api(self._node, protocol="grpc", tracer=self._tracer)
        transport_errors = options.error_mode == "transport"
        service = GRPCService(api, self._bridge, options.key, transport_errors)
        self._api_server = await self._serve(
            options,
            "GRPC API service",
            services=(service,),
            reflected=(SERVICE,) if options.reflection else (),
            calls=API_CALLS,
        )
        self._by_section["grpc_api"] = self._api_server

    def reload(self, config: Config) -> None:
        """Use the certificates of *config* for new connections."""
        for name, server in self._by_section.items():
            security = _security(getattr(config, name).tls)
            if security:
                server.renew(**security)

    async def _serve_uni(self) -> None:
        limit = self._config.client.queue_max_size
        kept = forwarded_metadata(self._config)
        consumers = UniGRPC(self._node, self._bridge, limit, kept, self._overload)
        server = await self._serve(
            self._config.uni_grpc, "unidirectional GRPC", streams=consumers.streams
        )
        self._servers.append(server)
        self._by_section["uni_grpc"] = server

    async def _serve(self, options: Any, what: str, **given: Any) -> Any:
        from .grpc.server import GRPCServer

        any_host = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"
        server = GRPCServer(
            bridge=self._bridge,
            interface=options.address or any_host,
            port=options.port,
            limit=options.max_receive_message_size,
            shared=self._shared,
            **given,
            **_security(options.tls),
        )
        port = await server.start()
        where = f"{options.address}:{port}"
        self._log.info("serving {what} on {where}", what=what, where=where)
        return server

    async def stop_api(self) -> None:
        """Accept no more calls of the server API, and wait for open ones to end."""
        server, self._api_server = self._api_server, None
        if server is not None:
            await server.stop(GRACE)

    async def stop(self) -> None:
        """Accept no more calls, and wait for open ones to end."""
        if self._bridge.loop is None:
            return
        await self.stop_api()
        servers, self._servers = self._servers, []
        await gatherResults([server.stop(GRACE) for server in servers])
        await self._bridge.stop()


def _security(tls: TLSOptions) -> dict[str, Any]:
    if not tls.enabled:
        return {}
    return {
        "certificate": tls.cert_pem.encode(),
        "key": tls.key_pem.encode(),
        "authorities": tls.client_ca_pem.encode(),
    }

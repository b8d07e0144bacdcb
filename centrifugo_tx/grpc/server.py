"""A port that serves gRPC."""

import logging
import socket
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError

from .asyncio_bridge import AsyncioBridge

__all__ = ["GRPCServer"]

#: The values of the reference: milliseconds between keepalive pings, until their
#: answer is overdue, and between pings that a client may send.
_KEEPALIVE = (
    ("grpc.keepalive_time_ms", 25000),
    ("grpc.keepalive_timeout_ms", 5000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5000),
)


#: How many calls a client may have under way on one connection, where that is bounded.
CONNECTION_CALLS = 1024
#: The names of reflection, the newer one first; both mean the same messages.
_REFLECTION = (
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
)


def _is_worth_logging(record: logging.LogRecord) -> bool:
    """Return whether a record is more than a peer that disconnected early."""
    return not str(record.msg).startswith("ExecuteBatchError")


logging.getLogger("grpc._cython.cygrpc").addFilter(_is_worth_logging)


@define(eq=False, kw_only=True)
class GRPCServer:
    """Listens on a port of ``interface``; 0 chooses a free port.

    ``streams`` are coroutine functions by service and method.  They run on the loop,
    receive the bytes of a message and a context, and write the bytes of messages to
    the context.  ``services`` are grpcio's handlers.  The services named ``reflected``
    are described to every caller; without any there is no reflection.
    ``certificate`` (with its chain) and ``key``, both PEM, enable TLS;
    ``authorities`` must have signed the certificates of clients.  ``limit`` is the
    largest message accepted, in bytes; 0: gRPC's default, 4 MiB.  While ``calls``
    calls are running, further ones end with RESOURCE_EXHAUSTED; one connection may
    have `CONNECTION_CALLS`, and its client holds back the rest.  ``shared`` lets
    other processes listen on the same port.
    """

    _bridge: AsyncioBridge
    interface: str
    port: int
    streams: Mapping[str, Mapping[str, Any]] = field(factory=dict)
    services: Sequence[Any] = ()
    reflected: Sequence[str] = ()
    certificate: bytes = b""
    key: bytes = b""
    authorities: bytes = b""
    limit: int = 0
    calls: int | None = None
    shared: bool = False
    _server: Any = field(default=None, init=False)
    #: The certificate that handshakes use; None: as at the start.
    _renewed: Any = field(default=None, init=False)

    def renew(self, certificate: bytes, key: bytes, authorities: bytes) -> None:
        """Use other certificates (PEM) for new connections.

        Whether the port is encrypted, and whether clients need certificates, stays.
        """
        given = (certificate, key, authorities)
        if self.certificate and given != (self.certificate, self.key, self.authorities):
            self.certificate, self.key, self.authorities = given
            self._renewed = _configuration(*given)

    def _renewal(self) -> Any:
        """Return a new certificate for gRPC, None for none; runs in its threads."""
        renewed, self._renewed = self._renewed, None
        return renewed

    def start(self) -> "Deferred[int]":
        """Listen; the Deferred fires with the port.

        It fails with `CannotListenError` if the address is in use or the certificate
        is invalid.
        """
        return self._bridge.run(self._start)

    def stop(self, grace: float) -> "Deferred[None]":
        """Accept no more calls; let open ones finish within *grace* seconds."""
        return self._bridge.run(self._stop, grace)

    async def _start(self) -> int:
        # Another process on the same port is an error, unless ports are shared.
        options = [*_KEEPALIVE, ("grpc.so_reuseport", int(self.shared))]
        if self.limit:
            options.append(("grpc.max_receive_message_length", self.limit))
        if self.calls is not None:
            options.append(("grpc.max_concurrent_streams", CONNECTION_CALLS))
        server = grpc.aio.server(options=options, maximum_concurrent_rpcs=self.calls)
        for service, methods in self.streams.items():
            handlers = {
                name: grpc.unary_stream_rpc_method_handler(method)
                for name, method in methods.items()
            }
            handler = grpc.method_handlers_generic_handler(service, handlers)
            server.add_generic_rpc_handlers((handler,))
        server.add_generic_rpc_handlers(tuple(self.services))
        if self.reflected:
            server.add_generic_rpc_handlers(_reflection(self.reflected))
        port = self._bind(server)
        await server.start()
        self._server = server
        return port

    def _bind(self, server: Any) -> int:
        host, credentials = self.interface, None
        if not self.shared:
            _check_can_listen(host, self.port)
        address = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        if self.certificate:
            credentials = grpc.dynamic_ssl_server_credentials(
                _configuration(self.certificate, self.key, self.authorities),
                self._renewal,
                bool(self.authorities),
            )
        try:
            port: int = (
                server.add_insecure_port(address)
                if credentials is None
                else server.add_secure_port(address, credentials)
            )
        except RuntimeError as error:
            reason: object = error
            if credentials is not None:
                reason = "gRPC does not accept the certificate, the key or the CA"
            raise CannotListenError(host, self.port, reason) from None
        return port

    async def _stop(self, grace: float) -> None:
        server, self._server = self._server, None
        if server is not None:
            await server.stop(grace)


def _configuration(certificate: bytes, key: bytes, authorities: bytes) -> Any:
    """Return certificates in the form that handshakes of gRPC take."""
    return grpc.ssl_server_certificate_configuration(
        [(key, certificate)], authorities or None
    )


def _reflection(services: Sequence[str]) -> tuple[Any, ...]:
    """Return handlers that describe *services*, and themselves."""
    from grpc_reflection.v1alpha import reflection, reflection_pb2

    servicer = reflection.aio.ReflectionServicer((*services, *_REFLECTION))
    method = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    return tuple(
        grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": method})
        for name in _REFLECTION
    )


def _check_can_listen(host: str, port: int) -> None:
    """Listen for a moment, because gRPC does not report why it cannot.

    :raises CannotListenError: the address cannot be bound.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except OSError as error:
        raise CannotListenError(host, port, error) from None

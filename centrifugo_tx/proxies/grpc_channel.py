"""The connection to a gRPC backend, on the asyncio loop beside the reactor."""

from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from ssl import get_default_verify_paths
from typing import Any, TypeVar
from urllib.parse import urlsplit

import grpc
from attrs import define, field
from twisted.internet.defer import Deferred, succeed

from ..grpc.asyncio_bridge import AsyncioBridge
from ..options import TLSOptions
from ..renewed_tls import current_tls
from .client import BackendFailed, Forwarded
from .options import ProxyOptions

__all__ = ["BridgedChannel", "GRPCChannel", "reason_of", "target_of"]

T = TypeVar("T")

#: The service that backends provide.
SERVICE = "centrifugal.centrifugo.proxy.CentrifugoProxy"
#: A backend that is back is called again after at most that many milliseconds.
_RECONNECT = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 2000),
)
#: Names that are never taken from a client, since they are those of a connection.
_OWN = frozenset(
    {
        *("host", "content-length", "transfer-encoding", "trailer", "connection"),
        *("keep-alive", "upgrade", "te", "content-type", "user-agent"),
        *("proxy-connection", "http2-settings", "accept-encoding"),
    }
)

#: Where the systems keep the authorities that they trust.
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)

Metadata = Sequence[tuple[str, str | bytes]]


def target_of(endpoint: str) -> str:
    """Return the target of gRPC; of a ``grpc://`` URL, that is host and port."""
    if endpoint.startswith("grpc://"):
        return urlsplit(endpoint).netloc
    return endpoint


def reason_of(error: BaseException) -> str:
    """Return in a few words why a call has failed."""
    if isinstance(error, grpc.aio.AioRpcError):
        details = (error.details() or "no details")[:200]
        return f"{error.code().name}: {details}"
    return f"{type(error).__name__}: {error}"


@define(eq=False)
class GRPCChannel:
    """Calls one backend; all methods but the constructor belong on the loop.

    It connects with the first call, and again after a pause when it has lost the
    connection.  When its certificates are renewed, new calls take a new connection.
    """

    _options: ProxyOptions
    _static: "list[tuple[str, str | bytes]]" = field(init=False)
    _compression: Any = field(init=False)
    _channel: Any = field(default=None, init=False)
    #: What the channel was created with.
    _tls: TLSOptions = field(init=False)
    #: Channels with earlier certificates, over which streams may still run.
    _former: list[Any] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        own = self._options.grpc
        self._tls = own.tls
        self._static = [
            _pair(name, value) for name, value in own.static_metadata.items()
        ]
        self._compression = grpc.Compression.Gzip if own.compression else None

    async def unary(self, method: str, request: bytes, forwarded: Forwarded) -> bytes:
        """Return the response of a call.

        :raises BackendFailed: it has a status other than OK.
        """
        try:
            call = self._open().unary_unary(f"/{SERVICE}/{method}")
            response: bytes = await call(
                request,
                timeout=self._options.timeout,
                metadata=self._metadata(forwarded),
                compression=self._compression,
            )
        except (grpc.RpcError, grpc.aio.UsageError, ValueError, TypeError) as error:
            raise BackendFailed(reason_of(error)) from None
        return response

    def stream(self, bidirectional: bool, first: bytes, forwarded: Forwarded) -> Any:
        """Return a stream for one subscription; *first* is its request.

        It has no deadline; who has it must cancel it.
        """
        channel, metadata = self._open(), self._metadata(forwarded)
        given = {"metadata": metadata, "compression": self._compression}
        if bidirectional:
            path = f"/{SERVICE}/SubscribeBidirectional"
            return channel.stream_stream(path)(**given)
        path = f"/{SERVICE}/SubscribeUnidirectional"
        return channel.unary_stream(path)(first, **given)

    def _open(self) -> Any:
        """Return the channel; it is created again for renewed certificates."""
        tls = current_tls(self._options.grpc.tls)
        if tls is not self._tls:
            self._tls = tls
            if self._channel is not None:
                self._former.append(self._channel)
                self._channel = None
        if self._channel is None:
            self._channel = self._create(tls)
        return self._channel

    def _create(self, tls: TLSOptions) -> Any:
        target = target_of(self._options.endpoint)
        # Proxies from the environment are for the outside, not for a backend.
        options: list[tuple[str, str | int]] = [*_RECONNECT]
        options.append(("grpc.enable_http_proxy", 0))
        if not tls.enabled:
            return grpc.aio.insecure_channel(target, options=options)
        if tls.server_name:
            options.append(("grpc.ssl_target_name_override", tls.server_name))
        return grpc.aio.secure_channel(target, _credentials(tls), options=options)

    def _metadata(self, forwarded: Forwarded) -> Metadata:
        own = self._options.grpc
        pairs = self._static
        if forwarded:
            pairs = [pair for pair in pairs if pair[0] not in forwarded]
            for name, values in forwarded.items():
                own_name = name in _OWN or name.startswith(("grpc-", ":"))
                if not own_name and name != own.credentials_key.lower():
                    pairs += [_pair(name, value) for value in values]
        if own.credentials_key:
            pairs = [*pairs, _pair(own.credentials_key, own.credentials_value)]
        return pairs

    async def close(self) -> None:
        """Close the connection; calls that still run fail."""
        channels = [*self._former, self._channel]
        self._former.clear()
        self._channel = None
        for channel in channels:
            if channel is not None:
                await channel.close()


@define(eq=False)
class BridgedChannel:
    """A channel for callers in the reactor; the loop starts with the first call."""

    bridge: AsyncioBridge
    options: ProxyOptions
    channel: GRPCChannel = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.channel = GRPCChannel(self.options)

    def run(
        self, function: Callable[..., Coroutine[Any, Any, T]], *arguments: object
    ) -> "Deferred[T]":
        """Run a coroutine function on the loop; see `AsyncioBridge.run`."""
        self.bridge.start()
        return self.bridge.run(function, *arguments)

    def stop(self) -> "Deferred[None]":
        """Close the connection; calls that still run fail, and streams end."""
        if self.bridge.loop is None:
            return succeed(None)
        return self.bridge.run(self.channel.close)


def _system_authorities() -> bytes | None:
    """Return the authorities that the system trusts; None for those of gRPC's own."""
    for path in (get_default_verify_paths().cafile, *_BUNDLES):
        if path and Path(path).is_file():
            return Path(path).read_bytes()
    return None


def _pair(name: str, value: str) -> tuple[str, str | bytes]:
    """Return one piece of metadata; those named ``…-bin`` are bytes."""
    name = name.lower()
    return name, value.encode() if name.endswith("-bin") else value


def _credentials(tls: TLSOptions) -> Any:
    """Return the credentials that encrypt the connection and identify this server."""
    return grpc.ssl_channel_credentials(
        tls.server_ca_pem.encode() or _system_authorities(),
        tls.key_pem.encode() or None,
        tls.cert_pem.encode() or None,
    )

"""The sections of event proxies: calls to the application's backend."""

import msgspec

from ..options import Duration
from .servers import Section, TLSOptions

__all__ = [
    "ChannelProxies",
    "ClientProxies",
    "DisconnectReply",
    "EnabledProxy",
    "ErrorReply",
    "GRPCProxyOptions",
    "HTTPProxyOptions",
    "NamedProxy",
    "ProxyOptions",
    "StatusTransform",
]


class ErrorReply(Section, frozen=True):
    """An error that is sent to the client."""

    code: int = 0
    """Code of the error."""
    message: str = ""
    """Text of the error, ASCII."""
    temporary: bool = False
    """Whether the client may try again."""


class DisconnectReply(Section, frozen=True):
    """A disconnect that is sent to the client."""

    code: int = 0
    """Code of the disconnect."""
    reason: str = ""
    """Reason of the disconnect, ASCII."""


class StatusTransform(Section, frozen=True):
    """The meaning of one HTTP status of the backend; exactly one target must be set."""

    status_code: int = 0
    """HTTP status of the backend's response."""
    to_error: ErrorReply = ErrorReply()
    """Error to send to the client."""
    to_disconnect: DisconnectReply = DisconnectReply()
    """Disconnect to send to the client."""


class HTTPProxyOptions(Section, frozen=True):
    """Calls to a backend over HTTP."""

    tls: TLSOptions = TLSOptions()
    """TLS of the connections."""
    static_headers: dict[str, str] = msgspec.field(default_factory=dict)
    """Headers to add to every request."""
    status_to_code_transforms: tuple[StatusTransform, ...] = ()
    """HTTP statuses that mean an error or a disconnect."""


class GRPCProxyOptions(Section, frozen=True):
    """Calls to a backend over gRPC."""

    tls: TLSOptions = TLSOptions()
    """TLS of the connections."""
    credentials_key: str = ""
    """Name of the metadata that carries the credentials."""
    credentials_value: str = ""
    """The credentials."""
    compression: bool = False
    """Compress requests with gzip."""
    static_metadata: dict[str, str] = msgspec.field(default_factory=dict)
    """Metadata to add to every request."""


class ProxyOptions(Section, frozen=True):
    """A backend of the application."""

    endpoint: str = ""
    """URL of the backend: ``http://`` and ``https://`` use HTTP, anything else gRPC."""
    timeout: Duration = 1.0
    """Timeout of a whole call."""
    http_headers: tuple[str, ...] = ()
    """Headers of the client's request to forward."""
    grpc_metadata: tuple[str, ...] = ()
    """Metadata of a gRPC client to forward."""
    emulated_headers: tuple[str, ...] = ()
    """Headers in the client's connect command to forward."""
    binary_encoding: bool = False
    """Send payloads as base64."""
    include_connection_meta: bool = False
    """Send the connection's ``meta``."""
    http: HTTPProxyOptions = HTTPProxyOptions()
    """Options of calls over HTTP."""
    grpc: GRPCProxyOptions = GRPCProxyOptions()
    """Options of calls over gRPC."""


class EnabledProxy(ProxyOptions, frozen=True):
    """A backend that can be switched on."""

    enabled: bool = False
    """Call the backend."""


class NamedProxy(ProxyOptions, frozen=True):
    """A backend with a name."""

    name: str = ""
    """Name by which namespaces refer to the backend."""


class ClientProxies(Section, frozen=True):
    """Backends that decide about connections."""

    connect: EnabledProxy = EnabledProxy()
    """Authenticates a client that connects without a token."""
    refresh: EnabledProxy = EnabledProxy()
    """Decides whether an expiring connection may continue."""


class ChannelProxies(Section, frozen=True):
    """The backends named ``default``, by event."""

    subscribe: ProxyOptions = ProxyOptions()
    """Decides whether a client may subscribe."""
    publish: ProxyOptions = ProxyOptions()
    """Decides whether a client may publish."""
    sub_refresh: ProxyOptions = ProxyOptions()
    """Decides whether an expiring subscription may continue."""
    subscribe_stream: ProxyOptions = ProxyOptions()
    """Streams the publications of a channel."""
    map_publish: ProxyOptions = ProxyOptions()
    """Decides whether a client may set a key of a map."""
    map_remove: ProxyOptions = ProxyOptions()
    """Decides whether a client may remove a key of a map."""
    shared_poll_refresh: ProxyOptions = ProxyOptions()
    """Returns the polled keys that have changed."""

"""The sections of the event proxies: how the application's backend is asked."""

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
    """An error for the client."""

    code: int = 0
    """Code of the error."""
    message: str = ""
    """Text of the error, ASCII."""
    temporary: bool = False
    """Whether trying again makes sense."""


class DisconnectReply(Section, frozen=True):
    """A disconnect of the client."""

    code: int = 0
    """Code of the disconnect."""
    reason: str = ""
    """Reason of the disconnect, ASCII."""


class StatusTransform(Section, frozen=True):
    """What one HTTP status of the backend means; one target must be set."""

    status_code: int = 0
    """The status."""
    to_error: ErrorReply = ErrorReply()
    """The error it becomes."""
    to_disconnect: DisconnectReply = DisconnectReply()
    """The disconnect it becomes."""


class HTTPProxyOptions(Section, frozen=True):
    """How a backend is asked over HTTP."""

    tls: TLSOptions = TLSOptions()
    """Encryption."""
    static_headers: dict[str, str] = msgspec.field(default_factory=dict)
    """Headers of every request."""
    status_to_code_transforms: tuple[StatusTransform, ...] = ()
    """Which statuses mean an error or a disconnect."""


class GRPCProxyOptions(Section, frozen=True):
    """How a backend is asked over gRPC."""

    tls: TLSOptions = TLSOptions()
    """Encryption."""
    credentials_key: str = ""
    """Name of the metadata that carries the credentials."""
    credentials_value: str = ""
    """The credentials."""
    compression: bool = False
    """Compress by gzip."""
    static_metadata: dict[str, str] = msgspec.field(default_factory=dict)
    """Metadata of every request."""


class ProxyOptions(Section, frozen=True):
    """One backend to ask."""

    endpoint: str = ""
    """URL: ``http://`` and ``https://`` speak HTTP, anything else gRPC."""
    timeout: Duration = 1.0
    """How long the whole call may take."""
    http_headers: tuple[str, ...] = ()
    """Headers of the client's request to pass on."""
    grpc_metadata: tuple[str, ...] = ()
    """Metadata of a client on gRPC to pass on."""
    emulated_headers: tuple[str, ...] = ()
    """Headers inside the client's connect command to pass on."""
    binary_encoding: bool = False
    """Send payloads as base64."""
    include_connection_meta: bool = False
    """Send the connection's ``meta``."""
    http: HTTPProxyOptions = HTTPProxyOptions()
    """Over HTTP."""
    grpc: GRPCProxyOptions = GRPCProxyOptions()
    """Over gRPC."""


class EnabledProxy(ProxyOptions, frozen=True):
    """One backend to ask, with a switch."""

    enabled: bool = False
    """Ask it."""


class NamedProxy(ProxyOptions, frozen=True):
    """One backend to ask, by its name."""

    name: str = ""
    """Name by which namespaces refer to it."""


class ClientProxies(Section, frozen=True):
    """The backends asked about connections."""

    connect: EnabledProxy = EnabledProxy()
    """Who is this?  Asked when a client connects without a token."""
    refresh: EnabledProxy = EnabledProxy()
    """May it stay?  Asked when a connection expires."""


class ChannelProxies(Section, frozen=True):
    """The backends of the name ``default``, by event."""

    subscribe: ProxyOptions = ProxyOptions()
    """May it subscribe?"""
    publish: ProxyOptions = ProxyOptions()
    """May it publish?"""
    sub_refresh: ProxyOptions = ProxyOptions()
    """May it stay subscribed?"""
    subscribe_stream: ProxyOptions = ProxyOptions()
    """Publications of a channel, streamed by the backend."""
    map_publish: ProxyOptions = ProxyOptions()
    """May it set a key?"""
    map_remove: ProxyOptions = ProxyOptions()
    """May it remove a key?"""
    shared_poll_refresh: ProxyOptions = ProxyOptions()
    """Which keys have changed?"""

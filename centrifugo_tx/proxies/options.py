"""The options of calls to the application's backend."""

import msgspec

from ..options import Duration, TLSOptions

__all__ = [
    "DisconnectReply",
    "ErrorReply",
    "GRPCProxyOptions",
    "HTTPProxyOptions",
    "ProxyOptions",
    "SignatureOptions",
    "StatusTransform",
]


class Section(msgspec.Struct, frozen=True):
    """A group of options."""


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


class SignatureOptions(Section, frozen=True):
    """A signature of every request, so that the backend knows the sender."""

    secrets: tuple[str, ...] = ()
    """Secrets to sign with, each for itself; two while one replaces the other.  Empty:
    do not sign."""


class HTTPProxyOptions(Section, frozen=True):
    """Calls to a backend over HTTP."""

    tls: TLSOptions = TLSOptions()
    """TLS of the connections."""
    static_headers: dict[str, str] = msgspec.field(default_factory=dict)
    """Headers to add to every request."""
    status_to_code_transforms: tuple[StatusTransform, ...] = ()
    """HTTP statuses that mean an error or a disconnect."""
    signature: SignatureOptions = SignatureOptions()
    """A signature of every request."""


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
    """URL of the backend.  ``http://`` and ``https://`` use HTTP, ``http+unix://`` HTTP
    over a Unix socket (``http+unix://%2Frun%2Fapp.sock/rpc``), anything else gRPC."""
    timeout: Duration = 1.0
    """Timeout of a whole call, including the time in the queue."""
    max_concurrent_calls: int = 512
    """Maximum number of calls at the same time; further ones wait in a queue."""
    max_queued_calls: int = 2048
    """Maximum number of calls in the queue; beyond it, a call fails at once."""
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

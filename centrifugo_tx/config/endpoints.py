"""The sections of the client transports that have no room of their own yet."""

from ..transports.uni_websocket import UniWebSocketOptions
from .servers import Section

__all__ = [
    "CodeToDisconnect",
    "CodeToDisconnectTransforms",
    "DisconnectTarget",
    "EmulationOptions",
    "HTTPStreamOptions",
    "SSEOptions",
    "UniWebSocketSection",
    "WebTransportOptions",
]


class DisconnectTarget(Section, frozen=True):
    """The disconnect that a connect error becomes."""

    code: int = 0
    """Code of the disconnect."""
    reason: str = ""
    """Reason of the disconnect, ASCII."""


class CodeToDisconnect(Section, frozen=True):
    """One connect error that becomes a disconnect."""

    code: int = 0
    """Code of the connect error."""
    to: DisconnectTarget = DisconnectTarget()
    """What it becomes."""


class CodeToDisconnectTransforms(Section, frozen=True):
    """Connect errors as disconnects, for unidirectional transports."""

    enabled: bool = False
    """Use the list."""
    transforms: tuple[CodeToDisconnect, ...] = ()
    """What becomes what."""


class SSEOptions(Section, frozen=True):
    """Event streams; the client sends its commands by ``emulation``."""

    enabled: bool = False
    """Serve them."""
    handler_prefix: str = "/connection/sse"
    """Their path."""
    max_request_body_size: int = 65536
    """Largest body of a request, in bytes."""


class HTTPStreamOptions(Section, frozen=True):
    """Streaming responses; the client sends its commands by ``emulation``."""

    enabled: bool = False
    """Serve them."""
    handler_prefix: str = "/connection/http_stream"
    """Their path."""
    max_request_body_size: int = 65536
    """Largest body of a request, in bytes."""


class EmulationOptions(Section, frozen=True):
    """Commands of clients on ``sse`` and ``http_stream``; served with them."""

    handler_prefix: str = "/emulation"
    """Path of the endpoint."""
    max_request_body_size: int = 65536
    """Largest body of a request, in bytes."""


class WebTransportOptions(Section, frozen=True):
    """WebTransport over HTTP/3."""

    enabled: bool = False
    """Serve it."""
    handler_prefix: str = "/connection/webtransport"
    """Its path."""
    message_size_limit: int = 65536
    """Largest message from a client, in bytes."""


class UniWebSocketSection(UniWebSocketOptions, frozen=True, kw_only=True):
    """WebSocket on which only the server speaks."""

    read_buffer_size: int = 0
    """Accepted for compatibility."""
    use_write_buffer_pool: bool = False
    """Accepted for compatibility."""
    write_buffer_size: int = 0
    """Accepted for compatibility."""

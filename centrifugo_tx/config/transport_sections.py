"""The sections of client transports whose options are defined here."""

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
    """The disconnect that is sent in place of a connect error."""

    code: int = 0
    """Code of the disconnect."""
    reason: str = ""
    """Reason of the disconnect, ASCII."""


class CodeToDisconnect(Section, frozen=True):
    """A connect error that is sent as a disconnect."""

    code: int = 0
    """Code of the connect error."""
    to: DisconnectTarget = DisconnectTarget()
    """The disconnect that is sent instead."""


class CodeToDisconnectTransforms(Section, frozen=True):
    """Disconnects in place of connect errors, for unidirectional transports."""

    enabled: bool = False
    """Apply ``transforms``."""
    transforms: tuple[CodeToDisconnect, ...] = ()
    """The connect errors to replace."""


class SSEOptions(Section, frozen=True):
    """Server-sent events (SSE); clients send commands through ``emulation``."""

    enabled: bool = False
    """Enable the endpoint."""
    handler_prefix: str = "/connection/sse"
    """Path of the endpoint."""
    max_request_body_size: int = 65536
    """Maximum size of a request body, in bytes."""


class HTTPStreamOptions(Section, frozen=True):
    """HTTP streaming; clients send commands through ``emulation``."""

    enabled: bool = False
    """Enable the endpoint."""
    handler_prefix: str = "/connection/http_stream"
    """Path of the endpoint."""
    max_request_body_size: int = 65536
    """Maximum size of a request body, in bytes."""


class EmulationOptions(Section, frozen=True):
    """The endpoint that receives commands of ``sse`` and ``http_stream`` clients."""

    handler_prefix: str = "/emulation"
    """Path of the endpoint."""
    max_request_body_size: int = 65536
    """Maximum size of a request body, in bytes."""


class WebTransportOptions(Section, frozen=True):
    """WebTransport over HTTP/3."""

    enabled: bool = False
    """Enable the endpoint."""
    handler_prefix: str = "/connection/webtransport"
    """Path of the endpoint."""
    message_size_limit: int = 65536
    """Maximum size of a message from a client, in bytes."""


class UniWebSocketSection(UniWebSocketOptions, frozen=True, kw_only=True):
    """Unidirectional WebSocket."""

    read_buffer_size: int = 0
    """Accepted for compatibility; has no effect."""
    use_write_buffer_pool: bool = False
    """Accepted for compatibility; has no effect."""
    write_buffer_size: int = 0
    """Accepted for compatibility; has no effect."""

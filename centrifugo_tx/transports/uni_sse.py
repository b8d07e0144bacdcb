"""Unidirectional clients over server-sent events.

See client protocol, "Unidirectional transports".
"""

from typing import Any

import msgspec
from twisted.internet.defer import Deferred

from ..options import Answer, TransportInfo
from ..protocol.wire import uni_sse
from .response_stream import StreamFactory
from .sse import EVENTS, FIRST
from .uni_response_stream import CodeToResponseTransforms, UniStream

__all__ = ["UniSSE", "UniSSEOptions"]


class UniSSEOptions(msgspec.Struct, frozen=True):
    """The section ``uni_sse`` of the configuration."""

    enabled: bool = False
    """Serve unidirectional server-sent events."""
    handler_prefix: str = "/connection/uni_sse"
    """The path of the endpoint."""
    max_request_body_size: int = 65536
    """Largest request body, in bytes; 0: 65536."""
    connect_code_to_http_response: CodeToResponseTransforms = CodeToResponseTransforms()
    """HTTP responses to send instead of connect errors."""


_DEFAULTS = UniSSEOptions()
_INFO = TransportInfo(name="uni_sse", unidirectional=True)
#: The connect request of a client that sends none.
_EMPTY_CONNECT = b"{}"


class UniSSE:
    """Answers requests to the unidirectional SSE endpoint."""

    def __init__(
        self, streams: StreamFactory, options: UniSSEOptions = _DEFAULTS
    ) -> None:
        self._streams, self._limit = streams, options.max_request_body_size
        refusals = options.connect_code_to_http_response
        self._stream = UniStream(streams, uni_sse(), _INFO, EVENTS, FIRST, refusals)

    def __call__(self, request: Any) -> "Answer | Deferred[Answer | None] | None":
        """Open a stream for the request in the URL or body, or return a refusal."""
        connect = self._streams.sse_argument(request, self._limit)
        if isinstance(connect, Answer):
            return connect
        if not connect and request.method == b"GET":
            connect = _EMPTY_CONNECT
        return self._stream.open(request, connect)

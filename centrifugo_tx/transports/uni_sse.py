"""Clients that only listen, over server-sent events.

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
    """Event streams on which only the server speaks."""

    enabled: bool = False
    """Serve them."""
    handler_prefix: str = "/connection/uni_sse"
    """Their path."""
    max_request_body_size: int = 65536
    """Largest body of a request, in bytes; 0: 65536."""
    connect_code_to_http_response: CodeToResponseTransforms = CodeToResponseTransforms()
    """Connect errors as HTTP answers."""


_DEFAULTS = UniSSEOptions()
_INFO = TransportInfo(name="uni_sse", unidirectional=True)
#: What a client without a request asks for: nothing.
_NOTHING = b"{}"


class UniSSE:
    """Answers the requests to the endpoint."""

    def __init__(
        self, streams: StreamFactory, options: UniSSEOptions = _DEFAULTS
    ) -> None:
        self._streams, self._limit = streams, options.max_request_body_size
        refusals = options.connect_code_to_http_response
        self._stream = UniStream(streams, uni_sse(), _INFO, EVENTS, FIRST, refusals)

    def __call__(self, request: Any) -> "Answer | Deferred[Answer | None] | None":
        """Open a stream for what is in the URL or the body, or say why not."""
        connect = self._streams.sse_argument(request, self._limit)
        if isinstance(connect, Answer):
            return connect
        if not connect and request.method == b"GET":
            connect = _NOTHING
        return self._stream.open(request, connect)

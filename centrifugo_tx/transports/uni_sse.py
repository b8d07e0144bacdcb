"""Clients that only listen, over server-sent events.

See client protocol, "Unidirectional transports".
"""

from typing import Any

import msgspec
from twisted.internet.defer import Deferred

from ..options import Answer, TransportInfo
from ..protocol.wire import uni_sse
from .response_stream import StreamFactory, read_body
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
        streams = self._streams
        if not streams.limiter.admits():
            return Answer(503)
        connect: bytes | None
        if request.method == b"GET":
            connect = request.args.get(b"cf_connect", (b"",))[0] or _NOTHING
        elif request.method == b"POST":
            connect = read_body(request, self._limit)
            if connect is None:
                return streams.refuse(request, 413)
        else:
            return streams.refuse(request, 405)
        return self._stream.open(request, connect)

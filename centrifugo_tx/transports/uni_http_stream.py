"""Clients that only listen, over HTTP streaming.

See client protocol, "Unidirectional transports".
"""

from typing import Any

import msgspec
from twisted.internet.defer import Deferred

from ..options import Answer, TransportInfo
from ..protocol.wire import uni_http_stream
from .cors import Headers
from .response_stream import StreamFactory
from .uni_response_stream import CodeToResponseTransforms, UniStream

__all__ = ["UniHTTPStream", "UniHTTPStreamOptions"]


class UniHTTPStreamOptions(msgspec.Struct, frozen=True):
    """Streaming responses on which only the server speaks."""

    enabled: bool = False
    """Serve them."""
    handler_prefix: str = "/connection/uni_http_stream"
    """Their path."""
    max_request_body_size: int = 65536
    """Largest body of a request, in bytes; 0: 65536."""
    connect_code_to_http_response: CodeToResponseTransforms = CodeToResponseTransforms()
    """Connect errors as HTTP answers."""


_DEFAULTS = UniHTTPStreamOptions()
_INFO = TransportInfo(name="uni_http_stream", unidirectional=True)
#: Said, so that no browser guesses and shows a payload as a page.
_HEADERS: Headers = ((b"Content-Type", b"text/plain; charset=utf-8"),)


class UniHTTPStream:
    """Answers the requests to the endpoint."""

    def __init__(
        self, streams: StreamFactory, options: UniHTTPStreamOptions = _DEFAULTS
    ) -> None:
        self._streams, self._limit = streams, options.max_request_body_size
        refusals = options.connect_code_to_http_response
        self._stream = UniStream(
            streams, uni_http_stream(), _INFO, _HEADERS, refusals=refusals
        )

    def __call__(self, request: Any) -> "Answer | Deferred[Answer | None] | None":
        """Open a stream for the connect request in the body, or say why not."""
        streams = self._streams
        if request.method == b"OPTIONS":
            return streams.cors.preflight(request)
        connect = streams.post_body(request, self._limit)
        if isinstance(connect, Answer):
            return connect
        return self._stream.open(request, connect)

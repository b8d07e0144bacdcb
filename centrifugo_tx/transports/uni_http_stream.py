"""Unidirectional clients over HTTP streaming.

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
    """The section ``uni_http_stream`` of the configuration."""

    enabled: bool = False
    """Serve unidirectional HTTP streaming."""
    handler_prefix: str = "/connection/uni_http_stream"
    """The path of the endpoint."""
    max_request_body_size: int = 65536
    """Largest request body, in bytes; 0: 65536."""
    connect_code_to_http_response: CodeToResponseTransforms = CodeToResponseTransforms()
    """HTTP responses to send instead of connect errors."""


_DEFAULTS = UniHTTPStreamOptions()
_INFO = TransportInfo(name="uni_http_stream", unidirectional=True)
#: Explicit, so that no browser guesses the type and renders a payload as a page.
_HEADERS: Headers = ((b"Content-Type", b"text/plain; charset=utf-8"),)


class UniHTTPStream:
    """Answers requests to the unidirectional HTTP streaming endpoint."""

    def __init__(
        self, streams: StreamFactory, options: UniHTTPStreamOptions = _DEFAULTS
    ) -> None:
        self._streams, self._limit = streams, options.max_request_body_size
        refusals = options.connect_code_to_http_response
        self._stream = UniStream(
            streams, uni_http_stream(), _INFO, _HEADERS, refusals=refusals
        )

    def __call__(self, request: Any) -> "Answer | Deferred[Answer | None] | None":
        """Open a stream for the connect request in the body, or return a refusal."""
        streams = self._streams
        if request.method == b"OPTIONS":
            return streams.cors.preflight(request)
        connect = streams.post_body(request, self._limit)
        if isinstance(connect, Answer):
            return connect
        return self._stream.open(request, connect)

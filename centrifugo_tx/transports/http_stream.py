"""Bidirectional clients over HTTP streaming (client protocol, "HTTP streaming")."""

from typing import Any

from attrs import define

from ..options import Answer, TransportInfo
from ..protocol.wire import http_stream_json, http_stream_protobuf
from .cors import Headers
from .response_stream import StreamFactory

__all__ = ["HTTPStream", "is_protobuf"]


_OCTETS = b"application/octet-stream"
_JSON = TransportInfo(name="http_stream", emulated=True)
_PROTOBUF = TransportInfo(name="http_stream", protocol="protobuf", emulated=True)

#: Explicit, so that no browser guesses the type and renders a payload as a page.
_JSON_HEADERS: Headers = ((b"Content-Type", b"text/plain; charset=utf-8"),)
_PROTOBUF_HEADERS: Headers = ((b"Content-Type", _OCTETS),)


@define(eq=False)
class HTTPStream:
    """Answers requests to the HTTP streaming endpoint.

    ``limit`` is how many bytes a body may have; 0: `BODY_LIMIT`.
    """

    _streams: StreamFactory
    _limit: int = 0

    def __call__(self, request: Any) -> Answer | None:
        """Open a stream for the commands in the body, or return a refusal."""
        streams = self._streams
        if request.method == b"OPTIONS":
            return streams.cors.preflight(request)
        body = streams.post_body(request, self._limit)
        if isinstance(body, Answer):
            return body
        if is_protobuf(request):
            wire, plain, headers = http_stream_protobuf(), _PROTOBUF, _PROTOBUF_HEADERS
        else:
            wire, plain, headers = http_stream_json(), _JSON, _JSON_HEADERS
        info = streams.info(request, plain)
        streams.open(request, wire, info, headers).receive(body)
        return None


def is_protobuf(request: Any) -> bool:
    """Return whether the body of *request* is Protobuf."""
    kind: bytes | None = request.getHeader(b"content-type")
    return kind == _OCTETS

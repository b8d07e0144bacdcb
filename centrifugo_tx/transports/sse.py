"""Bidirectional clients over server-sent events.

See client protocol, "Server-sent events".
"""

from typing import Any

from attrs import define

from ..options import Answer, TransportInfo
from ..protocol.wire import sse_json
from .cors import Headers
from .response_stream import StreamFactory

__all__ = ["EVENTS", "FIRST", "SSE"]

_INFO = TransportInfo(name="sse", emulated=True)

#: The headers of an event stream.
EVENTS: Headers = ((b"Content-Type", b"text/event-stream; charset=utf-8"),)
#: An empty line, so that the response has a first byte to send with its head.
FIRST = b"\r\n"


@define(eq=False)
class SSE:
    """Answers requests to the SSE endpoint.

    ``limit`` is how many bytes a body may have; 0: `BODY_LIMIT`.
    """

    _streams: StreamFactory
    _limit: int = 0

    def __call__(self, request: Any) -> Answer | None:
        """Open a stream for the commands in the URL or body, or return a refusal."""
        streams = self._streams
        commands = streams.sse_argument(request, self._limit)
        if isinstance(commands, Answer):
            return commands
        if not commands and request.method == b"GET":
            return streams.refuse(request, 400)
        info = streams.info(request, _INFO)
        streams.open(request, sse_json(), info, EVENTS, FIRST).receive(commands)
        return None

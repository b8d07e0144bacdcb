"""Unidirectional clients that receive pushes in the body of a response.

See client protocol, "Unidirectional transports".
"""

from collections.abc import Callable
from typing import Any

import msgspec
from attrs import define, field
from twisted.internet.defer import Deferred

from ..errors import DecodeError
from ..options import Answer, TransportInfo
from ..protocol.codes import Disconnect, Error
from ..protocol.wire import Wire
from .cors import Headers
from .response_body import body_of
from .response_stream import StreamFactory, StreamTransport

__all__ = [
    "CodeToResponse",
    "CodeToResponseTransforms",
    "LateStartTransport",
    "ResponseTarget",
    "UniStream",
]


class ResponseTarget(msgspec.Struct, frozen=True):
    """The HTTP response that a connect error becomes."""

    status_code: int = 0
    """Status of the response."""
    body: str = ""
    """Body of the response; empty: the text of the error."""


class CodeToResponse(msgspec.Struct, frozen=True):
    """A connect error or disconnect that becomes an HTTP response."""

    code: int = 0
    """Code of the error or disconnect."""
    to: ResponseTarget = ResponseTarget()
    """The response that it becomes."""


class CodeToResponseTransforms(msgspec.Struct, frozen=True):
    """HTTP responses for connect errors; errors not listed become status 500."""

    enabled: bool = False
    """Use the list."""
    transforms: tuple[CodeToResponse, ...] = ()
    """The list."""

    def answer(self, code: int, text: str) -> Answer:
        """Return the response to a connect that failed with *code*."""
        for each in self.transforms:
            if each.code == code:
                body = (each.to.body or text).encode()
                return Answer(each.to.status_code, body, _TEXT)
        return Answer(500, b"Internal Server Error", _TEXT)


_TEXT = "text/plain; charset=utf-8"
_SHOWN_AT_ONCE = CodeToResponseTransforms()


@define(eq=False)
class LateStartTransport(StreamTransport):
    """A response that starts only when the client has connected.

    ``decided`` fires with None at that moment, or with another response to send if the
    client cannot connect.
    """

    _start: Callable[["LateStartTransport"], None]
    _refuse: Callable[[int, str], Answer]
    decided: "Deferred[Answer | None]" = field(factory=Deferred, init=False)
    _not_started: bool = field(default=True, init=False)

    def write(self, frame: bytes) -> None:
        """Start the response before the first frame."""
        if self._not_started and not self.ended:
            self._not_started = False
            self._start(self)
            self.decided.callback(None)
        super().write(frame)

    def close(self, disconnect: Disconnect) -> None:
        """End the body, or send another response if it has not started."""
        if not self._not_started or self.ended:
            super().close(disconnect)
            return
        self._not_started = False
        self._body = None
        self.end(drop=True)
        error: Error | None = None if self.client is None else self.client.refusal
        if error is None:
            answer = self._refuse(disconnect.code, disconnect.reason)
        else:
            answer = self._refuse(error.code, error.message)
        self.decided.callback(answer)


@define(eq=False)
class UniStream:
    """Opens streams for connect requests.

    With ``refusals`` enabled, the outcome of the connect decides the status.
    Otherwise the status is always 200, and the stream carries the outcome.
    """

    _streams: StreamFactory
    _wire: Wire
    _info: TransportInfo
    _headers: Headers
    _first: bytes = b""
    refusals: CodeToResponseTransforms = _SHOWN_AT_ONCE

    def open(
        self, request: Any, connect: bytes
    ) -> "Answer | Deferred[Answer | None] | None":
        """Open a stream for the connect request in JSON, or return a refusal."""
        streams, wire = self._streams, self._wire
        try:
            wire.commands(connect)
        except DecodeError as error:
            streams.log.info(
                "malformed connect request",
                transport=self._info.name,
                error=str(error),
            )
            return streams.refuse(request, 400)
        info = streams.info(request, self._info)
        if self.refusals.enabled:
            return self._open_later(request, info, connect)
        client = streams.open(request, wire, info, self._headers, self._first)
        client.receive(connect)
        return None

    def _open_later(
        self, request: Any, info: TransportInfo, connect: bytes
    ) -> "Deferred[Answer | None]":
        streams, cors = self._streams, self._streams.cors.headers(request)

        def start(transport: LateStartTransport) -> None:
            streams.begin(transport, request, self._headers, self._first)

        def refuse(code: int, text: str) -> Answer:
            answer = self.refusals.answer(code, text)
            return msgspec.structs.replace(answer, headers=cors)

        body = body_of(request)
        transport = LateStartTransport(
            *(body, streams.flush_batch, streams.limit, self._wire, info, body),
            start,
            refuse,
        )
        transport.attach(streams.node).receive(connect)
        return transport.decided

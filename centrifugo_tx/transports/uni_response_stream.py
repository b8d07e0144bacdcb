"""Clients that only listen to the body of a response.

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
    """The HTTP answer that a connect error becomes."""

    status_code: int = 0
    """Status of the answer."""
    body: str = ""
    """Body of the answer; empty: the text of the error."""


class CodeToResponse(msgspec.Struct, frozen=True):
    """One connect error or disconnect that becomes an HTTP answer."""

    code: int = 0
    """Code of the error or disconnect."""
    to: ResponseTarget = ResponseTarget()
    """What it becomes."""


class CodeToResponseTransforms(msgspec.Struct, frozen=True):
    """Connect errors as HTTP answers; what is not listed becomes status 500."""

    enabled: bool = False
    """Use the list."""
    transforms: tuple[CodeToResponse, ...] = ()
    """What becomes what."""

    def answer(self, code: int, text: str) -> Answer:
        """Say why there is no stream."""
        for each in self.transforms:
            if each.code == code:
                body = (each.to.body or text).encode()
                return Answer(each.to.status_code, body, _TEXT)
        return Answer(500, b"Internal Server Error", _TEXT)


_TEXT = "text/plain; charset=utf-8"
_SHOWN_AT_ONCE = CodeToResponseTransforms()


@define(eq=False)
class LateStartTransport(StreamTransport):
    """A response that begins when the client has connected, and not before.

    ``decided`` fires with None then; with what is answered instead, if it never does.
    """

    _start: Callable[["LateStartTransport"], None]
    _refuse: Callable[[int, str], Answer]
    decided: "Deferred[Answer | None]" = field(factory=Deferred, init=False)
    _not_started: bool = field(default=True, init=False)

    def write(self, frame: bytes) -> None:
        """Begin the response before the first frame."""
        if self._not_started and not self.ended:
            self._not_started = False
            self._start(self)
            self.decided.callback(None)
        super().write(frame)

    def close(self, disconnect: Disconnect) -> None:
        """End the body, or answer that there will be none."""
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

    With ``refusals`` enabled the outcome of connect decides on the status; without
    it is 200 whatever comes of it, and the stream says the rest.
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
        """Open a stream for the connect request in JSON, or say why not."""
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

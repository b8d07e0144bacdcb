"""HTTP/1.1 connections that can become WebSockets, and refuse large bodies early."""

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel

from ..core.time_slices import SLICE_SECONDS
from ..options import Answer
from ..transports.eager_tcp import bytes_drained
from ..transports.protocol_switch import upgrade_connection
from .http1_post import PostRequest, read_post
from .request import FAILED, Handler
from .request_target import path_of
from .response_head import head_of

__all__ = ["HTTP1Channel"]

#: Seconds for which the rest of a refused body is read and ignored.
LINGER = 2
#: Bytes of pipelined requests that may wait before reading pauses.
HELD_LIMIT = 65536
#: Digits of the longest ``Content-Length`` that is accepted.
LENGTH_DIGITS = 18
#: The cost of a request, of a byte of a response, and of a second.  When a connection
#: has spent 1, other connections run first.
PER_REQUEST = 1 / 64
PER_BYTE = 1 / 65536
PER_SECOND = 1 / SLICE_SECONDS

_BAD_REQUEST = (
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
)


class HTTP1Channel(HTTPChannel):  # type: ignore[misc]  # untyped
    """One HTTP/1.1 connection.

    Its site has ``sockets``, WebSocket factories by path; ``refusal``, which decides
    whether to read a body; and ``robin``, which schedules pipelined requests.

    Requests are answered in order.  Input behind a request is held while the response
    is pending, while the client does not read earlier responses, and when the
    connection has spent its share of the reactor's turn.
    """

    transport: Any
    _networkProducer: Any
    _handlingRequest: bool
    _dataBuffer: list[bytes]
    _disconnected = False
    _closing = False
    #: Input that is held; None while nothing needs to be held.
    _held: bytes | None = None
    #: The part of its share that this connection has spent; 1 is all of it.
    _share_used = 0.0
    #: When its current share, or request, began.
    _share_since = 0.0
    #: Whether it continues when the client has read.
    _stalled = False
    #: Whether a handler has not answered a plain POST request yet.
    _answering = False

    def resetTimeout(self) -> None:
        """Do nothing, so that the timeout of the site bounds a whole request."""

    def dataReceived(self, data: bytes) -> None:
        """Answer plain POST requests here; leave others to Twisted Web."""
        if self._held is not None:
            self._held += data
            if len(self._held) > HELD_LIMIT:
                self._networkProducer.pauseProducing()
        elif not self._closing:
            self._read_requests(data)

    def _read_requests(self, data: bytes) -> None:
        self._share_since = self.site.reactor.seconds()
        if data.startswith(b"POST ") and self._between_requests():
            data = self._answer_posts(data)
        if data:
            super().dataReceived(data)

    def _between_requests(self) -> bool:
        return (
            not self.requests
            and not self._buffer
            and self.line_mode
            and self._HTTPChannel__first_line
        )

    def _answer_posts(self, data: bytes) -> bytes:
        """Answer the requests at the start of *data*; return the rest of it."""
        answers = b""
        while data and (found := read_post(data)) is not None:
            post, path, size = found
            site = self.site
            handler = site.quick.get(path)
            limit = site.body_limits.get(path, site.default_body_limit)
            if handler is None or len(post.content.getbuffer()) > limit:
                break
            data = data[size:]
            answer = self._handle(handler, post)
            if isinstance(answer, Deferred):
                if answers:
                    self.transport.write(answers)
                    answers = b""
                known = self._wait_for(answer, data)
                if known is None:
                    return b""
                answer = known
            now = self.site.reactor.seconds()
            text = head_of(answer, now) + answer.body
            answers += text
            if self.spend(now, len(text)):
                self._hold_input(data)
                data = b""
        if answers:
            self.transport.write(answers)
            self.setTimeout(self.site.timeOut)  # for the next request
        return data

    def _handle(
        self, handler: Handler, post: PostRequest
    ) -> "Answer | Deferred[Answer]":
        post.transport = self.transport
        try:
            return handler(post)
        except Exception:
            return self._failed(Failure())

    def _failed(self, failure: Failure) -> Answer:
        self.site.notices.failure("HTTP request failed", failure)
        return FAILED

    def _wait_for(self, answer: "Deferred[Answer]", data: bytes) -> Answer | None:
        """Return the response if it is known, else hold *data* and further input."""
        if answer.called and not answer.paused:
            known: list[Answer] = []
            answer.addErrback(self._failed).addCallback(known.append)
            return known[0]
        self._answering = True
        self._held = data
        answer.addBoth(self._answer_late)
        return None

    def _answer_late(self, outcome: Answer | Failure) -> None:
        self._answering = False
        answer = self._failed(outcome) if isinstance(outcome, Failure) else outcome
        if self.transport is None or self._disconnected:
            return
        self._share_since = now = self.site.reactor.seconds()
        text = head_of(answer, now) + answer.body
        self.transport.write(text)
        self.setTimeout(self.site.timeOut)
        if self.spend(now, len(text)):
            self._hold_input()
        else:
            self._resume_held()

    # --- Shares of the reactor's turns -----------------------------------------

    def spend(self, now: float, size: int = 0) -> bool:
        """Count a request, and *size* bytes of its response.

        :return: whether other connections run next.
        """
        elapsed, self._share_since = max(0.0, now - self._share_since), now
        self._share_used += PER_REQUEST + size * PER_BYTE + elapsed * PER_SECOND
        return self._share_used >= 1 or self._waitingForTransport

    def count_bytes(self, size: int) -> None:
        """Count *size* bytes of a response."""
        self._share_used += size * PER_BYTE

    def _hold_input(self, data: bytes = b"") -> None:
        """Hold *data* and further input until other connections have run."""
        self._held = data if self._held is None else self._held
        self.site.robin.add(self._take_new_share)

    def _take_new_share(self) -> None:
        """Start a new share."""
        self._share_used = 0.0
        if self._waitingForTransport:
            self._stalled = True
        else:
            self._resume_held()

    def _resume_held(self) -> None:
        """Process the held input."""
        data, self._held = self._held or b"", None
        if self._disconnected or self._closing or self.transport is None:
            return
        if self._handlingRequest:
            data = b"".join(self._dataBuffer) + data
            self._dataBuffer = []
            self._handlingRequest = False
            self.setLineMode()
        if not self._waitingForTransport:
            self._networkProducer.resumeProducing()
        if data:
            self._read_requests(data)

    def requestDone(self, request: Any) -> None:
        """Start the next request, unless other connections run first."""
        over = self.spend(self.site.reactor.seconds())
        if not over or not self.persistent:
            super().requestDone(request)
            return
        self.requests.remove(request)
        # While a request seems to be in progress, Twisted buffers further input.
        if self._savedTimeOut:
            self.setTimeout(self._savedTimeOut)
        self._hold_input()

    def resumeProducing(self) -> None:
        """Continue, because the client has read."""
        if self._held is None:
            super().resumeProducing()
            return
        self._waitingForTransport = False
        if self._stalled:
            self._stalled = False
            self.site.robin.add(self._take_new_share)

    # --- The end ---------------------------------------------------------------

    def loseConnection(self) -> None:
        """Close when all data is sent, or when the client stops reading."""
        self._closing = True
        super().loseConnection()
        if self._abortingCall is None and not self._disconnected:
            self._wait_for_client()

    def _wait_for_client(self) -> None:
        taken = bytes_drained(self.transport)
        self._abortingCall = self.callLater(
            self.abortTimeout, self._check_drained, taken
        )

    def _check_drained(self, before: int) -> None:
        if bytes_drained(self.transport) == before:
            self.forceAbortClient()
        else:
            self._wait_for_client()

    def timeoutConnection(self) -> None:
        """Close an idle or slow connection, without a log line."""
        if self._answering:  # the server is slow, not the client
            self.setTimeout(self.site.timeOut)
            return
        self._abortingCall = self.callLater(self.abortTimeout, self.forceAbortClient)
        self.loseConnection()

    def forceAbortClient(self) -> None:
        """Abort, because the client does not read the waiting data."""
        self._abortingCall = None
        self.transport.abortConnection()

    def connectionLost(self, reason: Any) -> None:
        """Stop writing, and break reference cycles."""
        self._disconnected = True
        super().connectionLost(reason)
        self.requests.clear()
        self._transferDecoder = None

    # --- Refusals --------------------------------------------------------------

    def lineReceived(self, line: bytes) -> None:
        """Process a line of a head; refuse folded lines (RFC 9112, 5.2)."""
        if line[:1] in (b" ", b"\t") and not self._HTTPChannel__first_line:
            self._respondToBadRequestAndDisconnect()
        else:
            super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        """Refuse a line that is too long."""
        self._respondToBadRequestAndDisconnect()

    def _maybeChooseTransferDecoder(self, header: bytes, data: bytes) -> bool:
        """Refuse oversized lengths, and transfer codings other than ``chunked``."""
        wrong = (header == b"Content-Length" and len(data) > LENGTH_DIGITS) or (
            header == b"Transfer-Encoding" and data.lower() != b"chunked"
        )
        if wrong:
            self._respondToBadRequestAndDisconnect()
            return False
        chosen: bool = super()._maybeChooseTransferDecoder(header, data)
        return chosen

    def _respondToBadRequestAndDisconnect(self) -> None:
        """Answer 400, and ignore further input."""
        if not self._closing:
            self.transport.write(_BAD_REQUEST)
            self.loseConnection()
            self._ignore_rest()

    def allHeadersReceived(self) -> None:
        """Handle an upgrade, a bad ``Host``, and a body that is too large."""
        request = self.requests[-1]
        # Twisted sets these only when the body is complete.
        request.method, request.uri = self._command, self._path
        request.clientproto = self._version
        path, _ = path_of(self._path)
        if self._command == b"GET":
            upgrade = request.requestHeaders.getRawHeaders(b"upgrade")
            if upgrade and b"websocket" in upgrade[0].lower():
                sockets: Mapping[bytes, Factory] = self.site.sockets
                factory = sockets.get(path)
                if factory is not None:
                    upgrade_connection(self, request, factory)
                    return
        hosts = request.requestHeaders.getRawHeaders(b"host", ())
        if len(hosts) != 1 and self._version == b"HTTP/1.1":  # RFC 9112, 3.2
            self._respondToBadRequestAndDisconnect()
            return
        answer = self.site.refusal(path, request, self.length)
        if answer is not None:
            self.refuse(answer)
            return
        super().allHeadersReceived()

    def refuse(self, answer: Answer) -> None:
        """Answer before the body has arrived, and ignore the rest for `LINGER` seconds.

        Closing at once would send a reset, by which the client could lose the response.
        """
        close = ((b"Connection", [b"close"]),)
        head = head_of(answer, self.site.reactor.seconds(), more=close)
        self.transport.write(head + answer.body)
        self._ignore_rest()
        self.setTimeout(LINGER)

    def _ignore_rest(self) -> None:
        self.length = None
        self.rawDataReceived = _ignore
        self.dataReceived = _ignore  # type: ignore[method-assign]  # for good


def _ignore(data: bytes) -> None:
    """Discard input after a refusal."""

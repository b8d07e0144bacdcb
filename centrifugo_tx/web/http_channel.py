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

#: Seconds in which a refused body may still arrive and is ignored.
LINGER = 2
#: Bytes of requests that may wait behind others, before reading pauses.
HELD_LIMIT = 65536
#: Digits of the longest length that is read.
LENGTH_DIGITS = 18
#: What a connection may have done before others have their turn: so many requests,
#: bytes of answers, or seconds.  Each is a share of one whole.
PER_REQUEST = 1 / 64
PER_BYTE = 1 / 65536
PER_SECOND = 1 / SLICE_SECONDS

_BAD_REQUEST = (
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
)


class HTTP1Channel(HTTPChannel):  # type: ignore[misc]  # untyped
    """One HTTP/1.1 connection.

    Its site has ``sockets``, WebSocket factories by path, ``refusal``, which says
    whether a body is to be read, and ``robin``, which says when to go on with
    pipelined requests.

    Requests are answered one after another.  What has come behind one is held while
    its answer takes time, while the client does not read the answers before, and
    when the connection has had its share of the reactor's turn.
    """

    transport: Any
    _networkProducer: Any
    _handlingRequest: bool
    _dataBuffer: list[bytes]
    _disconnected = False
    _closing = False
    #: What has come and is held; None: nothing has to be.
    _held: bytes | None = None
    #: The part of its share that this connection has had; 1 is all of it.
    _share_used = 0.0
    #: Since when it has been at it.
    _share_since = 0.0
    #: Whether it goes on when the client has read.
    _stalled = False

    def resetTimeout(self) -> None:
        """Do nothing, so that the site's timeout bounds a whole request."""

    def dataReceived(self, data: bytes) -> None:
        """Answer plain POST requests at once; leave the rest to Twisted Web."""
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
        """Answer the requests at the start of *data*; return what is left of it."""
        answers = b""
        while data and (found := read_post(data)) is not None:
            post, path, size = found
            handler = self.site.quick.get(path)
            if handler is None or len(post.content.getbuffer()) > self.site.body_limit(
                path
            ):
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
        """Return the answer if it is there, else hold *data* and what comes."""
        known: list[Answer] = []
        late = False

        def done(found: Answer) -> None:
            if late:
                self._answer_late(found)
            else:
                known.append(found)

        answer.addErrback(self._failed).addCallback(done)
        if known:
            return known[0]
        late = True
        self._held = data
        self.setTimeout(None)  # now it is the server that is slow
        return None

    def _answer_late(self, answer: Answer) -> None:
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
        """Count a request, and *size* bytes of its answer.

        :return: whether others have their turn now.
        """
        elapsed, self._share_since = max(0.0, now - self._share_since), now
        self._share_used += PER_REQUEST + size * PER_BYTE + elapsed * PER_SECOND
        return self._share_used >= 1 or self._waitingForTransport

    def count_bytes(self, size: int) -> None:
        """Count *size* bytes of an answer."""
        self._share_used += size * PER_BYTE

    def _hold_input(self, data: bytes = b"") -> None:
        """Hold *data* and what comes until others have had their turn."""
        self._held = data if self._held is None else self._held
        self.site.robin.add(self._take_new_share)

    def _take_new_share(self) -> None:
        """Take a new share."""
        self._share_used = 0.0
        if self._waitingForTransport:
            self._stalled = True
        else:
            self._resume_held()

    def _resume_held(self) -> None:
        """Go on with what is held."""
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
        """Go on with the next request, unless others have their turn now."""
        over = self.spend(self.site.reactor.seconds())
        if not over or not self.persistent:
            super().requestDone(request)
            return
        self.requests.remove(request)
        # As long as a request seems to be handled Twisted keeps what comes.
        if self._savedTimeOut:
            self.setTimeout(self._savedTimeOut)
        self._hold_input()

    def resumeProducing(self) -> None:
        """Go on, since the client has read."""
        if self._held is None:
            super().resumeProducing()
            return
        self._waitingForTransport = False
        if self._stalled:
            self._stalled = False
            self.site.robin.add(self._take_new_share)

    # --- The end ---------------------------------------------------------------

    def loseConnection(self) -> None:
        """Close when all is sent, or when the client takes nothing any more."""
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
        """Close what is idle or slow, without a line in the log."""
        self._abortingCall = self.callLater(self.abortTimeout, self.forceAbortClient)
        self.loseConnection()

    def forceAbortClient(self) -> None:
        """Abort, since the client does not read what still waits."""
        self._abortingCall = None
        self.transport.abortConnection()

    def connectionLost(self, reason: Any) -> None:
        """Let nothing be written any more, and leave no cycle behind."""
        self._disconnected = True
        super().connectionLost(reason)
        self.requests.clear()
        self._transferDecoder = None

    # --- What is refused -------------------------------------------------------

    def lineReceived(self, line: bytes) -> None:
        """Take a line of a head; a folded one is refused (RFC 9112, 5.2)."""
        if line[:1] in (b" ", b"\t") and not self._HTTPChannel__first_line:
            self._respondToBadRequestAndDisconnect()
        else:
            super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        """Refuse a line that is too long."""
        self._respondToBadRequestAndDisconnect()

    def _maybeChooseTransferDecoder(self, header: bytes, data: bytes) -> bool:
        """Refuse lengths that no computer counts to, and all codings but one."""
        wrong = (header == b"Content-Length" and len(data) > LENGTH_DIGITS) or (
            header == b"Transfer-Encoding" and data.lower() != b"chunked"
        )
        if wrong:
            self._respondToBadRequestAndDisconnect()
            return False
        chosen: bool = super()._maybeChooseTransferDecoder(header, data)
        return chosen

    def _respondToBadRequestAndDisconnect(self) -> None:
        """Answer 400, and listen no more."""
        if not self._closing:
            self.transport.write(_BAD_REQUEST)
            self.loseConnection()
            self._ignore_rest()

    def allHeadersReceived(self) -> None:
        """Look for an upgrade and for a body that is too large."""
        request = self.requests[-1]
        # Twisted itself sets these only when the body is there, too.
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
        """Answer before the body is there, and ignore for a moment what still comes.

        Closing at once would send a reset, which can destroy the answer.
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
    """Drop what a refused client sends."""

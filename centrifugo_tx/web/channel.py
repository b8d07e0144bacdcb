"""HTTP/1.1 connections that can become WebSockets, and refuse large bodies early."""

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel

from ..options import Answer
from ..transports.eager import taken_from
from ..transports.handover import take_over
from .heads import head_of
from .posts import Post, read_post
from .request import FAILED, Handler

__all__ = ["Channel"]

#: Seconds in which a refused body may still arrive and is ignored.
LINGER = 2
#: Bytes of requests that may wait behind one whose answer takes time.
HELD_LIMIT = 65536


class Channel(HTTPChannel):  # type: ignore[misc]  # untyped
    """One HTTP/1.1 connection.

    Its site has ``sockets``, WebSocket factories by path, and ``body_limit``, a
    function from a path to the bytes its body may have.
    """

    transport: Any
    _networkProducer: Any
    _log = Logger()
    _disconnected = False
    #: What came while a handler takes its time over a quick request.
    _held: bytes | None = None

    def resetTimeout(self) -> None:
        """Do nothing, so that the site's timeout bounds a whole request."""

    def dataReceived(self, data: bytes) -> None:
        """Answer plain POST requests at once; leave the rest to Twisted Web."""
        if self._held is not None:
            self._held += data
            if len(self._held) > HELD_LIMIT:
                self.transport.pauseProducing()
            return
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
                self._wait_for(answer, data)
                return b""
            answers += head_of(answer, self.site.reactor.seconds()) + answer.body
        if answers:
            self.transport.write(answers)
            self.setTimeout(self.site.timeOut)  # for the next request
        return data

    def _handle(self, handler: Handler, post: Post) -> "Answer | Deferred[Answer]":
        try:
            return handler(post)
        except Exception:
            return self._failed(Failure())

    def _failed(self, failure: Failure) -> Answer:
        self._log.failure("a request failed", failure)
        return FAILED

    def _wait_for(self, answer: "Deferred[Answer]", data: bytes) -> None:
        """Hold *data* and what comes until the answer is there; answers keep order."""
        self._held = data
        self.setTimeout(None)  # now it is the server that is slow

        def done(found: Answer) -> None:
            held, self._held = self._held or b"", None
            if self.transport is None or self._disconnected:
                return
            self.transport.write(
                head_of(found, self.site.reactor.seconds()) + found.body
            )
            self.setTimeout(self.site.timeOut)
            self.transport.resumeProducing()
            if held:
                self.dataReceived(held)

        answer.addErrback(self._failed).addCallback(done)

    def loseConnection(self) -> None:
        """Close when all is sent, or when the client takes nothing any more."""
        super().loseConnection()
        if self._abortingCall is None and not self._disconnected:
            self._wait_for_client()

    def _wait_for_client(self) -> None:
        taken = taken_from(self.transport)
        self._abortingCall = self.callLater(self.abortTimeout, self._look, taken)

    def _look(self, before: int) -> None:
        if taken_from(self.transport) == before:
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

    def allHeadersReceived(self) -> None:
        """Look for an upgrade and for a body that is too large."""
        request = self.requests[-1]
        # Twisted itself sets these only when the body is there, too.
        request.method, request.uri = self._command, self._path
        request.clientproto = self._version
        path = self._path.partition(b"?")[0]
        if self._command == b"GET":
            upgrade = request.requestHeaders.getRawHeaders(b"upgrade")
            if upgrade and b"websocket" in upgrade[0].lower():
                sockets: Mapping[bytes, Factory] = self.site.sockets
                factory = sockets.get(path)
                if factory is not None:
                    take_over(self, request, factory)
                    return
        hosts = request.requestHeaders.getRawHeaders(b"host", ())
        if len(hosts) != 1 and self._version == b"HTTP/1.1":  # RFC 9112, 3.2
            self._respondToBadRequestAndDisconnect()
            self._ignore_rest()
            return
        limit: Callable[[bytes], int] = self.site.body_limit
        if self.length is not None and self.length > limit(path):
            self.refuse()
            return
        super().allHeadersReceived()

    def refuse(self) -> None:
        """Answer 413, and ignore for a moment what still comes.

        Closing at once would send a reset, which can destroy the answer.
        """
        self.transport.write(
            b"HTTP/1.1 413 Content Too Large\r\n"
            b"Connection: close\r\nContent-Length: 0\r\n\r\n"
        )
        self._ignore_rest()
        self.setTimeout(LINGER)

    def _ignore_rest(self) -> None:
        self.length = None
        self.rawDataReceived = _ignore
        self.dataReceived = _ignore  # type: ignore[method-assign]  # for good


def _ignore(data: bytes) -> None:
    """Drop what a refused client sends."""

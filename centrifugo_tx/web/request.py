"""HTTP requests that are handled by a function for their exact path."""

from collections.abc import Callable
from io import BytesIO
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.server import Request

from ..options import Answer
from .request_target import path_of
from .response_head import head_of, headers_of

__all__ = [
    "FAILED",
    "NOT_FOUND",
    "TOO_LARGE",
    "Handler",
    "QuickRequest",
    "StreamHandler",
]

#: Returns the response to a request, now or later.
Handler = Callable[[Any], "Answer | Deferred[Answer]"]
#: Likewise; or None, if it streams the response through the Twisted Web request.
StreamHandler = Callable[[Any], "Answer | Deferred[Answer | None] | None"]

_NO_HEADERS = Headers()
_NO_COOKIES: dict[bytes, bytes] = {}
NOT_FOUND = Answer(404, b"404 page not found\n", "text/plain; charset=utf-8")
TOO_LARGE = Answer(413)
FAILED = Answer(500, b"Internal Server Error\n", "text/plain; charset=utf-8")


class QuickRequest(Request):  # type: ignore[misc]  # untyped
    """Answers in one write, without the resource tree.

    Its site has ``handlers`` by path, ``body_limit``, and ``tree``, which says whether
    resources serve the other paths.
    """

    startedWriting: Any
    content: Any
    _received = 0

    def gotLength(self, length: int | None) -> None:
        """Keep the body in memory, because files could exceed the descriptor limit."""
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """Enforce the limit on bodies without an announced length."""
        self._received += len(data)
        limit = self.channel.site.body_limit(self._path())
        if self._received <= limit:
            self.content.write(data)
        elif self._received - len(data) <= limit:
            self.channel.refuse(self.channel.site.too_large(self._path()))

    def _path(self) -> bytes:
        return path_of(self.uri)[0]

    def process(self) -> None:
        """Find the handler, and send its response."""
        self.site = self.channel.site
        if self._received > self.site.body_limit(self._path()):
            self.channel.loseConnection()  # the refusal has been sent
            return
        path, other = path_of(self.uri, self.method)
        handler: StreamHandler | None = None
        if other is None:
            handler = self.site.handlers.get(path)
        if handler is None:
            if self.site.tree:
                super().process()
            else:
                self._answer(other or NOT_FOUND)
            return
        try:
            answer = handler(self)
        except Exception:
            self._fail(Failure())
        else:
            if isinstance(answer, Deferred):
                answer.addCallback(self._answer).addErrback(self._fail)
            else:
                self._answer(answer)

    def slim(self) -> None:
        """Free the objects that only the start of a streaming response needs."""
        self.content.close()
        self.content = self.args = None
        self.requestHeaders = self.responseHeaders = _NO_HEADERS
        self.received_cookies = _NO_COOKIES

    def _fail(self, failure: Failure) -> None:
        path = self._path().decode(errors="replace")
        self.site.notices.failure("HTTP request failed", failure, ("path",), path=path)
        self._answer(FAILED)

    def _answer(self, answer: Answer | None) -> None:
        if answer is None or self._disconnected or self.startedWriting:
            return
        body = answer.body
        if self.clientproto not in (b"HTTP/1.1", b"HTTP/1.0"):
            self.setResponseCode(answer.status)
            if answer.content_type:
                self.setHeader(b"content-type", answer.content_type.encode())
            for name, value in headers_of(answer):
                self.setHeader(name, value)
            if answer.status != 204:
                self.setHeader(b"content-length", b"%d" % len(body))
            self.write(b"" if self.method == b"HEAD" else body)
            self.finish()
            return
        # The channel has set the headers that say whether the connection persists.
        head = head_of(
            answer,
            self.site.reactor.seconds(),
            self.clientproto,
            self.responseHeaders.getAllRawHeaders(),
        )
        self.startedWriting = 1
        text = head + (b"" if self.method == b"HEAD" else body)
        self.channel.count_bytes(len(text))
        self.channel.write(text)
        self.finish()

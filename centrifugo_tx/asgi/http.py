"""HTTP requests of an ASGI server, for the endpoints that Twisted Web has, too."""

import asyncio
from collections.abc import Callable
from io import BytesIO
from typing import Any

from attrs import define, field
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ..options import Answer
from ..transports.cors import Headers
from ..transports.response_body import ResponseBody
from .interface import Message, Receive, Scope, Send, header, parameters
from .outbox import Outbox

__all__ = ["HTTPEndpoint", "Handler"]

#: Returns a response, now or later, or None for a stream that it has opened.
Handler = Callable[[Any], "Answer | Deferred[Answer] | Deferred[Answer | None] | None"]

#: Seconds in which a client must send the body of a request.
BODY_SECONDS = 30.0
#: Seconds in which the rest of an ended stream must leave.
CLOSE_TIMEOUT = 5.0

_FAILED = Answer(500, b"Internal Server Error\n", "text/plain; charset=utf-8")


class ASGIRequestHeaders:
    """The headers of a request, by name."""

    def __init__(self, scope: Scope) -> None:
        self._headers = scope["headers"]

    def getRawHeaders(self, name: bytes) -> list[bytes] | None:
        """Return the values of one header, or None if there are none."""
        found = [value for key, value in self._headers if key.lower() == name.lower()]
        return found or None


class ASGIRequest:
    """A request with the attributes that the endpoints read."""

    def __init__(self, scope: Scope, path: str, body: bytes) -> None:
        query: bytes = scope.get("query_string", b"")
        self.method: bytes = scope["method"].encode()
        self.uri = path.encode() + (b"?" + query if query else b"")
        self.args = parameters(scope)
        self.content = BytesIO(body)
        self.requestHeaders = ASGIRequestHeaders(scope)
        self._scope = scope
        #: The body of a streaming response, once the endpoint has asked for it.
        self.stream: ASGIResponseBody | None = None

    def getHeader(self, name: bytes) -> bytes | None:
        """Return a header, or None."""
        return header(self._scope, name)

    def getClientAddress(self) -> object:
        """Return the address of the peer."""
        host, port = self._scope.get("client") or ("", 0)
        return IPv4Address("TCP", host, port or 0)

    def response_body(self) -> ResponseBody:
        """Return the body of a streaming response."""
        self.stream = ASGIResponseBody(self)
        return self.stream


def _chunk(data: bytes) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": True}


@define(eq=False)
class ASGIResponseBody(ResponseBody):
    """The body of a streaming response, as a byte stream."""

    outbox: Outbox = field(factory=lambda: Outbox(_chunk), init=False)
    #: The message that begins the response, once it has begun.
    head: Message | None = field(default=None, init=False)
    #: The first bytes of the body.
    first: bytes = field(default=b"", init=False)
    #: Fires when nothing more is written.
    finished: asyncio.Event = field(factory=asyncio.Event, init=False)
    aborted: bool = field(default=False, init=False)
    _closed: "Deferred[None]" = field(factory=Deferred, init=False)
    _gone: bool = field(default=False, init=False)

    @property
    def drained(self) -> int:
        """Return how many bytes the server has taken."""
        return self.outbox.drained

    def start(self, headers: Headers, now: float, first: bytes = b"") -> None:
        """Begin the response; the server adds the date."""
        self.head = {
            "type": "http.response.start",
            "status": 200,
            "headers": [(name.lower(), value) for name, value in headers],
        }
        self.first = first

    def closed(self) -> "Deferred[None]":
        """Return a Deferred that fires when the response has ended."""
        return self._closed

    def write(self, data: bytes) -> None:
        """Queue *data*."""
        self.outbox.write(data)

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Register *producer*, which is paused while the server takes no more."""
        self.outbox.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """Unregister the producer."""
        self.outbox.unregisterProducer()

    def finish(self) -> None:
        """End the body."""
        self.outbox.end({"type": "http.response.body", "body": b"", "more_body": False})
        self.finished.set()

    def abort(self) -> None:
        """Leave the rest to the server, which closes the connection."""
        self.aborted = True
        self.outbox.end()
        self.finished.set()

    def lose(self) -> None:
        """Tell the client's transport that the response has ended."""
        if not self._gone:
            self._gone = True
            self.outbox.end()
            self._closed.callback(None)


@define(eq=False)
class HTTPEndpoint:
    """Answers the HTTP requests of one path of an ASGI server.

    ``limit`` is the size of the largest body, in bytes.  A handler with a method
    ``refusal`` decides before the body is read.
    """

    _handler: Handler
    _limit: int
    _log = Logger()

    async def __call__(
        self, scope: Scope, path: str, receive: Receive, send: Send
    ) -> None:
        """Answer one request."""
        request = ASGIRequest(scope, path, b"")
        refusal = getattr(self._handler, "refusal", None)
        refused: Answer | None = refusal(request) if refusal is not None else None
        if refused is not None:
            await _send(send, refused, request)
            return
        body = await self._body(receive)
        if isinstance(body, Answer):
            await _send(send, body, request)
            return
        request.content = BytesIO(body)
        await self._answer(request, receive, send)

    async def _body(self, receive: Receive) -> bytes | Answer:
        """Return the body of a request, or the answer that refuses it."""
        parts, size = [], 0
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return Answer(400)  # to nobody
                    part: bytes = message.get("body", b"")
                    parts.append(part)
                    size += len(part)
                    if size > self._limit:
                        return Answer(413)
                    if not message.get("more_body"):
                        return b"".join(parts)
        except TimeoutError:
            return Answer(408)

    async def _answer(self, request: ASGIRequest, receive: Receive, send: Send) -> None:
        try:
            found: Any = self._handler(request)
            if isinstance(found, Deferred):
                found = await found.asFuture(asyncio.get_running_loop())
        except Exception:
            self._log.failure("HTTP request failed", path=request.uri)
            found = _FAILED
        stream = request.stream
        if isinstance(found, Answer):
            if stream is not None:
                stream.lose()
            await _send(send, found, request)
        elif stream is not None:
            await self._stream(stream, receive, send)

    async def _stream(
        self, stream: ASGIResponseBody, receive: Receive, send: Send
    ) -> None:
        """Send a streaming response until it ends, or the client disconnects."""
        head: Any = stream.head
        await send(head)
        # A chunk of its own: some EventSources lose an event that arrives with it.
        await send(_chunk(stream.first))
        writing = asyncio.ensure_future(stream.outbox.run(send))
        reading = asyncio.ensure_future(_disconnected(receive))
        finished = asyncio.ensure_future(stream.finished.wait())
        try:
            await asyncio.wait(
                (writing, reading, finished), return_when=asyncio.FIRST_COMPLETED
            )
            if stream.finished.is_set() and not stream.aborted:
                await asyncio.wait(
                    (writing, reading),
                    timeout=CLOSE_TIMEOUT,
                    return_when=asyncio.FIRST_COMPLETED,
                )
        finally:
            stream.lose()
            tasks = writing, reading, finished
            for each in tasks:
                each.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send(send: Send, answer: Answer, request: ASGIRequest) -> None:
    headers = [(name.lower(), value) for name, value in answer.headers]
    if answer.content_type:
        headers.append((b"content-type", answer.content_type.encode()))
    if answer.status != 204:
        headers.append((b"content-length", b"%d" % len(answer.body)))
    body = b"" if request.method == b"HEAD" else answer.body
    start = {"type": "http.response.start", "status": answer.status}
    await send({**start, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})

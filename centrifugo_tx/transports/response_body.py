"""Bodies of streaming HTTP responses, over HTTP/1 and HTTP/2."""

from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted
from twisted.python.failure import Failure
from twisted.web.http import datetimeToString

from ..bounded_log import address_of
from .cors import Headers
from .eager_tcp import bytes_drained

__all__ = ["ResponseBody", "body_of"]

#: Seconds in which the peer must read some of the rest of an ended body.
LINGER = 15
#: Bytes of one HTTP/2 body that may wait within the connection.
HIGH_WATER = 65536
#: Seconds between two checks of a body that makes no progress.
POLL_INTERVAL = 0.05


@define(eq=False)
class ResponseBody:
    """The body of an HTTP/1 response, as a byte stream.

    HTTP/1.1 sends each write as one chunk; HTTP/1.0 marks the end by closing the
    connection.  The request timeout of the connection is suspended meanwhile.
    """

    _request: Any

    @property
    def peer_address(self) -> str:
        """Return the address from which the request came."""
        return address_of(self._request)

    @property
    def drained(self) -> int:
        """Return how many bytes have left the transport's queue."""
        return bytes_drained(self._request.transport)

    def start(self, headers: Headers, now: float, first: bytes = b"") -> None:
        """Send the head and the first bytes of the body at once.

        :param now: seconds since 1970.
        """
        request = self._request
        request.defaultContentType = None
        raw = request.responseHeaders
        raw.setRawHeaders(b"Date", [datetimeToString(now)])
        for name, value in (*self._own_headers(), *headers):
            raw.setRawHeaders(name, [value])
        request.write(first)

    def _own_headers(self) -> Headers:
        if self._request.channel.persistent:
            return ((b"Connection", b"keep-alive"),)
        return ()

    def closed(self) -> "Deferred[None]":
        """Return a Deferred that fires or fails when the response has ended."""
        over: Deferred[None] = self._request.notifyFinish()
        return over

    def write(self, data: bytes) -> None:
        """Send *data* as one chunk."""
        request = self._request
        if request.chunked and request.channel is not None:
            request.channel.write(b"%x\r\n%b\r\n" % (len(data), data))
        else:
            request.write(data)

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Register *producer*, which is paused while the connection is full."""
        self._request.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """Unregister the producer."""
        if self._request.channel is not None:
            self._request.unregisterProducer()
        else:
            self._request.producer = None

    def finish(self) -> None:
        """End the body."""
        if self._request.channel is not None:
            self._request.finish()

    def abort(self) -> None:
        """Abort the connection; unsent data is lost."""
        if self._request.channel is not None:
            self._request.channel.transport.abortConnection()


@define(eq=False)
class HTTP2ResponseBody(ResponseBody):
    """The body of an HTTP/2 response, as a byte stream.

    Twisted's connection buffers everything up to the peer's window, which may be
    2 GiB, even while the kernel accepts nothing.  So this class bounds the backlog.
    The timeout of the connection is suspended while streaming bodies are open.
    """

    _producer: Any = field(default=None, init=False)
    _stalled: bool = field(default=False, init=False)

    @property
    def _connection(self) -> Any:
        return self._request.channel._conn

    @property
    def drained(self) -> int:
        """Return a number that changes whenever some of the body has been sent."""
        request = self._request
        if request.channel is None:
            return 0
        return -_waiting(self._connection, request.channel.streamID)

    def _own_headers(self) -> Headers:
        return ()

    def closed(self) -> "Deferred[None]":
        """Return a Deferred that fires or fails when the response has ended."""
        connection = self._connection
        held: tuple[int, Any] = getattr(connection, "held", (0, None))
        seconds = held[1] if held[0] else connection.setTimeout(None)
        connection.held = held[0] + 1, seconds

        def over(result: object) -> object:
            count, seconds = connection.held
            connection.held = count - 1, seconds
            if count == 1 and connection._stillProducing:
                connection.setTimeout(seconds)
            return result

        # This fires when the last byte is sent, not when the body is finished.
        waiting = connection._streamCleanupCallbacks
        sent: Deferred[None] = waiting[self._request.channel.streamID]
        return sent.addBoth(over)

    def write(self, data: bytes) -> None:
        """Send *data*, and pause the producer while the connection is blocked."""
        request = self._request
        request.write(data)
        if request.channel is None or self._producer is None or self._stalled:
            return
        connection = self._connection
        blocked, waiting = connection._consumerBlocked, -self.drained
        if blocked is not None:
            self._stalled = True
            blocked.addCallback(self._resume_producer)
            self._producer.pauseProducing()
        elif waiting > HIGH_WATER:
            self._stalled = True
            connection.callLater(0, self._check_backlog, waiting)
            self._producer.pauseProducing()

    def _check_backlog(self, before: int) -> None:
        """Resume the producer when the backlog of the connection is small again."""
        waiting = -self.drained
        if waiting <= HIGH_WATER:
            self._resume_producer(None)
        else:
            delay = POLL_INTERVAL if waiting == before else 0
            self._connection.callLater(delay, self._check_backlog, waiting)

    def _resume_producer(self, result: object) -> object:
        self._stalled = False
        if self._producer is not None:
            self._producer.resumeProducing()
        return result

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Register *producer*, which is paused while the connection is full."""
        self._producer = producer
        ResponseBody.registerProducer(self, producer, streaming)

    def unregisterProducer(self) -> None:
        """Unregister the producer."""
        self._producer = None
        ResponseBody.unregisterProducer(self)

    def finish(self) -> None:
        """End the body; reset the stream if the peer does not read the rest."""
        request = self._request
        if request.channel is not None:
            connection, id = self._connection, request.channel.streamID
            request.finish()
            _give_up_later(connection, id)

    def abort(self) -> None:
        """Reset the stream; other streams of the connection continue."""
        request = self._request
        if request.channel is not None:
            request.channel.abortConnection()
            request.connectionLost(Failure(ConnectionAborted()))


def _waiting(connection: Any, id: int) -> int:
    """Return how many bytes of one stream the connection has yet to send."""
    queue = connection._outboundStreamQueues.get(id, ())
    return sum(len(each) for each in queue if isinstance(each, bytes))


def _give_up_later(connection: Any, id: int) -> None:
    """Reset an ended stream when its peer stops reading the rest."""
    left = _waiting(connection, id)

    def look() -> None:
        now = _waiting(connection, id)
        if not now:
            return
        if now == left:
            connection.abortRequest(id)
        else:
            _give_up_later(connection, id)

    if left:
        connection.callLater(LINGER, look)


def body_of(request: Any) -> ResponseBody:
    """Return the body of the response to *request*, which has not started yet.

    A request of another server has a method ``response_body``.
    """
    own = getattr(request, "response_body", None)
    if own is not None:
        body: ResponseBody = own()
        return body
    return (
        HTTP2ResponseBody(request)
        if request.clientproto == b"HTTP/2"
        else ResponseBody(request)
    )

"""HTTP/2 (RFC 9113)."""

from collections import deque
from contextlib import suppress
from typing import Any

import h2.events as events
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError, StreamClosedError
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger, LogPublisher
from twisted.python.failure import Failure
from twisted.web._http2 import H2Connection, H2Stream

from ..core.time_slices import SLICE_SECONDS
from ..options import Answer
from .frame_reader import EARNED, FrameFloodLimit, FrameReader
from .http_channel import LENGTH_DIGITS
from .request_target import path_of
from .response_head import headers_of

__all__ = ["HTTP2Connection", "HTTP2Factory"]

#: Frames that are read from one connection in one turn of the reactor.
SLICE_FRAMES = 128
#: Bytes of unread frames before reading from the socket pauses.
HELD_LIMIT = 65536
#: Bytes of request bodies in progress on one connection.
BODIES_LIMIT = 32 * 1024 * 1024
#: Bytes of responses that may wait for a window before requests wait, too.
ANSWERS_LIMIT = 4 * 1024 * 1024
#: Bytes of a response that entitle the client to one WINDOW_UPDATE frame.
UPDATE = 2048
#: Bytes of the header compression table for responses.
TABLE_SIZE = 4096


class Stream(H2Stream):  # type: ignore[misc]  # untyped
    """One request, whose body is bounded in time and size."""

    _conn: "HTTP2Connection"
    body_bytes = 0
    _deadline: IDelayedCall | None = None

    def start_deadline(self, seconds: float) -> None:
        """Wait at most *seconds* for the body."""
        late = Answer(408)
        self._deadline = self._conn.callLater(seconds, self.refuse, late)

    def stop_deadline(self) -> None:
        """Stop waiting, because the body is complete."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def receiveDataChunk(self, data: bytes, flowControlledLength: int) -> None:
        """Accept a part of the body, unless the bodies are too large by now."""
        connection = self._conn
        self.body_bytes += len(data)
        connection.body_bytes += len(data)
        if connection.body_bytes > BODIES_LIMIT:
            self.refuse(Answer(503))
        else:
            self._request.handleContentChunk(data)
        # The other streams need the window, even if this one was refused.
        connection.openStreamWindow(self.streamID, flowControlledLength)

    def refuse(self, answer: Answer) -> None:
        """Answer before the body is complete, and tell the client to stop sending."""
        self._deadline = None
        connection, id = self._conn, self.streamID
        if connection.streams.get(id) is not self:
            return
        headers = [(b":status", b"%d" % answer.status)]
        headers.append((b"content-length", b"%d" % len(answer.body)))
        if answer.content_type:
            headers.append((b"content-type", answer.content_type.encode()))
        headers += [(name.lower(), value) for name, value in headers_of(answer)]
        conn = connection.conn
        room = conn.local_flow_control_window(id) >= len(answer.body)
        body = answer.body if room else b""
        conn.send_headers(id, headers, end_stream=not body)
        if body:
            conn.send_data(id, body, end_stream=True)
        with suppress(StreamClosedError):  # the body is complete, too
            conn.reset_stream(id, ErrorCodes.NO_ERROR)  # RFC 9113, 8.1
        if connection._tryToWriteControlData():
            self.connectionLost(Failure(ConnectionLost("refused")))
            connection._requestDone(id)

    def connectionLost(self, reason: Any) -> None:
        """Forget the request."""
        self.stop_deadline()
        super().connectionLost(reason)


class HTTP2Connection(H2Connection):  # type: ignore[misc]  # untyped
    """One HTTP/2 connection.

    Input is read frame by frame, one slice per turn of the reactor.  A client that
    sends more useless frames than `FrameFloodLimit` allows is disconnected.
    Priorities are ignored, as RFC 9113, 5.3.2 allows: all streams are equal.

    Twisted's connection polls in every turn of the reactor while data waits for a
    window, which a peer may never open (RFC 9113, 5.2).  This one waits for the window.
    """

    transport: Any
    site: Any
    factory: Any
    callLater: Any
    _sendingDeferred: Any
    #: No mistake of a client is worth a log line.
    _log = Logger(observer=LogPublisher())
    #: Bytes of request bodies in progress.
    body_bytes = 0

    def __init__(self, reactor: Any) -> None:
        self._blocked: set[int] = set()
        self._frames = FrameReader()
        self._flood_limit = FrameFloodLimit(reactor)
        self._read_scheduled = self._paused = False
        #: Complete requests that wait until other responses are sent.
        self._ready: deque[int] = deque()
        super().__init__(reactor)

    def connectionMade(self) -> None:
        """Start, and register as the producer of the transport."""
        super().connectionMade()
        self.transport.registerProducer(self, True)

    # --- Receiving -------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        """Process input, and unblock the streams to which it gives room."""
        if not self._stillProducing:
            return  # the connection is being closed
        self._frames.feed(data)
        if not self._read_scheduled:
            self._read()
        elif self._frames.size > HELD_LIMIT and not self._paused:
            self._paused = True
            self.transport.pauseProducing()

    def _read(self) -> None:
        """Read a slice of frames; the rest waits until other connections have run."""
        self._read_scheduled = False
        end = self._reactor.seconds() + SLICE_SECONDS
        for _ in range(SLICE_FRAMES):
            frame = self._frames.next()
            if frame is None:
                break
            self._receive(frame)
            if not self._stillProducing:
                return
            if self._reactor.seconds() >= end:
                break
        if self._frames.ready:
            self._read_scheduled = True
            self.site.robin.add(self._go_on_reading)
        else:
            self._unpause()
        self._tryToWriteControlData()
        if self._blocked and self._stillProducing:
            self._unblock_streams()

    def _go_on_reading(self) -> None:
        if self._stillProducing:
            self._read()

    def _unpause(self) -> None:
        if self._paused:
            self._paused = False
            self.transport.resumeProducing()

    def _receive(self, frame: bytes) -> None:
        """Process one frame."""
        if not self._flood_limit.allows(frame):
            self._close_with(ErrorCodes.ENHANCE_YOUR_CALM)
            return
        try:
            found = self.conn.receive_data(frame)
        except ProtocolError:
            self._terminate(Failure())
            return
        if found:  # a part of a header block is no activity
            self.resetTimeout()
        for event in found:
            self._handle_event(event)
            if not self._stillProducing:
                return

    def _handle_event(self, event: Any) -> None:
        kind = type(event)
        if kind is events.RequestReceived:
            self._requestReceived(event)
        elif kind is events.WindowUpdated:
            self._handleWindowUpdate(event)
        elif kind is events.RemoteSettingsChanged:
            encoder = self.conn.encoder
            encoder.header_table_size = min(encoder.header_table_size, TABLE_SIZE)
        elif kind is events.ConnectionTerminated:
            self._lose(Failure(ConnectionLost("the client closed the connection")))
        elif getattr(event, "stream_id", None) not in self.streams:
            pass  # the stream is closed already
        elif kind is events.DataReceived:
            self._requestDataReceived(event)
        elif kind is events.StreamEnded:
            self._requestEnded(event)
        elif kind is events.StreamReset:
            self._requestAborted(event)

    def _requestReceived(self, event: Any) -> None:
        """Start a request."""
        id, site = event.stream_id, self.site
        lengths = [v for name, v in event.headers if name == b"content-length"]
        if not _is_fit(event.headers, lengths):
            self._refuse_head(id)
            return
        self._streamCleanupCallbacks[id] = Deferred()
        self._outboundStreamQueues[id] = deque()
        self.priority.insert_stream(id)
        self.priority.block(id)
        stream = Stream(id, self, event.headers, self.requestFactory, site, site)
        self.streams[id] = stream
        self._flood_limit.allow_more(EARNED)
        if event.stream_ended is not None:
            return
        request = stream._request
        request.method, request.uri = stream.command, stream.path
        path, _ = path_of(stream.path)
        answer = site.refusal(path, request, int(lengths[0]) if lengths else None)
        if answer is not None:
            stream.refuse(answer)
        else:
            stream.start_deadline(site.timeOut)

    def _refuse_head(self, id: int) -> None:
        """Answer 400 to a request with a malformed head."""
        headers = [(b":status", b"400"), (b"content-length", b"0")]
        self.conn.send_headers(id, headers, end_stream=True)
        with suppress(StreamClosedError):
            self.conn.reset_stream(id, ErrorCodes.NO_ERROR)
        self._tryToWriteControlData()

    def _requestEnded(self, event: Any) -> None:
        """Answer a complete request, if the client reads earlier responses."""
        stream = self.streams[event.stream_id]
        stream.stop_deadline()
        self._ready.append(event.stream_id)
        self._answer_ready()

    def _answer_ready(self) -> None:
        ready = self._ready
        while ready and self._stillProducing and self._unsent_bytes() <= ANSWERS_LIMIT:
            stream = self.streams.get(ready.popleft())
            if stream is not None:
                self.body_bytes -= stream.body_bytes
                stream.body_bytes = 0
                stream.requestComplete()

    def _unsent_bytes(self) -> int:
        """Return the number of response bytes that wait."""
        return sum(
            len(each)
            for queue in self._outboundStreamQueues.values()
            for each in queue
            if isinstance(each, bytes)
        )

    def _requestDone(self, streamID: int) -> None:
        """Forget a stream."""
        self.body_bytes -= self.streams[streamID].body_bytes
        super()._requestDone(streamID)

    # --- Sending ---------------------------------------------------------------

    def _sendPrioritisedData(self, *arguments: object) -> None:
        """Send a frame, then answer further requests if there is room."""
        window = self.conn.outbound_flow_control_window
        super()._sendPrioritisedData()
        self._flood_limit.allow_more(
            (window - self.conn.outbound_flow_control_window) / UPDATE
        )
        if self._ready:
            self._answer_ready()

    def remainingOutboundWindow(self, streamID: int) -> int:
        """Return the remaining window; block the stream while there is none."""
        remaining: int = super().remainingOutboundWindow(streamID)
        if remaining < 0 and self.conn.local_flow_control_window(streamID) <= 0:
            self._blocked.add(streamID)
            self.priority.block(streamID)
        return remaining

    def _unblock_streams(self) -> None:
        self._blocked &= self.streams.keys()
        window = self.conn.local_flow_control_window
        free = {each for each in self._blocked if window(each) > 0}
        if not free:
            return
        self._blocked -= free
        for each in free:
            self.priority.unblock(each)
        sending, self._sendingDeferred = self._sendingDeferred, None
        if sending is not None:
            sending.callback(None)

    # --- The end ---------------------------------------------------------------

    def _close_with(self, code: ErrorCodes) -> None:
        self.conn.close_connection(error_code=code)
        self._terminate(Failure(ConnectionLost(f"closed: {code.name}")))

    def _terminate(self, reason: Failure) -> None:
        """Send GOAWAY, and ignore further input."""
        self._frames.clear()
        self._unpause()  # TLS must read the end of the stream
        if self._tryToWriteControlData():
            self.transport.loseConnection()
            self.connectionLost(reason, _cancelTimeouts=False)

    def _lose(self, reason: Failure) -> None:
        self.transport.loseConnection()
        self.connectionLost(reason, _cancelTimeouts=False)

    def timeoutConnection(self) -> None:
        """Close an idle connection; abort it if the client does not close."""
        later = self.callLater
        if self._stillProducing:
            idle = not self.conn.open_inbound_streams
            self._close_with(ErrorCodes.NO_ERROR if idle else ErrorCodes.PROTOCOL_ERROR)
        else:
            self.transport.loseConnection()
        self._abortingCall = later(self.abortTimeout, self.forceAbortClient)

    def forceAbortClient(self) -> None:
        """Abort, because the client has stopped reading."""
        self._abortingCall = None
        self.transport.abortConnection()

    def connectionLost(self, reason: Any, _cancelTimeouts: bool = True) -> None:
        """Notify the open requests, and break reference cycles.

        Twisted also calls this, without cancelling timeouts, when the peer sends
        GOAWAY.
        """
        self.transport.unregisterProducer()
        super().connectionLost(reason, _cancelTimeouts)
        self._frames.clear()
        if _cancelTimeouts:
            self.requestFactory = self.site = self.factory = self.callLater = None


def _is_fit(headers: Any, lengths: list[bytes]) -> bool:
    """Return whether a head has a path, and at most one, valid, length."""
    if lengths and not (len(lengths) == 1 and lengths[0].isdigit()):
        return False
    fit = not lengths or len(lengths[0]) <= LENGTH_DIGITS
    return fit and any(name == b":path" for name, _ in headers)


class HTTP2Factory(ServerFactory):
    """Makes HTTP/2 connections whose requests *site* answers."""

    noisy = False

    def __init__(self, site: Any) -> None:
        self._site = site

    def buildProtocol(self, address: Any) -> HTTP2Connection:
        """Return the protocol of a connection."""
        site = self._site
        connection = HTTP2Connection(site.reactor)
        connection.requestFactory = site.requestFactory
        connection.site = connection.factory = site
        connection.timeOut = site.timeOut
        connection.callLater = site.reactor.callLater
        return connection

"""Autobahn's WebSocket server protocol with less memory per connection.

Autobahn still does the handshake, fragments, control frames, compression, UTF-8
across frames and closing.  This subclass keeps fewer attributes per connection, and
decodes whole, short frames itself.
"""

import zlib
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any, ClassVar

import txaio
from attrs import frozen
from autobahn.twisted.util import create_transport_details, peer2str
from autobahn.twisted.websocket import (
    WebSocketServerFactory,
    WebSocketServerProtocol,
)
from autobahn.websocket.protocol import (
    TrafficStats,
    WebSocketProtocol,
)
from autobahn.websocket.types import ConnectionDeny
from autobahn.websocket.utf8validator import Utf8Validator
from twisted.internet.interfaces import IDelayedCall, IReactorTime, ISSLTransport
from twisted.logger import Logger

from .handshake import Upgrade, accepted, plain_upgrade
from .lazy_attributes import (
    MISSING,
    TRANSIENT,
    LazyAttribute,
    initial_values,
    subclass_with,
)

__all__ = ["LeanWebSocketFactory", "LeanWebSocketProtocol"]

CONNECTING = WebSocketProtocol.STATE_CONNECTING
OPEN = WebSocketProtocol.STATE_OPEN
CLOSED = WebSocketProtocol.STATE_CLOSED
TOO_BIG = WebSocketProtocol.CLOSE_STATUS_CODE_MESSAGE_TOO_BIG

#: Longer payloads are unmasked faster by Autobahn's native code.
FAST_LIMIT = 4096
#: Bytes that a client may send before its handshake is answered.
EARLY_LIMIT = 65536
#: Seconds in which a peer must read the last bytes and close its side.
LINGER = 5.0


def _opened(protocol: "LeanWebSocketProtocol") -> object:
    if protocol.state == OPEN:
        return txaio.create_future(result=None)
    return txaio.create_future()


def _closed(protocol: "LeanWebSocketProtocol") -> object:
    if protocol.state == CLOSED:
        return txaio.create_future(result=protocol)
    return txaio.create_future()


class LeanWebSocketProtocol(WebSocketServerProtocol):  # type: ignore[misc]  # untyped
    """One WebSocket connection; made by `LeanWebSocketFactory`.

    Override ``check_request`` instead of ``onConnect``, and ``onOpen``, ``onMessage``
    and ``onClose`` as usual.  Autobahn's event listeners, automatic pings, traffic
    statistics per connection and frame logs are not available.
    """

    is_open = LazyAttribute(_opened)
    is_closed = LazyAttribute(_closed)
    utf8validator = LazyAttribute(lambda self: Utf8Validator())
    _results = LazyAttribute(lambda self: {"message": None})
    _transport_details = LazyAttribute(
        lambda self: create_transport_details(self.transport, True)
    )
    peer = LazyAttribute(lambda self: peer2str(self.transport))
    _valid_events = ("message",)
    trafficStats = TrafficStats()
    data: Any
    send_queue: Any = ()
    current_frame: Any = None
    inside_message = False
    _isMessageCompressed: bool
    websocket_version = 13
    websocket_protocol_in_use: str | None = None
    websocket_extensions_in_use: Any = ()
    closeHandshakeTimeoutCall: Any = None
    fast_limit = wire_limit = inflated_limit = 0
    message_wire_size = message_inflated_size = 0
    defaults: ClassVar[dict[str, object]] = {}
    log = txaio.make_logger(
        level="error"
    )  # Autobahn warns about every mistake of a peer
    _log = Logger()
    #: Whether `check_request` never waits, so that requests can skip Autobahn.
    opens_plain_requests = False
    _request_checked = False
    _reading_paused = False

    # --- Life ------------------------------------------------------------------

    def __init__(self) -> None:
        """Do nothing: the class holds all initial values."""

    def connectionMade(self) -> None:
        """Start the handshake, without the log lines that Autobahn formats."""
        with suppress(AttributeError, OSError):  # a UNIX socket
            self.transport.setTcpNoDelay(True)
        factory = self.factory
        factory.countConnections += 1
        self.state = CONNECTING
        if self.openHandshakeTimeout:
            self.openHandshakeTimeoutCall = factory._batched_timer.call_later(
                self.openHandshakeTimeout, self.onOpenHandshakeTimeout
            )

    def dropConnection(self, abort: bool = False) -> None:
        """Close the stream, and abort it later if the peer does not close its side.

        Autobahn aborts at once after a complete closing handshake, by which the peer
        could lose the close frame (RFC 6455, 7.1.1).
        """
        if self.state == CLOSED:
            return
        self.is_closed  # noqa: B018  # create it before the state changes
        abort = abort and not self.wasClean
        super().dropConnection(abort)
        if self.closeHandshakeTimeoutCall is not None:
            self.closeHandshakeTimeoutCall.cancel()
            self.closeHandshakeTimeoutCall = None
        if not abort:
            self.closeHandshakeTimeoutCall = self.factory._batched_timer.call_later(
                LINGER, self._abort
            )

    def _closeConnection(self, abort: bool = False) -> None:
        """Abort the stream, or close the write side and read until the peer closes.

        Closing both sides with bytes unread would make the kernel send a reset.
        """
        transport = self.transport
        if abort:
            transport.abortConnection()
            return
        transport.resumeProducing()
        if ISSLTransport.providedBy(transport):
            transport.loseConnection()  # waits for the peer's close_notify
        else:
            transport.loseWriteConnection()

    def _abort(self) -> None:
        self.closeHandshakeTimeoutCall = None
        self.transport.abortConnection()

    def connectionLost(self, reason: Any) -> None:
        """Clean up: cancel the timer and break reference cycles."""
        self.is_closed  # noqa: B018  # create it before the state changes
        WebSocketProtocol._connectionLost(self, reason)
        self.factory.countConnections -= 1
        if self.closeHandshakeTimeoutCall is not None:
            self.closeHandshakeTimeoutCall.cancel()
            self.closeHandshakeTimeoutCall = None
        del self.is_closed  # its result refers to this object

    # --- The handshake ---------------------------------------------------------

    def processHandshake(self) -> None:
        """Read the request, but only once.

        Autobahn would read bytes that arrive while `check_request` waits as a second
        request.
        """
        if self._request_checked:
            if len(self.data) > EARLY_LIMIT:
                self.dropConnection(abort=True)
            return
        upgrade = None
        if self.opens_plain_requests:
            upgrade = plain_upgrade(self.data, self.factory.compresses)
        if upgrade is None:
            super().processHandshake()
        else:
            self._open_at_once(upgrade)

    def _open_at_once(self, upgrade: Upgrade) -> None:
        """Open without Autobahn's handshake, the most expensive part of a connect."""
        try:
            chosen = self.onConnect(upgrade)
        except ConnectionDeny as denied:
            self.failHandshake(denied.reason, denied.code)
            return
        if chosen is not None:
            self.websocket_protocol_in_use = chosen
        self.data = self.data[upgrade.size :]
        self.state = OPEN
        self.transport.write(accepted(upgrade.key, chosen))
        self._onOpen()
        self.drop_transient()
        if self.data:
            self.consumeData()
            self.drop_transient()

    def onConnect(self, request: Any) -> Any:
        """Call `check_request`; an unexpected error is logged and becomes a 500."""
        self._request_checked = True
        try:
            return self.check_request(request)
        except ConnectionDeny:
            raise
        except Exception:
            self._log.failure("WebSocket handshake failed")
            raise ConnectionDeny(500, "Internal Server Error") from None

    def check_request(self, request: Any) -> Any:
        """Accept *request* (a ConnectionRequest); return the subprotocol, or None.

        :raises ConnectionDeny: to refuse the request with an HTTP status.
        """

    def sendHttpErrorResponse(
        self, code: int, reason: str, responseHeaders: Any = None
    ) -> None:
        """Respond with an error to a request for a WebSocket."""
        if self.factory.handshakes is not None:
            self.factory.handshakes(code)
        body = f"{reason}\n".encode()
        head = [f"HTTP/1.1 {code} {HTTPStatus(code).phrase}"]
        head += [
            f"{name}: {value}"
            for name, value in responseHeaders or ()
            if name != "Sec-WebSocket-Version"
        ]
        head += self.refusal_headers()
        head += [
            "Sec-WebSocket-Version: 13",
            "X-Content-Type-Options: nosniff",
            "Content-Type: text/plain; charset=utf-8",
            f"Content-Length: {len(body)}",
            "Connection: close\r\n\r\n",
        ]
        self.sendData("\r\n".join(head).encode() + body)

    def refusal_headers(self) -> list[str]:
        """Return further headers of a response that refuses the WebSocket."""
        return []

    def succeedHandshake(self, result: Any) -> None:
        """Open, unless the peer disconnected while `check_request` waited."""
        if self.state != CONNECTING:
            return
        self.is_open  # noqa: B018  # create it before the state changes
        super().succeedHandshake(result)
        self.drop_transient()

    def _onOpen(self) -> None:
        if self.factory.handshakes is not None:
            self.factory.handshakes(101)
        self.onOpen()  # Autobahn would read the TLS channel id and certificate first

    # --- Receiving -------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        """Decode whole, short, masked frames here; leave others to Autobahn."""
        if self._reading_paused:
            self.data += data
            return
        opened = self.state == OPEN
        if self.state == CLOSED:
            self.data = b""  # only the end of the stream matters now
            return
        if (
            opened
            and self.current_frame is None
            and not self.inside_message
            and not self.data
        ):
            read = self._read_quickly(data)
            if read == len(data):
                return
            data = data[read:] if read else data
        self._dataReceived(data)
        if opened:
            self.drop_transient()

    def _read_quickly(self, data: bytes) -> int:
        """Handle frames at the start of *data*; return the number of bytes consumed."""
        at, end = 0, len(data)
        while end - at >= 6:
            first, size = data[at], data[at + 1] - 128
            start = at + 6
            if (first != 0x81 and first != 0x82) or size < 0:
                break
            if size > 125:
                if size == 127 or end - at < 8:
                    break
                size = data[at + 2] << 8 | data[at + 3]
                start = at + 8
                if size < 126 or size > self.fast_limit:
                    break
            stop = start + size
            if stop > end:
                break
            mask = int.from_bytes(data[start - 4 : start] * (size + 3 >> 2), "little")
            if size & 3:
                mask &= (1 << (size << 3)) - 1
            masked = int.from_bytes(data[start:stop], "little")
            payload = (masked ^ mask).to_bytes(size, "little")
            if first == 0x81 and not payload.isascii():
                try:
                    payload.decode()
                except UnicodeDecodeError:
                    break  # Autobahn finds the error, too, and closes with 1007
            at = stop
            self.onMessage(payload, first == 0x82)
            if self.state != OPEN or self._reading_paused:
                break
        return at

    def processData(self) -> bool:
        """Process one frame; return whether another one may follow."""
        if self._reading_paused:
            return False
        more: bool = super().processData()
        return more

    def pause_reading(self) -> None:
        """Stop processing messages; data received so far stays buffered."""
        self._reading_paused = True
        self.transport.pauseProducing()

    def resume_reading(self) -> None:
        """Undo `pause_reading`; do nothing if reading is not paused."""
        if not self._reading_paused:
            return
        self._reading_paused = False
        self.transport.resumeProducing()
        if self.data:
            # Later, because a caller may be in the middle of a message.
            self.factory._batched_timer.call_later(0, self._read_buffered)

    def _read_buffered(self) -> None:
        if self.state != CLOSED and not self._reading_paused and self.data:
            self.consumeData()
            self.drop_transient()

    def drop_transient(self) -> None:
        """Between messages, delete the attributes that only the last one needed."""
        if (
            self.state == OPEN
            and self.current_frame is None
            and not self.inside_message
        ):
            default = self.defaults.get
            self.__dict__ = {
                name: value
                for name, value in self.__dict__.items()
                if name not in TRANSIENT and default(name, MISSING) != value
            }

    def onMessageBegin(self, isBinary: bool) -> None:
        """Reset the size of the current message."""
        super().onMessageBegin(isBinary)
        self.message_wire_size = self.message_inflated_size = 0
        self.maxMessagePayloadSize = (
            self.inflated_limit if self._isMessageCompressed else self.wire_limit
        )

    def onMessageFrameBegin(self, length: int) -> None:
        """Count the bytes of a message; an empty frame counts as one."""
        self.message_wire_size += length or 1
        if not self.failedByMe and 0 < self.wire_limit < self.message_wire_size:
            self._max_message_size_exceeded(length, self.wire_limit, "")
        super().onMessageFrameBegin(length)

    def _max_message_size_exceeded(self, size: int, limit: int, reason: str) -> None:
        self.failedByMe = True
        self.sendCloseFrame(code=TOO_BIG)

    def onMessageEnd(self) -> None:
        """Free the decompressor, whose window takes 40 kB, if it keeps no context."""
        super().onMessageEnd()
        deflate = self._perMessageCompress
        if deflate is not None and deflate.client_no_context_takeover:
            deflate._decompressor = None

    def onFrameData(self, payload: bytes) -> None:
        """Skip the rest of a refused message, up to the close frame."""
        if self.current_frame.opcode > 7:
            super().onFrameData(payload)
        elif not self.failedByMe:
            if self._isMessageCompressed:
                self._decompress(payload)
            else:
                super().onFrameData(payload)

    def _decompress(self, payload: bytes) -> None:
        """Process a part of a compressed message, within the limit of its size.

        Autobahn before 26.7 decompresses without a limit.
        """
        limit = self.maxMessagePayloadSize
        room = limit - self.message_inflated_size + 1 if limit else 0  # 0: no limit
        decompressor = self._perMessageCompress._decompressor
        try:
            data = decompressor.decompress(payload, room)
        except zlib.error:
            self._invalid_payload("malformed compressed data")
            return
        self.message_inflated_size += len(data)
        if 0 < limit < self.message_inflated_size:
            self._max_message_size_exceeded(self.message_inflated_size, limit, "")
            return
        self._isMessageCompressed = False  # for this part
        super().onFrameData(data)
        self._isMessageCompressed = True

    def onFrameEnd(self) -> None:
        """Finish a frame; skip those of a refused message."""
        frame = self.current_frame
        if not self.failedByMe or frame.opcode > 7:
            try:
                super().onFrameEnd()
            except zlib.error:  # Autobahn before 26.10
                self._invalid_payload("malformed compressed data")
                self.inside_message = False
        elif frame.fin:
            self.inside_message = False
        self.current_frame = None

    # --- Sending ---------------------------------------------------------------

    def sendData(self, data: bytes, sync: bool = False, chopsize: Any = None) -> None:
        """Write *data*; chopped and synchronous sends are not supported."""
        self.transport.write(data)


@frozen(eq=False)
class ClockTimers:
    """The timer interface that Autobahn needs, on a given clock."""

    _clock: IReactorTime

    def call_later(self, delay: float, function: Any, *arguments: Any) -> IDelayedCall:
        """Call *function* in *delay* seconds."""
        return self._clock.callLater(delay, function, *arguments)


class LeanWebSocketFactory(WebSocketServerFactory):  # type: ignore[misc]  # untyped
    """Makes `LeanWebSocketProtocol` instances.

    Set the protocol options before the first connection; later changes have no
    effect.  ``inflated_limit`` is the largest message after decompression, in bytes;
    the default is ``maxMessagePayloadSize``.
    """

    protocol: type[LeanWebSocketProtocol] = LeanWebSocketProtocol
    noisy = False
    inflated_limit = 0
    #: Called with the HTTP status that answers each handshake.
    handshakes: Callable[[int], None] | None = None
    log = txaio.make_logger(level="error")
    _specialized: type[LeanWebSocketProtocol] | None = None

    def __init__(self, clock: IReactorTime) -> None:
        super().__init__(reactor=clock, server="")
        self._batched_timer = ClockTimers(clock)
        # `check_request` checks all origins, the opaque one included.
        self.setProtocolOptions(webStatus=False, allowNullOrigin=True)

    def buildProtocol(self, address: Any) -> LeanWebSocketProtocol:
        """Return a protocol for a new connection."""
        made = self._specialized
        if made is None:
            made = self._specialized = self._specialize()
        return made()

    def _specialize(self) -> type[LeanWebSocketProtocol]:
        """Make a subclass with the options and Autobahn's initial values."""
        if self.autoPingInterval:
            raise ValueError("autoPingInterval must be 0: the application sends pings")
        defaults = initial_values(self)
        limit = self.maxMessagePayloadSize
        limits = (limit, self.maxFramePayloadSize)
        values = {
            **defaults,
            "websocket_extensions_in_use": (),
            "factory": self,
            "connected": 1,
            "wire_limit": limit,
            "inflated_limit": self.inflated_limit or limit,
            "fast_limit": min([FAST_LIMIT, *(each for each in limits if each)]),
            # The values of an open connection that differ from its class.
            "defaults": {
                **defaults,
                "_request_checked": True,
                "_reading_paused": False,
            },
        }
        return subclass_with(self.protocol, values)

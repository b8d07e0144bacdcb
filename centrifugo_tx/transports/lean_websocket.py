"""Autobahn's server protocol, made small and quick.

Autobahn still does the handshake, fragments, control frames, compression, UTF-8
across frames and closing.  What changes is how much a connection keeps, and that a
whole, short frame does not take the long way.
"""

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

#: A longer payload is unmasked faster by Autobahn's native code.
FAST_LIMIT = 4096
#: What a client may send before its handshake is answered.
EARLY_LIMIT = 65536
#: Seconds in which a peer has to read what was sent to it and to close its side.
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
    websocket_version = 13
    websocket_protocol_in_use: str | None = None
    websocket_extensions_in_use: Any = ()
    closeHandshakeTimeoutCall: Any = None
    fast_limit = wire_limit = inflated_limit = 0
    defaults: ClassVar[dict[str, object]] = {}
    log = txaio.make_logger(level="error")  # it warns of whatever peers do
    _log = Logger()
    #: Whether `check_request` answers at once, so that plain requests are opened here.
    opens_plain_requests = False
    _request_checked = False
    _reading_paused = False

    # --- Life ------------------------------------------------------------------

    def __init__(self) -> None:
        """Leave everything to the class."""

    def connectionMade(self) -> None:
        """Begin the handshake; unlike Autobahn's, this formats nothing for a log."""
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
        """Close the stream, and abort it if the peer does not close its side, too.

        After a whole closing handshake it is never aborted at once, as Autobahn
        wants: the peer could lose the close frame (RFC 6455, 7.1.1).
        """
        if self.state == CLOSED:
            return
        self.is_closed  # noqa: B018  # made before the state changes
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
        """Abort the stream, or end this side of it and read on until the peer's end.

        Unread bytes would make the kernel reset a stream that is closed as a whole.
        """
        transport = self.transport
        if abort:
            transport.abortConnection()
            return
        transport.resumeProducing()
        if ISSLTransport.providedBy(transport):
            transport.loseConnection()  # which waits for the peer's close_notify
        else:
            transport.loseWriteConnection()

    def _abort(self) -> None:
        self.closeHandshakeTimeoutCall = None
        self.transport.abortConnection()

    def connectionLost(self, reason: Any) -> None:
        """Let go, leaving no timer and no cycle behind."""
        self.is_closed  # noqa: B018  # made before the state changes
        WebSocketProtocol._connectionLost(self, reason)
        self.factory.countConnections -= 1
        if self.closeHandshakeTimeoutCall is not None:
            self.closeHandshakeTimeoutCall.cancel()
            self.closeHandshakeTimeoutCall = None
        del self.is_closed  # it holds this object

    # --- The handshake ---------------------------------------------------------

    def processHandshake(self) -> None:
        """Read the request, once.

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
        """Open without Autobahn's ceremony, which costs more than all the rest."""
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
        """Let `check_request` answer; what it raises unexpectedly is a 500."""
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

        :raises ConnectionDeny: it is refused with an HTTP status.
        """

    def sendHttpErrorResponse(
        self, code: int, reason: str, responseHeaders: Any = None
    ) -> None:
        """Answer a request that cannot become a WebSocket."""
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
        """Return more headers of an answer that opens no WebSocket."""
        return []

    def succeedHandshake(self, result: Any) -> None:
        """Open, unless the peer has gone while `check_request` waited."""
        if self.state != CONNECTING:
            return
        self.is_open  # noqa: B018  # made before the state changes
        super().succeedHandshake(result)
        self.drop_transient()

    def _onOpen(self) -> None:
        self.onOpen()  # without TLS channel id and certificate

    # --- What comes in ---------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        """Take whole, short, masked frames at once; leave the rest to Autobahn."""
        if self._reading_paused:
            self.data += data
            return
        opened = self.state == OPEN
        if self.state == CLOSED:
            self.data = b""  # only the peer's end is waited for
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
        """Handle frames from the start of *data*; return how many bytes they took."""
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
                    break  # Autobahn finds it too, and closes with 1007
            at = stop
            self.onMessage(payload, first == 0x82)
            if self.state != OPEN or self._reading_paused:
                break
        return at

    def processData(self) -> bool:
        """Take one frame; return whether there may be another one."""
        if self._reading_paused:
            return False
        more: bool = super().processData()
        return more

    def pause_reading(self) -> None:
        """Take no more messages; what was received already waits, unread."""
        self._reading_paused = True
        self.transport.pauseProducing()

    def resume_reading(self) -> None:
        """Undo `pause_reading`; no error if there was none."""
        if not self._reading_paused:
            return
        self._reading_paused = False
        self.transport.resumeProducing()
        if self.data:
            # Later, since a message may be under way further down the stack.
            self.factory._batched_timer.call_later(0, self._read_buffered)

    def _read_buffered(self) -> None:
        if self.state != CLOSED and not self._reading_paused and self.data:
            self.consumeData()
            self.drop_transient()

    def drop_transient(self) -> None:
        """Between messages, drop what only the last one or the handshake needed."""
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
        """Begin to measure a message."""
        super().onMessageBegin(isBinary)
        self.message_wire_size = 0
        self.maxMessagePayloadSize = (
            self.inflated_limit if self._isMessageCompressed else self.wire_limit
        )

    def onMessageFrameBegin(self, length: int) -> None:
        """Measure a message as it comes; an empty frame takes memory, too."""
        self.message_wire_size += length or 1
        if not self.failedByMe and 0 < self.wire_limit < self.message_wire_size:
            self._max_message_size_exceeded(length, self.wire_limit, "")
        super().onMessageFrameBegin(length)

    def _max_message_size_exceeded(self, size: int, limit: int, reason: str) -> None:
        self.failedByMe = True
        self.sendCloseFrame(code=TOO_BIG)

    def onMessageEnd(self) -> None:
        """Let go of the decompressor, whose window takes 40 kB, if it may forget."""
        super().onMessageEnd()
        deflate = self._perMessageCompress
        if deflate is not None and deflate.client_no_context_takeover:
            deflate._decompressor = None

    def onFrameData(self, payload: bytes) -> None:
        """Skip the rest of a message that was refused, to find the close frame."""
        if not self.failedByMe or self.current_frame.opcode > 7:
            super().onFrameData(payload)

    def onFrameEnd(self) -> None:
        """Likewise."""
        frame = self.current_frame
        if not self.failedByMe or frame.opcode > 7:
            super().onFrameEnd()
        elif frame.fin:
            self.inside_message = False
        self.current_frame = None

    # --- What goes out ---------------------------------------------------------

    def sendData(self, data: bytes, sync: bool = False, chopsize: Any = None) -> None:
        """Write at once; chopped and synchronous sends are not supported."""
        self.transport.write(data)


@frozen(eq=False)
class ClockTimers:
    """What Autobahn asks of timers, by the clock of one's own choice."""

    _clock: IReactorTime

    def call_later(self, delay: float, function: Any, *arguments: Any) -> IDelayedCall:
        """Call *function* in *delay* seconds."""
        return self._clock.callLater(delay, function, *arguments)


class LeanWebSocketFactory(WebSocketServerFactory):  # type: ignore[misc]  # untyped
    """Makes lean protocols.

    Set the protocol options before the first connection; later ones are not seen.
    ``inflated_limit`` is the largest message after decompression, in bytes; by
    default it is that of any message, ``maxMessagePayloadSize``.
    """

    protocol: type[LeanWebSocketProtocol] = LeanWebSocketProtocol
    noisy = False
    inflated_limit = 0
    log = txaio.make_logger(level="error")
    _specialized: type[LeanWebSocketProtocol] | None = None

    def __init__(self, clock: IReactorTime) -> None:
        super().__init__(reactor=clock, server="")
        self._batched_timer = ClockTimers(clock)
        # Origins are judged by `check_request`, the opaque one like any other.
        self.setProtocolOptions(webStatus=False, allowNullOrigin=True)

    def buildProtocol(self, address: Any) -> LeanWebSocketProtocol:
        """Return a protocol for a new connection."""
        made = self._specialized
        if made is None:
            made = self._specialized = self._specialize()
        return made()

    def _specialize(self) -> type[LeanWebSocketProtocol]:
        """Make a subclass that has the options and Autobahn's initial values."""
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
            # An open connection differs from its class in this.
            "defaults": {
                **defaults,
                "_request_checked": True,
                "_reading_paused": False,
            },
        }
        return subclass_with(self.protocol, values)

"""Autobahn's server protocol, made small and quick.

Autobahn still does the handshake, fragments, control frames, compression, UTF-8
across frames and closing.  What changes is what a connection keeps: options and
initial values live on a class made per factory, the rest comes into being when
asked for, and what only the handshake or the last message needed is dropped.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar

import txaio

txaio.use_twisted()

from autobahn.twisted.util import create_transport_details, peer2str  # noqa: E402
from autobahn.twisted.websocket import (  # noqa: E402
    WebSocketServerFactory,
    WebSocketServerProtocol,
)
from autobahn.websocket.protocol import (  # noqa: E402
    TrafficStats,
    WebSocketProtocol,
)
from autobahn.websocket.utf8validator import Utf8Validator  # noqa: E402

__all__ = ["LeanFactory", "LeanProtocol"]

CONNECTING = WebSocketProtocol.STATE_CONNECTING
OPEN = WebSocketProtocol.STATE_OPEN
CLOSED = WebSocketProtocol.STATE_CLOSED

#: A longer payload is unmasked faster by Autobahn's native code.
FAST_LIMIT = 4096
#: What a client may send before its handshake is answered.
EARLY_LIMIT = 65536

#: Set while shaking hands; worthless afterwards.
HANDSHAKE = frozenset(
    {
        *("http_request_data", "http_status_line", "http_headers"),
        *("http_request_uri", "http_request_path", "http_request_params"),
        *("http_request_host", "http_response_data", "websocket_protocols"),
        *("websocket_origin", "websocket_extensions", "_wskey", "is_open"),
        *("_transport_details", "openHandshakeTimeoutCall", "connected", "factory"),
    }
)
#: Set while a message is being read; worthless between messages.
MESSAGE = frozenset(
    {
        *("utf8validator", "utf8validateLast", "utf8validateIncomingCurrentMessage"),
        *("message_data", "message_is_binary", "message_data_total_length"),
        *("frame_length", "frame_data", "current_frame_masker"),
        *("control_frame_data", "_isMessageCompressed"),
    }
)
FORGET = HANDSHAKE | MESSAGE
_MISSING = object()


class Lazy:
    """An attribute made when first asked for, and kept by the instance then."""

    def __init__(self, make: Callable[[Any], object]) -> None:
        self.make = make
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        value = instance.__dict__[self.name] = self.make(instance)
        return value


def _opened(protocol: "LeanProtocol") -> object:
    if protocol.state == OPEN:
        return txaio.create_future(result=None)
    return txaio.create_future()


def _closed(protocol: "LeanProtocol") -> object:
    if protocol.state == CLOSED:
        return txaio.create_future(result=protocol)
    return txaio.create_future()


class LeanProtocol(WebSocketServerProtocol):  # type: ignore[misc]  # untyped
    """One WebSocket connection; made by `LeanFactory`.

    Override ``greet`` instead of ``onConnect``, and ``onOpen``, ``onMessage`` and
    ``onClose`` as usual.  Autobahn's event listeners, automatic pings, traffic
    statistics per connection and frame logs are not available.
    """

    is_open = Lazy(_opened)
    is_closed = Lazy(_closed)
    utf8validator = Lazy(lambda self: Utf8Validator())
    _results = Lazy(lambda self: {"message": None})
    _transport_details = Lazy(
        lambda self: create_transport_details(self.transport, True)
    )
    peer = Lazy(lambda self: peer2str(self.transport))
    _valid_events = ("message",)
    trafficStats = TrafficStats()
    send_queue: Any = ()
    current_frame: Any = None
    inside_message = False
    websocket_version = 13
    websocket_protocol_in_use: str | None = None
    websocket_extensions_in_use: Any = ()
    fast_limit = 0
    defaults: ClassVar[dict[str, object]] = {}
    _greeted = False

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

    def connectionLost(self, reason: Any) -> None:
        """Let go, leaving no cycle behind."""
        self.is_closed  # noqa: B018  # made before the state changes
        WebSocketProtocol._connectionLost(self, reason)
        self.factory.countConnections -= 1
        del self.is_closed  # it holds this object

    def dropConnection(self, abort: bool = False) -> None:
        """Close the stream."""
        self.is_closed  # noqa: B018  # made before the state changes
        super().dropConnection(abort)

    def processHandshake(self) -> None:
        """Read the request, once.

        Autobahn would take bytes that come while `greet` waits for a second one.
        """
        if not self._greeted:
            super().processHandshake()
        elif len(self.data) > EARLY_LIMIT:
            self.dropConnection(abort=True)

    def onConnect(self, request: Any) -> Any:
        """Let `greet` answer."""
        self._greeted = True
        return self.greet(request)

    def greet(self, request: Any) -> Any:
        """Accept *request* (a ConnectionRequest); return the subprotocol, or None.

        :raises ConnectionDeny: it is refused with an HTTP status.
        """

    def _max_message_size_exceeded(self, size: int, limit: int, reason: str) -> None:
        self.failedByMe = True
        self.sendCloseFrame(code=self.CLOSE_STATUS_CODE_MESSAGE_TOO_BIG)

    def _onOpen(self) -> None:
        self.onOpen()  # without TLS channel id and certificate

    def succeedHandshake(self, result: Any) -> None:
        """Open, unless the peer has gone while `greet` waited."""
        if self.state != CONNECTING:
            return
        self.is_open  # noqa: B018  # made before the state changes
        super().succeedHandshake(result)
        self.settle()

    def settle(self) -> None:
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
                if name not in FORGET and default(name, _MISSING) != value
            }

    def dataReceived(self, data: bytes) -> None:
        """Take whole, short, masked frames at once; leave the rest to Autobahn."""
        opened = self.state == OPEN
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
            self.settle()

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
            if self.state != OPEN:
                break
        return at

    def sendData(self, data: bytes, sync: bool = False, chopsize: Any = None) -> None:
        """Write at once; chopped and synchronous sends are not supported."""
        self.transport.write(data)


class LeanFactory(WebSocketServerFactory):  # type: ignore[misc]  # untyped
    """Makes lean protocols.

    Set the protocol options before the first connection; later ones are not seen.
    """

    protocol: type[LeanProtocol] = LeanProtocol
    noisy = False
    _made: type[LeanProtocol] | None = None

    def buildProtocol(self, address: Any) -> LeanProtocol:
        """Return a protocol for a new connection."""
        made = self._made
        if made is None:
            made = self._made = self._specialize()
        return made()

    def _specialize(self) -> type[LeanProtocol]:
        """Make a subclass that has the options and Autobahn's initial values."""
        if self.autoPingInterval:
            raise ValueError("pings are the application's business")
        probe = WebSocketServerProtocol()
        probe.factory = self
        WebSocketProtocol._connectionMade(probe)  # the values of this Autobahn version
        if probe.openHandshakeTimeoutCall is not None:
            probe.openHandshakeTimeoutCall.cancel()
            probe.openHandshakeTimeoutCall = None
        defaults: dict[str, object] = {
            # A function on a class would be bound.
            name: staticmethod(value) if callable(value) else value
            for name, value in vars(probe).items()
            if name in probe.CONFIG_ATTRS
            or isinstance(value, int | str | bytes | type(None))
        }
        lazy = {
            name
            for name, value in vars(LeanProtocol).items()
            if isinstance(value, Lazy)
        }
        for name in lazy | {"factory", "state"}:
            defaults.pop(name, None)
        defaults.update(
            websocket_version=13,
            websocket_protocol_in_use=None,
            current_frame=None,
            inside_message=False,
            send_queue=(),
            _greeted=True,
            websocket_extensions_in_use=[],
        )
        limits = (self.maxMessagePayloadSize, self.maxFramePayloadSize)
        on_class = {
            **defaults,
            "_greeted": False,
            "websocket_extensions_in_use": (),
            "factory": self,
            "connected": 1,
            "defaults": defaults,
            "fast_limit": min([FAST_LIMIT, *(limit for limit in limits if limit)]),
        }
        return type(self.protocol.__name__, (self.protocol,), on_class)

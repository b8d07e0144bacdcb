"""Bidirectional clients over WebSocket (client protocol, 1.1)."""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from attrs import define
from autobahn.websocket.compress import (
    PerMessageDeflateOffer,
    PerMessageDeflateOfferAccept,
)
from autobahn.websocket.types import ConnectionDeny
from zope.interface import implementer

from ..core import Client, Node
from ..interfaces import ITransport
from ..options import Duration, TransportInfo
from ..protocol.codes import CONNECTION_CLOSED, SLOW, WRITE_ERROR, Disconnect
from ..protocol.wire import Wire, websocket_json
from .admission import Gate
from .lean import LeanFactory, LeanProtocol
from .origin import OriginRule
from .stream import FrameStream, Turn

__all__ = ["WebSocketFactory", "WebSocketOptions", "WebSocketTransport"]

#: Bits of a deflate window: small enough to be cheap, large enough for messages.
WINDOW_BITS = 12
#: Seconds a peer has to answer a close frame.
CLOSE_TIMEOUT = 5

Encoding = Literal["json", "protobuf"]

SUBPROTOCOLS: dict[str, Encoding] = {
    "centrifuge-json": "json",
    "centrifuge-protobuf": "protobuf",
}


class WebSocketOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The section ``websocket`` of the configuration."""

    disabled: bool = False
    """Do not serve WebSocket."""
    handler_prefix: str = "/connection/websocket"
    """The path of the endpoint."""
    compression: bool = False
    """Negotiate permessage-deflate, without context takeover."""
    compression_min_size: int = 0
    """Bytes below which messages stay uncompressed."""
    compression_level: int = 1
    """1 (quick) to 9 (small)."""
    write_timeout: Duration = 1.0
    """Seconds a write may take."""
    message_size_limit: int = 65536
    """Bytes of the largest message a client may send."""
    decompressed_message_size_limit: int = 0
    """The same after decompression; 0: ten times ``message_size_limit``."""


_DEFAULTS = WebSocketOptions()
#: Those who are closed with these read nothing any more.
_UNHEARD = (SLOW, WRITE_ERROR)
_PLAIN = TransportInfo()


@implementer(ITransport)
@define(eq=False)
class WebSocketTransport(FrameStream):
    """One client's WebSocket."""

    wire: Wire
    info: TransportInfo
    _protocol: "ClientProtocol | None"

    def overrun(self) -> None:
        """Close a client that reads too slowly."""
        if self._protocol is not None:
            self._protocol.client.close(SLOW)

    def overdue(self) -> None:
        """Close a client that has taken nothing for too long."""
        if self._protocol is not None:
            self._protocol.client.close(WRITE_ERROR)

    def close(self, disconnect: Disconnect) -> None:
        """Send a close frame, and drop the connection when it is answered."""
        protocol, self._protocol = self._protocol, None
        silent = disconnect is CONNECTION_CLOSED
        self.end(drop=silent or disconnect in _UNHEARD)
        if protocol is not None:
            protocol.leave(disconnect, silent)

    def lost(self) -> None:
        """Take note that the connection is gone."""
        self._protocol = None
        self.end(drop=True)

    def pause(self) -> None:
        """Read nothing more for now."""
        if self._protocol is not None:
            self._protocol.transport.pauseProducing()

    def resume(self) -> None:
        """Read again."""
        if self._protocol is not None:
            self._protocol.transport.resumeProducing()


class ClientProtocol(LeanProtocol):
    """Connects Autobahn with a client of the node."""

    client: Client
    factory: "WebSocketFactory"

    def greet(self, request: Any) -> str | None:
        """Check the request, and choose the encoding."""
        factory = self.factory
        if not factory.origins.passes(request.headers.get("origin")):
            raise ConnectionDeny(403, "origin is not allowed")
        if not factory.gate.admits():
            raise ConnectionDeny(503, "too many connections")
        chosen = next(
            (each for each in request.protocols if each in SUBPROTOCOLS), None
        )
        self._info = factory.describe(request, chosen)
        return chosen

    def onOpen(self) -> None:
        """Let the node know."""
        factory = self.factory
        info = self.__dict__.pop("_info")
        wire = factory.wire(info, self._perMessageCompress is not None)
        stream = WebSocketTransport(
            self.transport, factory.turn, factory.queue_max_size, wire, info, self
        )
        stream.open()
        self.client = factory.node.connect(stream)
        if not info.pings:
            FramePings(self).start()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Hand a message to the client."""
        self.client.receive(payload)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """Let the node know."""
        client = self.__dict__.pop("client", None)
        if client is not None:
            client.transport.lost()
            client.transport_lost()

    def leave(self, disconnect: Disconnect, silent: bool) -> None:
        """Close with a code and a reason, or without a word."""
        if silent:
            self.dropConnection(abort=True)
        else:
            self.transport.resumeProducing()  # to see the answer
            self.sendClose(disconnect.code, disconnect.reason)
            if disconnect in _UNHEARD:
                self.transport.abortConnection()


@define(eq=False)
class FramePings:
    """Pings by WebSocket frames, for clients that asked for them (1.1)."""

    _protocol: ClientProtocol
    tick: int = 0
    _waiting: bool = False

    def start(self) -> None:
        """Begin; the peer has to answer each ping in time."""
        self._protocol.onPong = self._ponged
        self._wake_in(self._interval)

    @property
    def _interval(self) -> float:
        interval = self._protocol.factory.node.options.ping_interval
        return interval if interval > 0 else 25.0

    def _wake_in(self, seconds: float) -> None:
        node = self._protocol.factory.node
        node.wheel.set(self, node.clock.seconds() + seconds)

    def _ponged(self, payload: bytes) -> None:
        self._waiting = False

    def wake(self, now: float) -> None:
        """Ping, or give the peer up."""
        protocol = self._protocol
        if protocol.state != protocol.STATE_OPEN:
            del protocol.onPong
        elif self._waiting:
            del protocol.onPong
            protocol.dropConnection(abort=True)
        else:
            self._waiting = True
            protocol.sendPing()
            timeout = protocol.factory.node.options.pong_timeout
            self._wake_in(timeout if timeout > 0 else 10.0)


class WebSocketFactory(LeanFactory):
    """Makes clients of *node* out of WebSocket connections.

    ``queue_max_size`` is in bytes; ``kept_headers`` are names of request headers,
    in lower case, that the policy wants to see.
    """

    protocol = ClientProtocol

    def __init__(
        self,
        node: Node,
        turn: Turn,
        gate: Gate,
        origins: OriginRule,
        options: WebSocketOptions = _DEFAULTS,
        queue_max_size: int = 1048576,
        kept_headers: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(reactor=node.clock, server="")
        self.node, self.turn, self.gate, self.origins = node, turn, gate, origins
        self.options, self.queue_max_size = options, queue_max_size
        self._kept = kept_headers
        limit = options.message_size_limit
        self._inflated_limit = options.decompressed_message_size_limit or 10 * limit
        self.setProtocolOptions(
            failByDrop=False,
            openHandshakeTimeout=0,
            closeHandshakeTimeout=CLOSE_TIMEOUT,
            maxMessagePayloadSize=limit,
            maxFramePayloadSize=limit,
            perMessageCompressionAccept=self._accept_compression,
            allowNullOrigin=True,  # as any other: `greet` judges them
        )

    def _accept_compression(self, offers: Sequence[object]) -> object:
        """Negotiate deflate without context, in a small window (RFC 7692, 7.1)."""
        if not self.options.compression:
            return None
        for offer in offers:
            if isinstance(offer, PerMessageDeflateOffer):
                wanted = offer.request_max_window_bits
                return PerMessageDeflateOfferAccept(
                    offer,
                    request_no_context_takeover=True,
                    no_context_takeover=True,
                    window_bits=min(wanted, WINDOW_BITS) if wanted else WINDOW_BITS,
                    max_message_size=self._inflated_limit,
                )
        return None

    def describe(self, request: Any, subprotocol: str | None) -> TransportInfo:
        """Say how a client came, from its request (1.1)."""
        params = request.params
        asked = (*params.get("format", ()), *params.get("cf_protocol", ()))
        encoding: Encoding = SUBPROTOCOLS.get(subprotocol or "", "json")
        if "protobuf" in asked:
            encoding = "protobuf"
        own_pings = "true" in params.get("cf_ws_frame_ping_pong", ())
        headers = {
            name: (value,)
            for name, value in request.headers.items()
            if name in self._kept
        }
        if encoding == "json" and not own_pings and not headers:
            return _PLAIN
        return TransportInfo(
            name="websocket", protocol=encoding, pings=not own_pings, headers=headers
        )

    def wire(self, info: TransportInfo, compressed: bool) -> Wire:
        """Return the wire for a client."""
        options = self.options
        level = options.compression_level if compressed else 0
        return websocket_json(level, options.compression_min_size)

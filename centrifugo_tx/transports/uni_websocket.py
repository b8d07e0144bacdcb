"""Unidirectional clients over WebSocket.

See client protocol, "Unidirectional transports".
"""

from typing import Any

import msgspec
from attrs import define
from autobahn.websocket.types import ConnectionDeny

from ..errors import DecodeError
from ..options import Duration, TransportInfo
from ..protocol.codes import Disconnect
from ..protocol.frames import Deflate, Frame, text_frame
from ..protocol.messages import Push
from ..protocol.wire import uni_websocket, uni_websocket_lines
from .eager_tcp import bytes_drained
from .frame_pings import FramePings
from .settings import TransportSettings
from .websocket import (
    WITHOUT_CLOSE_FRAME,
    WITHOUT_PUSH,
    ClientProtocol,
    WebSocketFactory,
    WebSocketOptions,
    WebSocketTransport,
)

__all__ = ["UniWebSocketFactory", "UniWebSocketOptions", "UniWebSocketTransport"]


class UniWebSocketOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The section ``uni_websocket`` of the configuration."""

    enabled: bool = False
    """Serve unidirectional WebSocket."""
    handler_prefix: str = "/connection/uni_websocket"
    """The path of the endpoint."""
    compression: bool = False
    """Negotiate permessage-deflate, without context takeover."""
    compression_min_size: int = 0
    """Messages shorter than this many bytes are not compressed."""
    compression_level: int = 1
    """1 (fastest) to 9 (smallest), or -1, which is about 6; others count as 1."""
    write_timeout: Duration = 1.0
    """Seconds that a write may take before the connection is closed."""
    message_size_limit: int = 65536
    """Largest message that a client may send, in bytes."""
    decompressed_message_size_limit: int = 0
    """The same after decompression; 0: ten times ``message_size_limit``."""
    disable_closing_handshake: bool = False
    """Close connections without a close frame."""
    disable_disconnect_push: bool = False
    """Close connections without a push that carries the reason."""
    join_push_messages: bool = False
    """Send pushes that wait together as one message, one line each."""


_DEFAULTS = UniWebSocketOptions()
_PLAIN = TransportInfo(name="uni_websocket", unidirectional=True)
_SHARED = WebSocketOptions.__struct_fields__


@define(eq=False)
class LineJoiner:
    """A byte stream that sends the lines of each write as one message."""

    _stream: Any
    _frame: Frame

    @property
    def drained(self) -> int:
        """Return how many queued bytes were sent."""
        return bytes_drained(self._stream)

    def write(self, data: bytes) -> None:
        """Send *data*, which is whole lines, without the last newline."""
        self._stream.write(self._frame(data[:-1]))

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Register *producer*, which is paused while the stream is full."""
        self._stream.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """Unregister the producer."""
        self._stream.unregisterProducer()


@define(eq=False)
class UniWebSocketTransport(WebSocketTransport):
    """The WebSocket of a unidirectional client.

    ``sends_push``: a disconnect push announces the end; ``sends_close_frame``: a close
    frame follows.
    """

    sends_push: bool
    sends_close_frame: bool

    def close(self, disconnect: Disconnect) -> None:
        """Send push and close frame, if configured, and close the connection."""
        protocol = self._protocol
        unheard = disconnect.code in WITHOUT_PUSH
        if protocol is None or disconnect.code in WITHOUT_CLOSE_FRAME:
            super().close(disconnect)
            return
        if self.sends_push and not unheard:
            frame = self.wire.push(Push(disconnect=disconnect))
            self.write(frame)
            protocol.client.count_disconnect_push(len(frame))
        if self.sends_close_frame:
            super().close(disconnect)
        else:
            self.detach(drop=unheard)
            protocol.dropConnection(abort=unheard)


class UniProtocol(ClientProtocol):
    """Reads one connect request, from the URL or a message, and then only sends."""

    factory: "UniWebSocketFactory"
    _asked = False

    def check_request(self, request: Any) -> str | None:
        """Check the request, and the connect request in its URL if there is one."""
        super().check_request(request)
        given = request.params.get("cf_connect", ("",))[0].encode()
        if given:
            if not _is_readable(given):
                self.factory.log.info(
                    "malformed connect request", transport=_PLAIN.name
                )
                raise ConnectionDeny(400, "invalid connect request")
            self._given = given
        return None

    def onOpen(self) -> None:
        """Connect a client; send frame pings beside the protocol's own pings."""
        super().onOpen()
        self._pings = FramePings(self.factory.node, self)
        self._pings.start()
        given: bytes | None = self.__dict__.pop("_given", None)
        if given is not None:
            self._asked = True
            self.client.receive(given)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Read the first message as a connect request; ignore all others."""
        if self._asked:
            return
        self._asked = True
        if not _is_readable(payload):
            transport = self.client.transport
            assert isinstance(transport, UniWebSocketTransport)
            transport.sends_push = False  # the close frame carries the reason
        self.client.receive(payload)


def _is_readable(request: bytes) -> bool:
    try:
        uni_websocket().commands(request)
    except DecodeError:
        return False
    return True


class UniWebSocketFactory(WebSocketFactory):
    """Makes unidirectional clients of a node out of WebSocket connections."""

    protocol = UniProtocol

    def __init__(
        self, settings: TransportSettings, options: UniWebSocketOptions = _DEFAULTS
    ) -> None:
        shared = {
            name: getattr(options, name) for name in _SHARED if hasattr(options, name)
        }
        super().__init__(settings, WebSocketOptions(**shared))
        self.uni_options = options

    def describe(self, request: Any, subprotocol: str | None) -> TransportInfo:
        """Describe the transport of *request*."""
        headers = self.headers_of(request)
        return msgspec.structs.replace(_PLAIN, headers=headers) if headers else _PLAIN

    def attach(
        self, protocol: ClientProtocol, info: TransportInfo
    ) -> UniWebSocketTransport:
        """Return the transport of a WebSocket that has opened."""
        own, stream = self.uni_options, protocol.transport
        deflate = self.deflate_of(protocol)
        if own.join_push_messages:
            wire = uni_websocket_lines()
            packs = Deflate(*deflate).text_frame if deflate else text_frame
            stream = LineJoiner(stream, packs)
        else:
            wire = uni_websocket(*deflate)
        return UniWebSocketTransport(
            stream,
            self.flush_batch,
            self.queue_max_size,
            wire,
            info,
            protocol,
            not own.disable_disconnect_push,
            not own.disable_closing_handshake,
        )

"""Bidirectional clients over WebSocket (client protocol, "WebSocket")."""

import re
from collections.abc import Callable
from typing import Any, Literal

import msgspec
from attrs import define
from autobahn.util import encode_truncate
from autobahn.websocket.types import ConnectionDeny
from twisted.logger import Logger
from zope.interface import implementer

from ..bounded_log import BoundedLog, host_of
from ..core import Client
from ..core.session.connections import State
from ..interfaces import ITransport
from ..options import Duration, TransportInfo
from ..protocol.codes import CONNECTION_CLOSED, SLOW, WRITE_ERROR, Disconnect
from ..protocol.v1 import detect_version
from ..protocol.wire import (
    Wire,
    websocket_json,
    websocket_json_v1,
    websocket_protobuf,
    websocket_protobuf_v1,
)
from .compression import accept, usable
from .cors import CORS
from .frame_pings import FramePings
from .frame_writer import FrameWriter
from .lean_websocket import OPEN, LeanWebSocketFactory, LeanWebSocketProtocol
from .origin import OriginRule
from .settings import TransportSettings

__all__ = ["WebSocketFactory", "WebSocketOptions", "WebSocketTransport", "level_of"]

#: Seconds a peer has to answer a close frame.
CLOSE_TIMEOUT = 5
#: The code of a close frame without a code (RFC 6455, 7.1.5).
NO_STATUS = 1005
#: Largest reason of a close frame, in bytes (RFC 6455, 5.5).
REASON_LIMIT = 123

Encoding = Literal["json", "protobuf"]

SUBPROTOCOLS: dict[str, Encoding] = {
    "centrifuge-json": "json",
    "centrifuge-protobuf": "protobuf",
}

#: Without arguments they do not compress.
WIRES: dict[Encoding, Callable[..., Wire]] = {
    "json": websocket_json,
    "protobuf": websocket_protobuf,
}
OLD_WIRES: dict[Encoding, Callable[..., Wire]] = {
    "json": websocket_json_v1,
    "protobuf": websocket_protobuf_v1,
}

_ORIGIN = re.compile(rb"\r\norigin:[ \t]*([^\r]*)", re.IGNORECASE)
#: Protocol versions by the value of ``cf_protocol_version`` (client protocol v1,
#: "Choosing the version").
VERSIONS = {"v1": 1, "v2": 2}


class WebSocketOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The section ``websocket`` of the configuration."""

    disabled: bool = False
    """Do not serve WebSocket."""
    handler_prefix: str = "/connection/websocket"
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
    v1_positions: Literal["offset", "seqgen"] = "offset"
    """How stream positions are sent to clients of protocol v1: ``seqgen`` for
    centrifuge-js before 2.6, ``offset`` for all others."""
    v1_whole_history: bool = False
    """Answer a history request of protocol v1 without ``limit`` and ``since`` with all
    publications, as Centrifugo v2 did; ``client.history_max_publication_limit``
    bounds it."""


def level_of(configured: int) -> int:
    """Return the compression level for zlib; the reference accepts any number."""
    return configured if -1 <= configured <= 9 else 1


#: Codes with which waiting frames are dropped and no disconnect push is sent.
WITHOUT_PUSH = {each.code for each in (CONNECTION_CLOSED, SLOW, WRITE_ERROR)}
#: Codes with which no close frame is sent either.
WITHOUT_CLOSE_FRAME = {each.code for each in (CONNECTION_CLOSED, WRITE_ERROR)}
_DEFAULTS = WebSocketOptions()
_PLAIN = TransportInfo()


@implementer(ITransport)
@define(eq=False)
class WebSocketTransport(FrameWriter):
    """One client's WebSocket."""

    wire: Wire
    info: TransportInfo
    _protocol: "ClientProtocol | None"

    @property
    def peer_address(self) -> str:
        """Return the address of the other end, empty once it is gone."""
        protocol = self._protocol
        return "" if protocol is None else host_of(protocol.transport.getPeer())

    def queue_overflowed(self) -> None:
        """Close a client that reads too slowly."""
        if self._protocol is not None:
            self._protocol.client.close(SLOW)

    def write_timed_out(self) -> None:
        """Close a client that has read nothing for too long."""
        if self._protocol is not None:
            self._protocol.client.close(WRITE_ERROR)

    def close(self, disconnect: Disconnect) -> None:
        """Send a close frame, and close the connection when the peer answers it."""
        protocol, self._protocol = self._protocol, None
        self.end(drop=disconnect.code in WITHOUT_PUSH)
        if protocol is None:
            return
        if disconnect.code not in WITHOUT_CLOSE_FRAME:
            protocol.close_with(disconnect)
        else:
            protocol.dropConnection(abort=True)

    def detach(self, drop: bool) -> None:
        """Detach from a connection that is closed, or that takes no more frames."""
        self._protocol = None
        self.end(drop)

    def pause(self) -> None:
        """Pause reading from the client."""
        if self._protocol is not None:
            self._protocol.pause_reading()

    def resume(self) -> None:
        """Resume reading from the client."""
        if self._protocol is not None:
            self._protocol.resume_reading()


class ClientProtocol(LeanWebSocketProtocol):
    """Connects Autobahn's protocol to a client of the node."""

    client: Client
    factory: "WebSocketFactory"
    opens_plain_requests = True
    websocket_extensions: Any = ()
    _pings: FramePings | None = None
    _retry_after = ""

    def check_request(self, request: Any) -> str | None:
        """Check origin and limits, and choose the encoding."""
        factory = self.factory
        if not factory.origins.passes(request.headers.get("origin")):
            raise ConnectionDeny(403, "origin is not allowed")
        if not factory.limiter.admits():
            self._retry_after = factory.limiter.retry_after
            busy = (
                "server is overloaded" if self._retry_after else "too many connections"
            )
            raise ConnectionDeny(503, busy)
        chosen = next(
            (each for each in request.protocols if each in SUBPROTOCOLS), None
        )
        self._info = factory.describe(request, chosen)
        offers = usable(self.websocket_extensions) if factory.compresses else []
        self.websocket_extensions = offers
        return chosen

    def refusal_headers(self) -> list[str]:
        """Return CORS headers, so that allowed pages can read the reason."""
        found = _ORIGIN.search(self.data.partition(b"\r\n\r\n")[0])
        headers = self.factory.cors.of_origin(found[1] if found else None)
        lines = [
            f"{name.decode()}: {value.decode('latin-1')}" for name, value in headers
        ]
        if self._retry_after:
            lines.append(f"Retry-After: {self._retry_after}")
        return lines

    def onOpen(self) -> None:
        """Connect a client to the node."""
        factory = self.factory
        info: TransportInfo = self.__dict__.pop("_info")
        stream = factory.attach(self, info)
        stream.open()
        self.client = factory.node.connect(stream)
        if info.version == 1:
            self._speak_v1(stream)
        elif not info.pings:
            self._ping_by_frames()

    def _ping_by_frames(self) -> None:
        self._pings = FramePings(self.factory.node, self)
        self._pings.start()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Pass a message to the client."""
        client = self.client
        if client.state is State.NEW:
            # The first message shows which version of the protocol the client speaks.
            stream: WebSocketTransport = client.transport  # type: ignore[assignment]
            info = stream.info
            if not info.version and detect_version(payload, info.protocol) == 1:
                self._speak_v1(stream)
        client.receive(payload)

    def _speak_v1(self, stream: WebSocketTransport) -> None:
        info = stream.info
        stream.wire = self.factory.old_wire(self, info)
        # These clients would read application pings as pushes.
        stream.info = msgspec.structs.replace(info, version=1, pings=False)
        self.factory.node.journal.watch(self.client)
        if self._pings is None:
            self._ping_by_frames()

    def onPing(self, payload: bytes) -> None:
        """Answer the ping, unless the peer does not read and answers would pile up."""
        client = self.__dict__.get("client")
        if client is None or not client.transport.full:
            super().onPing(payload)

    def onPong(self, payload: bytes) -> None:
        """Record the pong, if frame pings are in use."""
        if self._pings is not None:
            self._pings.ponged()

    def sendCloseFrame(
        self,
        code: int | None = None,
        reasonUtf8: bytes | None = None,
        isReply: bool = False,
    ) -> None:
        """Send waiting frames and a close frame, and close the client."""
        client = self.__dict__.get("client")
        if client is not None:
            if not client.closed:
                client.transport.detach(drop=False)
                client.close(CONNECTION_CLOSED)
            if self.state == OPEN and not isReply:
                name = client.transport.info.name
                client.runtime.metrics.count_close_frame(name, code or NO_STATUS)
        super().sendCloseFrame(code, reasonUtf8, isReply)

    def close_with(self, disconnect: Disconnect) -> None:
        """Send a close frame with code and reason of *disconnect*."""
        self.resume_reading()  # to receive the answer
        client = self.__dict__.get("client")
        if client is not None and client.speaks_v1:
            reason = disconnect.in_v1(REASON_LIMIT).encode()
        else:
            reason = encode_truncate(disconnect.reason, REASON_LIMIT)
        self.sendCloseFrame(disconnect.code & 0xFFFF, reason)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """Tell the client that its connection is lost."""
        pings, self._pings = self._pings, None
        if pings is not None:
            pings.stop()
        client = self.__dict__.pop("client", None)
        if client is not None:
            client.transport.detach(drop=True)
            client.transport_lost()


class WebSocketFactory(LeanWebSocketFactory):
    """Makes clients of a node out of WebSocket connections."""

    protocol = ClientProtocol

    def __init__(
        self, settings: TransportSettings, options: WebSocketOptions = _DEFAULTS
    ) -> None:
        super().__init__(settings.node.clock)
        self.node, self.limiter = settings.node, settings.limiter
        self.origins = origins = settings.origins
        self.flush_batch = settings.flush_batch(options.write_timeout)
        self.cors = CORS(OriginRule(origins.patterns))  # does not log refusals
        self.options, self.queue_max_size = options, settings.queue_max_size
        self._kept = settings.kept_headers
        self.log = BoundedLog(Logger(), settings.node.clock)
        self.compresses = options.compression
        limit = options.message_size_limit
        self.inflated_limit = options.decompressed_message_size_limit or 10 * limit
        self.setProtocolOptions(
            failByDrop=False,
            openHandshakeTimeout=0,
            closeHandshakeTimeout=CLOSE_TIMEOUT,
            maxMessagePayloadSize=limit,
            maxFramePayloadSize=limit,
            perMessageCompressionAccept=accept,
        )

    def describe(self, request: Any, subprotocol: str | None) -> TransportInfo:
        """Describe the transport of *request* (client protocol, "WebSocket")."""
        params = request.params
        asked = (*params.get("format", ()), *params.get("cf_protocol", ()))
        encoding: Encoding = SUBPROTOCOLS.get(subprotocol or "", "json")
        if "protobuf" in asked:
            encoding = "protobuf"
        versions = params.get("cf_protocol_version", ())
        version = VERSIONS.get(versions[0]) if versions else 0
        if version is None:
            self.log.info("unknown protocol version", version=versions[0])
            raise ConnectionDeny(400, "unknown protocol version")
        own_pings = "true" in params.get("cf_ws_frame_ping_pong", ())
        headers = self.headers_of(request)
        if encoding == "json" and not (own_pings or headers or version):
            return _PLAIN
        return TransportInfo(
            name="websocket",
            protocol=encoding,
            pings=not own_pings,
            headers=headers,
            version=version,
        )

    def headers_of(self, request: Any) -> dict[str, tuple[str, ...]]:
        """Return the headers of *request* that the policy reads."""
        if not self._kept:
            return {}
        given = request.headers.items()
        return {name: (value,) for name, value in given if name in self._kept}

    def attach(
        self, protocol: ClientProtocol, info: TransportInfo
    ) -> WebSocketTransport:
        """Return the transport of a WebSocket that has opened."""
        wire = WIRES[info.protocol](*self.deflate_of(protocol))
        return WebSocketTransport(
            protocol.transport,
            self.flush_batch,
            self.queue_max_size,
            wire,
            info,
            protocol,
        )

    def old_wire(self, protocol: ClientProtocol, info: TransportInfo) -> Wire:
        """Return the wire of a client that speaks protocol v1."""
        options = self.options
        return OLD_WIRES[info.protocol](
            *self.deflate_of(protocol),
            seqgen=options.v1_positions == "seqgen",
            whole_history=options.v1_whole_history,
        )

    def deflate_of(self, protocol: ClientProtocol) -> tuple[int, ...]:
        """Return the compression arguments for the wire of a connection."""
        negotiated, options = protocol._perMessageCompress, self.options
        if negotiated is None:
            return ()
        return (
            level_of(options.compression_level),
            options.compression_min_size,
            negotiated.server_max_window_bits,
        )

"""Clients over the WebSockets of an ASGI server."""

import asyncio
from typing import Literal

import msgspec
from attrs import define, field
from twisted.internet.interfaces import IDelayedCall
from zope.interface import implementer

from ..core import Client
from ..interfaces import ITransport
from ..options import TransportInfo
from ..protocol.codes import CONNECTION_CLOSED, SLOW, WRITE_ERROR, Disconnect
from ..protocol.messages import Push
from ..protocol.wire import (
    Wire,
    uni_websocket_lines,
    websocket_json_lines,
    websocket_protobuf_messages,
)
from ..transports.frame_writer import FlushBatch, FrameWriter
from ..transports.settings import TransportSettings
from ..transports.websocket import SUBPROTOCOLS, WITHOUT_CLOSE_FRAME, WITHOUT_PUSH
from .interface import Message, Receive, Scope, Send, header, parameters
from .outbox import Outbox

__all__ = ["UniWebSocketEndpoint", "WebSocketEndpoint"]

#: Seconds for the last frames and the close frame to leave.
CLOSE_TIMEOUT = 5.0
#: The code of a close frame for a message that is too large (RFC 6455, 7.4.1).
TOO_BIG = 1009

_PLAIN = TransportInfo()
_UNI = TransportInfo(name="uni_websocket", unidirectional=True)


def _text(data: bytes) -> Message:
    # Without the newline after the last line, which would start another.
    return {"type": "websocket.send", "text": data[:-1].decode()}


def _bytes(data: bytes) -> Message:
    return {"type": "websocket.send", "bytes": data}


def _close(code: int, reason: str) -> Message:
    return {"type": "websocket.close", "code": code & 0xFFFF, "reason": reason}


@implementer(ITransport)
@define(eq=False)
class ASGIWebSocketTransport(FrameWriter):
    """One client's WebSocket, whose frames the ASGI server makes."""

    wire: Wire
    info: TransportInfo
    peer_address: str
    _outbox: Outbox
    #: The task that reads from the server.
    _task: "asyncio.Task[object]"
    client: Client | None = field(default=None, init=False)
    #: Set while messages of the client are read.
    reading: asyncio.Event = field(factory=asyncio.Event, init=False)
    #: Whether the client was closed, or has gone.
    closed: bool = field(default=False, init=False)
    #: Whether the connection ends without a closing handshake.
    aborted: bool = field(default=False, init=False)
    _timeout: IDelayedCall | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.reading.set()

    @property
    def waiting_bytes(self) -> int:
        """How many bytes the server has not taken."""
        return super().waiting_bytes + self._outbox.waiting

    def queue_overflowed(self) -> None:
        """Close a client that reads too slowly."""
        if self.client is not None:
            self.client.close(SLOW)

    def write_timed_out(self) -> None:
        """Close a client that has read nothing for too long."""
        if self.client is not None:
            self.client.close(WRITE_ERROR)

    def close(self, disconnect: Disconnect) -> None:
        """Send what waits, unless the client is too slow for it, and a close frame."""
        if self.closed:
            return
        client, code = self.client, disconnect.code
        if self.info.unidirectional and code not in WITHOUT_PUSH:
            frame = self.wire.push(Push(disconnect=disconnect))
            self.write(frame)
            if client is not None:
                client.count_disconnect_push(len(frame))
        self.end(drop=code in WITHOUT_PUSH)
        if code in WITHOUT_CLOSE_FRAME:
            self._finish(None)
            self._abort()
            return
        if client is not None:
            client.runtime.metrics.count_close_frame(self.info.name, code)
        self._finish(_close(code, disconnect.reason))

    def refuse_message(self) -> None:
        """Send a close frame because of a message that is too large."""
        self.end(drop=False)
        self._finish(_close(TOO_BIG, "message is too large"))

    def lose(self) -> None:
        """Drop what waits, because the peer has gone."""
        self.end(drop=True)
        self._outbox.end()
        self.closed = True
        if self._timeout is not None and self._timeout.active():
            self._timeout.cancel()

    def _finish(self, last: Message | None) -> None:
        self._outbox.end(last)
        self.closed = True
        self.reading.set()
        clock = self._flush_batch.clock
        self._timeout = clock.callLater(CLOSE_TIMEOUT, self._abort)

    def _abort(self) -> None:
        """Leave the rest to the server, which closes the connection."""
        if not self.aborted:
            self.aborted = True
            self._task.cancel()

    def pause(self) -> None:
        """Pause reading from the client."""
        if not self.closed:
            self.reading.clear()

    def resume(self) -> None:
        """Resume reading from the client."""
        self.reading.set()


@define(eq=False)
class WebSocketEndpoint:
    """Makes clients of a node out of the WebSockets of an ASGI server.

    ``limit`` is the size of the largest message, in bytes.
    """

    _settings: TransportSettings
    _limit: int
    _flush_batch: FlushBatch = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._flush_batch = self._settings.flush_batch()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection until it ends."""
        await receive()  # that the client wants to connect
        status = self._refusal(scope)
        if status:
            await _refuse(scope, send, status)
            return
        chosen = self.subprotocol(scope)
        info = self.describe(scope, chosen)
        task = asyncio.current_task()
        assert task is not None
        await send({"type": "websocket.accept", "subprotocol": chosen})
        outbox = Outbox(_bytes if info.protocol == "protobuf" else _text)
        transport = ASGIWebSocketTransport(
            outbox,
            self._flush_batch,
            self._settings.queue_max_size,
            self.wire(info),
            info,
            (scope.get("client") or ("",))[0],
            outbox,
            task,
        )
        transport.open()
        writing = asyncio.ensure_future(outbox.run(send))
        client = transport.client = self._settings.node.connect(transport)
        try:
            await self.read(scope, receive, transport, client)
        except asyncio.CancelledError:
            if not transport.aborted:
                raise
            task.uncancel()
        finally:
            transport.lose()
            client.transport_lost()
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)

    def _refusal(self, scope: Scope) -> int:
        """Return the status that refuses a connection, 0 to accept it."""
        origin = header(scope, b"origin")
        given = None if origin is None else origin.decode("latin-1")
        if not self._settings.origins.passes(given):
            return 403
        return 0 if self._settings.limiter.admits() else 503

    def subprotocol(self, scope: Scope) -> str | None:
        """Return the subprotocol that the client offers and this server knows."""
        offered = scope.get("subprotocols", ())
        return next((each for each in offered if each in SUBPROTOCOLS), None)

    def describe(self, scope: Scope, chosen: str | None) -> TransportInfo:
        """Describe the transport (client protocol, "WebSocket")."""
        given = parameters(scope)
        asked = (*given.get(b"format", ()), *given.get(b"cf_protocol", ()))
        encoding: Literal["json", "protobuf"] = SUBPROTOCOLS.get(chosen or "", "json")
        if b"protobuf" in asked:
            encoding = "protobuf"
        info = msgspec.structs.replace(_PLAIN, protocol=encoding)
        return self.with_headers(scope, info)

    def with_headers(self, scope: Scope, info: TransportInfo) -> TransportInfo:
        """Return *info* with the headers that the policy reads."""
        kept = self._settings.kept_headers
        headers: dict[str, tuple[str, ...]] = {}
        for key, value in scope["headers"] if kept else ():
            name = key.decode("latin-1").lower()
            if name in kept:
                headers[name] = (*headers.get(name, ()), value.decode("latin-1"))
        return msgspec.structs.replace(info, headers=headers) if headers else info

    def wire(self, info: TransportInfo) -> Wire:
        """Return the encoding of a connection."""
        if info.protocol == "protobuf":
            return websocket_protobuf_messages()
        return websocket_json_lines()

    async def read(
        self,
        scope: Scope,
        receive: Receive,
        transport: ASGIWebSocketTransport,
        client: Client,
    ) -> None:
        """Pass messages to the client until it disconnects."""
        while True:
            data = await self.next_message(receive, transport, client)
            if data is None:
                return
            client.receive(data)
            if not transport.reading.is_set():
                await transport.reading.wait()

    async def next_message(
        self, receive: Receive, transport: ASGIWebSocketTransport, client: Client
    ) -> bytes | None:
        """Return the next message; None once the client has disconnected."""
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return None
            if transport.closed:
                continue  # until the closing handshake is over
            data: bytes | None = message.get("bytes")
            if data is None:
                data = message["text"].encode()
            if len(data) <= self._limit:
                return data
            transport.refuse_message()
            client.close(CONNECTION_CLOSED)


@define(eq=False)
class UniWebSocketEndpoint(WebSocketEndpoint):
    """Makes clients that send only a connect request, in the URL or a message."""

    def subprotocol(self, scope: Scope) -> str | None:
        """Return no subprotocol."""
        return None

    def describe(self, scope: Scope, chosen: str | None) -> TransportInfo:
        """Describe the transport."""
        return self.with_headers(scope, _UNI)

    def wire(self, info: TransportInfo) -> Wire:
        """Return the encoding of a connection."""
        return uni_websocket_lines()

    async def read(
        self,
        scope: Scope,
        receive: Receive,
        transport: ASGIWebSocketTransport,
        client: Client,
    ) -> None:
        """Use the connect request, and ignore all later messages."""
        connect: bytes | None = parameters(scope).get(b"cf_connect", [b""])[0]
        if not connect:
            connect = await self.next_message(receive, transport, client)
        if connect is not None:
            client.receive(connect)
        while connect is not None:
            connect = await self.next_message(receive, transport, client)


async def _refuse(scope: Scope, send: Send, status: int) -> None:
    """Refuse the handshake with *status*, which some servers turn into 403."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close"})
        return
    start = {"type": "websocket.http.response.start", "status": status, "headers": []}
    await send(start)
    await send({"type": "websocket.http.response.body", "body": b""})

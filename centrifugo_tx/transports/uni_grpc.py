"""Clients that only listen, over gRPC.

See client protocol, "Unidirectional transports"; protobuf, "Unidirectional gRPC".

Calls live on gRPC's loop, clients in the reactor.  A `GRPCTransport` is the only thing
that both know: the reactor appends frames to its queue, the loop takes them.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec
from attrs import define, field
from zope.interface import implementer

from ..core import Client, Node
from ..grpc.asyncio_bridge import AsyncioBridge
from ..interfaces import ITransport
from ..options import TLSOptions, TransportInfo
from ..protocol.codes import CONNECTION_CLOSED, SLOW, Disconnect
from ..protocol.messages import Push
from ..protocol.wire import Wire, uni_grpc

__all__ = ["GRPCTransport", "UniGRPC", "UniGRPCOptions"]

#: The service, and its one method, in ``protocol/proto/unistream.proto``.
SERVICE, METHOD = "centrifugal.centrifugo.unistream.CentrifugoUniStream", "Consume"
#: Seconds in which a peer has to read what was sent to it before the end.
LINGER = 5.0

#: Who is closed with these gets nothing that waits, and no push.
_WITHOUT_PUSH = {CONNECTION_CLOSED.code, SLOW.code}


class UniGRPCOptions(msgspec.Struct, frozen=True, kw_only=True):
    """gRPC streams on which only the server speaks."""

    enabled: bool = False
    """Serve them; needs the extra ``grpc``."""
    address: str = ""
    """Address to bind; empty: all."""
    port: int = 11000
    """Port to bind."""
    max_receive_message_size: int = 0
    """Largest request in bytes; 0: 4 MiB."""
    tls: TLSOptions = TLSOptions()
    """Encryption."""


_PLAIN = TransportInfo("uni_grpc", "protobuf", unidirectional=True)
#: Writes one message, when the peer has room for it.
Writer = Callable[[bytes], Awaitable[None]]


@implementer(ITransport)
@define(eq=False)
class GRPCTransport:
    """The stream of one client.

    ``limit`` bounds the bytes that wait, which are what the reactor has written
    without what the loop has sent.
    """

    _bridge: AsyncioBridge
    limit: int
    info: TransportInfo
    wire: Wire = field(factory=uni_grpc, init=False)
    #: The reactor's part.
    client: Client | None = field(default=None, init=False)
    _ended: bool = field(default=False, init=False)
    _written: int = field(default=0, init=False)
    #: The queue between the two; None ends the stream.
    _frames: deque[bytes | None] = field(factory=deque, init=False)
    _wake_scheduled: bool = field(default=False, init=False)
    #: The loop's part.
    _sent: int = field(default=0, init=False)
    _ready: asyncio.Event = field(factory=asyncio.Event, init=False)
    _task: "asyncio.Task[Any] | None" = field(default=None, init=False)
    _cancelled: bool = field(default=False, init=False)
    _linger_call: asyncio.TimerHandle | None = field(default=None, init=False)

    # --- In the reactor --------------------------------------------------------

    def write(self, frame: bytes) -> None:
        """Queue a message; an empty one is a ping."""
        if self._ended:
            return
        self._written += len(frame)
        self._append(frame)
        if self._written - self._sent > self.limit and self.client is not None:
            self.client.close(SLOW)

    def _append(self, frame: bytes | None) -> None:
        self._frames.append(frame)
        if not self._wake_scheduled:
            self._wake_scheduled = True
            self._bridge.to_loop(self._ready.set)

    def close(self, disconnect: Disconnect) -> None:
        """Tell the peer why, and end the call with status OK."""
        if self._ended:
            return
        if disconnect.code in _WITHOUT_PUSH:
            self._ended = True
            self._frames.clear()
            self._bridge.to_loop(self._cancel_call)
        else:
            frame = self.wire.push(Push(disconnect=disconnect))
            self.write(frame)
            if self.client is not None:
                self.client.count_farewell(len(frame))
            self._ended = True
            self._append(None)
            self._bridge.to_loop(self._linger)

    def pause(self) -> None:
        """Do nothing: nothing is read."""

    def resume(self) -> None:
        """Likewise."""

    def lost(self) -> None:
        """Take note that the call is over."""
        self._ended = True
        client, self.client = self.client, None
        if client is not None:
            client.transport_lost()

    # --- On the loop -----------------------------------------------------------

    async def send_all(self, write: Writer) -> None:
        """Send what comes until the end."""
        task = self._task = asyncio.current_task()
        assert task is not None
        try:
            await self._send(write)
        except asyncio.CancelledError:
            if not self._cancelled:
                raise  # it was the peer
            task.uncancel()
        finally:
            self._task = None
            if self._linger_call is not None:
                self._linger_call.cancel()

    async def _send(self, write: Writer) -> None:
        frames = self._frames
        while True:
            await self._ready.wait()
            self._ready.clear()
            self._wake_scheduled = False
            while frames:
                frame = frames.popleft()
                if frame is None:
                    return
                await write(frame)
                self._sent += len(frame)

    def _linger(self) -> None:
        """Give the peer some time to read what waits."""
        if self._task is not None:
            loop = self._task.get_loop()
            self._linger_call = loop.call_later(LINGER, self._cancel_call)

    def _cancel_call(self) -> None:
        """End the call, whatever is under way."""
        if self._task is not None:
            self._cancelled = True
            self._task.cancel()


@define(eq=False)
class UniGRPC:
    """Makes clients of *node* that only listen out of calls.

    ``kept_metadata`` are names of metadata, in lower case, that the policy wants to
    see as headers.
    """

    _node: Node
    _bridge: AsyncioBridge
    queue_max_size: int = 1048576
    kept_metadata: frozenset[str] = frozenset()

    @property
    def streams(self) -> dict[str, dict[str, Any]]:
        """Return the methods by name, by service."""
        return {SERVICE: {METHOD: self.consume}}

    async def consume(self, request: bytes, context: Any) -> None:
        """Serve one client, from its connect request to its end."""
        info = self._describe(context.invocation_metadata())
        stream = GRPCTransport(self._bridge, self.queue_max_size, info)
        self._bridge.to_reactor(self._connect_client, stream, request)
        try:
            await stream.send_all(context.write)
        finally:
            self._bridge.to_reactor(stream.lost)

    def _describe(self, metadata: Iterable[tuple[str, str | bytes]]) -> TransportInfo:
        headers: dict[str, tuple[str, ...]] = {}
        for name, value in metadata:
            if name in self.kept_metadata and isinstance(value, str):
                headers[name] = (*headers.get(name, ()), value)
        return msgspec.structs.replace(_PLAIN, headers=headers) if headers else _PLAIN

    def _connect_client(self, stream: GRPCTransport, request: bytes) -> None:
        """Let the node know, in the reactor."""
        stream.client = self._node.connect(stream)
        stream.client.receive(request)

"""Unidirectional clients over gRPC.

See client protocol, "Unidirectional transports"; protobuf, "Unidirectional gRPC".

Calls run on gRPC's loop, clients in the reactor.  They share only a `GRPCTransport`:
the reactor appends frames to its queue, and the loop sends them.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import unquote

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
from .overload import OverloadGuard

__all__ = ["GRPCTransport", "UniGRPC", "UniGRPCOptions"]

#: The service, and its one method, in ``protocol/proto/unistream.proto``.
SERVICE, METHOD = "centrifugal.centrifugo.unistream.CentrifugoUniStream", "Consume"
#: Seconds in which a peer must read the last frames before the call is cancelled.
LINGER = 5.0

#: Codes with which waiting frames are dropped and no disconnect push is sent.
_WITHOUT_PUSH = {CONNECTION_CLOSED.code, SLOW.code}


class UniGRPCOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The section ``uni_grpc`` of the configuration."""

    enabled: bool = False
    """Serve unidirectional gRPC streams; needs the extra ``grpc``."""
    address: str = ""
    """The address to bind; empty: all addresses."""
    port: int = 11000
    """The port to bind."""
    max_receive_message_size: int = 0
    """Largest request, in bytes; 0: 4 MiB."""
    tls: TLSOptions = TLSOptions()
    """TLS of the port."""


_PLAIN = TransportInfo("uni_grpc", "protobuf", unidirectional=True)
#: Writes one message, and waits until the peer has room for it.
Writer = Callable[[bytes], Awaitable[None]]


@implementer(ITransport)
@define(eq=False)
class GRPCTransport:
    """The stream of one client.

    ``limit`` bounds the waiting bytes: those that the reactor has written and the loop
    has not sent yet.
    """

    _bridge: AsyncioBridge
    limit: int
    info: TransportInfo
    peer_address: str = ""
    wire: Wire = field(factory=uni_grpc, init=False)
    #: State of the reactor.
    client: Client | None = field(default=None, init=False)
    _ended: bool = field(default=False, init=False)
    _written: int = field(default=0, init=False)
    #: The queue between reactor and loop; None ends the stream.
    _frames: deque[bytes | None] = field(factory=deque, init=False)
    _wake_scheduled: bool = field(default=False, init=False)
    #: State of the loop.
    _sent: int = field(default=0, init=False)
    _ready: asyncio.Event = field(factory=asyncio.Event, init=False)
    _task: "asyncio.Task[Any] | None" = field(default=None, init=False)
    _cancelled: bool = field(default=False, init=False)
    _linger_call: asyncio.TimerHandle | None = field(default=None, init=False)

    # --- In the reactor --------------------------------------------------------

    @property
    def waiting_bytes(self) -> int:
        """How many bytes wait for the peer."""
        return self._written - self._sent

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
        """Send a disconnect push, and end the call with status OK."""
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
                self.client.count_disconnect_push(len(frame))
            self._ended = True
            self._append(None)
            self._bridge.to_loop(self._linger)

    def pause(self) -> None:
        """Do nothing: the transport does not read."""

    def resume(self) -> None:
        """Do nothing: the transport does not read."""

    def lost(self) -> None:
        """Tell the client that the call has ended."""
        self._ended = True
        client, self.client = self.client, None
        if client is not None:
            client.transport_lost()

    # --- On the loop -----------------------------------------------------------

    async def send_all(self, write: Writer) -> None:
        """Send the frames of the queue until the stream ends."""
        task = self._task = asyncio.current_task()
        assert task is not None
        try:
            await self._send(write)
        except asyncio.CancelledError:
            if not self._cancelled:
                raise  # the peer cancelled the call
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
        """Give the peer `LINGER` seconds to read the waiting frames."""
        if self._task is not None:
            loop = self._task.get_loop()
            self._linger_call = loop.call_later(LINGER, self._cancel_call)

    def _cancel_call(self) -> None:
        """Cancel the call, even in the middle of a write."""
        if self._task is not None:
            self._cancelled = True
            self._task.cancel()


def _address_in(peer: str) -> str:
    """Return the address in a peer as gRPC writes it, such as ``ipv4:192.0.2.1:5000``.

    The brackets of an IPv6 address may be escaped as in a URL.
    """
    kind, _, place = peer.partition(":")
    if kind not in ("ipv4", "ipv6"):
        return ""
    return unquote(place).rpartition(":")[0].strip("[]").removeprefix("::ffff:")


async def _refuse(context: Any, seconds: int) -> None:
    """End a call with UNAVAILABLE; *seconds* later its client may try again."""
    from grpc import StatusCode

    pushback = (("grpc-retry-pushback-ms", str(1000 * seconds)),)
    await context.abort(StatusCode.UNAVAILABLE, "server is overloaded", pushback)


@define(eq=False)
class UniGRPC:
    """Makes unidirectional clients of *node* out of gRPC calls.

    ``kept_metadata`` are the names, in lower case, of the metadata that the policy
    reads as headers.
    """

    _node: Node
    _bridge: AsyncioBridge
    queue_max_size: int = 1048576
    kept_metadata: frozenset[str] = frozenset()
    overload: OverloadGuard | None = None

    @property
    def streams(self) -> dict[str, dict[str, Any]]:
        """Return the methods by service and name."""
        return {SERVICE: {METHOD: self.consume}}

    async def consume(self, request: bytes, context: Any) -> None:
        """Serve one client, from its connect request to the end of the call."""
        if self.overload is not None and self.overload.reason:
            seconds = await self._bridge.ask_reactor(self.overload.refuse)
            await _refuse(context, seconds)
        info = self._describe(context.invocation_metadata())
        address = _address_in(context.peer())
        stream = GRPCTransport(self._bridge, self.queue_max_size, info, address)
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
        """Connect a client to the node; runs in the reactor."""
        stream.client = self._node.connect(stream)
        stream.client.receive(request)

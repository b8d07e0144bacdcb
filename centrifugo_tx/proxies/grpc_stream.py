"""Streams of a backend, one for each subscription.

See event proxies, "Subscription streams".
"""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
from attrs import define, field
from google.protobuf.message import DecodeError as ProtobufError
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ..errors import ReplyError
from ..grpc.asyncio_bridge import AsyncioBridge
from ..options import SubscriptionStream
from ..protocol.codes import INTERNAL
from ..protocol.payloads import Raw
from ..protocol.proto import proxy_pb2
from ..proxy_messages import ProxyEvent, ProxyResponse, StreamResponse
from .client import BackendFailed, Forwarded
from .grpc_channel import BridgedChannel, reason_of
from .grpc_client import Codec, codec_of

__all__ = ["BackendStream", "GRPCStreamClient"]

_Request = proxy_pb2.StreamSubscribeRequest
_Response = proxy_pb2.StreamSubscribeResponse
_FAILURES = (grpc.RpcError, grpc.aio.UsageError, ValueError, TypeError)


@define(eq=False)
class GRPCStreamClient:
    """Opens streams; a response is the first message of one, with the stream."""

    _backend: BridgedChannel
    protocol: str = field(default="grpc", init=False)

    def call(
        self, event: ProxyEvent, request: Any, headers: Forwarded
    ) -> "Deferred[ProxyResponse[Any]]":
        """Open a stream, and wait for its first message; see `ProxyClient`."""
        codec, bidirectional = codec_of(event), request.bidirectional
        if bidirectional:
            first = _Request()
            codec.fill(first.subscribe_request, request)
            sent = first.SerializeToString()
        else:
            sent = codec.encode(request)
        opened = self._backend.run(self._open, bidirectional, sent, headers)
        return opened.addCallback(self._accept, codec)

    async def _open(
        self, bidirectional: bool, sent: bytes, headers: Forwarded
    ) -> tuple[Any, bytes]:
        call = None
        try:
            call = self._backend.channel.stream(bidirectional, sent, headers)
            if bidirectional:
                await call.write(sent)
            first = await call.read()
        except _FAILURES as error:
            raise BackendFailed(reason_of(error)) from None
        except asyncio.CancelledError:
            if call is not None:
                call.cancel()
            raise
        if first is grpc.aio.EOF:
            raise BackendFailed("the stream has ended without a response")
        return call, first

    def _accept(self, opened: tuple[Any, bytes], codec: Codec) -> ProxyResponse[Any]:
        call, first = opened
        backend = self._backend
        stream = BackendStream(backend.bridge, call, backend.options.timeout)
        try:
            message = _Response.FromString(first)
        except ProtobufError as error:
            stream.close()
            raise BackendFailed(f"malformed Protobuf: {error}") from None
        if not message.HasField("subscribe_response"):
            stream.close()
            raise BackendFailed("the first message of the stream is no response")
        found = codec.take(message.subscribe_response)
        going: SubscriptionStream | None = stream
        if found.error is not None or found.disconnect is not None:
            stream.close()
            going = None
        return StreamResponse(found.result, found.error, found.disconnect, going)

    def stop(self) -> "Deferred[None]":
        """Close the connection; its streams end."""
        return self._backend.stop()


@define(eq=False)
class BackendStream:
    """One open stream.

    A message is read when the one before has been delivered, so that a fast backend
    waits.  gRPC cancels a stream that nobody holds any more.

    :param timeout: seconds that the backend has to take a publication.
    """

    _bridge: AsyncioBridge
    _call: Any
    timeout: float
    _closed: bool = field(default=False, init=False)
    #: Writes happen one after another.
    _writing: asyncio.Lock = field(factory=asyncio.Lock, init=False)

    # --- In the reactor --------------------------------------------------------

    def follow(
        self,
        deliver: Callable[[bytes, dict[str, str]], None],
        ended: Callable[[bool], None],
    ) -> None:
        """Deliver from now on; see `SubscriptionStream`."""

        def deliver_open(data: bytes, tags: dict[str, str]) -> None:
            if not self._closed:
                deliver(data, tags)

        def finish(outcome: "bool | Failure") -> None:
            if not self._closed:
                self._closed = True
                ended(outcome is True)

        self._bridge.run(self._read, deliver_open).addBoth(finish)

    def publish(self, data: Raw) -> "Deferred[None]":
        """Send a publication of the client; fails with `ReplyError` (100)."""
        message = _Request(publication=proxy_pb2.Publication(data=bytes(data)))
        written = self._bridge.run(self._write, message.SerializeToString())
        return written.addErrback(_not_written)

    def close(self) -> None:
        """End the stream."""
        if not self._closed:
            self._closed = True
            self._bridge.to_loop(self._call.cancel)

    # --- On the loop -----------------------------------------------------------

    async def _read(self, deliver: Callable[[bytes, dict[str, str]], None]) -> bool:
        """Deliver to the end; return True if the backend has completed the stream."""
        try:
            while (message := await self._call.read()) is not grpc.aio.EOF:
                found = _Response.FromString(message)
                if found.HasField("publication"):
                    sent = found.publication
                    await self._bridge.ask_reactor(deliver, sent.data, dict(sent.tags))
        except (*_FAILURES, ProtobufError, asyncio.CancelledError):
            self._call.cancel()
            return False
        return True

    async def _write(self, message: bytes) -> None:
        try:
            async with asyncio.timeout(self.timeout), self._writing:
                await self._call.write(message)
        except (*_FAILURES, asyncio.InvalidStateError, TimeoutError) as error:
            raise BackendFailed(reason_of(error)) from None


def _not_written(failure: Failure) -> None:
    failure.trap(BackendFailed)
    raise ReplyError(INTERNAL, "not published into the stream")

"""Calls to a backend over gRPC (event proxies, "gRPC form")."""

from functools import cache
from typing import Any

from attrs import define, field
from google.protobuf.message import DecodeError as ProtobufError
from twisted.internet.defer import Deferred

from ..protocol.codes import Disconnect, Error
from ..protocol.proto import proxy_pb2
from ..protocol.struct_bridge import Bridge, bridge
from ..proxy_messages import ProxyEvent, ProxyResponse
from .client import BackendFailed, Forwarded
from .grpc_channel import BridgedChannel

__all__ = ["Codec", "GRPCProxyClient", "codec_of"]


@define(eq=False)
class GRPCProxyClient:
    """Calls the methods of ``CentrifugoProxy``; connects with the first call."""

    _backend: BridgedChannel
    protocol: str = field(default="grpc", init=False)

    def call(
        self, event: ProxyEvent, request: Any, headers: Forwarded
    ) -> "Deferred[ProxyResponse[Any]]":
        """Call the method of *event*; see `ProxyClient`."""
        codec = codec_of(event)
        answered = self._backend.run(
            self._backend.channel.unary, event.method, codec.encode(request), headers
        )
        return answered.addCallback(codec.decode)

    def stop(self) -> "Deferred[None]":
        """Close the connection; calls that still run fail."""
        return self._backend.stop()


@define(eq=False)
class Codec:
    """Requests and responses of one event as Protobuf."""

    event: ProxyEvent
    _request: "Bridge[Any]" = field(init=False)
    _response: Any = field(init=False)
    _answer: "Bridge[Any]" = field(init=False)
    _may_disconnect: bool = field(init=False)

    def __attrs_post_init__(self) -> None:
        name = self.event.method
        request = getattr(proxy_pb2, f"{name}Request")
        self._request = bridge(self.event.request, request)
        self._response = getattr(proxy_pb2, f"{name}Response")
        answer = getattr(proxy_pb2, f"{name}Result")
        self._answer = bridge(self.event.answer, answer)
        fields = self._response.DESCRIPTOR.fields_by_name
        self._may_disconnect = "disconnect" in fields

    def encode(self, request: Any) -> bytes:
        """Return the bytes of a request."""
        return self._request.encode(request)

    def fill(self, message: Any, request: Any) -> None:
        """Copy a request into *message*."""
        self._request.fill(message, request)

    def decode(self, data: bytes) -> ProxyResponse[Any]:
        """Return the response in *data*.

        :raises BackendFailed: it is malformed.
        """
        try:
            return self.take(self._response.FromString(data))
        except ProtobufError as error:
            raise BackendFailed(f"malformed Protobuf: {error}") from None

    def take(self, message: Any) -> ProxyResponse[Any]:
        """Return the response in *message*."""
        result = error = disconnect = None
        if message.HasField("result"):
            result = self._answer.take(message.result)
        if message.HasField("error"):
            said = message.error
            error = Error(said.code, said.message, said.temporary)
        if self._may_disconnect and message.HasField("disconnect"):
            end = message.disconnect
            disconnect = Disconnect(end.code, end.reason)
        return ProxyResponse(result, error, disconnect)


@cache
def codec_of(event: ProxyEvent) -> Codec:
    """Return the codec of an event; it is created once."""
    return Codec(event)

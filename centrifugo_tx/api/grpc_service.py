"""The server API over gRPC (server API, "gRPC API"); needs grpcio.

Messages are converted on gRPC's loop; methods run in the reactor.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import grpc
from attrs import define, field
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ..bounded_log import BoundedLog
from ..grpc.asyncio_bridge import AsyncioBridge
from ..protocol.proto import api_pb2
from . import api_messages as m
from .api import Api
from .api_key import APIKey
from .api_protobuf import Codec
from .methods import METHODS
from .spans import Span

__all__ = ["SERVICE", "GRPCService"]

SERVICE = "centrifugal.centrifugo.api.CentrifugoApi"

_CODES = grpc.StatusCode
#: gRPC statuses of errors in transport mode (server API, "API errors").
_STATUSES = {
    102: _CODES.NOT_FOUND,
    104: _CODES.NOT_FOUND,
    107: _CODES.INVALID_ARGUMENT,
    108: _CODES.INVALID_ARGUMENT,
    112: _CODES.OUT_OF_RANGE,
    113: _CODES.ALREADY_EXISTS,
}
#: Methods that may be cancelled while they run.
_CANCELLED = ("batch", "broadcast")

#: Names and values of a call's metadata.
Metadata = Sequence[tuple[str, "str | bytes"]]


@define(eq=False, slots=False)
class GRPCService(grpc.GenericRpcHandler):  # type: ignore[misc]  # has no types
    """Serves the methods of *api* to callers with ``key``; to all if it is empty."""

    _api: Api
    _bridge: AsyncioBridge
    key: str = ""
    _transport_errors: bool = False
    _handlers: dict[str, Any] = field(factory=dict, init=False)
    _refusal: Any = field(init=False)
    _unknown: Any = field(init=False)
    _key: APIKey = field(init=False)
    _log: BoundedLog = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._log = BoundedLog(Logger(), self._api.node.clock)
        self._key = APIKey(self.key, self._log)
        for method in METHODS.values():
            handler = grpc.unary_unary_rpc_method_handler(
                partial(self._call, Codec(method))
            )
            self._handlers[f"/{SERVICE}/{method.grpc_name}"] = handler
        # As a stream, so that the request of an unauthorized caller is not read.
        self._refusal = grpc.stream_unary_rpc_method_handler(self._refuse)
        self._unknown = grpc.stream_unary_rpc_method_handler(self._refuse_method)

    # --- On the loop -----------------------------------------------------------

    def service(self, handler_call_details: Any) -> Any:
        """Return the handler of a call; None if it is for another service."""
        path: str = handler_call_details.method
        if not path.startswith(f"/{SERVICE}/"):
            return None
        if self.key:
            received = _key_of(handler_call_details.invocation_metadata)
            if not self._key.accepts((received,)):
                return self._refusal
        return self._handlers.get(path, self._unknown)

    async def _refuse(self, requests: object, context: Any) -> None:
        received = bool(_value(context.invocation_metadata(), "authorization"))
        self._bridge.to_reactor(self._log_refusal, received, context.peer())
        await context.abort(_CODES.UNAUTHENTICATED, "unauthenticated")

    async def _refuse_method(self, requests: object, context: Any) -> None:
        await context.abort(
            _CODES.UNIMPLEMENTED, f"unknown method for service {SERVICE}"
        )

    async def _call(self, codec: Codec, data: bytes, context: Any) -> bytes:
        """Answer one call; gRPC cancels this when the caller cancels."""
        tracer = self._api.tracer
        if tracer is None:
            return await self._answer(codec, data, context, None)
        metadata = context.invocation_metadata() or ()
        headers = {name: text for name, text in metadata if isinstance(text, str)}
        span = tracer.begin(f"{SERVICE}/{codec.method.grpc_name}", headers)
        try:
            return await self._answer(codec, data, context, span)
        finally:
            span.end()

    async def _answer(
        self, codec: Codec, data: bytes, context: Any, span: Span | None
    ) -> bytes:
        method = codec.method
        try:
            request = await codec.decode(data)
        except ValueError as error:
            self._bridge.to_reactor(
                self._log_malformed, method.name, str(error), context.peer()
            )
            await context.abort(
                _CODES.INTERNAL, f"error unmarshalling request: {error}"
            )
        outcome = await self._bridge.ask_reactor(self._run, codec, request)
        if span is not None:
            span.watch(request, outcome)
        if isinstance(outcome, m.Error) and self._wants_status(context):
            status = rpc_status.to_status(_status(outcome))
            await context.abort(status.code, status.details, status.trailing_metadata)
        return await codec.encode(outcome)

    def _wants_status(self, context: Any) -> bool:
        """Return whether errors become gRPC statuses (server API, "API errors")."""
        mode = "x-centrifugo-error-mode"
        metadata = context.invocation_metadata()
        return self._transport_errors or _value(metadata, mode) == "transport"

    # --- In the reactor --------------------------------------------------------

    def _run(self, codec: Codec, request: m.Request) -> "m.Result | Deferred[m.Result]":
        method = codec.method
        outcome = self._api.call(method, request)
        if isinstance(outcome, Deferred) and method.name not in _CANCELLED:
            # A method that has begun finishes, even if the caller has cancelled.
            result: Deferred[m.Result] = Deferred()
            outcome.chainDeferred(result)
            return result
        return outcome

    def _log_refusal(self, received: bool, peer: str) -> None:
        self._key.log_refusal(received, addr=_address(peer))

    def _log_malformed(self, method: str, error: str, peer: str) -> None:
        self._api.count_error(method, "unmarshal")
        self._log.warn(
            "error decoding API request body",
            ("method",),
            method=method,
            error=error,
            addr=_address(peer),
        )


def _value(metadata: Metadata | None, name: str) -> str:
    """Return the first value of *name*."""
    for key, value in metadata or ():
        if key == name:
            return value if isinstance(value, str) else value.decode(errors="replace")
    return ""


def _key_of(metadata: Metadata | None) -> bytes:
    """Return the key that a call carries; empty if it carries none."""
    scheme, _, key = _value(metadata, "authorization").partition(" ")
    return key.encode() if scheme == "apikey" else b""


def _status(error: m.Error) -> Status:
    """Return *error* as a status, with the message of the API in its details."""
    code = _STATUSES.get(error.code, _CODES.INTERNAL)
    detail = AnyMessage()
    detail.Pack(api_pb2.Error(code=error.code, message=error.message))
    return Status(code=code.value[0], message=error.message, details=[detail])


def _address(peer: str) -> str:
    """Return the host of a gRPC peer name, such as ``ipv4:10.0.0.1:5555``."""
    host = peer.partition(":")[2].rpartition(":")[0]
    return host.replace("%5B", "").replace("%5D", "").removeprefix("::ffff:")

"""Requests and responses of the server API as Protobuf (server API, "gRPC API").

Long batches are converted in slices: `decode` and `encode` yield to their loop.
"""

import asyncio
from time import perf_counter
from typing import Any

from attrs import define, field
from google.protobuf.message import DecodeError as ProtobufError

from ..protocol.proto import api_pb2
from ..protocol.struct_bridge import Bridge, bridge
from . import api_messages as m
from .api import Method
from .batches import BatchRequest, Command
from .methods import IN_BATCH

__all__ = ["Codec"]

#: Seconds that a slice of a long batch may take.
SLICE_SECONDS = 0.005

_error: Any = bridge(m.Error, api_pb2.Error)
_command: Any = bridge(Command, api_pb2.Command)


@define(eq=False)
class Codec:
    """The messages of one method."""

    method: Method
    _request: Any = field(init=False)
    _response: Any = field(init=False)
    _request_bridge: "Bridge[Any]" = field(init=False)
    #: None for a batch, whose replies are those of its commands.
    _result_bridge: "Bridge[Any] | None" = field(init=False)

    def __attrs_post_init__(self) -> None:
        name = self.method.grpc_name
        self._request = getattr(api_pb2, f"{name}Request")
        self._response = getattr(api_pb2, f"{name}Response")
        self._request_bridge = bridge(self.method.request, self._request)
        self._result_bridge = None
        if self.method.request is not BatchRequest:
            result = getattr(api_pb2, f"{name}Result")
            self._result_bridge = bridge(self.method.result, result)

    async def decode(self, data: bytes) -> m.Request:
        """Return the request in *data*.

        :raises ValueError: it is none.
        """
        message = self._request()
        try:
            message.ParseFromString(data)
        except ProtobufError as error:
            raise ValueError(f"malformed Protobuf: {error}") from None
        if self._result_bridge is not None:
            request: m.Request = self._request_bridge.take(message)
            return request
        commands, pause = [], _Pause()
        for each in message.commands:
            if pause.due():
                await pause.take()
            commands.append(_command.take(each))
        return BatchRequest(commands, message.parallel)

    async def encode(self, outcome: m.Result) -> bytes:
        """Return the response with *outcome*, a result or an error.

        :raises ValueError: a number does not fit its field.
        """
        response = self._response()
        if isinstance(outcome, m.BatchResult):
            pause = _Pause()
            for reply in outcome.replies:
                if pause.due():
                    await pause.take()
                _fill_reply(response.replies.add(), reply)
        elif isinstance(outcome, m.Error):
            _error.fill(response.error, outcome)
            response.error.SetInParent()
        else:
            assert self._result_bridge is not None
            self._result_bridge.fill(response.result, outcome)
            response.result.SetInParent()
        encoded: bytes = response.SerializeToString()
        return encoded


def _fill_reply(message: Any, reply: dict[str, m.Result]) -> None:
    for name, outcome in reply.items():
        part = getattr(message, name)
        part.SetInParent()
        if isinstance(outcome, m.Error):
            _error.fill(part, outcome)
        else:
            bridge(IN_BATCH[name].result, type(part)).fill(part, outcome)


@define(eq=False)
class _Pause:
    """Decides when a long task on the loop lets other tasks run."""

    _end: float = field(factory=lambda: perf_counter() + SLICE_SECONDS, init=False)

    def due(self) -> bool:
        """Whether the current slice is over."""
        return perf_counter() >= self._end

    async def take(self) -> None:
        """Let other tasks run, then start a new slice."""
        await asyncio.sleep(0)
        self._end = perf_counter() + SLICE_SECONDS

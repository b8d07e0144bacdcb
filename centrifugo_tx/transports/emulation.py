"""Commands of clients whose stream carries only replies and pushes.

See client protocol, "Emulation".
"""

from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..bounded_log import BoundedLog
from ..core import Node, SurveyFailed, UnknownNode
from ..errors import BrokerUnavailable, DecodeError
from ..options import Answer
from ..protocol import json_codec, protobuf_codec
from .cors import CORS, Headers
from .http_stream import is_protobuf
from .response_stream import read_body

__all__ = ["EmulationEndpoint"]


@define(eq=False)
class EmulationEndpoint:
    """Answers requests to the emulation endpoint.

    The replies to the commands are sent in the client's stream.  ``limit`` is how many
    bytes a body may have; 0: `BODY_LIMIT`.
    """

    _node: Node
    _cors: CORS
    _limit: int = 0
    _log: BoundedLog = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._log = BoundedLog(Logger(), self._node.clock)

    def __call__(self, request: Any) -> "Answer | Deferred[Answer]":
        """Forward the commands in the body to the node that holds the stream."""
        if request.method == b"OPTIONS":
            return self._cors.preflight(request)
        headers = self._cors.headers(request)
        if request.method != b"POST":
            return Answer(405, headers=headers)
        body = read_body(request, self._limit)
        if body is None:
            return Answer(413, headers=headers)
        decode = protobuf_codec if is_protobuf(request) else json_codec
        try:
            asked = decode.decode_emulation(body)
        except DecodeError as error:
            self._log.info("can't unmarshal emulation request", error=str(error))
            return Answer(400, headers=headers)
        done: Deferred[Any] = self._node.forward(asked)
        return done.addCallbacks(
            lambda _: Answer(204, headers=headers),
            self._failed,
            errbackArgs=(asked.node, headers),
        )

    def _failed(self, failure: Failure, node: str, headers: Headers) -> Answer:
        failure.trap(UnknownNode, SurveyFailed, BrokerUnavailable)
        if failure.check(UnknownNode):
            self._log.info("emulation request for an unknown node", node=node)
            return Answer(404, headers=headers)
        self._log.warn(
            "node did not accept emulation request", node=node, error=str(failure.value)
        )
        return Answer(500, headers=headers)

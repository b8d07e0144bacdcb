"""Commands of clients whose streams only bring them replies (client protocol, 1.4)."""

from typing import Any

from attrs import define
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..core import Node, SurveyFailed, UnknownNode
from ..errors import BrokerUnavailable, DecodeError
from ..options import Answer
from ..protocol import binary, json
from .cors import CORS, Headers
from .http_stream import is_protobuf
from .streaming import read_body

__all__ = ["EmulationEndpoint"]


@define(eq=False)
class EmulationEndpoint:
    """Answers the requests to the endpoint.

    What becomes of the commands is said in the stream.  ``limit`` is how many bytes a
    body may have; 0: `BODY_LIMIT`.
    """

    _node: Node
    _cors: CORS
    _limit: int = 0
    _log = Logger()

    def __call__(self, request: Any) -> "Answer | Deferred[Answer]":
        """Pass the commands in the body on."""
        if request.method == b"OPTIONS":
            return self._cors.preflight(request)
        headers = self._cors.headers(request)
        if request.method != b"POST":
            return Answer(405, headers=headers)
        body = read_body(request, self._limit)
        if body is None:
            return Answer(413, headers=headers)
        decode = binary if is_protobuf(request) else json
        try:
            asked = decode.decode_emulation(body)
        except DecodeError:
            return Answer(400, headers=headers)
        done: Deferred[Any] = self._node.emulation.forward(asked)
        return done.addCallbacks(
            lambda _: Answer(204, headers=headers),
            self._failed,
            errbackArgs=(asked.node, headers),
        )

    def _failed(self, failure: Failure, node: str, headers: Headers) -> Answer:
        failure.trap(UnknownNode, SurveyFailed, BrokerUnavailable)
        if failure.check(UnknownNode):
            return Answer(404, headers=headers)
        self._log.warn(
            "node {node} did not take commands: {reason}",
            node=node,
            reason=failure.value,
        )
        return Answer(500, headers=headers)

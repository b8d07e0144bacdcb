"""Forwards the commands of emulated clients to the nodes of their sessions.

See client protocol, "Emulation".
"""

from typing import Any

from attrs import define
from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from ...errors import CentrifugoError, DecodeError
from ...interfaces import IEmulatedTransport
from ...protocol.json_codec import unquote
from ...protocol.messages import EmulationRequest
from ...protocol.protobuf_codec import decode_emulation, encode_emulation
from ..runtime import Runtime
from ..session.client import Client
from ..session.connections import Connections
from .peers import Peers
from .surveys import TIMEOUT, SurveyFailed, Surveys

__all__ = ["Emulation", "UnknownNode"]

#: The survey by which nodes forward commands.
OP = "centrifuge_emulation"
#: The codes that answer the survey.
ACCEPTED, MALFORMED, NO_SESSION = 0, 1, 2


class UnknownNode(CentrifugoError):
    """The request names a node that is not known."""


@define(eq=False)
class Emulation:
    """Delivers commands to the client of a session, on any node."""

    _runtime: Runtime
    _peers: Peers
    _surveys: Surveys
    _connections: Connections[Client]

    def __attrs_post_init__(self) -> None:
        self._surveys.handlers[OP] = self._handle_survey

    def forward(self, request: EmulationRequest) -> "Deferred[None]":
        """Forward commands to the node that the request names.

        :return: fires when it has accepted them, even if the session is unknown.
            Fails with `UnknownNode`, or with `SurveyFailed` after 10 seconds.
        """
        done: Deferred[Any]
        if request.node == self._runtime.id:
            done = self._surveys.timed(OP, self._deliver(request))
            if not done.called:
                done.addTimeout(TIMEOUT, self._runtime.clock, _timed_out)
        elif self._peers.knows(request.node):
            question = encode_emulation(request)
            done = self._surveys.survey(OP, question, request.node)
        else:
            return fail(UnknownNode(f"unknown node {request.node!r}"))
        return done.addCallback(lambda _: None)

    def _handle_survey(self, data: bytes) -> "Deferred[tuple[int, bytes]]":
        """Handle a survey by which another node forwards commands."""
        try:
            request = decode_emulation(data)
        except DecodeError:
            return succeed((MALFORMED, b""))
        return self._deliver(request).addCallback(lambda code: (code, b""))

    def _deliver(self, request: EmulationRequest) -> "Deferred[int]":
        """Deliver commands to their client as soon as it is ready for them."""
        client = self._connections.by_session(request.session)
        if client is None or not client.transport.info.emulated:
            return succeed(NO_SESSION)
        data = bytes(request.data)
        if client.transport.wire.protocol == "json":
            try:
                data = unquote(data)
            except DecodeError:
                return succeed(MALFORMED)
        transport = IEmulatedTransport(client.transport)
        if transport.busy is None:
            client.receive(data)
            return succeed(ACCEPTED)
        done: Deferred[int] = Deferred()

        def retry(result: None) -> None:
            self._deliver(request).chainDeferred(done)

        transport.busy.addCallback(retry)
        return done


def _timed_out(result: object, timeout: float) -> Failure:
    return Failure(
        SurveyFailed(f"the session did not accept commands within {timeout} s")
    )

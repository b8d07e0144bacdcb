"""Commands that come beside the stream of their client.

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

#: The survey by which nodes pass them on.
OP = "centrifuge_emulation"
#: What that survey answers: taken, not understood, no such session here.
TAKEN, MALFORMED, NO_SESSION = 0, 1, 2


class UnknownNode(CentrifugoError):
    """No node of this id is known."""


@define(eq=False)
class Emulation:
    """Brings commands to the client that holds a session, wherever it is."""

    _runtime: Runtime
    _peers: Peers
    _surveys: Surveys
    _connections: Connections[Client]

    def __attrs_post_init__(self) -> None:
        self._surveys.handlers[OP] = self._asked

    def forward(self, request: EmulationRequest) -> "Deferred[None]":
        """Hand commands to the node they are for.

        :return: fires when it has taken them, also if the session is not there.
            Fails with `UnknownNode`, or with `SurveyFailed` after 10 seconds.
        """
        done: Deferred[Any]
        if request.node == self._runtime.id:
            done = self._surveys.timed(OP, self._deliver(request))
            if not done.called:
                done.addTimeout(TIMEOUT, self._runtime.clock, _late)
        elif self._peers.knows(request.node):
            question = encode_emulation(request)
            done = self._surveys.survey(OP, question, request.node)
        else:
            return fail(UnknownNode(f"no node {request.node!r} is known"))
        return done.addCallback(lambda _: None)

    def _asked(self, data: bytes) -> "Deferred[tuple[int, bytes]]":
        """Take what another node passes on."""
        try:
            request = decode_emulation(data)
        except DecodeError:
            return succeed((MALFORMED, b""))
        return self._deliver(request).addCallback(lambda code: (code, b""))

    def _deliver(self, request: EmulationRequest) -> "Deferred[int]":
        """Give commands to their client, as soon as it can take them."""
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
            return succeed(TAKEN)
        done: Deferred[int] = Deferred()

        def go_on(result: None) -> None:
            self._deliver(request).chainDeferred(done)

        transport.busy.addCallback(go_on)
        return done


def _late(result: object, timeout: float) -> Failure:
    return Failure(SurveyFailed(f"the session did not take commands in {timeout} s"))

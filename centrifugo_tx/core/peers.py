"""The other nodes: who they are, and what is said between them.

See engines, "Control messages".
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import msgspec
from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ..errors import CentrifugoError, DecodeError
from ..globs import compile_glob
from ..interfaces import IControlEventHandler
from ..options import SubscribeOptions
from ..protocol import control
from ..protocol.codes import Disconnect, Unsubscribe
from ..protocol.messages import Raw, StreamPosition, raw

if TYPE_CHECKING:
    from .node import Node

__all__ = ["NodeInfo", "Peers", "SurveyFailed"]

#: Seconds between two announcements of a node.
ANNOUNCE = 3.0
#: Seconds of silence after which a node counts as gone, and between looks at that.
SILENCE, SWEEP = 7.0, 9.0
#: Seconds within which all nodes must have answered a survey.
SURVEY = 10.0

#: Answers a survey: a code (0 is well) and the answer.
SurveyHandler = Callable[[bytes], "Deferred[tuple[int, bytes]]"]

UNKNOWN_OP = 3

_T = TypeVar("_T")


class SurveyFailed(CentrifugoError):
    """A node did not answer in time, or answered with an error."""


class NodeInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a node says of itself; ``uptime`` is seconds."""

    uid: str
    name: str = ""
    version: str = ""
    num_clients: int = 0
    num_users: int = 0
    num_channels: int = 0
    num_subs: int = 0
    uptime: int = 0
    metrics: Mapping[str, float] | None = None


@define(eq=False)
class _Survey:
    """A question on its way to all nodes."""

    expected: int
    done: "Deferred[dict[str, tuple[int, bytes]]]" = field(factory=Deferred, init=False)
    answers: dict[str, tuple[int, bytes]] = field(factory=dict, init=False)

    def collect(self, answer: tuple[int, bytes], uid: str) -> None:
        """Take a node's answer; the last one ends the survey."""
        self.answers[uid] = answer
        if len(self.answers) >= self.expected and not self.done.called:
            self.done.callback(self.answers)


@implementer(IControlEventHandler)
@define(eq=False)
class Peers:
    """Knows the nodes, tells them what concerns all, and asks them."""

    _node: "Node"
    handlers: dict[str, SurveyHandler] = field(factory=dict, init=False)
    _known: dict[str, tuple[NodeInfo, float]] = field(factory=dict, init=False)
    _surveys: dict[int, _Survey] = field(factory=dict, init=False)
    _last_survey: int = field(default=0, init=False)
    _began: float = field(default=0.0, init=False)
    _calls: dict[str, IDelayedCall] = field(factory=dict, init=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self.handlers["channels"] = self._count_channels

    # --- Life ------------------------------------------------------------------

    def start(self) -> None:
        """Announce this node, now and regularly."""
        self._began = self._node.clock.seconds()
        self._announce()
        self._calls["sweep"] = self._node.clock.callLater(SWEEP, self._sweep)

    def stop(self) -> "Deferred[None]":
        """Leave nothing behind in the reactor; fires when the others were told."""
        for call in self._calls.values():
            call.cancel()
        self._calls.clear()
        return self._send(control.ControlCommand(shutdown=control.Shutdown()))

    def _announce(self) -> None:
        clock = self._node.clock
        self._calls["announce"] = clock.callLater(ANNOUNCE, self._announce)
        self._send(self._own_state())

    def _sweep(self) -> None:
        clock = self._node.clock
        self._calls["sweep"] = clock.callLater(SWEEP, self._sweep)
        limit = clock.seconds() - SILENCE
        for uid, (_, heard) in list(self._known.items()):
            if heard < limit:
                del self._known[uid]

    # --- Who is there ----------------------------------------------------------

    def own_info(self) -> NodeInfo:
        """Return what this node says of itself."""
        node, hub = self._node, self._node.hub
        return NodeInfo(
            uid=node.id,
            name=node.options.name,
            version=node.options.version,
            num_clients=hub.num_clients,
            num_users=hub.num_users,
            num_channels=hub.num_channels,
            num_subs=hub.num_subscriptions,
            uptime=int(node.clock.seconds() - self._began),
        )

    def info(self) -> list[NodeInfo]:
        """Return what is known of all nodes, this one first."""
        return [self.own_info(), *(info for info, _ in self._known.values())]

    def knows(self, uid: str) -> bool:
        """Whether a node of this id is there."""
        return uid == self._node.id or uid in self._known

    def _own_state(self) -> control.ControlCommand:
        own = self.own_info()
        return control.ControlCommand(
            node=control.Node(
                uid=own.uid,
                name=own.name,
                version=own.version,
                num_clients=own.num_clients,
                num_users=own.num_users,
                num_channels=own.num_channels,
                uptime=own.uptime,
                num_subs=own.num_subs,
            )
        )

    # --- What concerns all -----------------------------------------------------

    def tell_subscribe(
        self,
        channel: str,
        options: SubscribeOptions,
        user: str,
        client: str,
        session: str,
        since: StreamPosition | None,
    ) -> "Deferred[None]":
        """Have the other nodes subscribe the connections of *user*."""
        return self._tell(
            control.ControlCommand(
                subscribe=control.Subscribe(
                    user=user,
                    channel=channel,
                    emit_presence=options.presence,
                    emit_join_leave=options.join_leave,
                    expire_at=options.expire_at,
                    position=options.positioned,
                    recover=options.recoverable,
                    channel_info=options.info,
                    client=client,
                    data=options.data,
                    recover_since=since,
                    session=session,
                    push_join_leave=options.push_join_leave,
                    source=options.source,
                )
            )
        )

    def tell_unsubscribe(
        self, channel: str, user: str, client: str, session: str, reason: Unsubscribe
    ) -> "Deferred[None]":
        """Have the other nodes take the connections of *user* out."""
        return self._tell(
            control.ControlCommand(
                unsubscribe=control.Unsubscribe(
                    channel=channel,
                    user=user,
                    client=client,
                    session=session,
                    code=reason.code,
                    reason=reason.reason,
                )
            )
        )

    def tell_disconnect(
        self,
        user: str,
        client: str,
        session: str,
        disconnect: Disconnect,
        whitelist: Sequence[str],
    ) -> "Deferred[None]":
        """Have the other nodes close the connections of *user*."""
        return self._tell(
            control.ControlCommand(
                disconnect=control.Disconnect(
                    user=user,
                    whitelist=list(whitelist),
                    code=disconnect.code,
                    reason=disconnect.reason,
                    client=client,
                    session=session,
                )
            )
        )

    def tell_refresh(
        self,
        user: str,
        client: str,
        session: str,
        expired: bool,
        expire_at: int,
        info: Raw,
    ) -> "Deferred[None]":
        """Have the other nodes move the expiry of the connections of *user*."""
        return self._tell(
            control.ControlCommand(
                refresh=control.Refresh(
                    user=user,
                    client=client,
                    expired=expired,
                    expire_at=expire_at,
                    info=info,
                    session=session,
                )
            )
        )

    def _tell(
        self, command: control.ControlCommand, node: str = ""
    ) -> "Deferred[None]":
        command = msgspec.structs.replace(command, uid=self._node.id)
        self._node.counts.sent("control")
        return self._node.engine.controller.publish(control.encode(command), node)

    def _send(
        self, command: control.ControlCommand, node: str = ""
    ) -> "Deferred[None]":
        """Tell what need not be waited for."""
        told = self._tell(command, node)
        return told.addErrback(
            self._node.log_failure, "control message", node or "all nodes"
        )

    # --- What the others say ---------------------------------------------------

    def handle_control(self, message: bytes) -> None:
        """Take a message from a node; ignore this one's own."""
        self._node.counts.received("control")
        try:
            command = control.decode(message)
        except DecodeError as error:
            self._log.warn("malformed control message: {reason}", reason=error)
            return
        if command.uid == self._node.id:
            return
        if command.node is not None:
            self._met(command.node)
        elif command.shutdown is not None:
            self._known.pop(command.uid, None)
        elif command.survey_request is not None:
            self._asked(command.uid, command.survey_request)
        elif command.survey_response is not None:
            self._answered(command.uid, command.survey_response)
        else:
            self._obey(command)

    def _met(self, state: control.Node) -> None:
        now = self._node.clock.seconds()
        known = self._known.get(state.uid)
        metrics = known[0].metrics if known is not None else None
        if state.metrics is not None:
            metrics = state.metrics.items
        info = NodeInfo(
            uid=state.uid,
            name=state.name,
            version=state.version,
            num_clients=state.num_clients,
            num_users=state.num_users,
            num_channels=state.num_channels,
            num_subs=state.num_subs,
            uptime=state.uptime,
            metrics=metrics,
        )
        self._known[state.uid] = info, now
        if known is None:
            self._send(self._own_state(), state.uid)

    def _obey(self, command: control.ControlCommand) -> None:
        """Do to the clients here what another node asks for."""
        node = self._node
        if (asked := command.subscribe) is not None:
            options = SubscribeOptions(
                expire_at=asked.expire_at,
                info=asked.channel_info,
                data=asked.data,
                presence=asked.emit_presence,
                join_leave=asked.emit_join_leave,
                push_join_leave=asked.push_join_leave,
                positioned=asked.position,
                recoverable=asked.recover,
                source=asked.source,
            )
            node.subscribe_here(
                asked.channel,
                options,
                asked.user,
                asked.client,
                asked.session,
                asked.recover_since,
            )
        elif (out := command.unsubscribe) is not None:
            reason = Unsubscribe(out.code, out.reason)
            node.unsubscribe_here(
                out.channel, out.user, out.client, out.session, reason
            )
        elif (end := command.disconnect) is not None:
            disconnect = Disconnect(end.code, end.reason)
            node.disconnect_here(
                end.user, end.client, end.session, disconnect, end.whitelist
            )
        elif (new := command.refresh) is not None:
            node.refresh_here(
                new.user, new.client, new.session, new.expired, new.expire_at, new.info
            )

    # --- Surveys ---------------------------------------------------------------

    def survey(
        self, op: str, data: bytes, node: str = ""
    ) -> "Deferred[dict[str, tuple[int, bytes]]]":
        """Ask all nodes, or one; fails with `SurveyFailed` after 10 seconds."""
        return self.timed(op, self._survey(op, data, node))

    def timed(self, op: str, asked: "Deferred[_T]") -> "Deferred[_T]":
        """Count how long a question took, whether or not it was answered."""
        clock = self._node.clock
        began = clock.seconds()

        def over(result: _T) -> _T:
            self._node.counts.surveyed(op, clock.seconds() - began)
            return result

        return asked.addBoth(over)

    def _survey(
        self, op: str, data: bytes, node: str
    ) -> "Deferred[dict[str, tuple[int, bytes]]]":
        own = self._node.id
        if node == own or (not node and not self._known):
            return self._handle(op, data).addCallback(lambda answer: {own: answer})
        self._last_survey += 1
        id = self._last_survey
        survey = self._surveys[id] = _Survey(1 if node else 1 + len(self._known))
        question = control.SurveyRequest(id=id, op=op, data=raw(data))
        told = self._tell(control.ControlCommand(survey_request=question), node)
        told.addErrback(self._give_up, id)
        if not node:
            self._handle(op, data).addCallback(survey.collect, own)

        def late(_: object, timeout: float) -> Failure:
            return Failure(SurveyFailed(f"not all nodes answered in {timeout} s"))

        def over(result: _T) -> _T:
            self._surveys.pop(id, None)
            return result

        return survey.done.addTimeout(SURVEY, self._node.clock, late).addBoth(over)

    def _give_up(self, failure: Failure, id: int) -> None:
        survey = self._surveys.get(id)
        if survey is not None and not survey.done.called:
            survey.done.errback(failure)

    def _handle(self, op: str, data: bytes) -> "Deferred[tuple[int, bytes]]":
        handler = self.handlers.get(op)
        if handler is None:
            return succeed((UNKNOWN_OP, b""))
        return handler(data)

    def _asked(self, uid: str, question: control.SurveyRequest) -> None:
        def answer(result: tuple[int, bytes]) -> None:
            code, data = result
            response = control.SurveyResponse(id=question.id, code=code, data=raw(data))
            self._send(control.ControlCommand(survey_response=response), uid)

        handled = self._handle(question.op, bytes(question.data))
        handled.addCallback(answer)
        handled.addErrback(self._node.log_failure, "survey", question.op)

    def _answered(self, uid: str, response: control.SurveyResponse) -> None:
        survey = self._surveys.get(response.id)
        if survey is not None:
            survey.collect((response.code, bytes(response.data)), uid)

    # --- Channels --------------------------------------------------------------

    def channels(self, pattern: str) -> "Deferred[dict[str, int]]":
        """Count the subscribers of the channels that match, over all nodes."""
        try:
            compile_glob(pattern or "*")
        except ValueError:
            failed: Deferred[dict[str, int]] = Deferred()
            failed.errback()
            return failed
        question = control.encode_channels_request(pattern)
        asked = self.survey("channels", question)

        def add_up(answers: dict[str, tuple[int, bytes]]) -> dict[str, int]:
            total: dict[str, int] = {}
            for uid, (code, data) in answers.items():
                if code:
                    raise SurveyFailed(f"node {uid} answered with code {code}")
                for channel, count in control.decode_channels_result(data).items():
                    total[channel] = total.get(channel, 0) + count
            return total

        return asked.addCallback(add_up)

    def _count_channels(self, data: bytes) -> "Deferred[tuple[int, bytes]]":
        try:
            matches = compile_glob(control.decode_channels_request(data) or "*")
        except ValueError:
            return succeed((2, b""))
        found = {
            channel.name: len(channel.subscribers)
            for channel in self._node.hub.occupied()
            if matches(channel.name)
        }
        return succeed((0, control.encode_channels_result(found)))

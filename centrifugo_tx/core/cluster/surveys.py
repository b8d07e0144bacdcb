"""Surveys: questions that all nodes answer (engines, "Control messages")."""

from collections.abc import Callable
from typing import TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from ...errors import CentrifugoError
from ...globs import compile_glob
from ...protocol import control
from ...protocol.payloads import Raw
from ..channel.hub import Hub
from ..runtime import Runtime
from .peers import Peers

__all__ = ["TIMEOUT", "SurveyFailed", "SurveyHandler", "Surveys"]

#: Seconds within which all nodes must have answered.
TIMEOUT = 10.0

#: Answers a survey with a code (0: success) and data.
SurveyHandler = Callable[[bytes], "Deferred[tuple[int, bytes]]"]

UNKNOWN_OP = 3

_T = TypeVar("_T")


class SurveyFailed(CentrifugoError):
    """A node did not answer in time, or answered with an error."""


@define(eq=False)
class _Survey:
    """A running survey."""

    expected: int
    done: "Deferred[dict[str, tuple[int, bytes]]]" = field(factory=Deferred, init=False)
    answers: dict[str, tuple[int, bytes]] = field(factory=dict, init=False)

    def collect(self, answer: tuple[int, bytes], uid: str) -> None:
        """Store a node's answer; the last one completes the survey."""
        self.answers[uid] = answer
        if len(self.answers) >= self.expected and not self.done.called:
            self.done.callback(self.answers)


@define(eq=False)
class Surveys:
    """Surveys the nodes, and answers surveys by ``handlers``, which are found by op."""

    _runtime: Runtime
    _peers: Peers
    _hub: Hub
    handlers: dict[str, SurveyHandler] = field(factory=dict, init=False)
    _surveys: dict[int, _Survey] = field(factory=dict, init=False)
    _last: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.handlers["channels"] = self._count_channels
        self._peers.handlers["survey_request"] = self._handle_request
        self._peers.handlers["survey_response"] = self._handle_response

    def survey(
        self, op: str, data: bytes, node: str = ""
    ) -> Deferred[dict[str, tuple[int, bytes]]]:
        """Survey all nodes, or one.

        :return: code and data by node id; fails with `SurveyFailed` after 10 seconds.
        """
        return self.timed(op, self._survey(op, data, node))

    def timed(self, op: str, asked: Deferred[_T]) -> Deferred[_T]:
        """Observe how long a survey takes, whether or not it succeeds."""
        clock = self._runtime.clock
        began = clock.seconds()

        def over(result: _T) -> _T:
            self._runtime.metrics.observe_survey(op, clock.seconds() - began)
            return result

        return asked.addBoth(over)

    def _survey(
        self, op: str, data: bytes, node: str
    ) -> Deferred[dict[str, tuple[int, bytes]]]:
        own, others = self._runtime.id, self._peers.num_others
        if node == own or (not node and not others):
            return self._handle(op, data).addCallback(lambda answer: {own: answer})
        self._last += 1
        id = self._last
        survey = self._surveys[id] = _Survey(1 if node else 1 + others)
        question = control.SurveyRequest(id=id, op=op, data=Raw(data))
        sent = self._peers.send(control.ControlCommand(survey_request=question), node)
        sent.addErrback(self._fail, id)
        if not node:
            self._handle(op, data).addCallback(survey.collect, own)

        def late(_: object, timeout: float) -> Failure:
            return Failure(SurveyFailed(f"not all nodes answered within {timeout} s"))

        def over(result: _T) -> _T:
            self._surveys.pop(id, None)
            return result

        return survey.done.addTimeout(TIMEOUT, self._runtime.clock, late).addBoth(over)

    def _fail(self, failure: Failure, id: int) -> None:
        survey = self._surveys.get(id)
        if survey is not None and not survey.done.called:
            survey.done.errback(failure)

    def _handle(self, op: str, data: bytes) -> Deferred[tuple[int, bytes]]:
        handler = self.handlers.get(op)
        if handler is None:
            return succeed((UNKNOWN_OP, b""))
        return handler(data)

    def _handle_request(self, uid: str, question: control.SurveyRequest) -> None:
        def answer(result: tuple[int, bytes]) -> None:
            code, data = result
            response = control.SurveyResponse(id=question.id, code=code, data=Raw(data))
            self._peers.notify(control.ControlCommand(survey_response=response), uid)

        handled = self._handle(question.op, bytes(question.data))
        handled.addCallback(answer)
        handled.addErrback(self._runtime.log_failure, "survey", question.op)

    def _handle_response(self, uid: str, response: control.SurveyResponse) -> None:
        survey = self._surveys.get(response.id)
        if survey is not None:
            survey.collect((response.code, bytes(response.data)), uid)

    # --- Channels --------------------------------------------------------------

    def channels(self, pattern: str) -> Deferred[dict[str, int]]:
        """Return the numbers of subscribers of matching channels, over all nodes."""
        try:
            compile_glob(pattern or "*")
        except ValueError:
            return fail()
        asked = self.survey("channels", control.encode_channels_request(pattern))

        def add_up(answers: dict[str, tuple[int, bytes]]) -> dict[str, int]:
            total: dict[str, int] = {}
            for uid, (code, data) in answers.items():
                if code:
                    raise SurveyFailed(f"node {uid} answered with code {code}")
                for channel, count in control.decode_channels_result(data).items():
                    total[channel] = total.get(channel, 0) + count
            return total

        return asked.addCallback(add_up)

    def _count_channels(self, data: bytes) -> Deferred[tuple[int, bytes]]:
        try:
            matches = compile_glob(control.decode_channels_request(data) or "*")
        except ValueError:
            return succeed((2, b""))
        found = {
            channel.name: channel.num_subscribers
            for channel in self._hub.occupied()
            if matches(channel.name)
        }
        return succeed((0, control.encode_channels_result(found)))

"""A publication that waits for its broker is answered like one that does not."""

import json
from typing import Any

from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.errors import BrokerUnavailable, ReplyError
from centrifugo_tx.protocol.codes import LIMIT_EXCEEDED

from .api_backend import Backend

#: The failures of a broker, by channel.
FAILURES: dict[str, Exception] = {
    "hh:away": BrokerUnavailable("away"),
    "hh:full": ReplyError(LIMIT_EXCEEDED),
    "hh:broken": LookupError("broken"),
}


@define(eq=False)
class Answering:
    """A broker whose results are known, have come, or are still to come."""

    _broker: Any
    #: ``value``, ``fired`` or ``later``.
    manner: str
    waiting: list["tuple[Deferred[Any], Any]"] = field(factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)

    def publish(self, channel: str, *rest: Any) -> Any:
        failure = FAILURES.get(channel)
        result = failure or self._broker.publish(channel, *rest)
        if self.manner == "later":
            waiting: Deferred[Any] = Deferred()
            self.waiting.append((waiting, result))
            return waiting
        if failure is not None:
            return fail(failure)
        return succeed(result) if self.manner == "fired" else result

    def release(self) -> None:
        """Let all results come."""
        while self.waiting:
            waiting, result = self.waiting.pop(0)
            if isinstance(result, Exception):
                waiting.errback(result)
            else:
                waiting.callback(result)


channels = st.sampled_from(["", "a", "hh:a", "hh:b", "oo:a", "mm:a", "??:a", *FAILURES])
payloads = st.sampled_from([{"data": {"n": 1}}, {"data": [1]}, {"b64data": "/w=="}, {}])
fields = st.fixed_dictionaries(
    {},
    optional={
        "skip_history": st.booleans(),
        "idempotency_key": st.sampled_from(["", "k"]),
        "version": st.integers(0, 2),
        "tags": st.just({"t": "1"}),
    },
)


def merged(parts: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    """Return the members of all *parts*."""
    return {name: value for part in parts for name, value in part.items()}


publishes = st.tuples(
    channels.map(lambda name: {"channel": name}), payloads, fields
).map(merged)
broadcasts = st.tuples(
    st.lists(channels, max_size=6).map(lambda names: {"channels": names}),
    payloads,
    fields,
).map(merged)
commands = st.one_of(
    publishes.map(lambda request: {"publish": request}),
    broadcasts.map(lambda request: {"broadcast": request}),
    st.just({"history": {"channel": "hh:a", "limit": 10}}),
    st.just({}),
)
batches = st.fixed_dictionaries(
    {"commands": st.lists(commands, max_size=6), "parallel": st.booleans()}
)
calls = st.one_of(
    publishes.map(lambda body: ("publish", body)),
    broadcasts.map(lambda body: ("broadcast", body)),
    batches.map(lambda body: ("batch", body)),
)


class EqualityTests(SynchronousTestCase):
    """Results that are known at once, and results that are waited for."""

    def run_calls(self, manner: str, asked: list[tuple[str, Any]]) -> Any:
        """Return the answers, what was delivered, and all counters."""
        backend = Backend()
        world = backend.world
        peers = [world.subscribed(name) for name in ("a", "hh:a", "hh:b")]
        streams: Any = world.node.streams
        streams.broker = broker = Answering(streams.broker, manner)
        answers = []
        for method, body in asked:
            answer = backend.post(f"/api/{method}", json.dumps(body))
            while isinstance(answer, Deferred) and not answer.called:
                broker.release()
            if isinstance(answer, Deferred):
                answer = self.successResultOf(answer)
            answers.append((answer.status, answer.body))
        self.flushLoggedErrors(LookupError)
        metrics = world.node.metrics
        return self.without_epochs(
            world,
            answers,
            [peer.take()[2:] for peer in peers],
            [(*each[:2], each[2].value) for each in metrics.counters()],
            [(*each[:2], sum(each[2].counts)) for each in metrics.histograms()],
        )

    def without_epochs(self, world: Any, *found: Any) -> str:
        """Return *found* as text in which all epochs are the same."""
        text = repr(found)
        for stream in world.node.engine.broker._broker._streams.values():
            text = text.replace(stream.epoch, "*")
        return text

    @settings(deadline=None, max_examples=60)
    @given(st.lists(calls, max_size=4))
    def test_equal(self, asked: list[tuple[str, Any]]) -> None:
        """The answers, the deliveries and the counters are the same."""
        known = self.run_calls("value", asked)
        self.assertEqual(self.run_calls("fired", asked), known)
        self.assertEqual(self.run_calls("later", asked), known)

"""A command that waits is answered exactly as one that does not."""

from collections.abc import Callable
from typing import Any

from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.errors import DisconnectClient, ReplyError
from centrifugo_tx.options import PublishOptions, SubscribeOptions
from centrifugo_tx.protocol.codes import (
    FORCE_DISCONNECT,
    PERMISSION_DENIED,
)

from ...support import Peer, Permissive, World

#: The decisions of a policy, by requested channel or method.
REFUSALS: dict[str, Callable[[], Exception]] = {
    "denied": lambda: ReplyError(PERMISSION_DENIED, "denied"),
    "closes": lambda: DisconnectClient(FORCE_DISCONNECT, "closes"),
    "broken": lambda: LookupError("broken"),
}
KEPT = PublishOptions(history_size=3, history_ttl=60.0)
JOINING = SubscribeOptions(
    presence=True, join_leave=True, push_join_leave=True, recoverable=True
)


@define(eq=False)
class Deciding(Permissive):
    """Refuses by the channel's name; ``late``: every decision waits."""

    late: bool = False
    waiting: list["Deferred[None]"] = field(factory=list)

    def _say(self, call: str, request: Any, answer: Any) -> "Deferred[Any]":
        name = request if isinstance(request, str) else ""
        name = name or getattr(request, "channel", "") or getattr(request, "method", "")
        decided: Deferred[None] = Deferred() if self.late else succeed(None)

        def decide(_: None) -> Any:
            if name in REFUSALS:
                raise REFUSALS[name]()
            return super(Deciding, self)._say(call, request, answer)

        decided.addCallback(decide)
        if self.late:
            self.waiting.append(decided)
        return decided

    def release(self) -> None:
        """Let everything happen that waits."""
        while self.waiting:
            self.waiting.pop(0).callback(None)


channels = st.sampled_from(["a", "b", "", *REFUSALS])
requests = st.one_of(
    st.tuples(
        st.sampled_from(
            [
                *("publish", "subscribe", "unsubscribe", "presence", "rpc"),
                *("presence_stats", "history"),
            ]
        ),
        channels,
    ),
    st.tuples(st.just("send"), st.just("")),
)


def command(id: int, name: str, target: str) -> dict[str, Any]:
    """Return a command."""
    if name == "rpc":
        return {"id": id, "rpc": {"method": target, "data": [id]}}
    if name == "connect":
        return {"id": id, "connect": {}}
    if name == "send":
        return {"send": {"data": id}}
    request: dict[str, Any] = {"channel": target}
    if name == "publish":
        request["data"] = {"id": id}
    if name == "history":
        request["limit"] = 5
    return {"id": id, name: request}


class EqualityTests(SynchronousTestCase):
    """The direct path and the one that waits."""

    def run_commands(self, late: bool, messages: list[Any]) -> tuple[Any, Any]:
        """Return the messages to a client, and the counters."""
        policy = Deciding(publication=KEPT, subscription=JOINING)
        world = World(policy=policy)
        peer = world.connected("u")
        policy.late = late
        received: list[Any] = []
        id = 1
        for message in messages:
            commands = []
            for name, target in message:
                id += 1
                commands.append(command(id, name, target))
            if peer.closed:
                break
            peer.send(*commands)
            policy.release()
            world.clock.advance(0)
            policy.release()
            received += self.named(peer)
        self.flushLoggedErrors(LookupError)
        counted = {
            (name, labels): counter.value
            for name, labels, counter in world.node.metrics.counters()
        }
        durations = {
            (name, labels): sum(histogram.counts)
            for name, labels, histogram in world.node.metrics.histograms()
        }
        return (received, peer.closed), (counted, durations)

    def named(self, peer: Peer) -> list[Any]:
        """Return what *peer* received, without the random parts."""
        text = [str(message) for message in peer.take()]
        epochs = {
            stream.epoch
            for stream in peer.client.services.streams.broker._streams.values()
        }
        for found in (peer.client.id, *epochs):
            text = [each.replace(found, "*") for each in text]
        return text

    @settings(deadline=None, max_examples=60)
    @given(st.lists(st.lists(requests, min_size=1, max_size=4), max_size=6))
    def test_equal(self, messages: list[Any]) -> None:
        """Same commands, same decisions: same messages, same counters."""
        at_once = self.run_commands(False, messages)
        late = self.run_commands(True, messages)
        self.assertEqual(at_once[0], late[0])
        self.assertEqual(at_once[1], late[1])

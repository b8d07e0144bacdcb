"""A client on a slow engine: client and server agree in the end."""

from collections.abc import Callable
from typing import Any

from attrs import define, evolve, field
from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.core import Node
from centrifugo_tx.engines import memory_engine
from centrifugo_tx.options import Admission, NodeOptions, SubscribeOptions

from ...support import MemoryTransport, Peer, Permissive

CHANNELS = ("a", "b")
KINDS = (
    SubscribeOptions(),
    SubscribeOptions(presence=True, join_leave=True),
    SubscribeOptions(presence=True, recoverable=True),
)


#: The methods of brokers, presence managers and policies that keep one waiting.
SLOW = {"subscribe", "unsubscribe", "history", "add", "remove"}


@define(eq=False)
class Slow:
    """Executes calls in order, and answers them on demand."""

    _inner: Any
    _late: list[Callable[[], None]]

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if name not in SLOW:
            return method

        def call(*arguments: Any) -> "Deferred[Any]":
            done: Deferred[Any] = Deferred()
            result: Deferred[Any] = method(*arguments)
            self._late.append(lambda: result.chainDeferred(done))
            return done

        return call


@define(eq=False)
class Story:
    """One client, the interfering server, and the client's view."""

    kind: SubscribeOptions
    subs: set[str]
    concurrency: int
    clock: Clock = field(factory=Clock)
    #: The pending calls.
    late: list[Callable[[], None]] = field(factory=list)
    engine: Any = field(init=False)
    node: Node = field(init=False)
    peer: Peer = field(init=False)
    #: The channel of each command, by id; only those without a reply.
    asked: dict[int, tuple[str, str]] = field(factory=dict)
    answered: list[int] = field(factory=list)
    refused: list[int] = field(factory=list)
    #: The channels that the client thinks it is in.
    believed: set[str] = field(factory=set)
    gone: bool = False
    _ids: int = 1

    def __attrs_post_init__(self) -> None:
        self.clock.advance(1_000_000_000)
        subs = dict.fromkeys(sorted(self.subs), self.kind)
        admission = Admission(user="u", subs=subs)
        policy: Any = Permissive(admission=admission, subscription=self.kind)
        self.engine = memory_engine(self.clock)
        broker: Any = Slow(self.engine.broker, self.late)
        presence: Any = Slow(self.engine.presence, self.late)
        self.node = Node(
            evolve(self.engine, broker=broker, presence=presence),
            Slow(policy, self.late),  # type: ignore[arg-type]
            self.clock,
            NodeOptions(concurrency=self.concurrency),
        )
        self.node.start()
        transport = MemoryTransport()
        self.peer = Peer(self.node.connect(transport), transport)
        self.peer.send({"id": 1, "connect": {}})

    def step(self, step: tuple[str, Any]) -> None:
        """Perform one action, and process the client's messages."""
        getattr(self, step[0])(step[1])
        self.process_messages()

    def send(self, commands: list[tuple[str, str]]) -> None:
        """Send commands in one message."""
        if self.gone or self.peer.closed:
            return
        made = []
        for name, channel in commands:
            self._ids += 1
            self.asked[self._ids] = name, channel
            made.append({"id": self._ids, name: {"channel": channel}})
        self.peer.send(*made)

    def answer(self, place: int) -> None:
        """Let one call that waits have its result."""
        if self.late:
            self.late.pop(place % len(self.late))()

    def api_subscribe(self, channel: str) -> None:
        """Let the server subscribe the client."""
        self.node.subscribe(channel, self.kind, "u")

    def api_unsubscribe(self, channel: str) -> None:
        """Let the server unsubscribe it."""
        self.node.unsubscribe(channel, "u")

    def api_disconnect(self, _: object) -> None:
        """Let the server disconnect it."""
        self.node.disconnect("u")

    def leave(self, _: object) -> None:
        """Go away."""
        if not self.gone:
            self.gone = True
            self.peer.client.transport_lost()

    def turn(self, _: object) -> None:
        """Let the reactor have a turn."""
        self.clock.advance(0)

    def process_messages(self) -> None:
        """Update the client's view by a message."""
        for message in self.peer.take():
            if "id" in message:
                self._process_reply(message)
                continue
            push = message["push"]
            if "subscribe" in push:
                self.believed.add(push["channel"])
            elif "unsubscribe" in push:
                self.believed.discard(push["channel"])

    def _process_reply(self, reply: dict[str, Any]) -> None:
        if reply["id"] == 1:
            self.believed |= set(reply["connect"].get("subs", ()))
            return
        name, channel = self.asked[reply["id"]]
        self.answered.append(reply["id"])
        if name == "unsubscribe":
            assert "error" not in reply, reply
            self.believed.discard(channel)
        elif name == "subscribe" and "error" in reply:
            self.refused.append(reply["id"])
        elif name == "subscribe":
            self.believed.add(channel)

    def expected(self) -> tuple[set[str], list[int]]:
        """Return the state after the commands in order, without interference.

        It consists of the client's channels and the refused subscribes.
        """
        channels, refused = set(self.subs), []
        for id, (name, channel) in self.asked.items():
            if name == "subscribe" and channel in channels:
                refused.append(id)
            elif name == "subscribe":
                channels.add(channel)
            elif name == "unsubscribe":
                channels.discard(channel)
        return channels, refused

    def finish(self) -> None:
        """Let everything have its answer, the last first."""
        for _ in range(1000):
            if not self.late:
                self.clock.advance(0)
                if not self.late:
                    break
            self.answer(-1)
            self.process_messages()
        assert not self.late
        self.process_messages()
        if self.peer.closed and not self.gone:
            self.leave(None)


COMMANDS = st.tuples(
    st.sampled_from(["subscribe", "unsubscribe", "unsubscribe", "history"]),
    st.sampled_from(CHANNELS),
)
NAMES = st.sampled_from(CHANNELS)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.lists(COMMANDS, min_size=1, max_size=5)),
        st.tuples(st.just("answer"), st.integers(0, 20)),
        st.tuples(st.just("answer"), st.integers(0, 20)),
        st.tuples(st.just("api_subscribe"), NAMES),
        st.tuples(st.just("api_unsubscribe"), NAMES),
        st.tuples(st.just("turn"), st.none()),
        st.tuples(st.sampled_from(["leave", "api_disconnect"]), st.none()),
    ),
    max_size=25,
)

AGAIN = [("subscribe", "a"), ("unsubscribe", "a"), ("subscribe", "a")]
RACE: list[tuple[str, Any]] = [("send", AGAIN)]


class SlowEngineTests(SynchronousTestCase):
    """Commands, the API and the end of a connection, in any order of answers."""

    @given(
        st.sampled_from([1, 2, 8]),
        st.sampled_from(KINDS),
        st.sets(NAMES),
        STEPS,
    )
    @example(8, KINDS[0], set(), RACE)
    @example(8, KINDS[1], set(), RACE)
    @example(8, KINDS[2], {"a"}, [("api_subscribe", "a"), *RACE, ("leave", None)])
    @settings(deadline=None, max_examples=300)
    def test_agreement(
        self,
        concurrency: int,
        kind: SubscribeOptions,
        subs: set[str],
        steps: list[tuple[str, Any]],
    ) -> None:
        """The client, its subscriptions, presence and the hub agree in the end."""
        story = Story(kind, subs, concurrency)
        for step in steps:
            story.step(step)
        story.finish()
        self.check(story, any(step[0].startswith("api") for step in steps))

    def check(self, story: Story, interfered: bool) -> None:
        """See that all agree."""
        client, hub, kind = story.peer.client, story.node.hub, story.kind
        named = set(client.subscriptions)
        if client.closed:
            self.assertEqual(named, set())
            if not interfered:
                self.assertTrue(story.gone)
        else:
            self.assertEqual(named, story.believed)
            answered = story.answered
            if story.concurrency > 1:
                answered = sorted(answered)
            self.assertEqual(answered, list(story.asked))
            if not interfered:
                found = named, sorted(story.refused)
                self.assertEqual(found, story.expected())
        self.assertEqual(hub.num_subscriptions, len(named))
        for channel in CHANNELS:
            found = hub.channels.get(channel)
            here = [] if found is None else list(found.subscribers)
            expected = [client.subscriptions[channel]] if channel in named else []
            self.assertEqual(here, expected)
            self.assertTrue(all(each.active and not each.ended for each in here))
            present = story.engine.presence.presence(channel)
            entries = set(self.successResultOf(present))
            wanted = {client.id} if kind.presence and channel in named else set()
            self.assertEqual(entries, wanted)

"""Deltas and filters, in any order of events."""

import json
from collections import deque
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.core import Node
from centrifugo_tx.engines.memory import LocalController, MemoryPresenceManager
from centrifugo_tx.interfaces import Engine
from centrifugo_tx.options import (
    History,
    HistoryQuery,
    NodeOptions,
    PublishOptions,
    SubscribeOptions,
)
from centrifugo_tx.protocol.messages import Publication, Raw, StreamPosition

from ...support import Permissive
from .delta_client import WIRES, DeltaClient, payload, publications_in
from .test_channel import SlowBroker

KEPT = PublishOptions(history_size=10, history_ttl=60.0, delta=True)
#: The actions of subscribers of each kind.
KINDS = {
    "stream": SubscribeOptions(
        positioned=True, recoverable=True, delta_types=("fossil",)
    ),
    "cache": SubscribeOptions(
        positioned=True,
        recoverable=True,
        recovery_mode="cache",
        delta_types=("fossil",),
    ),
    "unplaced": SubscribeOptions(delta_types=("fossil",)),
    "filter": SubscribeOptions(positioned=True, recoverable=True, tags_filter=True),
}


class DeltaBroker(SlowBroker):
    """A slow broker that supplies the publication before each one."""

    def __init__(self) -> None:
        super().__init__()
        self.moving: deque[tuple[Publication, Publication | None]] = deque()
        self.cleared = 0
        self.loose: list[bytes] = []

    def publish(self, channel: str, data: Raw, options: Any) -> "Deferred[Any]":
        """Append a publication, whose data is generated."""
        if not options.history_size:
            self.loose.append(payload(len(self.loose), "loose"))
            publication = Publication(data=Raw(self.loose[-1]))
            self.moving.append((publication, None))
            return succeed(None)
        kept = self.stream[self.cleared :]
        previous = kept[-1] if options.delta and kept else None
        offset = len(self.stream) + 1
        tags = {"k": str(offset % 3)}
        publication = Publication(data=Raw(payload(offset)), offset=offset, tags=tags)
        self.stream.append(publication)
        self.moving.append((publication, previous))
        return succeed(None)

    def history(self, channel: str, query: HistoryQuery) -> "Deferred[History]":
        done: Deferred[History] = Deferred()
        since = query.since.offset if query.since else 0
        found = self.stream[max(since, self.cleared) :] if query.limit else []
        if query.reverse:
            found = found[::-1][: query.limit]
        position = StreamPosition(len(self.stream), self.epoch)
        self.reads.append((done, History(found, position)))  # type: ignore[arg-type]
        return done

    def deliver(self) -> None:
        publication, previous = self.moving.popleft()
        offset = publication.offset
        position = StreamPosition(offset, self.epoch if offset else "")
        self.receiver.handle_publication("c", publication, position, previous)


class Subscriber:
    """Checks that it receives the publications unchanged and in order."""

    def __init__(self, node: Node, policy: Permissive, kind: str, wire: str) -> None:
        self.client = DeltaClient(node, WIRES[wire]())
        self.node, self.policy, self.kind = node, policy, kind
        self.messages: list[Any] = []
        self.offset = 0
        self.known = False
        self.state = "away"
        self.told = 0

    def subscribe(self, recover: bool) -> None:
        self.state = "asking"
        self.policy.subscription = KINDS[self.kind]
        request: dict[str, Any] = {"channel": "c"}
        if self.kind == "filter":
            request["tf"] = {"key": "k", "cmp": "eq", "val": "1"}
        else:
            request["delta"] = "fossil"
        if recover:
            request.update(recover=True, offset=self.offset, epoch="one")
        self.messages = self.client.ask(subscribe=request)

    def look(self, broker: DeltaBroker) -> None:
        """Receive messages."""
        messages, self.messages = self.messages + self.client.take(), []
        for message in messages:
            if "subscribe" in message:
                self.state = "there"
                result = message["subscribe"]
                assert result.get("delta", False) is (self.kind != "filter")
                if not result.get("recovered") or self.kind == "cache":
                    self.offset = result.get("offset", 0)
                    self.known = False
            elif "unsubscribe" in message.get("push", {}):
                self.state = "away"
                self.told += 1
            for publication in publications_in([message]):
                assert self.state == "there", "a push before the reply"
                self.receive(publication, broker)
        if self.client.closed and self.state != "closed":
            assert self.client.closed == 3010, self.client.closed
            self.state = "closed"
            self.told += 1

    def receive(self, publication: dict[str, Any], broker: DeltaBroker) -> None:
        offset = publication["offset"]
        if self.kind == "filter":
            data = publication["data"]
            found = data if isinstance(data, bytes) else json.dumps(data).encode()
            assert json.loads(found) == json.loads(payload(offset))
            assert publication["tags"] == {"k": "1"}
        else:
            found = self.client.accept(publication)
        if not offset:
            assert found in broker.loose
            return
        if self.kind != "filter":
            assert found == payload(offset)
        if self.kind == "cache" and not self.known:
            self.offset = offset - 1  # older ones are skipped
        if self.kind == "filter":
            assert not any(n % 3 == 1 for n in range(self.offset + 1, offset))
            assert offset > self.offset
        elif self.kind != "unplaced":
            assert offset == self.offset + 1, (offset, self.offset)
        self.offset = offset
        self.known = True

    def missing(self, broker: DeltaBroker) -> list[int]:
        """Return the offsets that it should have by now and has not."""
        rest = range(self.offset + 1, len(broker.stream) + 1)
        return [n for n in rest if self.kind != "filter" or n % 3 == 1]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *("publish", "publish", "publish", "loose", "whole", "clear"),
                *("deliver", "deliver", "answer", "subscribe", "recover"),
                *("lose", "leave", "reconnect", "turn"),
            ]
        ),
        st.integers(0, 3),
    ),
    max_size=60,
)
CROWDS = st.lists(
    st.tuples(st.sampled_from(sorted(KINDS)), st.sampled_from(["json", "protobuf"])),
    min_size=1,
    max_size=4,
)


class InterleavingTests(SynchronousTestCase):
    """Whatever the order of events, payloads come out right."""

    def run_steps(
        self, steps: list[tuple[str, int]], crowd: list[tuple[str, str]]
    ) -> list[Subscriber]:
        broker, clock = DeltaBroker(), Clock()
        engine = Engine(broker, MemoryPresenceManager(clock), LocalController())
        policy = Permissive()
        options = NodeOptions(broadcast_slice=1, ping_interval=-1)
        node = Node(engine, policy, clock, options)
        broker.listen(node.streams)
        subscribers = [Subscriber(node, policy, *each) for each in crowd]
        for step, who in steps:
            self.step(step, broker, node, subscribers[who % len(subscribers)])
            if step == "turn":
                clock.advance(0)
            for subscriber in subscribers:
                subscriber.look(broker)
        while broker.moving or broker.reads:
            for wanted in ("answer", "deliver"):
                self.step(wanted, broker, node, subscribers[0])
        for _ in range(200):
            clock.advance(0)
        lost = "lose" in [step for step, _ in steps]
        for subscriber in subscribers:
            subscriber.look(broker)
            if not lost:
                self.assertEqual(subscriber.told, 0)
                if subscriber.state == "there" and subscriber.known:
                    self.assertEqual(subscriber.missing(broker), [])
        return subscribers

    def step(self, step: str, broker: DeltaBroker, node: Node, who: Subscriber) -> None:
        if step == "publish":
            node.publish("c", b"0", KEPT)
        elif step == "whole":
            node.publish("c", b"0", PublishOptions(history_size=1, history_ttl=1.0))
        elif step == "loose":
            node.publish("c", b"0", PublishOptions(delta=True))
        elif step == "clear":
            broker.cleared = len(broker.stream)
        elif step == "deliver" and broker.moving:
            broker.deliver()
        elif step == "lose" and broker.moving:
            broker.moving.popleft()
        elif step == "answer" and broker.reads:
            broker.answer()
        elif step in ("subscribe", "recover") and who.state == "away":
            who.subscribe(step == "recover")
        elif step == "leave" and who.state == "there":
            who.messages = who.client.ask(unsubscribe={"channel": "c"})
            who.look(broker)
            who.state = "away"
        elif step == "reconnect" and who.state in ("away", "there", "closed"):
            who.look(broker)
            who.client.client.transport_lost()
            who.client.connect()
            who.state = "away"

    @settings(max_examples=500, deadline=None)
    @given(STEPS, CROWDS)
    def test_any_order(
        self, steps: list[tuple[str, int]], crowd: list[tuple[str, str]]
    ) -> None:
        """Each payload is the one published, and no client misses one unnoticed."""
        self.run_steps(steps, crowd)

    def test_joined_lanes(self) -> None:
        """A gathered publication overtakes none that went to joined lanes."""
        publish = [("publish", 0)] * 2
        steps = [("publish", 0), ("subscribe", 1), *publish, ("subscribe", 0)]
        steps += [*publish, ("subscribe", 3)]
        kinds = ("cache", "cache", "cache", "unplaced")
        self.run_steps(steps, [(kind, "json") for kind in kinds])

    def test_deltas_flow(self) -> None:
        """In such a run, too, there are deltas: live, recovered, and in each wire."""
        publish = [("publish", 0), ("deliver", 0), ("turn", 0)] * 2
        steps = [("subscribe", 0), ("answer", 0), *publish, ("reconnect", 0)]
        steps += [*publish, ("recover", 0), ("answer", 0), *publish]
        for wire in ("json", "protobuf"):
            (subscriber,) = self.run_steps(steps, [("stream", wire)])
            forms = [delta for _, delta in subscriber.client.got]
            self.assertEqual(forms, [False, True, False, True, True, True])

    def test_between(self) -> None:
        """A publication without a position follows the list in full."""
        next_one = [("publish", 0), ("deliver", 0), ("turn", 0)]
        loose = [("loose", 0), ("deliver", 0)]
        for wire in ("json", "protobuf"):
            for between in (
                [("recover", 0), *loose, ("answer", 0)],
                [("recover", 0), ("answer", 0), *loose],
            ):
                steps = [*next_one * 2, *between, *next_one * 2]
                for first in ([], [("subscribe", 1), ("answer", 0)]):
                    crowd = [("stream", wire), ("stream", "json")]
                    subscriber, _ = self.run_steps(first + steps, crowd)
                    forms = [delta for _, delta in subscriber.client.got]
                    self.assertEqual(forms, [False, True, False, False, True])

    def test_cache_while_reading(self) -> None:
        """In cache mode, publications during the read follow the latest one."""
        steps = [("publish", 0), ("deliver", 0), ("recover", 0)]
        steps += [("publish", 0), ("deliver", 0), ("answer", 0)]
        (subscriber,) = self.run_steps(steps, [("cache", "json")])
        wanted = [(payload(1), False), (payload(2), True)]
        self.assertEqual(subscriber.client.got, wanted)

"""A channel's position, lanes and arrivals."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.core import Node
from centrifugo_tx.core import node as node_module
from centrifugo_tx.engines.memory import LocalController, MemoryPresenceManager
from centrifugo_tx.interfaces import Engine
from centrifugo_tx.options import (
    Admission,
    History,
    NodeOptions,
    SubscribeOptions,
    TransportInfo,
)
from centrifugo_tx.protocol.messages import Publication, Raw, StreamPosition
from centrifugo_tx.protocol.wire import uni_grpc

from ...support import MemoryTransport, Peer, Permissive, World
from .slow_broker import SlowBroker

RECOVERABLE = SubscribeOptions(positioned=True, recoverable=True)
HISTORY = {"history_size": 10, "history_ttl": 60.0}


def data_of(messages: list[Any]) -> list[Any]:
    """Return the payloads of the publications in *messages*."""
    pushes = [m["push"]["pub"]["data"] for m in messages if "pub" in m.get("push", {})]
    return pushes


class FanOutTests(SynchronousTestCase):
    """A publication reaches all subscribers."""

    def test_all_subscribers(self) -> None:
        """Every subscriber gets one push; others get none."""
        world = World()
        peers = [world.subscribed("news") for _ in range(3)]
        other = world.subscribed("weather")
        world.publish("news", {"n": 1})
        for peer in peers:
            self.assertEqual(
                peer.take(), [{"push": {"channel": "news", "pub": {"data": {"n": 1}}}}]
            )
        self.assertEqual(other.take(), [])

    def test_same_bytes(self) -> None:
        """Subscribers with the same wire share one frame object."""
        world = World()
        peers = [world.subscribed("news") for _ in range(2)]
        world.publish("news", 1)
        frames = [peer.transport.frames[-1] for peer in peers]
        self.assertIs(frames[0], frames[1])

    def test_slices(self) -> None:
        """A large fan-out is given in slices, one per turn, in order."""
        world = World(options=NodeOptions(broadcast_slice=2))
        peers = [world.subscribed("news") for _ in range(5)]
        world.publish("news", 1)
        world.publish("news", 2)
        self.assertEqual([len(p.transport.frames) for p in peers], [1, 1, 0, 0, 0])
        world.clock.advance(0)
        self.assertEqual([data_of(p.take()) for p in peers], [[1, 2]] * 5)

    def test_behind(self) -> None:
        """If too much waits behind it, the publisher's turn is used for the oldest."""
        self.patch(node_module, "GATHERED", 0)
        world = World(options=NodeOptions(broadcast_slice=1))
        peers = [world.subscribed("a") for _ in range(3)]
        for peer in peers:
            peer.take()
        for number in range(100):
            world.publish("a", number)
        heard = [[m["push"]["pub"]["data"] for m in peer.take()] for peer in peers]
        self.assertEqual([len(each) for each in heard][1:], [100 - 32] * 2)
        world.clock.advance(0)
        for peer, early in zip(peers, heard, strict=True):
            late = [m["push"]["pub"]["data"] for m in peer.take()]
            self.assertEqual(early + late, list(range(100)))

    def test_gathered(self) -> None:
        """Frames that wait for a lane are one write to each member, in order."""
        world = World(options=NodeOptions(broadcast_slice=2))
        peers = [world.subscribed("news") for _ in range(5)]
        for number in range(10):
            world.publish("news", number)
        self.assertEqual([len(p.transport.frames) for p in peers], [1, 1, 0, 0, 0])
        world.clock.advance(0)
        self.assertEqual([len(p.transport.frames) for p in peers], [2, 2, 2, 2, 2])
        for peer in peers:
            self.assertEqual(data_of(peer.take()), list(range(10)))

    def test_gathered_bytes(self) -> None:
        """Only part of a large queue is gathered."""
        world = World(options=NodeOptions(broadcast_slice=1, queue_max_size=2000))
        _, second = world.subscribed("news"), world.subscribed("news")
        for number in range(20):
            world.publish("news", f"{number:0100}")
        world.clock.advance(0)
        sizes = [len(frame) for frame in second.transport.frames]
        self.assertTrue(250 < max(sizes) <= 500, sizes)
        self.assertEqual(data_of(second.take()), [f"{n:0100}" for n in range(20)])

    def test_joined_while_gathered(self) -> None:
        """A new member gets the publications after it joined, each once."""
        world = World(options=NodeOptions(broadcast_slice=1))
        peers = [world.subscribed("news") for _ in range(2)]
        world.publish("news", 1)
        world.publish("news", 2)
        peers.append(world.subscribed("news"))
        peers[-1].take()
        world.publish("news", 3)
        world.publish("news", 4)
        world.clock.advance(0)
        heard = [data_of(peer.take()) for peer in peers]
        self.assertEqual(heard, [[1, 2, 3, 4], [1, 2, 3, 4], [3, 4]])

    def test_announced_while_gathered(self) -> None:
        """Publications and joins keep their order."""
        world = World(options=NodeOptions(broadcast_slice=1))
        options = SubscribeOptions(join_leave=True, push_join_leave=True)
        world.policy.subscription = options
        watchers = [world.subscribed("news") for _ in range(2)]
        for _ in range(3):
            world.clock.advance(0)
        for watcher in watchers:
            watcher.take()
        world.publish("news", 1)
        world.subscribed("news")
        world.publish("news", 2)
        for _ in range(3):
            world.clock.advance(0)
        for watcher in watchers:
            kinds = [
                next(k for k in m["push"] if k != "channel") for m in watcher.take()
            ]
            self.assertEqual(kinds, ["pub", "join", "pub"])

    def test_messages_of_their_own(self) -> None:
        """A stream of messages gets each frame as one of its own."""
        world = World(options=NodeOptions(broadcast_slice=1))
        options = Admission(subs={"news": SubscribeOptions()})
        world.policy.admission = options
        transports = [
            MemoryTransport(uni_grpc(), TransportInfo(unidirectional=True))
            for _ in range(2)
        ]
        for transport in transports:
            client = world.node.connect(transport)
            client.receive(b"")
            transport.frames.clear()
        for number in range(3):
            world.publish("news", number)
        world.clock.advance(0)
        self.assertEqual([len(each.frames) for each in transports], [3, 3])

    def test_left_while_sliced(self) -> None:
        """A subscriber that leaves before its slice gets nothing after it left."""
        world = World(options=NodeOptions(broadcast_slice=1))
        first, second = world.subscribed("news"), world.subscribed("news")
        world.publish("news", 1)
        second.ask(unsubscribe={"channel": "news"})
        second.take()
        world.clock.advance(0)
        self.assertEqual(second.take(), [])
        self.assertEqual(data_of(first.take()), [1])

    def test_rejoined_while_sliced(self) -> None:
        """A subscriber that returns gets only later publications."""
        world = World(options=NodeOptions(broadcast_slice=1))
        world.subscribed("news")
        second = world.subscribed("news")
        world.publish("news", 1)
        second.ask(unsubscribe={"channel": "news"})
        second.ask(subscribe={"channel": "news"})
        second.take()
        world.publish("news", 2)
        for _ in range(4):
            world.clock.advance(0)
        self.assertEqual(data_of(second.take()), [2])

    def test_binary(self) -> None:
        """A payload that is not JSON closes JSON clients with 3506, and no others."""
        world = World()
        peer, other = world.subscribed("news"), world.subscribed("weather")
        world.node.publish("news", b"\xff\x00")
        self.assertEqual(peer.closed, 3506)
        self.assertEqual(other.closed, 0)


class PositionTests(SynchronousTestCase):
    """A gap is found before anything is sent."""

    def setUp(self) -> None:
        self.world = World(options=NodeOptions(ping_interval=-1))
        self.world.policy.subscription = RECOVERABLE
        self.peer = self.world.subscribed("news")
        self.world.publish("news", 1, **HISTORY)
        self.peer.take()

    def deliver(self, offset: int, epoch: str | None = None) -> None:
        """Let the broker deliver a publication that is not in its stream."""
        channel = self.world.node.hub.channels["news"]
        self.world.node.streams.handle_publication(
            "news",
            Publication(data=Raw(b"0"), offset=offset),
            StreamPosition(offset, channel.epoch if epoch is None else epoch),
            None,
        )

    def test_gap(self) -> None:
        """A hole means 2500 insufficient state, and not the publication."""
        self.deliver(3)
        (message,) = self.peer.take()
        self.assertEqual(
            message["push"]["unsubscribe"],
            {"code": 2500, "reason": "insufficient state"},
        )
        self.assertFalse(self.peer.client.subscribed("news"))

    def test_epoch(self) -> None:
        """Another epoch means the same."""
        self.deliver(2, "other")
        (message,) = self.peer.take()
        self.assertEqual(message["push"]["unsubscribe"]["code"], 2500)

    def test_twice(self) -> None:
        """A publication delivered twice is sent once."""
        self.deliver(1)
        self.assertEqual(self.peer.take(), [])

    def test_without_offset(self) -> None:
        """A publication without history passes, and moves nothing."""
        self.world.publish("news", "now")
        self.world.publish("news", 2, **HISTORY)
        self.assertEqual(data_of(self.peer.take()), ["now", 2])

    def test_not_positioned(self) -> None:
        """A subscriber without a position gets every delivery."""
        self.world.policy.subscription = SubscribeOptions()
        careless = self.world.subscribed("news")
        careless.take()
        self.deliver(7)
        self.assertEqual(data_of(careless.take()), [0])

    def test_periodic_check(self) -> None:
        """After 40 s of silence the position is compared with storage."""
        found = self.world.node.hub.channels["news"]
        found.offset = 0  # as if the last delivery had been lost
        self.world.clock.pump([1] * 81)
        messages = [m for m in self.peer.take() if m]
        self.assertEqual(messages[0]["push"]["unsubscribe"]["code"], 2500)

    def test_stale_history(self) -> None:
        """A subscriber whose history is older than a delivery is refused."""
        world = self.world
        world.broker.answers["history"] = succeed(
            History([], StreamPosition(0, world.node.hub.channels["news"].epoch))
        )
        late = world.connected()
        late.ask(subscribe={"channel": "news"})
        self.assertEqual(late.closed, 3010)
        self.assertEqual(self.peer.closed, 0)

    def test_newer_history(self) -> None:
        """History of another epoch shows that all others lost their place."""
        world = self.world
        world.broker.answers["history"] = succeed(
            History([], StreamPosition(0, "another"))
        )
        late = world.subscribed("news")
        (message,) = self.peer.take()
        self.assertEqual(message["push"]["unsubscribe"]["code"], 2500)
        self.assertTrue(late.client.subscribed("news"))

    def test_server_side(self) -> None:
        """A server-side subscription that lost its place ends the connection."""
        self.world.node.subscribe("news", RECOVERABLE, user="")
        self.deliver(5)
        self.assertEqual(self.peer.closed, 3010)


class Watcher:
    """A subscriber that checks its publications."""

    def __init__(self, node: Node) -> None:
        transport = MemoryTransport()
        self.peer = Peer(node.connect(transport), transport)
        self.peer.ask(connect={})
        self.offset = 0
        self.state = "away"
        self.told = 0

    def subscribe(self) -> None:
        self.state = "asking"
        request = {"channel": "news", "recover": True, "offset": self.offset}
        self.peer.send({"id": 2, "subscribe": {**request, "epoch": "one"}})

    def look(self) -> None:
        """Receive publications; each offset must be the next one."""
        for message in self.peer.take():
            if "subscribe" in message:
                result = message["subscribe"]
                self.state = "there"
                if result.get("recovered"):
                    for publication in result.get("publications", []):
                        self.next(publication["offset"])
                else:
                    self.offset = result.get("offset", 0)
            elif "pub" in message.get("push", {}):
                assert self.state == "there", "a push before the reply"
                self.next(message["push"]["pub"]["offset"])
            elif "unsubscribe" in message.get("push", {}):
                self.state = "away"
                self.told += 1
        if self.peer.closed:
            assert self.peer.closed == 3010, self.peer.closed
            self.state = "closed"
            self.told += 1

    def next(self, offset: int) -> None:
        assert offset == self.offset + 1, (offset, self.offset)
        self.offset = offset


STEPS = st.lists(
    st.sampled_from(
        ["publish", "deliver", "lose", "subscribe", "answer", "leave", "turn"]
    ),
    max_size=60,
)


class InterleavingTests(SynchronousTestCase):
    """In any order of events, no subscriber misses a publication unnoticed."""

    def run_steps(self, steps: list[str], watchers: int) -> None:
        broker, clock = SlowBroker(), Clock()
        engine = Engine(broker, MemoryPresenceManager(clock), LocalController())
        policy = Permissive(subscription=RECOVERABLE)
        node = Node(engine, policy, clock, NodeOptions(broadcast_slice=1))
        broker.listen(node.streams)
        crowd = [Watcher(node) for _ in range(watchers)]
        for turn, step in enumerate(steps):
            self.step(step, broker, node, crowd[turn % len(crowd)])
            if step == "turn":
                clock.advance(0)
            for watcher in crowd:
                watcher.look()
        while broker.deliveries or broker.reads:
            for wanted in ("answer", "deliver"):
                self.step(wanted, broker, node, crowd[0])
        for _ in range(100):
            clock.advance(0)
        lost = "lose" in steps
        for watcher in crowd:
            watcher.look()
            if not lost:
                self.assertEqual(watcher.told, 0)
                if watcher.state == "there":
                    self.assertEqual(watcher.offset, len(broker.stream))

    def step(self, step: str, broker: SlowBroker, node: Node, who: Watcher) -> None:
        if step == "publish":
            node.publish("news", b"0")
        elif step == "deliver" and broker.deliveries:
            broker.deliver()
        elif step == "lose" and broker.deliveries:
            broker.lose()
        elif step == "answer" and broker.reads:
            broker.answer()
        elif step == "subscribe" and who.state == "away":
            who.subscribe()
        elif step == "leave" and who.state == "there":
            who.peer.ask(unsubscribe={"channel": "news"})
            who.look()
            who.state = "away"

    @settings(max_examples=400, deadline=None)
    @given(STEPS, st.integers(1, 3))
    def test_any_order(self, steps: list[str], watchers: int) -> None:
        """Each subscriber sees each offset once and in order, or loses its position."""
        self.run_steps(steps, watchers)

"""What subscribers have proved to have received (docs/receipts.rst)."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.core import Node
from centrifugo_tx.core.channel.write_marks import MARKS, WriteMarks
from centrifugo_tx.engines.memory import LocalController, MemoryPresenceManager
from centrifugo_tx.engines.memory_receipt_store import MemoryReceiptStore
from centrifugo_tx.errors import ReplyError
from centrifugo_tx.interfaces import Engine
from centrifugo_tx.options import (
    Admission,
    ChannelOptions,
    NodeOptions,
    ReceiptQuery,
    Receipts,
    SubscribeOptions,
)
from centrifugo_tx.protocol.messages import Publication, Raw, StreamPosition

from ...support import MemoryTransport, Peer, Permissive, World, unframed
from .slow_broker import SlowBroker

HISTORY = {"history_size": 10, "history_ttl": 60.0}
SUBSCRIPTION = SubscribeOptions(positioned=True, recoverable=True, receipts_ttl=60.0)
CHANNEL = ChannelOptions(history_size=10, history_ttl=60.0, receipts=True)


class WriteMarksTests(SynchronousTestCase):
    """Moments and offsets."""

    def test_upto(self) -> None:
        """The newest offset before a moment."""
        marks = WriteMarks()
        for offset, moment in ((3, 10), (4, 20), (9, 30)):
            self.assertTrue(marks.add(offset, moment, 0.0))
        found = [marks.upto(moment) for moment in (9, 10, 19, 20, 29, 31)]
        self.assertEqual(found, [0, 3, 3, 4, 4, 9])
        self.assertEqual(marks.newest, 9)

    def test_not_newer(self) -> None:
        """An offset that was written before adds nothing."""
        marks = WriteMarks()
        marks.add(3, 10, 0.0)
        self.assertFalse(marks.add(3, 20, 0.0))
        self.assertEqual(marks.upto(15), 3)

    @settings(max_examples=30, deadline=None)
    @given(st.integers(1, 5000), st.integers(0, 10000))
    def test_bounded(self, count: int, moment: int) -> None:
        """However many there are, few are kept, and none answers too much."""
        marks = WriteMarks()
        for offset in range(1, count + 1):
            marks.add(offset, 2 * offset, 0.0)
        self.assertLessEqual(marks.upto(moment), moment // 2)
        self.assertEqual(marks.upto(2 * count), count)
        self.assertLessEqual(len(marks._offsets), MARKS)


class ReceiptTests(SynchronousTestCase):
    """Receipts of the clients of one node."""

    def setUp(self) -> None:
        self.world = World(options=NodeOptions(broadcast_slice=2))
        self.world.policy.subscription = SUBSCRIPTION
        self.world.policy.options = CHANNEL

    def publish(self, data: Any = 1) -> int:
        """Publish; return the offset."""
        offset: int = self.world.publish("news", data, **HISTORY).offset
        return offset

    def read(self, offset: int, limit: int = 10, **query: Any) -> Receipts:
        """Return the receipts of a publication."""
        asked = self.world.node.receipts_of(
            ReceiptQuery("news", offset, limit=limit, **query)
        )
        for _ in range(5):
            self.world.clock.advance(0)
        found: Receipts = self.successResultOf(asked)
        return found

    def states(self, offset: int, **query: Any) -> dict[str, str]:
        """Return the state of each user, after comparing it with the counts."""
        found = self.read(offset, **query)
        states = {each.user: str(each.state) for each in found.users}
        for state, count in found.counts.items():
            self.assertEqual(list(states.values()).count(state), count)
        return states

    def ping(self) -> None:
        """Let the node send its regular pings."""
        self.world.clock.advance(25)

    def test_pong(self) -> None:
        """The pong to a ping after the publication proves it."""
        ada = self.world.subscribed("news", "ada")
        offset = self.publish()
        self.assertEqual(self.states(offset), {"ada": "pending"})
        self.ping()
        self.assertEqual(self.states(offset), {"ada": "pending"})
        ada.send({})
        self.assertEqual(self.states(offset), {"ada": "received"})
        (receipt,) = self.read(offset).users
        self.assertEqual((receipt.offset, receipt.at), (1, self.world.clock.seconds()))
        self.assertEqual(self.states(self.publish()), {"ada": "pending"})

    def test_earlier_ping(self) -> None:
        """The pong to a ping before the publication proves nothing."""
        ada = self.world.subscribed("news", "ada")
        self.ping()
        offset = self.publish()
        ada.send({})
        self.assertEqual(self.states(offset), {"ada": "pending"})

    def test_asked(self) -> None:
        """A request pings all subscribers at once, and at most once a second."""
        ada, bob = (self.world.subscribed("news", user) for user in ("ada", "bob"))
        for peer in (ada, bob):
            peer.take()
        offset = self.publish()
        node, clock = self.world.node, self.world.clock
        node.ask_for_receipts("news", offset)
        for peer in (ada, bob):
            self.assertEqual(peer.take()[1:], [{}])
            peer.send({})
        self.assertEqual(self.states(offset), {"ada": "received", "bob": "received"})
        for _ in range(3):
            offset = self.publish()
            node.ask_for_receipts("news", offset)
        self.assertEqual([m for m in ada.take() if not m], [])
        clock.advance(1)
        self.assertEqual([m for m in ada.take() if not m], [{}])
        ada.send({})
        self.assertEqual(self.states(offset), {"ada": "received", "bob": "pending"})

    def test_asked_later(self) -> None:
        """A request waits until the publication has been written to all."""
        peers = [self.world.subscribed("news", f"u{n}") for n in range(5)]
        self.publish()
        for peer in peers:
            peer.take()
        offset = self.publish()
        self.world.node.ask_for_receipts("news", offset)
        self.assertEqual([peer.take()[-1:] == [{}] for peer in peers], [False] * 5)
        for _ in range(4):
            self.world.clock.advance(0)
        for peer in peers:
            self.assertEqual(peer.take()[-1], {})
            peer.send({})
        self.assertEqual(self.read(offset).counts, {"received": 5})

    def test_asked_early(self) -> None:
        """A request may come before the publication, even the first of a stream."""
        ada = self.world.subscribed("news", "ada")
        ada.take()
        for _ in range(2):
            offset = self.world.node.hub.channels["news"].offset + 1
            self.world.node.ask_for_receipts("news", offset)
            self.assertEqual(ada.take(), [])
            self.assertEqual(self.publish(), offset)
            self.assertEqual(ada.take()[-1], {})
            self.world.clock.advance(1)

    def test_always_asked(self) -> None:
        """A channel may ask after each publication."""
        self.world.policy.subscription = SubscribeOptions(
            positioned=True, receipts_ttl=60.0, receipts_ping=True
        )
        ada = self.world.subscribed("news", "ada")
        ada.take()
        offset = self.publish()
        self.assertEqual(ada.take()[-1], {})
        ada.send({})
        self.assertEqual(self.states(offset), {"ada": "received"})

    def test_latency(self) -> None:
        """A pong to a ping for receipts tells how long the newest one took."""
        self.world.policy.options = replace(CHANNEL, namespace="news")
        peers = [self.world.subscribed("news", user) for user in ("ada", "bob")]
        node, clock = self.world.node, self.world.clock
        self.publish()
        clock.advance(0.25)
        node.ask_for_receipts("news", self.publish())
        clock.advance(0.5)
        peers[0].send({})
        clock.advance(1)
        peers[1].send({})
        ((_, labels, histogram),) = (
            each
            for each in node.metrics.histograms()
            if each[0] == "client_receipt_duration_seconds"
        )
        self.assertEqual(labels, (("channel_namespace", "news"),))
        self.assertEqual((sum(histogram.counts), histogram.sum), (2, 2.0))
        node.ask_for_receipts("news", 1)
        clock.advance(0)
        peers[0].send({})
        self.ping()
        peers[1].send({})
        self.assertEqual(sum(histogram.counts), 2)

    def test_pong_deadline(self) -> None:
        """Pings for receipts do not end a connection earlier than regular ones."""
        ada = self.world.subscribed("news", "ada")
        world = self.world
        for _ in range(12):
            world.node.ask_for_receipts("news", self.publish())
            world.clock.advance(1)
        self.assertEqual(ada.closed, 0)
        pings = [message for message in ada.take() if not message]
        self.assertGreater(len(pings), 10)
        for _ in pings:
            ada.send({})
        self.assertEqual(ada.closed, 0)
        ada.send({})
        self.assertEqual(ada.closed, 3501)

    def test_no_pong(self) -> None:
        """A client that answers some pings but not the regular one is closed."""
        ada = self.world.subscribed("news", "ada")
        self.world.clock.advance(25)
        self.world.node.ask_for_receipts("news", self.publish())
        self.world.clock.advance(9)
        self.assertEqual(ada.closed, 3012)

    def test_pongs_in_order(self) -> None:
        """Each pong answers the oldest ping that has no answer yet."""
        ada = self.world.subscribed("news", "ada")
        offsets = []
        for _ in range(2):
            offsets.append(self.publish())
            self.world.node.ask_for_receipts("news", offsets[-1])
            self.world.clock.advance(1)
        ada.send({})
        found = [self.states(offset)["ada"] for offset in offsets]
        self.assertEqual(found, ["received", "pending"])
        ada.send({})
        self.assertEqual(self.states(offsets[1]), {"ada": "received"})

    def test_new_epoch(self) -> None:
        """What is still being written of the stream before proves nothing of the new.

        The watchers keep the channel, as subscribers without a position would.
        """
        node, clock = self.world.node, self.world.clock
        for _ in range(5):
            watcher = node.watcher("news", MemoryTransport(), lambda: None)
            self.successResultOf(Deferred.fromCoroutine(watcher.start()))
        channel = node.hub.channels["news"]
        channel.keep_marks(False, node.runtime.metrics.receipts_of(""))
        marks = channel.marks
        assert marks is not None
        written = []
        for offset, epoch in ((1, "one"), (2, "one"), (3, "one"), (1, "two")):
            if offset == 3:
                clock.advance(0)
            publication = Publication(data=Raw(b"0"), offset=offset)
            position = StreamPosition(offset, epoch)
            node.streams.handle_publication("news", publication, position, None)
            written.append(marks.newest)
        clock.advance(0)
        self.assertEqual([*written, marks.newest], [0, 0, 2, 0, 1])

    def test_frozen(self) -> None:
        """A client that reads nothing gets a bounded number of pings."""
        options = NodeOptions(pong_timeout=1000.0, ping_interval=2000.0)
        self.world = World(options=options)
        self.world.policy.subscription = SUBSCRIPTION
        ada = self.world.subscribed("news", "ada")
        for _ in range(100):
            self.world.node.ask_for_receipts("news", self.publish())
            self.world.clock.advance(1)
        pings = [message for message in ada.take() if not message]
        self.assertEqual(len(pings), 32)

    def test_missed(self) -> None:
        """A user that subscribed after the publication has not received it."""
        self.world.subscribed("news", "ada")
        offset = self.publish()
        bob = self.world.subscribed("news", "bob")
        self.ping()
        bob.send({})
        self.assertEqual(self.states(offset), {"ada": "pending", "bob": "missed"})

    def test_recovered(self) -> None:
        """A publication that came with the subscribe reply is proved by a pong."""
        epoch = self.world.publish("news", 1, **HISTORY).epoch
        bob = self.world.subscribed("news", "bob", recover=True, offset=0, epoch=epoch)
        self.assertEqual(self.states(1), {"bob": "pending"})
        self.ping()
        bob.send({})
        self.assertEqual(self.states(1), {"bob": "received"})

    def test_latest_recovered(self) -> None:
        """In cache mode only the latest publication is received."""
        self.world.policy.subscription = SubscribeOptions(
            recoverable=True, recovery_mode="cache", receipts_ttl=60.0
        )
        for _ in range(3):
            epoch = self.world.publish("news", 1, **HISTORY).epoch
        bob = self.world.subscribed("news", "bob", recover=True, offset=0, epoch=epoch)
        self.ping()
        bob.send({})
        found = [self.states(offset)["bob"] for offset in (1, 2, 3)]
        self.assertEqual(found, ["missed", "missed", "received"])

    def test_away(self) -> None:
        """A user that left is away with what it had received, until it is back."""
        ada = self.world.subscribed("news", "ada")
        first = self.publish()
        self.ping()
        ada.send({})
        second = self.publish()
        ada.client.transport_lost()
        self.assertEqual(self.states(first), {"ada": "received"})
        self.assertEqual(self.states(second), {"ada": "away"})
        (receipt,) = self.read(second).users
        self.assertEqual(receipt.offset, first)
        epoch = self.publish_epoch()
        self.world.subscribed("news", "ada", recover=True, offset=1, epoch=epoch)
        self.assertEqual(self.states(second), {"ada": "pending"})

    def publish_epoch(self) -> str:
        """Publish; return the epoch of the stream."""
        epoch: str = self.world.publish("news", 0, **HISTORY).epoch
        return epoch

    def test_forgotten(self) -> None:
        """Those who are away are forgotten with the history."""
        ada = self.world.subscribed("news", "ada")
        offset = self.publish()
        ada.client.transport_lost()
        self.assertEqual(self.states(offset), {"ada": "away"})
        self.world.clock.advance(62)
        self.assertEqual(self.states(offset), {})

    def test_two_connections(self) -> None:
        """A user has received what one of its connections has received."""
        first, second = (self.world.subscribed("news", "ada") for _ in range(2))
        offset = self.publish()
        self.ping()
        second.send({})
        self.assertEqual(self.states(offset), {"ada": "received"})
        second.client.transport_lost()
        self.assertEqual(self.states(offset), {"ada": "pending"})
        first.client.transport_lost()
        self.assertEqual(self.states(offset), {"ada": "away"})

    def test_unknown(self) -> None:
        """A transport without pongs proves nothing."""
        self.world.policy.admission = Permissive().admission
        peer = self.world.connected("ada", unidirectional=True)
        self.world.node.subscribe("news", SUBSCRIPTION, user="ada")
        offset = self.publish()
        self.ping()
        self.assertEqual(peer.closed, 0)
        self.assertEqual(self.states(offset), {"ada": "unknown"})

    def test_anonymous(self) -> None:
        """Anonymous subscribers are counted, each connection once, and not listed."""
        for _ in range(3):
            self.world.subscribed("news")
        found = self.read(self.publish())
        self.assertEqual((found.counts, found.users), ({"pending": 3}, []))

    def test_other_epoch(self) -> None:
        """A proof is about one stream."""
        ada = self.world.subscribed("news", "ada")
        offset = self.publish()
        self.ping()
        ada.send({})
        self.assertEqual(self.states(offset, epoch="another"), {"ada": "missed"})

    def test_users(self) -> None:
        """A query may name its users."""
        for user in ("ada", "bob", "eve"):
            self.world.subscribed("news", user)
        offset = self.publish()
        self.world.subscribed("news", "zoe").client.transport_lost()
        found = self.states(offset, users=("bob", "zoe", "xan"))
        self.assertEqual(found, {"bob": "pending", "zoe": "missed"})

    def test_pages(self) -> None:
        """Pages hold each user once: first the connected ones, then the others."""
        for number in range(7):
            self.world.subscribed("news", f"u{number}")
        offset = self.publish()
        gone = [self.world.subscribed("news", f"a{number}") for number in range(4)]
        self.publish()
        for peer in gone:
            peer.client.transport_lost()
        for size in range(1, 13):
            users, cursor, pages = [], "", 0
            while True:
                page = self.read(offset + 1, limit=size, cursor=cursor)
                self.assertEqual(page.counts, {"pending": 7, "away": 4})
                self.assertLessEqual(len(page.users), size)
                users += [each.user for each in page.users]
                cursor, pages = page.cursor, pages + 1
                if not cursor:
                    break
                self.assertLess(pages, 20)
            expected = [f"u{n}" for n in range(7)] + [f"a{n}" for n in range(4)]
            self.assertEqual(users, expected)

    def test_counts_only(self) -> None:
        """Without a limit there are only counts."""
        self.world.subscribed("news", "ada")
        found = self.read(self.publish(), limit=0)
        self.assertEqual(found, Receipts({"pending": 1}))

    def test_disabled(self) -> None:
        """A channel without receipts is error 108."""
        self.world.policy.options = ChannelOptions()
        asked = self.world.node.receipts_of(ReceiptQuery("news", 1))
        self.assertEqual(self.failureResultOf(asked, ReplyError).value.error.code, 108)


class Reader:
    """A client that reads its frames one by one, and answers each ping it reads."""

    def __init__(self, node: Node, policy: Permissive, user: str) -> None:
        transport = MemoryTransport()
        policy.admission = Admission(user=user)
        self.peer = Peer(node.connect(transport), transport)
        self.peer.ask(connect={})
        self.user = user
        self.offset, self.epoch = 0, "one"
        #: The epoch and offset of each publication that it has, by its own account.
        self.has: set[tuple[str, int]] = set()
        self.asking = False
        self.there = False

    def subscribe(self, recover: bool) -> None:
        """Subscribe, from where it stands or from now on."""
        self.asking = True
        request: dict[str, Any] = {"channel": "news"}
        if recover:
            request.update(recover=True, offset=self.offset, epoch=self.epoch)
            self.has.update((self.epoch, n + 1) for n in range(self.offset))
        self.peer.send({"id": 1, "subscribe": request})

    def leave(self) -> None:
        """Unsubscribe."""
        self.there = False
        self.peer.send({"id": 2, "unsubscribe": {"channel": "news"}})

    def look(self, count: int) -> None:
        """Read up to *count* frames."""
        frames = self.peer.transport.frames
        for _ in range(min(count, len(frames))):
            for payload in unframed(frames.pop(0)):
                for line in payload.splitlines():
                    self._handle(json.loads(line))

    def _handle(self, message: Any) -> None:
        if not message:
            if not self.peer.closed:
                self.peer.send({})
        elif "subscribe" in message:
            self.there, self.asking = True, False
            result = message["subscribe"]
            if not result.get("recovered"):
                self.offset, self.epoch = result.get("offset", 0), result["epoch"]
            for publication in result.get("publications", []):
                self._take(publication["offset"])
        elif "pub" in message.get("push", {}):
            self._take(message["push"]["pub"]["offset"])
        elif "unsubscribe" in message.get("push", {}):
            self.there = False

    def _take(self, offset: int) -> None:
        self.offset = offset
        self.has.add((self.epoch, offset))


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *("say", "say", "publish", "deliver", "lose", "renew"),
                *("subscribe", "recover", "answer", "leave"),
                *("turn", "second", "ask", "ask", "read", "read", "read"),
            ]
        ),
        st.integers(0, 3),
    ),
    max_size=60,
)


class ModelTests(SynchronousTestCase):
    """In any order of events, no receipt claims what the client has not read."""

    def check(self, store: MemoryReceiptStore, crowd: list[Reader]) -> None:
        """Compare all proofs with what the clients have read."""
        departed = self.successResultOf(store.departures("news", "")).users
        for reader in crowd:
            proofs = [departed[reader.user]] if reader.user in departed else []
            subscription = reader.peer.client.subscriptions.get("news")
            receipt = subscription.receipt() if subscription is not None else None
            if receipt is not None:
                proofs.append(receipt.proof)
            for proof in proofs:
                for offset in range(proof.floor + 1, proof.received + 1):
                    self.assertIn((proof.epoch, offset), reader.has, proof)

    @settings(max_examples=400, deadline=None)
    @given(STEPS, st.integers(1, 3), st.integers(1, 3), st.booleans())
    def test_any_order(
        self, steps: list[tuple[str, int]], readers: int, slice: int, joined: bool
    ) -> None:
        """What is proved has been read; once all is read, all is proved."""
        broker, clock = SlowBroker(), Clock()
        clock.advance(1_000_000)
        store = MemoryReceiptStore(clock)
        engine = Engine(
            broker, MemoryPresenceManager(clock), LocalController(), receipts=store
        )
        policy = Permissive(subscription=SUBSCRIPTION, options=CHANNEL)
        options = NodeOptions(
            broadcast_slice=slice, ping_interval=3.0, pong_timeout=1000.0
        )
        node = Node(engine, policy, clock, options)
        broker.listen(node.streams)
        crowd = [Reader(node, policy, f"u{number}") for number in range(readers)]
        # It keeps the channel when all readers have left.
        watcher = node.watcher("news", MemoryTransport(), lambda: None)
        Deferred.fromCoroutine(watcher.start())
        if joined:
            for reader in crowd:
                reader.subscribe(recover=False)
            while broker.reads:
                broker.answer()
            node.publish("news", b"0")
            broker.deliver()
        for step, number in steps:
            reader = crowd[number % len(crowd)]
            self.step(step, number, broker, node, reader, clock)
            self.check(store, crowd)
        self.finish(broker, crowd, clock)
        self.check(store, crowd)

    def finish(self, broker: SlowBroker, crowd: list[Reader], clock: Clock) -> None:
        """Let everything arrive and be read; then all that is there is proved."""
        while broker.deliveries or broker.reads:
            if broker.reads:
                broker.answer()
            if broker.deliveries:
                broker.deliver()
        for _ in range(3):
            clock.advance(3)
            for reader in crowd:
                reader.look(10_000)
        for reader in crowd:
            subscription = reader.peer.client.subscriptions.get("news")
            receipt = subscription.receipt() if subscription is not None else None
            if receipt is not None and not reader.peer.closed:
                self.assertEqual(receipt.proof.received, reader.offset)

    def step(
        self,
        step: str,
        number: int,
        broker: SlowBroker,
        node: Node,
        reader: Reader,
        clock: Clock,
    ) -> None:
        if reader.peer.closed:
            return
        if step in ("publish", "say"):
            node.publish("news", b"0")
            while step == "say" and broker.deliveries:
                broker.deliver()
        elif step == "deliver" and broker.deliveries:
            broker.deliver()
        elif step == "lose" and broker.deliveries:
            broker.lose()
        elif step == "renew":
            broker.renew()
        elif step == "answer" and broker.reads:
            broker.answer()
        elif step in ("subscribe", "recover"):
            if not reader.there and not reader.asking:
                reader.subscribe(step == "recover")
        elif step == "leave" and reader.there:
            reader.leave()
        elif step == "read":
            reader.look(number + 1)
        elif step == "ask":
            node.ask_for_receipts("news", len(broker.stream))
        elif step == "second":
            clock.advance(1)
        elif step == "turn":
            clock.advance(0)

"""Channels that may have lost publications on their way here."""

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.errors import BrokerUnavailable
from centrifugo_tx.options import History, SubscribeOptions
from centrifugo_tx.protocol.messages import StreamPosition

from ...support import Peer, World

HISTORY = {"history_size": 10, "history_ttl": 60.0}


class Gap(SynchronousTestCase):
    """A broker tells that it could not hear some channels for a while."""

    def setUp(self) -> None:
        """Make a positioned subscriber of a channel with one publication."""
        self.world = World()
        self.world.policy.subscription = SubscribeOptions(
            positioned=True, recoverable=True
        )
        self.top = self.world.publish("news", 1, **HISTORY)
        self.peer: Peer = self.world.subscribed("news")

    def test_nothing_missed(self) -> None:
        """A subscriber at the stream's position is not disturbed."""
        self.world.node.streams.handle_gap(["news"])
        self.assertEqual(self.peer.take(), [])

    def test_missed(self) -> None:
        """A subscriber behind it loses its position at once, and recovers."""
        ahead = StreamPosition(self.top.offset + 1, self.top.epoch)

        def history(*arguments: object) -> object:
            return succeed(History([], ahead))

        self.patch(self.world.node.engine.broker, "history", history)
        self.world.node.streams.handle_gap(["news"])
        [message] = self.peer.take()
        self.assertEqual(message["push"]["unsubscribe"]["code"], 2500)

    def test_storage_away(self) -> None:
        """Storage that does not answer is asked again, less and less often."""
        reads = self.reads()
        self.world.node.streams.handle_gap(["news"])
        for delay in (1, 2, 4):  # less than until the first ping
            reads.pop().errback(BrokerUnavailable("away"))
            self.world.clock.advance(delay - 0.1)
            self.assertEqual(reads, [])
            self.world.clock.advance(0.2)
        ahead = StreamPosition(self.top.offset + 1, self.top.epoch)
        reads.pop().callback(History([], ahead))
        reads.pop().callback(History([], ahead))
        [message] = self.peer.take()
        self.assertEqual(message["push"]["unsubscribe"]["code"], 2500)

    def test_back_again(self) -> None:
        """The next gap is looked into at once, since storage is there again."""
        reads = self.reads()
        self.world.node.streams.handle_gap(["news"])
        self.world.node.streams.handle_gap(["news"])
        reads.pop().errback(BrokerUnavailable("away"))
        self.world.node.streams.handle_gap(["news"])
        self.assertEqual(len(reads), 1)
        reads.pop().callback(History([], self.top))
        self.world.clock.advance(5)
        self.assertEqual((reads, self.peer.take()), ([], []))

    def test_late_delivery(self) -> None:
        """A late delivery from before the gap confirms nothing."""
        reads = self.reads()
        self.world.node.streams.handle_gap(["news"])
        self.world.clock.advance(0.1)
        self.world.publish("news", 2, **HISTORY)
        self.assertEqual(len(self.peer.take()), 1)
        ahead = StreamPosition(self.top.offset + 5, self.top.epoch)
        reads.pop().callback(History([], ahead))
        self.world.clock.advance(1.1)
        for _ in range(2):
            reads.pop().callback(History([], ahead))
        [message] = self.peer.take()
        self.assertEqual(message["push"]["unsubscribe"]["code"], 2500)

    def test_delivered_meanwhile(self) -> None:
        """Deliveries that reach the top of the stream confirm all before it."""
        reads = self.reads()
        self.world.node.streams.handle_gap(["news"])
        self.world.clock.advance(0.1)
        self.world.publish("news", 2, **HISTORY)
        ahead = StreamPosition(self.top.offset + 1, self.top.epoch)
        reads.pop().callback(History([], ahead))
        self.world.clock.advance(5)
        self.assertEqual(reads, [])
        self.assertEqual(len(self.peer.take()), 1)

    def test_left_meanwhile(self) -> None:
        """A channel without subscribers is not asked for again."""
        reads = self.reads()
        self.world.node.streams.handle_gap(["news"])
        reads.pop().errback(BrokerUnavailable("away"))
        self.peer.client.transport_lost()
        self.world.clock.advance(5)
        self.assertEqual(reads, [])

    def test_stopped_meanwhile(self) -> None:
        """Storage is not asked again by a node that has stopped."""
        reads = self.reads()
        self.world.node.streams.handle_gap(["news"])
        self.world.node.stop()
        self.peer.client.transport_lost()
        reads.pop().errback(BrokerUnavailable("stopped"))
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def reads(self) -> "list[Deferred[History]]":
        """Let storage answer on demand; return its pending calls."""
        asked: list[Deferred[History]] = []

        def history(*arguments: object) -> "Deferred[History]":
            asked.append(Deferred())
            return asked[-1]

        self.patch(self.world.node.engine.broker, "history", history)
        return asked

    def test_unknown_channel(self) -> None:
        """A channel without subscribers is skipped."""
        self.world.node.streams.handle_gap(["nobody", "news"])
        self.assertEqual(self.peer.take(), [])

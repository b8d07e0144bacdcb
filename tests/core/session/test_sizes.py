"""Replies that no queue has room for."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.core.channel import channel as channel_module
from centrifugo_tx.core.session import subscription as subscription_module
from centrifugo_tx.options import (
    Admission,
    History,
    HistoryQuery,
    NodeOptions,
    SubscribeOptions,
)
from centrifugo_tx.protocol.messages import StreamPosition

from ...support import Peer, World

RECOVERABLE = SubscribeOptions(recoverable=True)
KEPT = {"history_size": 100, "history_ttl": 60}


class SizeTests(SynchronousTestCase):
    """A queue holds 1,000 bytes here; more than that at once is 3008."""

    def setUp(self) -> None:
        self.world = World(options=NodeOptions(queue_max_size=1000))
        self.world.policy.subscription = RECOVERABLE

    def fill(self, *channels: str, size: int, count: int = 1) -> str:
        for channel in channels:
            for _ in range(count):
                position = self.world.publish(channel, "x" * size, **KEPT)
        epoch: str = position.epoch
        return epoch

    def recover(self, *channels: str) -> Peer:
        """Return a reconnecting client whose connect names its channels."""
        subs = dict.fromkeys(channels, RECOVERABLE)
        self.world.policy.admission = Admission(user="u", subs=subs)
        peer = self.world.open()
        since = {"recover": True, "offset": 0}
        peer.send({"id": 1, "connect": {"subs": dict.fromkeys(channels, since)}})
        return peer

    def test_history(self) -> None:
        """A history that is too large is not even encoded."""
        self.fill("a", size=300, count=3)
        peer = self.world.connected()
        self.assertEqual(len(peer.one(history={"channel": "a", "limit": 3})), 2)
        self.fill("a", size=300)
        self.assertEqual(peer.ask(history={"channel": "a", "limit": 4}), [])
        self.assertEqual(peer.closed, 3008)

    def test_recovery(self) -> None:
        """The publications that a subscription recovers have the same bound."""
        epoch = self.fill("a", size=300, count=4)
        peer = self.world.connected()
        since = {"recover": True, "epoch": epoch}
        reply = peer.one(subscribe={"channel": "a", "offset": 1, **since})
        self.assertEqual(len(reply["subscribe"]["publications"]), 3)
        peer.ask(unsubscribe={"channel": "a"})
        self.assertEqual(peer.ask(subscribe={"channel": "a", **since}), [])
        self.assertEqual(peer.closed, 3008)
        self.assertEqual(self.world.node.hub.num_subscriptions, 0)

    def test_slow_storage(self) -> None:
        """Publications buffered while storage does not answer have the same bound."""
        self.patch(channel_module, "HELD", 3)
        self.patch(subscription_module, "HELD", 3)
        for count, closed in ((3, 0), (4, 3008), (9, 3008)):
            answer: Deferred[History] = Deferred()
            self.world.broker.answers["history"] = answer
            peer = self.world.subscribed(f"c{count}")
            for number in range(count):
                self.world.publish(f"c{count}", number)
            answer.callback(History([], StreamPosition(0, "e")))
            self.assertEqual(peer.closed, closed)

    def test_connect(self) -> None:
        """All that one connect recovers counts together."""
        self.fill("a", "b", "c", "d", size=300)
        peer = self.recover("a", "b", "c")
        (reply,) = peer.take()
        self.assertEqual(len(reply["connect"]["subs"]), 3)
        self.assertEqual(self.recover("a", "b", "c", "d").closed, 3008)
        self.assertEqual(self.world.node.hub.num_subscriptions, 3)

    def test_enough(self) -> None:
        """A history beyond the bound is not read to its end."""
        self.world.node.runtime.options = NodeOptions(
            queue_max_size=1000, channel_limit=500
        )
        names = [f"c{number}" for number in range(400)]
        self.fill(*names, size=300)
        read, history = [], self.world.node.engine.broker.history

        def count(channel: str, query: HistoryQuery) -> Any:
            read.append(channel)
            return history(channel, query)

        self.world.broker.history = count
        self.assertEqual(self.recover(*names).closed, 3008)
        self.assertLess(len(read), 64)

    def test_turns(self) -> None:
        """Many subscriptions of one connect are begun over several turns."""
        self.world.node.runtime.options = NodeOptions(channel_limit=500)
        peer = self.recover(*(f"c{number}" for number in range(400)))
        self.assertLess(self.world.node.hub.num_subscriptions, 100)
        neighbor = self.world.open()
        self.world.policy.admission = Admission()
        self.assertEqual(len(neighbor.ask(connect={})), 1)
        self.world.clock.advance(0)
        (reply,) = peer.take()
        self.assertEqual(len(reply["connect"]["subs"]), 400)

    def test_gone_between_turns(self) -> None:
        """A client that goes meanwhile leaves nothing behind."""
        self.world.node.runtime.options = NodeOptions(channel_limit=500)
        peer = self.recover(*(f"c{number}" for number in range(400)))
        peer.client.transport_lost()
        self.world.clock.advance(10)
        self.assertEqual(self.world.node.hub.num_subscriptions, 0)
        self.assertEqual(self.world.node.hub.channels, {})

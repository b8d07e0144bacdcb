"""Channels that may have lost publications on their way here."""

from twisted.internet.defer import succeed
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.options import History, SubscribeOptions
from centrifugo_tx.protocol.messages import StreamPosition

from ..support import Peer, World

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
        """Who stands where the stream does is not disturbed."""
        self.world.node.handle_gap(["news"])
        self.assertEqual(self.peer.take(), [])

    def test_missed(self) -> None:
        """Who does not is told at once, so that it recovers."""
        ahead = StreamPosition(self.top.offset + 1, self.top.epoch)

        def history(*arguments: object) -> object:
            return succeed(History([], ahead))

        self.patch(self.world.node.engine.broker, "history", history)
        self.world.node.handle_gap(["news"])
        [message] = self.peer.take()
        self.assertEqual(message["push"]["unsubscribe"]["code"], 2500)

    def test_unknown_channel(self) -> None:
        """A channel that nobody is in any more is passed over."""
        self.world.node.handle_gap(["nobody", "news"])
        self.assertEqual(self.peer.take(), [])

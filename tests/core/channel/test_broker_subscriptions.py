"""When a node subscribes at the broker, and when it leaves."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from ...support import World


class ListeningTests(SynchronousTestCase):
    """The first subscriber brings the node in, the last one takes it out."""

    def setUp(self) -> None:
        self.world = World()
        self.calls: list[str] = []
        broker: Any = self.world.broker
        memory = broker._broker

        def note(name: str) -> Any:
            real = getattr(memory, name)

            def call(channel: str) -> Any:
                self.calls.append(name)
                answer = broker.answers.pop(name, None)
                return answer if answer is not None else real(channel)

            return call

        for name in ("subscribe", "unsubscribe"):
            setattr(broker, name, note(name))

    def test_once(self) -> None:
        """Several subscribers are one subscription of the node."""
        self.world.subscribed("a")
        self.world.subscribed("a")
        self.assertEqual(self.calls, ["subscribe"])

    def test_lingers(self) -> None:
        """A second after the last one left the node leaves, and forgets the channel."""
        peer = self.world.subscribed("a")
        peer.client.transport_lost()
        self.world.clock.advance(0.9)
        self.assertEqual(self.calls, ["subscribe"])
        self.world.clock.advance(0.2)
        self.assertEqual(self.calls, ["subscribe", "unsubscribe"])
        self.assertEqual(self.world.node.hub.channels, {})

    def test_comes_back(self) -> None:
        """A subscriber that returns in time keeps the node subscribed."""
        self.world.subscribed("a").client.transport_lost()
        self.world.clock.advance(0.5)
        self.world.subscribed("a")
        self.world.clock.advance(5)
        self.assertEqual(self.calls, ["subscribe"])

    def test_waits_for_the_broker(self) -> None:
        """The reply waits until the broker has acknowledged."""
        acknowledged = self.world.broker.answers["subscribe"] = Deferred()
        peer = self.world.connected()
        self.assertEqual(peer.ask(subscribe={"channel": "a"}), [])
        other = self.world.connected()
        self.assertEqual(other.ask(subscribe={"channel": "a"}), [])
        acknowledged.callback(None)
        self.assertEqual([len(peer.take()), len(other.take())], [1, 1])

    def test_refused(self) -> None:
        """If it refuses, all waiting callers fail, and the next one tries again."""
        refused = self.world.broker.answers["subscribe"] = Deferred()
        peers = [self.world.connected() for _ in range(2)]
        for peer in peers:
            peer.ask(subscribe={"channel": "a"})
        from centrifugo_tx.errors import BrokerUnavailable

        refused.errback(BrokerUnavailable("away"))
        self.assertEqual([peer.closed for peer in peers], [3004, 3004])
        self.world.subscribed("a")
        self.assertEqual(self.calls, ["subscribe", "subscribe"])

    def test_refused_at_once(self) -> None:
        """If it refuses before it returns, the caller fails, too."""
        self.world.broker.fail("subscribe")
        peer = self.world.connected()
        peer.ask(subscribe={"channel": "a"})
        self.assertEqual(peer.closed, 3004)
        self.world.subscribed("a")
        self.assertEqual(self.calls, ["subscribe", "subscribe"])

    def test_comes_while_leaving(self) -> None:
        """A subscriber that comes while the node leaves waits for its return."""
        left = self.world.broker.answers["unsubscribe"] = Deferred()
        self.world.subscribed("a").client.transport_lost()
        self.world.clock.advance(1.1)
        peer = self.world.connected()
        self.assertEqual(peer.ask(subscribe={"channel": "a"}), [])
        left.callback(None)
        self.assertEqual(len(peer.take()), 1)
        self.assertEqual(self.calls, ["subscribe", "unsubscribe", "subscribe"])

    def test_cannot_leave(self) -> None:
        """An unsubscribe that fails is tried again."""
        self.world.broker.fail("unsubscribe")
        self.world.subscribed("a").client.transport_lost()
        self.world.clock.advance(1.1)
        self.world.clock.advance(0.6)
        self.assertEqual(self.calls, ["subscribe", "unsubscribe", "unsubscribe"])

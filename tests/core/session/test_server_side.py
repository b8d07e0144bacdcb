"""Commands of the server to a busy client."""

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.options import Admission, SubscribeOptions

from ...support import World


class ServerTests(SynchronousTestCase):
    """The server subscribes a client that is busy."""

    def setUp(self) -> None:
        self.world = World()
        self.broker = self.world.broker

    def test_while_connecting(self) -> None:
        """A subscription by the API waits until the client is admitted."""
        started: Deferred[None] = Deferred()
        self.broker.answers["subscribe"] = started
        subs = {"a": SubscribeOptions()}
        self.world.policy.admission = Admission(user="u", subs=subs)
        peer = self.world.open()
        peer.send({"id": 1, "connect": {}})
        self.world.node.subscribe("b", SubscribeOptions(), "u")
        self.assertEqual(peer.take(), [])
        started.callback(None)
        reply, push = peer.take()
        self.assertEqual(list(reply["connect"]["subs"]), ["a"])
        self.assertEqual(push, {"push": {"channel": "b", "subscribe": {}}})

    def test_connect_fails(self) -> None:
        """It is dropped if the client is refused."""
        started: Deferred[None] = Deferred()
        self.broker.answers["subscribe"] = started
        subs = {"a": SubscribeOptions()}
        self.world.policy.admission = Admission(user="u", subs=subs)
        peer = self.world.open()
        peer.send({"id": 1, "connect": {}})
        self.world.node.subscribe("b", SubscribeOptions(), "u")
        peer.client.transport_lost()
        started.callback(None)
        self.assertEqual(self.world.node.hub.num_subscriptions, 0)

    def test_while_subscribing(self) -> None:
        """It replaces the client's own subscription once that is answered."""
        peer = self.world.connected("u")
        decision: Deferred[SubscribeOptions] = Deferred()
        self.world.policy.subscription = decision
        peer.send({"id": 5, "subscribe": {"channel": "a"}})
        self.world.node.subscribe("a", SubscribeOptions(), "u")
        self.assertEqual(peer.take(), [])
        decision.callback(SubscribeOptions())
        self.assertEqual(
            peer.take(),
            [
                {"id": 5, "subscribe": {}},
                {"push": {"channel": "a", "subscribe": {}}},
            ],
        )
        self.assertTrue(peer.client.subscriptions["a"].server_side)
        self.assertEqual(self.world.node.hub.num_subscriptions, 1)

    def test_replaced_at_once(self) -> None:
        """Two at the same time come one after the other."""
        peer = self.world.connected("u")
        started: Deferred[None] = Deferred()
        self.broker.answers["subscribe"] = started
        for _ in range(2):
            self.world.node.subscribe("a", SubscribeOptions(), "u")
        started.callback(None)
        self.assertEqual(len(peer.take()), 2)
        self.assertEqual((peer.closed, self.world.node.hub.num_subscriptions), (0, 1))

    def test_gone_while_starting(self) -> None:
        """A client that goes while the channel is opened enters no presence."""
        peer = self.world.connected("u")
        self.world.policy.subscription = SubscribeOptions(presence=True)
        started: Deferred[None] = Deferred()
        self.broker.answers["subscribe"] = started
        peer.send({"id": 5, "subscribe": {"channel": "a"}})
        peer.client.transport_lost()
        started.callback(None)
        found = self.successResultOf(self.world.node.presence("a"))
        self.assertEqual(found, {})

"""Node to node, against servers that follow a script."""

from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from zope.interface import implementer

from centrifugo_tx.engines.redis.controller import RedisController
from centrifugo_tx.engines.redis.pubsub import SILENCE
from centrifugo_tx.errors import BrokerUnavailable
from centrifugo_tx.interfaces import IControlEventHandler

from .scripted_shards import ShardCase


@implementer(IControlEventHandler)
@define(eq=False)
class _Messages:
    """Writes down what arrives."""

    got: list[bytes] = field(factory=list)

    def handle_control(self, message: bytes) -> None:
        """Take a message."""
        self.got.append(message)


class ControllerTests(ShardCase):
    """Where messages go, and where they come from."""

    def start(self, count: int = 1, listening: bool = True) -> RedisController:
        """Return a controller on *count* shards, started."""
        self.messages = _Messages()
        reactor: Any = self.clock
        controller = RedisController(reactor, self.shards(count))
        if listening:
            controller.listen(self.messages, "n1")
        self.result(Deferred.fromCoroutine(controller.start()))
        self.controller = controller
        return controller

    def test_listens(self) -> None:
        """It listens to all nodes' channel, to this node's, and to its probe."""
        self.start()
        names = {name for command in self.sent(b"SUBSCRIBE") for name in command[1:]}
        self.assertEqual(names, {b"cg.control", b"cg.node.n1", b"cg.node.n1.probe"})
        self.publish(b"cg.control", b"to all")
        self.publish(b"cg.node.n1", b"to one")
        self.publish(b"cg.node.n1.probe", b"probe")
        self.assertEqual(self.messages.got, [b"to all", b"to one"])

    def test_without_receiver(self) -> None:
        """Without a receiver nothing is subscribed, and publishing works."""
        controller = self.start(listening=False)
        self.assertEqual(self.sent(b"SUBSCRIBE"), [])
        self.assertIsNone(self.result(controller.publish(b"x")))

    def test_publish(self) -> None:
        """A message goes to all nodes, or to one."""
        controller = self.start()
        self.assertIsNone(self.result(controller.publish(b"x")))
        self.assertIsNone(self.result(controller.publish(b"y", "n2")))
        self.assertEqual(
            self.sent(b"PUBLISH"),
            [(b"PUBLISH", b"cg.control", b"x"), (b"PUBLISH", b"cg.node.n2", b"y")],
        )

    def test_shards(self) -> None:
        """Messages go to the shards in turn, and arrive from all of them."""
        controller = self.start(2)
        for payload in (b"1", b"2", b"3"):
            self.result(controller.publish(payload))
        published = [
            [command[2] for command in peer.commands if command[0] == b"PUBLISH"]
            for peer in self.peers
        ]
        self.assertEqual(published, [[b"1", b"3"], [b"2"]])
        self.publish(b"cg.control", b"first", 0)
        self.publish(b"cg.control", b"second", 1)
        self.assertEqual(self.messages.got, [b"first", b"second"])

    def test_away(self) -> None:
        """A shard that cannot be listened to yet does not stop the start."""
        self.start()
        self.peer.refuses = True
        for connection in list(self.peer.connections):
            connection.lose()
        self.failureResultOf(self.controller.publish(b"x"), BrokerUnavailable)
        self.peer.refuses = False
        for _ in range(4):
            self.clock.advance(3)
            self.flow()
        self.assertIsNone(self.result(self.controller.publish(b"x")))
        self.publish(b"cg.control", b"again")
        self.assertEqual(self.messages.got, [b"again"])

    def test_probe(self) -> None:
        """Silence is tried by a message of the node's own."""
        self.start()
        self.clock.advance(SILENCE)
        self.flow()
        self.assertEqual(
            self.sent(b"PUBLISH"), [(b"PUBLISH", b"cg.node.n1.probe", b"probe")]
        )

    def test_stop(self) -> None:
        """Nothing is left in the reactor."""
        controller = self.start()
        self.result(controller.stop())
        self.result(controller._shards.stop())
        self.assertEqual(self.clock.getDelayedCalls(), [])

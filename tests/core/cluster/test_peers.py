"""Messages between nodes, over a bus in memory."""

from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from centrifugo_tx.core import Node, SurveyFailed
from centrifugo_tx.engines import memory_engine
from centrifugo_tx.interfaces import IControlEventHandler, IController
from centrifugo_tx.options import NodeOptions, SubscribeOptions
from centrifugo_tx.protocol import control
from centrifugo_tx.protocol.messages import StreamPosition

from ...support import MemoryTransport, Peer, Permissive


class Bus:
    """Carries messages to the nodes that are plugged in."""

    def __init__(self) -> None:
        self.nodes: dict[str, IControlEventHandler] = {}


@implementer(IController)
class BusController:
    """One node's plug."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus

    def listen(self, receiver: IControlEventHandler, node: str) -> None:
        self.bus.nodes[node] = receiver

    def publish(self, message: bytes, node: str = "") -> "Deferred[None]":
        for id, receiver in list(self.bus.nodes.items()):
            if node in ("", id):
                receiver.handle_control(message)
        return succeed(None)


class ClusterTests(SynchronousTestCase):
    """Two nodes."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000_000)
        self.bus = Bus()
        self.first, self.second = self.node("first"), self.node("second")

    def node(self, name: str) -> Node:
        engine = evolve(memory_engine(self.clock), controller=BusController(self.bus))
        options = NodeOptions(name=name, version="1")
        node = Node(engine, Permissive(), self.clock, options)
        node.start()
        return node

    def peer(self, node: Node, user: str = "u") -> Peer:
        from centrifugo_tx.options import Admission

        node.policy.admission = Admission(user=user)  # type: ignore[attr-defined]
        transport = MemoryTransport()
        peer = Peer(node.connect(transport), transport)
        peer.ask(connect={})
        return peer

    def names(self, node: Node) -> list[str]:
        return sorted(info.name for info in self.successResultOf(node.info()))

    def test_known(self) -> None:
        """Each knows the other at once."""
        for node in (self.first, self.second):
            self.assertEqual(self.names(node), ["first", "second"])

    def test_silent(self) -> None:
        """A node that is silent for 7 s is removed."""
        del self.bus.nodes[self.second.id]
        self.second.peers.stop()
        self.clock.pump([1] * 20)
        self.assertEqual(self.names(self.first), ["first"])

    def test_shutdown(self) -> None:
        """A node that announces its shutdown is removed at once."""
        self.second.stop()
        self.assertEqual(self.names(self.first), ["first"])

    def test_disconnect(self) -> None:
        """A disconnect reaches the user's connections on all nodes, but a whitelist."""
        here, there = self.peer(self.first), self.peer(self.second)
        kept, other = self.peer(self.second), self.peer(self.second, "v")
        self.first.disconnect(user="u", whitelist=[kept.client.id])
        closed = [each.closed for each in (here, there, kept, other)]
        self.assertEqual(closed, [3503, 3503, 0, 0])

    def test_subscribe_and_unsubscribe(self) -> None:
        """So do subscribe and unsubscribe."""
        there = self.peer(self.second)
        options = SubscribeOptions(positioned=True)
        self.first.subscribe("a", options, user="u", since=StreamPosition(0, ""))
        self.assertIn("subscribe", there.take()[0]["push"])
        self.first.unsubscribe("a", user="u")
        self.assertEqual(there.take()[0]["push"]["unsubscribe"]["code"], 2000)

    def test_refresh(self) -> None:
        """So does a refresh."""
        there = self.peer(self.second)
        self.first.refresh(user="u", expire_at=1_000_000_100)
        self.assertEqual(
            there.take(), [{"push": {"refresh": {"expires": True, "ttl": 100}}}]
        )
        self.first.refresh(user="u", expired=True)
        self.assertEqual(there.closed, 3005)

    def test_channels(self) -> None:
        """Channels are counted over all nodes, by a pattern if wanted."""
        for node, channels in ((self.first, "ab"), (self.second, "bc")):
            peer = self.peer(node)
            for channel in channels:
                peer.ask(subscribe={"channel": channel})
        self.assertEqual(
            self.successResultOf(self.first.channels()), {"a": 1, "b": 2, "c": 1}
        )
        self.assertEqual(
            self.successResultOf(self.first.channels("[ab]")), {"a": 1, "b": 2}
        )
        self.failureResultOf(self.first.channels("["), ValueError)

    def test_survey_in_vain(self) -> None:
        """A node that does not answer fails a survey after 10 s."""
        del self.bus.nodes[self.second.id]
        asked = self.first.survey("channels", b"")
        self.assertNoResult(asked)
        self.clock.advance(10)
        self.failureResultOf(asked, SurveyFailed)

    def test_unknown_survey(self) -> None:
        """An unknown question is answered with code 3."""
        answers: Any = self.successResultOf(self.first.survey("what", b""))
        self.assertEqual([code for code, _ in answers.values()], [3, 3])

    def test_malformed(self) -> None:
        """Noise is passed over."""
        self.first.peers.handle_control(b"\xff\xff")
        self.first.peers.handle_control(control.encode(control.ControlCommand()))
        self.assertEqual(self.names(self.first), ["first", "second"])

    def test_nothing_left(self) -> None:
        """A node that stopped leaves nothing in the reactor."""
        self.first.stop()
        self.second.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

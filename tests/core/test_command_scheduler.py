"""How clients share the turns of the reactor."""

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.core.command_scheduler import FRESH, LEAST, SHORT, SLICE, UNIT
from centrifugo_tx.options import SubscribeOptions
from centrifugo_tx.protocol.messages import Raw

from ..support import Peer, World


class Turns(Clock):
    """A clock whose calls can be made one turn at a time."""

    def turn(self) -> None:
        """Make the calls that are due now, but none that they add."""
        due = [call for call in self.calls if call.getTime() <= self.seconds()]
        for call in due:
            self.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)


def many(count: int, first: int = 1) -> list[Any]:
    """Return *count* commands."""
    return [{"id": id, "rpc": {}} for id in range(first, first + count)]


class SchedulerTests(SynchronousTestCase):
    """In one turn a client gets a slice; clients that want more share another."""

    def setUp(self) -> None:
        self.clock = Turns()
        self.world = World(clock=self.clock)

    def greedy(self) -> Peer:
        """Return a client that has used up its slice and wants more."""
        peer = self.world.connected()
        peer.send(*many(10 * SLICE))
        peer.take()
        return peer

    def test_slices(self) -> None:
        """A long message is executed in slices, in order."""
        peer = self.world.connected()
        peer.send(*many(3 * SLICE))
        found, turns = peer.take(), 0
        self.assertLess(len(found), SLICE + 1)
        self.assertTrue(peer.transport.paused)
        while len(found) < 3 * SLICE:
            self.clock.turn()
            new = peer.take()
            self.assertTrue(0 < len(new) <= SLICE)
            found, turns = found + new, turns + 1
        self.assertEqual([m["id"] for m in found], list(range(1, 3 * SLICE + 1)))
        self.assertEqual(turns, 3)
        self.assertFalse(peer.transport.paused)

    def test_messages(self) -> None:
        """Messages that come in one turn share the slice, and keep their order."""
        peer = self.world.connected()
        for command in many(3 * SLICE):
            peer.send(command)
        self.assertLess(len(peer.transport.frames), SLICE + 1)
        self.clock.advance(0)
        found = [m["id"] for m in peer.take()]
        self.assertEqual(found, list(range(1, 3 * SLICE + 1)))

    def test_large_replies(self) -> None:
        """The size of replies counts as well."""
        self.world.policy.answer = Raw(json.dumps("x" * 8 * UNIT).encode())
        peer = self.world.connected()
        peer.send(*many(SLICE))
        self.assertEqual(len(peer.take()), SLICE // 9)  # connect took 1 of it
        self.clock.turn()
        self.assertEqual(len(peer.take()), SLICE // 9 + 1)

    def test_neighbor(self) -> None:
        """Another client is answered at once while one has plenty to do."""
        greedy, neighbor = self.greedy(), self.world.connected()
        for _ in range(3):
            self.assertEqual(len(neighbor.ask(rpc={})), 1)
            self.clock.turn()
            self.assertTrue(greedy.take())

    def test_fresh(self) -> None:
        """It is given a small slice then, and queues for the rest."""
        self.greedy()
        neighbor = self.world.connected()
        self.clock.turn()
        neighbor.send(*many(2 * FRESH))
        self.assertEqual(len(neighbor.take()), FRESH)
        self.clock.advance(0)
        self.assertEqual(len(neighbor.take()), FRESH)

    def test_long_messages(self) -> None:
        """Long messages are not even decoded while others wait."""
        self.greedy()
        neighbor = self.world.connected()
        self.clock.turn()
        neighbor.send({"id": 1, "rpc": {"data": "x" * SHORT}})
        self.assertEqual(neighbor.take(), [])
        self.clock.turn()
        self.assertEqual(len(neighbor.take()), 1)

    def test_crowd(self) -> None:
        """However many are greedy, together they get about a slice each turn."""
        crowd = [self.greedy() for _ in range(100)]
        heard = set()
        for _ in range(8):
            self.clock.turn()
            answers = {peer.client.id: len(peer.take()) for peer in crowd}
            self.assertLess(sum(answers.values()), SLICE + LEAST)
            heard |= {id for id, count in answers.items() if count}
        self.assertEqual(len(heard), 100)

    def test_gone(self) -> None:
        """No more commands are executed for a closed client."""
        peer = self.greedy()
        calls = len(self.world.policy.calls)
        peer.client.transport_lost()
        self.clock.advance(0)
        self.assertEqual(len(self.world.policy.calls), calls)
        self.assertFalse(self.world.node.runtime.scheduler.crowded)

    def test_waiting(self) -> None:
        """A command that waits holds the later ones; no turn is spent on them."""
        peer = self.world.connected()
        decision: Deferred[SubscribeOptions] = Deferred()
        self.world.policy.subscription = decision
        peer.send({"id": 1, "subscribe": {"channel": "a"}}, *many(2 * SLICE, 2))
        self.assertFalse(self.world.node.runtime.scheduler.crowded)
        decision.callback(SubscribeOptions())
        self.assertTrue(self.world.node.runtime.scheduler.crowded)
        self.clock.advance(0)
        found = [m["id"] for m in peer.take()]
        self.assertEqual(found, list(range(1, 2 * SLICE + 2)))

    def test_malformed(self) -> None:
        """A message that cannot be decoded closes the connection in its turn."""
        peer = self.world.connected()
        peer.send(*many(2 * SLICE), "{nonsense")
        self.assertEqual(peer.closed, 0)
        self.clock.advance(0)
        self.assertEqual((len(peer.take()), peer.closed), (2 * SLICE, 3501))

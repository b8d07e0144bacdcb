"""Metrics of all workers in one answer."""

from attrs import define, field
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.workers.messages import Collect, Gathered, Order
from centrifugo_tx.workers.metrics import PATIENCE, Gatherer, merged

ONE = """\
# TYPE clients gauge
clients 5
# HELP seconds How long { it took.
# TYPE seconds histogram
seconds_bucket{le="1"} 2
seconds_bucket{le="+Inf"} 3
seconds_count 3
"""
TWO = """\
# TYPE clients gauge
clients 7
# TYPE odd counter
odd{name="a {b c"} 1
"""


@define(eq=False)
class Member:
    """A worker that notes what it is told."""

    orders: list[Order] = field(factory=list)

    def order(self, order: Order) -> None:
        """Note it."""
        self.orders.append(order)


class MergeTests(SynchronousTestCase):
    """What Prometheus reads."""

    def test_samples(self) -> None:
        """Every sample is there, with the number of its worker."""
        found = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(merged({1: ONE, 2: TWO}))
            for sample in family.samples
        }
        self.assertEqual(
            found,
            {
                ("clients", (("worker", "1"),)): 5,
                ("clients", (("worker", "2"),)): 7,
                ("seconds_bucket", (("le", "1"), ("worker", "1"))): 2,
                ("seconds_bucket", (("le", "+Inf"), ("worker", "1"))): 3,
                ("seconds_count", (("worker", "1"),)): 3,
                ("odd_total", (("name", "a {b c"), ("worker", "2"))): 1,
            },
        )

    def test_together(self) -> None:
        """What belongs to one name stands together, under one line of its type."""
        lines = merged({1: ONE, 2: TWO}).splitlines()
        self.assertEqual(
            lines[:3],
            [
                "# TYPE clients gauge",
                'clients{worker="1"} 5',
                'clients{worker="2"} 7',
            ],
        )
        self.assertEqual(len(lines), len(set(lines)))

    def test_nothing(self) -> None:
        """Nobody there is an empty answer."""
        self.assertEqual(merged({}), "")


class GatherTests(SynchronousTestCase):
    """Who is asked, and who is told."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.members = {1: Member(), 2: Member()}
        self.gatherer = Gatherer(self.clock, lambda: self.members)
        self.asker = self.members[2]

    def test_all(self) -> None:
        """All are asked; when all have answered, the one who was asked is told."""
        self.gatherer.wanted(self.asker)
        self.assertEqual([m.orders for m in self.members.values()], [[Collect()]] * 2)
        self.gatherer.collected(2, TWO)
        self.assertEqual(len(self.asker.orders), 1)
        self.gatherer.collected(1, ONE)
        self.assertEqual(self.asker.orders[1:], [Gathered(merged({1: ONE, 2: TWO}))])
        self.assertEqual(self.members[1].orders, [Collect()])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_late(self) -> None:
        """Who does not answer in time is left out, this time."""
        for late in ONE, "":
            self.gatherer.wanted(self.asker)
            self.gatherer.collected(2, TWO)
            self.clock.advance(PATIENCE)
            self.assertEqual(self.asker.orders[-1], Gathered(merged({2: TWO})))
            self.gatherer.collected(1, late)

    def test_both(self) -> None:
        """Two who want it at the same time get the same, and all are asked once."""
        self.gatherer.wanted(self.members[1])
        self.gatherer.wanted(self.members[2])
        self.gatherer.collected(1, ONE)
        self.gatherer.collected(2, TWO)
        whole = Gathered(merged({1: ONE, 2: TWO}))
        for member in self.members.values():
            self.assertEqual(member.orders, [Collect(), whole])

    def test_stop(self) -> None:
        """In the end nobody is left waiting."""
        self.gatherer.wanted(self.asker)
        self.gatherer.stop()
        self.assertEqual(self.asker.orders[-1], Gathered(""))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.gatherer.stop()

"""Metrics of all workers in one answer."""

from attrs import define, field
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.workers.link_messages import CollectMetrics, GatheredMetrics, Order
from centrifugo_tx.workers.metrics_gatherer import (
    COLLECT_TIMEOUT,
    MetricsGatherer,
    merge_expositions,
)

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
class OrderTarget:
    """A worker that records its messages."""

    orders: list[Order] = field(factory=list)

    def order(self, order: Order) -> None:
        """Note it."""
        self.orders.append(order)


class MergeTests(SynchronousTestCase):
    """The combined exposition."""

    def test_samples(self) -> None:
        """Every sample is there, with the number of its worker."""
        found = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(
                merge_expositions({1: ONE, 2: TWO})
            )
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
        """The samples of a name are together, below one line of its type."""
        lines = merge_expositions({1: ONE, 2: TWO}).splitlines()
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
        self.assertEqual(merge_expositions({}), "")


class GatherTests(SynchronousTestCase):
    """Requests to workers, and the response."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.members = {1: OrderTarget(), 2: OrderTarget()}
        self.gatherer = MetricsGatherer(self.clock, lambda: self.members)
        self.requester = self.members[2]

    def test_all(self) -> None:
        """All workers are asked; after the last response the asking one gets the
        result.
        """
        self.gatherer.gather(self.requester)
        self.assertEqual(
            [m.orders for m in self.members.values()], [[CollectMetrics()]] * 2
        )
        self.gatherer.add(2, TWO)
        self.assertEqual(len(self.requester.orders), 1)
        self.gatherer.add(1, ONE)
        self.assertEqual(
            self.requester.orders[1:],
            [GatheredMetrics(merge_expositions({1: ONE, 2: TWO}))],
        )
        self.assertEqual(self.members[1].orders, [CollectMetrics()])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_late(self) -> None:
        """A worker that does not respond in time is omitted this time."""
        for late in ONE, "":
            self.gatherer.gather(self.requester)
            self.gatherer.add(2, TWO)
            self.clock.advance(COLLECT_TIMEOUT)
            self.assertEqual(
                self.requester.orders[-1], GatheredMetrics(merge_expositions({2: TWO}))
            )
            self.gatherer.add(1, late)

    def test_both(self) -> None:
        """Two concurrent requests get the same result from one query."""
        self.gatherer.gather(self.members[1])
        self.gatherer.gather(self.members[2])
        self.gatherer.add(1, ONE)
        self.gatherer.add(2, TWO)
        whole = GatheredMetrics(merge_expositions({1: ONE, 2: TWO}))
        for member in self.members.values():
            self.assertEqual(member.orders, [CollectMetrics(), whole])

    def test_stop(self) -> None:
        """At the end no request is left waiting."""
        self.gatherer.gather(self.requester)
        self.gatherer.stop()
        self.assertEqual(self.requester.orders[-1], GatheredMetrics(""))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.gatherer.stop()

"""Objects by type, counted in slices."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.core.time_slices import RoundRobin, Slices
from centrifugo_tx.debug import heap
from centrifugo_tx.debug.heap import HeapCensus, count_objects


class CountTests(SynchronousTestCase):
    """What is counted."""

    def setUp(self) -> None:
        self.clock = Clock()

    def begin(self, *roots: object, limit: int = 10**9) -> "Deferred[HeapCensus]":
        """Begin to count."""
        slices = Slices(RoundRobin(self.clock), self.clock, limit)
        return Deferred.fromCoroutine(count_objects(roots, slices))

    def count(self, *roots: object) -> dict[str, int]:
        """Return the counts by type."""
        census = self.successResultOf(self.begin(*roots))
        self.assertTrue(census.complete)
        return {row.name: row.count for row in census.types}

    def test_reachable(self) -> None:
        """Each object that can be reached is counted once, in a circle, too.

        Names that are keys are passed over, as the garbage collector does.
        """
        shared = [1.5]
        circle: list[object] = [{"a": shared}, {"a": shared}]
        circle.append(circle)
        counts = self.count(circle)
        self.assertEqual(counts, {"list": 2, "dict": 2, "float": 1})

    def test_slices(self) -> None:
        """Counting goes on in later turns."""
        counting = self.begin([[n] for n in range(1000)], limit=5)
        self.assertNoResult(counting)
        self.clock.pump([0] * 1000)
        census = self.successResultOf(counting)
        self.assertIn(1001, [row.count for row in census.types])

    def test_large(self) -> None:
        """Of a very large container the first entries are followed."""
        self.patch(heap, "ENTRIES", 10)
        census = self.successResultOf(self.begin({n: [n] for n in range(50)}))
        self.assertEqual(census.cut, 1)
        counts = {row.name: row.count for row in census.types}
        self.assertEqual(counts["list"], 10)

    def test_bound(self) -> None:
        """The number of objects is bounded."""
        self.patch(heap, "MOST", 100)
        census = self.successResultOf(self.begin([[n] for n in range(1000)]))
        self.assertEqual((census.complete, census.objects), (False, 100))

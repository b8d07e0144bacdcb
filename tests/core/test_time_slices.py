"""Long work in slices."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.core.time_slices import SLICE_SECONDS, RoundRobin, Slices


class RoundRobinTests(SynchronousTestCase):
    """The order of waiting work."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.robin = RoundRobin(self.clock)
        self.done: list[str] = []

    def test_order(self) -> None:
        """Work is done in the order in which it came, in a later turn."""
        for name in "abc":
            self.robin.add(lambda name=name: self.done.append(name))  # type: ignore[misc]
        self.assertEqual(self.done, [])
        self.clock.advance(0)
        self.assertEqual(self.done, ["a", "b", "c"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_long(self) -> None:
        """Work that does not fit into a turn keeps its place for the next one."""

        def work(name: str) -> None:
            self.done.append(name)
            self.clock.rightNow += 0.006

        for name in "abc":
            self.robin.add(lambda name=name: work(name))  # type: ignore[misc]
        (call,) = self.clock.getDelayedCalls()
        self.clock.calls.clear()
        call.func()  # type: ignore[attr-defined]
        self.assertEqual(self.done, ["a", "b"])
        self.clock.advance(0)
        self.assertEqual(self.done, ["a", "b", "c"])

    def test_failure(self) -> None:
        """Work that fails is logged, and the rest is done."""
        self.robin.add(lambda: 1 / 0)
        self.robin.add(lambda: self.done.append("b"))
        self.clock.advance(0)
        self.assertEqual(self.done, ["b"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class SliceTests(SynchronousTestCase):
    """When a slice is over."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.slices = Slices(RoundRobin(self.clock), self.clock, 3)

    def test_steps(self) -> None:
        """After so many steps, of which the next slice has as many."""
        self.assertEqual([self.slices.over() for _ in range(4)], [False] * 3 + [True])
        begins = self.slices.next()
        self.assertNoResult(begins)
        self.clock.advance(0)
        self.successResultOf(begins)
        self.assertEqual([self.slices.over() for _ in range(3)], [False] * 2 + [True])

    def test_time(self) -> None:
        """Or after so much time."""
        self.assertFalse(self.slices.over())
        self.clock.rightNow += SLICE_SECONDS
        self.assertTrue(self.slices.over())

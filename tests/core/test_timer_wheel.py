"""The timer wheel."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.core.timer_wheel import SLICE, TimerWheel


class Bell:
    """Notes when it was woken, and may do something then."""

    def __init__(self) -> None:
        self.tick = 0
        self.woken: list[float] = []
        self.then = lambda: None

    def wake(self, now: float) -> None:
        self.woken.append(now)
        self.then()


class TimerWheelTests(SynchronousTestCase):
    """Sleepers are woken in time, and not before."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000_000.03)
        self.wheel = TimerWheel(self.clock)
        self.bell = Bell()

    def advance(self, seconds: float) -> None:
        self.clock.pump([0.05] * round(seconds / 0.05))

    def test_in_time(self) -> None:
        """A deadline is met within a tenth of a second."""
        self.wheel.set(self.bell, self.clock.seconds() + 5)
        self.advance(4.95)
        self.assertEqual(self.bell.woken, [])
        self.advance(0.2)
        self.assertEqual(len(self.bell.woken), 1)

    def test_one_deadline(self) -> None:
        """A new deadline takes the place of the old one."""
        self.wheel.set(self.bell, self.clock.seconds() + 5)
        self.wheel.set(self.bell, self.clock.seconds() + 1)
        self.advance(10)
        self.assertEqual(len(self.bell.woken), 1)

    def test_forgotten(self) -> None:
        """A forgotten sleeper sleeps, and the reactor has nothing to do."""
        self.wheel.set(self.bell, self.clock.seconds() + 5)
        self.wheel.forget(self.bell)
        self.advance(10)
        self.assertEqual(self.bell.woken, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_slices(self) -> None:
        """Many that wake at once take turns with everything else of the reactor."""
        bells = [Bell() for _ in range(SLICE * 2 + 1)]
        for bell in bells:
            self.wheel.set(bell, self.clock.seconds() + 1)
        at_once: list[int] = []
        late = Bell()

        def count() -> None:
            at_once.append(sum(len(bell.woken) for bell in bells))
            # Those that are set or forgotten meanwhile change nothing for the others.
            self.wheel.set(late, self.clock.seconds() + 5 - len(at_once))

        bells[0].then = lambda: self.clock.callLater(0, count)
        bells[SLICE].then = lambda: self.clock.callLater(0, count)
        bells[SLICE - 1].then = lambda: self.wheel.forget(bells[-1])
        self.clock.advance(2)
        self.assertEqual(at_once, [SLICE, SLICE * 2])
        self.assertEqual([len(bell.woken) for bell in bells], [1] * SLICE * 2 + [0])
        self.assertEqual(late.woken, [])
        self.advance(6)
        self.assertEqual(len(late.woken), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_call(self) -> None:
        """However many sleep, the reactor holds one call."""
        for number in range(100):
            self.wheel.set(Bell(), self.clock.seconds() + 1 + number)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_forgotten_by_another(self) -> None:
        """A sleeper forgotten in the turn in which it is due is not woken."""
        other = Bell()
        at = self.clock.seconds() + 1
        self.bell.then = lambda: self.wheel.forget(other)
        self.wheel.set(self.bell, at)
        self.wheel.set(other, at)
        self.advance(3)
        self.assertEqual((len(self.bell.woken), other.woken), (1, []))

    def test_again(self) -> None:
        """A past deadline set while being woken makes no endless turn."""
        self.bell.then = lambda: self.wheel.set(self.bell, 0)
        self.wheel.set(self.bell, self.clock.seconds() + 1)
        self.advance(2)
        self.assertTrue(1 < len(self.bell.woken) < 15, self.bell.woken)
        self.wheel.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_ended(self) -> None:
        """After the end no sleeper is woken, and no call is left in the reactor."""
        at = self.clock.seconds() + 1
        self.wheel.set(self.bell, at)
        self.wheel.end()
        self.wheel.set(Bell(), at)
        self.wheel.set(self.bell, at)
        self.wheel.forget(self.bell)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_failure(self) -> None:
        """One whose action fails is logged; the others are woken."""

        def fail() -> None:
            raise RuntimeError("bug")

        other = Bell()
        self.bell.then = fail
        for each in (self.bell, other):
            self.wheel.set(each, self.clock.seconds() + 1)
        self.advance(2)
        self.assertEqual(len(other.woken), 1)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

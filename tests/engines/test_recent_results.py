"""Results of calls with an idempotency key, in memory."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.core.timer_wheel import TimerWheel
from centrifugo_tx.engines import recent_results as module
from centrifugo_tx.engines.recent_results import RecentResults
from centrifugo_tx.protocol.messages import StreamPosition


class RecentResultsTests(SynchronousTestCase):
    """Results are known for their time, as far as there is room."""

    def setUp(self) -> None:
        """Make room for three, and let two go at a time."""
        self.patch(module, "MAX_RESULTS", 3)
        self.patch(module, "SLICE", 2)
        self.clock = Clock()
        self.clock.advance(1000)
        self.results = RecentResults(TimerWheel(self.clock, 1))

    def put(self, key: str, offset: int, ttl: float = 10.0) -> None:
        """Remember a result."""
        position = StreamPosition(offset, "e")
        self.results.put("news", key, position, self.clock.seconds(), ttl)

    def known(self, keys: str) -> list[int]:
        """Return the offsets of the keys that are known; 0 for the others."""
        now = self.clock.seconds()
        found = [self.results.get("news", key, now) for key in keys]
        return [0 if each is None else each.offset for each in found]

    def test_time(self) -> None:
        """A result is forgotten when its time is over, and leaves nothing behind."""
        self.put("a", 1)
        self.clock.advance(5)
        self.put("b", 2)
        self.clock.advance(5)
        self.assertEqual(self.known("ab"), [0, 2])
        self.clock.advance(6)
        self.assertEqual(len(self.results), 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_count(self) -> None:
        """The oldest gives way to one too many."""
        for offset, key in enumerate("abcd", 1):
            self.put(key, offset)
        self.assertEqual(self.known("abcd"), [0, 2, 3, 4])
        self.assertEqual(len(self.results), 3)

    def test_slices(self) -> None:
        """Many that are over at once go in several turns."""
        for key in "abc":
            self.put(key, 1)
        self.clock.advance(10)
        self.assertEqual(self.known("abc"), [0, 0, 0])
        self.assertEqual(len(self.results), 1)
        self.clock.advance(1)
        self.assertEqual(len(self.results), 0)

    def test_again(self) -> None:
        """A key that is used again after its time is known for a new one."""
        self.put("a", 1, ttl=0.4)
        self.clock.advance(0.5)
        self.put("a", 2)
        self.clock.advance(5)
        self.assertEqual(self.known("a"), [2])

    def test_channel(self) -> None:
        """The results of one channel are forgotten without those of others."""
        self.put("a", 1)
        self.results.put("else", "a", StreamPosition(7, "e"), 1000.0, 10.0)
        self.results.forget("news")
        self.assertEqual(self.known("a"), [0])
        self.assertIsNotNone(self.results.get("else", "a", 1000.0))
        self.clock.advance(11)
        self.assertEqual(len(self.results), 0)

    @settings(deadline=None, max_examples=60)
    @given(
        st.lists(
            st.tuples(st.sampled_from("abcdef"), st.floats(0, 20), st.floats(1, 20))
        )
    )
    def test_any_order(self, calls: list[tuple[str, float, float]]) -> None:
        """Results are kept for their time, and never forever."""
        clock = Clock()
        results = RecentResults(TimerWheel(clock, 1))
        last: dict[str, tuple[float, int]] = {}
        for offset, (key, pause, ttl) in enumerate(calls, 1):
            clock.advance(pause)
            now = clock.seconds()
            results.put("news", key, StreamPosition(offset, "e"), now, ttl)
            last[key] = now + ttl, offset
            for each, (due, expected) in last.items():
                found = results.get("news", each, now)
                if found is not None:
                    self.assertEqual((due > now, found.offset), (True, expected))
            self.assertLessEqual(len(results), 3)
            self.assertIsNotNone(results.get("news", key, now))
        clock.pump([1.0] * 100)
        self.assertEqual(len(results), 0)
        self.assertEqual(clock.getDelayedCalls(), [])

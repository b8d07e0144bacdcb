"""A log that strangers cannot fill."""

from twisted.internet.task import Clock
from twisted.logger import LogEvent, Logger, LogLevel, LogPublisher, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.bounded_log import BoundedLog


class BoundedLogTests(SynchronousTestCase):
    """Lines that are written, lines that are left out, and the summary."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.events: list[LogEvent] = []
        publisher = LogPublisher(self.events.append)  # type: ignore[arg-type]
        self.log = BoundedLog(
            Logger("a", observer=publisher), self.clock, burst=2, causes=3
        )

    def messages(self) -> list[str]:
        """Return the messages so far, and forget them."""
        found = [formatEvent(event) for event in self.events]
        self.events.clear()
        return found

    def test_few(self) -> None:
        """A few lines are written as they come, with their fields."""
        self.log.info("refused", origin="a")
        self.log.warn("refused", origin="b")
        self.assertEqual([event["origin"] for event in self.events], ["a", "b"])
        self.assertEqual(
            [event["log_level"] for event in self.events],
            [LogLevel.info, LogLevel.warn],
        )
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_count(self) -> None:
        """Lines beyond the burst are counted, and summed up when the interval ends."""
        for _ in range(10_000):
            self.log.info("refused")
        self.assertEqual(self.messages(), ["refused", "refused"])
        self.clock.advance(1)
        (event,) = self.events
        self.assertEqual(formatEvent(event), "log lines left out: refused")
        self.assertEqual((event["count"], event["about"]), (9998, "refused"))
        self.assertEqual(event["log_level"], LogLevel.info)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_flood(self) -> None:
        """A continuous flood writes a bounded number of lines per second."""
        for _ in range(1000):
            self.clock.advance(0.01)
            self.log.info("refused")
        self.clock.advance(1)
        self.assertLessEqual(len(self.events), 11 * 3)
        left_out = sum(event.get("count", 0) for event in self.events)
        self.assertEqual(left_out + self.messages().count("refused"), 1000)

    def test_next_interval(self) -> None:
        """After an interval lines are written again."""
        for _ in range(2):
            self.log.info("refused")
        self.clock.advance(1)
        self.log.info("refused")
        self.assertEqual(self.messages(), ["refused"] * 3)

    def test_causes(self) -> None:
        """Causes do not take lines from each other."""
        for code in (1, 1, 1, 2):
            self.log.info("failed", ("code",), code=code)
        self.assertEqual([event["code"] for event in self.events], [1, 1, 2])
        self.clock.advance(1)
        self.assertEqual(self.events[-1]["code"], 1)

    def test_many_causes(self) -> None:
        """Beyond a number of causes all others count as one."""
        for code in range(100):
            self.log.info("failed", ("code",), code=code)
        self.assertEqual(len(self.messages()), 3 + 2)
        self.clock.advance(1)
        self.assertEqual(self.events[0]["count"], 95)
        self.assertEqual(self.messages(), ["log lines left out: other causes"])

    def test_long(self) -> None:
        """Long texts are cut."""
        self.log.info("refused", origin="x" * 1000)
        self.assertEqual(self.events[0]["origin"], "x" * 256 + "…")

    def test_failure(self) -> None:
        """Unexpected errors carry their traceback, and are bounded as well."""
        for _ in range(3):
            self.log.failure("went wrong", Failure(ValueError("broken")))
        self.assertEqual(
            [event["log_level"] for event in self.events], [LogLevel.error] * 2
        )
        self.assertIn("broken", str(self.events[0]["log_failure"].value))

    def test_flush(self) -> None:
        """At the end nothing stays untold, and no timer stays behind."""
        for _ in range(3):
            self.log.info("refused")
        self.log.flush()
        self.assertEqual(self.messages()[-1], "log lines left out: refused")
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.log.flush()
        self.assertEqual(self.messages(), [])

    def test_clock_backwards(self) -> None:
        """A clock that is set back does not silence the log for long."""
        self.clock.advance(1000)
        self.log.info("refused")
        self.clock.rightNow = 0.0
        self.log.info("refused")
        self.log.info("refused")
        self.assertEqual(len(self.messages()), 3)

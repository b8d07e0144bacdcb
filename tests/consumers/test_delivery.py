"""Delays, counts and log lines of consumers."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.consumers.delivery import BackOff, Pause, within

from .doubles import record_of


class BackOffTests(SynchronousTestCase):
    """Delays between attempts (consumers, "Consumer delivery")."""

    def test_doubles(self) -> None:
        """From 20 milliseconds, doubled up to 5 seconds, and from there constant."""
        low, high = BackOff(lambda limit: 0), BackOff(lambda limit: limit - 1)
        lows = [low.next() for _ in range(11)]
        self.assertEqual(lows[:4], [0.02, 0.04, 0.08, 0.16])
        self.assertEqual(lows[7:], [2.56, 5.0, 5.0, 5.0])
        self.assertEqual(high.next(), 0.038)

    def test_stays(self) -> None:
        """After the longest delay no shorter one comes by chance."""
        back_off = BackOff(lambda limit: 9)
        self.assertEqual([back_off.next() for _ in range(9)][-2:], [4.864, 5.0])
        self.assertEqual(back_off.next(), 5.0)

    def test_reset(self) -> None:
        """A success resets the delay."""
        back_off = BackOff(lambda limit: 0)
        for _ in range(20):
            back_off.next()
        back_off.reset()
        self.assertEqual(back_off.next(), 0.02)


class RecordTests(SynchronousTestCase):
    """Log lines about failures."""

    def test_once(self) -> None:
        """A reason is logged once until all places work again."""
        record = record_of()
        with capturedLogs() as lines:
            for _ in range(3):
                for partition in range(3):
                    record.failed(partition, "away", partition=partition)
            record.failed(1, "locked")
            for partition in (0, 1, 2, 2):
                record.works(partition)
            record.failed(1, "away")
        self.assertEqual(
            [(each["log_format"], each.get("error", "")) for each in lines],
            [
                ("consumer failed, trying again", "away"),
                ("consumer failed, trying again", "locked"),
                ("consumer works again", ""),
                ("consumer failed, trying again", "away"),
            ],
        )
        self.assertEqual((lines[0]["consumer"], lines[0]["partition"]), ("source", 0))

    def test_bounded(self) -> None:
        """Of ever new reasons only some are logged."""
        record = record_of()
        with capturedLogs() as lines:
            for number in range(100):
                record.failed(0, f"reason {number}")
        self.assertEqual(len(lines), 8)


class PauseTests(SynchronousTestCase):
    """Waits that can be ended."""

    def test_ends(self) -> None:
        """A wait ends after its time, or earlier on request."""
        clock = Clock()
        pause = Pause(clock)
        waited = pause.wait(2)
        clock.advance(1.9)
        self.assertNoResult(waited)
        clock.advance(0.1)
        self.successResultOf(waited)
        waited = pause.wait(2)
        pause.end()
        self.successResultOf(waited)
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_ended_before(self) -> None:
        """A request without a wait ends the next wait, unless it is discarded."""
        pause = Pause(Clock())
        pause.end()
        self.successResultOf(pause.wait(1))
        pause.end()
        pause.forget()
        self.assertNoResult(pause.wait(1))


class WithinTests(SynchronousTestCase):
    """Waiting with a bound."""

    def test_bound(self) -> None:
        """It ends with the work, or at the bound; the work may then go on."""
        clock = Clock()
        first: Deferred[object] = Deferred()
        second: Deferred[object] = Deferred()
        ended, late = within(clock, 5, first), within(clock, 5, second)
        first.callback(1)
        self.successResultOf(ended)
        self.assertNoResult(late)
        clock.advance(5)
        self.successResultOf(late)
        second.callback(2)
        self.assertEqual(clock.getDelayedCalls(), [])

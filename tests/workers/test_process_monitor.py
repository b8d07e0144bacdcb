"""A process that is kept alive."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.workers.process_monitor import (
    FIRST_DELAY,
    LONGEST_DELAY,
    STABLE_AFTER,
    CannotStart,
    MonitoredProcess,
    ProcessMonitor,
)

from .fake_processes import FakeProcess, FakeReactor


class KeeperCase(SynchronousTestCase):
    """A monitor without luck: all delays are as long as they can be."""

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.chance = 1.0
        self.monitor = ProcessMonitor(
            "it", self.reactor, self.spawn, lambda: self.chance
        )

    def spawn(self, monitor: ProcessMonitor) -> MonitoredProcess:
        """Start the process."""
        kept = MonitoredProcess(monitor)
        self.reactor.spawnProcess(kept, "x", ["x"], {}, {0: "w"})
        return kept

    @property
    def process(self) -> FakeProcess:
        """The newest process."""
        return self.reactor.processes[-1]

    def ready(self) -> None:
        """Have the newest process be ready."""
        self.process.protocol.ready()

    def run_to_the_next(self) -> float:
        """Let the time pass until there is another process; return how much it was."""
        count, waited = len(self.reactor.processes), 0.0
        while len(self.reactor.processes) == count:
            self.reactor.advance(0.125)
            waited += 0.125
            assert waited < 1000, "waited in vain"
        return waited


class StartTests(KeeperCase):
    """The first start."""

    def test_ready(self) -> None:
        """The start is done when the process says so."""
        started = self.monitor.start()
        self.assertNoResult(started)
        self.ready()
        self.successResultOf(started)

    def test_ends_before(self) -> None:
        """A process that ends before it is ready is not started again."""
        for how, why in (
            ({"code": 3}, "exit code 3"),
            ({}, "exit code 0"),
            ({"signal": 9}, "killed by SIGKILL"),
        ):
            monitor = ProcessMonitor("it", self.reactor, self.spawn)
            started = monitor.start()
            self.process.exit(**how)
            failure = self.failureResultOf(started, CannotStart)
            self.assertEqual(failure.getErrorMessage(), f"it: {why}")
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_last_words(self) -> None:
        """The last output of the process is reported with its end."""
        started = self.monitor.start()
        self.process.protocol.last_output = "no memory"
        self.process.exit(1)
        failure = self.failureResultOf(started, CannotStart)
        self.assertEqual(failure.getErrorMessage(), "it: exit code 1: no memory")

    def test_cannot_spawn(self) -> None:
        """A system without room for another process is a reason, too."""
        self.reactor.trouble = OSError("no room")
        failure = self.failureResultOf(self.monitor.start(), CannotStart)
        self.assertEqual(failure.getErrorMessage(), "it: no room")


class RestartTests(KeeperCase):
    """Restarts after a crash."""

    def setUp(self) -> None:
        super().setUp()
        self.monitor.start()
        self.ready()

    def crash(self) -> float:
        """End the process; return after how long there is a new one."""
        self.process.exit(signal=11)
        return self.run_to_the_next()

    def test_back_off(self) -> None:
        """Each start waits twice as long as the one before, up to a limit."""
        delays = [self.crash() for _ in range(9)]
        self.assertEqual(
            delays[:4], [FIRST_DELAY, 2 * FIRST_DELAY, 4 * FIRST_DELAY, 8 * FIRST_DELAY]
        )
        self.assertEqual(delays[-2:], [LONGEST_DELAY, LONGEST_DELAY])

    def test_jitter(self) -> None:
        """By chance the wait is shorter, by half at most."""
        self.chance = 0.0
        self.assertEqual(self.crash(), FIRST_DELAY / 2)

    def test_forgiven(self) -> None:
        """After a time of service the delay is reset; otherwise it grows."""
        self.crash()
        self.reactor.advance(2 * STABLE_AFTER)  # alive, but not ready
        self.assertEqual(self.crash(), 2 * FIRST_DELAY)
        self.ready()
        self.reactor.advance(STABLE_AFTER - 1)
        self.assertEqual(self.crash(), 4 * FIRST_DELAY)
        self.ready()
        self.reactor.advance(STABLE_AFTER)
        self.assertEqual(self.crash(), FIRST_DELAY)

    def test_no_room(self) -> None:
        """If no process can be started the monitor keeps trying."""
        self.process.exit(1)
        self.reactor.trouble = OSError("no room")
        self.reactor.advance(FIRST_DELAY)
        self.reactor.trouble = None
        self.assertEqual(self.run_to_the_next(), 2 * FIRST_DELAY)


class StopTests(KeeperCase):
    """The final stop."""

    def test_orderly(self) -> None:
        """The process is asked to end, and waited for."""
        self.monitor.start()
        self.ready()
        stopped = self.monitor.stop()
        self.assertFalse(self.process.stdin_open)
        self.assertNoResult(stopped)
        self.process.exit()
        self.successResultOf(stopped)
        self.reactor.advance(10 * LONGEST_DELAY)
        self.assertEqual(len(self.reactor.processes), 1)

    def test_twice(self) -> None:
        """Both callers of stop are notified."""
        self.monitor.start()
        both: list[Any] = [self.monitor.stop(), self.monitor.stop()]
        self.process.exit()
        for stopped in both:
            self.successResultOf(stopped)
        self.successResultOf(self.monitor.stop())

    def test_while_waiting(self) -> None:
        """A start that is to come is called off."""
        self.monitor.start()
        self.ready()
        self.process.exit(1)
        self.successResultOf(self.monitor.stop())
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_kill(self) -> None:
        """A process can be killed, one that has ended already cannot."""
        self.monitor.start()
        self.monitor.kill()
        self.assertEqual(self.process.signals, ["KILL"])
        kept = self.process.protocol
        self.process.exit(signal=9)
        kept.kill()
        self.monitor.kill()
        self.assertEqual(self.process.signals, ["KILL"])
        self.failureResultOf(self.monitor.started, CannotStart)

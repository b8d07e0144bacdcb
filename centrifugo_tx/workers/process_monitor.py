"""Restarts a process when it ends, with growing delays."""

import random
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..errors import CentrifugoError

__all__ = ["CannotStart", "MonitoredProcess", "ProcessMonitor"]

#: Seconds until the first restart, roughly; the delay doubles up to the longest.
FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0
#: Seconds after which a ready process resets the delay.
STABLE_AFTER = 60.0


class CannotStart(CentrifugoError):
    """A process ended before it was ready."""


class MonitoredProcess(ProcessProtocol):
    """One run of a process, reported to its monitor."""

    transport: Any

    def __init__(self, monitor: "ProcessMonitor") -> None:
        self._monitor = monitor
        #: Its last output, which may explain why it ended.
        self.last_output = ""

    def ready(self) -> None:
        """Report that the process is ready."""
        self._monitor.mark_ready()

    def end(self) -> None:
        """Ask the process to stop."""
        self.transport.closeStdin()

    def kill(self) -> None:
        """Kill the process with SIGKILL."""
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess("KILL")

    def processEnded(self, reason: Failure) -> None:
        """Report that the process has ended and its output is complete."""
        why = _manner(reason)
        self._monitor.mark_ended(
            f"{why}: {self.last_output}" if self.last_output else why
        )


def _manner(reason: Failure) -> str:
    error = reason.value
    if not isinstance(error, ProcessTerminated):
        return "exit code 0"
    if error.signal is None:
        return f"exit code {error.exitCode}"
    return f"killed by {signal.Signals(error.signal).name}"


@define(eq=False)
class ProcessMonitor:
    """Starts one process, and restarts it when it ends.

    ``spawn`` starts the process and returns its protocol.  ``started`` fires when
    the process is ready for the first time; it fails, and there is no restart, when
    the process ends before that.
    """

    name: str
    _clock: IReactorTime
    _spawn: "Callable[[ProcessMonitor], MonitoredProcess]"
    _random: Callable[[], float] = random.random
    started: "Deferred[None]" = field(factory=Deferred, init=False)
    process: MonitoredProcess | None = field(default=None, init=False)
    _ends: int = field(default=0, init=False)
    _ready_since: float | None = field(default=None, init=False)
    _restart: IDelayedCall | None = field(default=None, init=False)
    _stopped: "Deferred[None] | None" = field(default=None, init=False)
    _log = Logger()

    @property
    def is_ready(self) -> bool:
        """Whether the process is running and ready."""
        return self.process is not None and self._ready_since is not None

    def start(self) -> "Deferred[None]":
        """Start the process; return ``started``."""
        self._start()
        return self.started

    def _start(self) -> None:
        self._restart = self._ready_since = None
        try:
            self.process = self._spawn(self)
        except OSError as error:
            self.mark_ended(str(error))

    def mark_ready(self) -> None:
        """Record that the process is ready."""
        self._ready_since = self._clock.seconds()
        if not self.started.called:
            self.started.callback(None)
        else:
            self._log.info("{name} is ready again", name=self.name)

    def mark_ended(self, why: str) -> None:
        """Record the end of the process; schedule a restart unless it was stopped."""
        self.process = None
        if self._stopped is not None:
            self._stopped.callback(None)
        elif not self.started.called:
            self.started.errback(CannotStart(f"{self.name}: {why}"))
        else:
            delay = self._delay()
            self._restart = self._clock.callLater(delay, self._start)
            self._log.error(
                "{name} ended: {why}; restarting it in {delay} s",
                name=self.name,
                why=why,
                delay=round(delay, 1),
            )

    def _delay(self) -> float:
        since = self._ready_since
        if since is not None and self._clock.seconds() - since >= STABLE_AFTER:
            self._ends = 0
        longest = min(LONGEST_DELAY, FIRST_DELAY * 2.0**self._ends)
        self._ends += 1
        return longest * (0.5 + self._random() / 2)

    def stop(self) -> "Deferred[None]":
        """Stop the process for good; fires when it has ended."""
        if self._restart is not None:
            self._restart.cancel()
            self._restart = None
        if self._stopped is None:
            self._stopped = Deferred()
            if self.process is None:
                self._stopped.callback(None)
            else:
                self.process.end()
        stopped: Deferred[None] = Deferred()
        self._stopped.addBoth(lambda _: stopped.callback(None))
        return stopped

    def kill(self) -> None:
        """Kill the process if it is running."""
        if self.process is not None:
            self.process.kill()

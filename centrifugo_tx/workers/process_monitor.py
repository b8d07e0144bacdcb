"""Keeps a process alive: starts it again when it ends, more and more patiently."""

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

#: Seconds until the second start, about; each further one waits twice as long.
FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0
#: Seconds of service after which former ends are forgotten.
STABLE_AFTER = 60.0


class CannotStart(CentrifugoError):
    """A process ended before it was ready."""


class MonitoredProcess(ProcessProtocol):
    """One run of a process, which its monitor is told of."""

    transport: Any

    def __init__(self, monitor: "ProcessMonitor") -> None:
        self._monitor = monitor
        #: What it said last, as far as that may explain its end.
        self.last_output = ""

    def ready(self) -> None:
        """Tell that it does what it is there for."""
        self._monitor.mark_ready()

    def end(self) -> None:
        """Ask it to end."""
        self.transport.closeStdin()

    def kill(self) -> None:
        """End it as ``kill -9`` does."""
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess("KILL")

    def processEnded(self, reason: Failure) -> None:
        """Tell that it is gone, and all that it said was heard."""
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
    """The monitor of one process.

    ``spawn`` starts it, and returns its protocol.  ``started`` fires when it is
    ready for the first time, and fails when it ends before that; then it is not
    started again.
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
        """Whether the process runs, and is ready."""
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
        """Note that the process serves."""
        self._ready_since = self._clock.seconds()
        if not self.started.called:
            self.started.callback(None)
        else:
            self._log.info("{name} is ready again", name=self.name)

    def mark_ended(self, why: str) -> None:
        """Note that the process is gone, and start it again if it should not be."""
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
        """End the process for good; fires when it is gone."""
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
        """Let nothing of the process be left, if there is something."""
        if self.process is not None:
            self.process.kill()

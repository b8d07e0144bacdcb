"""Logs failed calls to storage in summary: a few lines for each outage."""

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from .timer_wheel import TimerWheel

__all__ = ["Outage"]

#: Seconds without a failure after which an outage is over.
QUIET = 5.0
#: The most reasons that are logged in one outage.
REASONS = 8


@define(eq=False)
class Outage:
    """Logs the first failure with each reason, and their number at the end."""

    _clock: IReactorTime
    _wheel: TimerWheel
    tick: int = field(default=0, init=False)
    _count: int = field(default=0, init=False)
    _began: float = field(default=0.0, init=False)
    _latest: float = field(default=0.0, init=False)
    _reasons: set[str] = field(factory=set, init=False)
    _log = Logger()

    def failed(self, doing: str, reason: str) -> None:
        """Record that *doing* failed because storage was unavailable."""
        now = self._latest = self._clock.seconds()
        if not self._count:
            self._began = now
            self._wheel.set(self, now + QUIET)
        self._count += 1
        if reason not in self._reasons and len(self._reasons) < REASONS:
            self._reasons.add(reason)
            self._log.warn("{doing} failed: {reason}", doing=doing, reason=reason)

    def wake(self, now: float) -> None:
        """Log the end of the outage, unless a call failed recently."""
        if now < self._latest + QUIET:
            self._wheel.set(self, self._latest + QUIET)
            return
        if self._count > len(self._reasons):
            self._log.warn(
                "{count} calls failed within {seconds} s; no failures since",
                count=self._count,
                seconds=round(self._latest - self._began, 1),
            )
        self._count = 0
        self._reasons.clear()

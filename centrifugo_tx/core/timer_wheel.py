"""A timer wheel: one reactor call for the deadlines of all clients."""

from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import islice
from math import ceil
from typing import Protocol

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

__all__ = ["SLICE", "Sleeper", "TimerWheel"]

#: The most sleepers to wake in one turn of the reactor; others wait for the next turn.
SLICE = 1000


class Sleeper(Protocol):
    """An object with at most one deadline at a time.

    The wheel sets ``tick``, which starts as 0.
    """

    tick: int

    def wake(self, now: float) -> None:
        """Handle a deadline that has passed at *now* (seconds of the clock)."""


@define(eq=False)
class TimerWheel:
    """Wakes sleepers at their deadlines, at most ``1 / rate`` seconds late.

    Each deadline costs one dict entry.  The reactor holds a single delayed call, for
    the earliest deadline.
    """

    _clock: IReactorTime
    rate: int = 10
    _log = Logger()
    _buckets: dict[int, dict[Sleeper, None]] = field(factory=dict, init=False)
    _ticks: list[int] = field(factory=list, init=False)
    _call: IDelayedCall | None = field(default=None, init=False)
    _call_tick: int = field(default=0, init=False)
    _past: int = field(default=0, init=False)
    #: The tick whose sleepers are being woken, and its sleepers that remain.
    _waking_tick: int = field(default=0, init=False)
    _waking: Iterator[Sleeper] = field(factory=lambda: iter(()), init=False)
    _ended: bool = field(default=False, init=False)

    def set(self, sleeper: Sleeper, at: float) -> None:
        """Set the deadline of *sleeper* to *at* (seconds of the clock)."""
        if self._ended:
            return
        tick = max(self._past + 1, ceil(at * self.rate - 1e-3))
        if tick == sleeper.tick:
            return
        self.forget(sleeper)
        bucket = self._buckets.get(tick)
        if bucket is None:
            bucket = self._buckets[tick] = {}
            heappush(self._ticks, tick)
            if self._call is None or tick < self._call_tick:
                self._arm()
        bucket[sleeper] = None
        sleeper.tick = tick

    def forget(self, sleeper: Sleeper) -> None:
        """Cancel the deadline of *sleeper*."""
        if sleeper.tick:
            bucket = self._buckets[sleeper.tick]
            del bucket[sleeper]
            if not bucket:
                del self._buckets[sleeper.tick]
            sleeper.tick = 0

    def stop(self) -> None:
        """Cancel all deadlines."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
        for bucket in self._buckets.values():
            for sleeper in bucket:
                sleeper.tick = 0
        self._buckets.clear()
        self._ticks.clear()

    def end(self) -> None:
        """Cancel all deadlines and ignore those set from now on.

        Calls that fail while the node stops still set deadlines.
        """
        self._ended = True
        self.stop()

    def _arm(self) -> None:
        """Schedule the reactor call for the earliest tick that has sleepers."""
        while self._ticks and self._ticks[0] not in self._buckets:
            heappop(self._ticks)
        if self._call is not None:
            self._call.cancel()
            self._call = None
        if self._ticks:
            self._call_tick = self._ticks[0]
            delay = self._call_tick / self.rate - self._clock.seconds()
            self._call = self._clock.callLater(max(0.0, delay), self._wake_overdue)

    def _wake_overdue(self) -> None:
        self._call = None
        now = self._clock.seconds()
        self._past = max(self._past, int(now * self.rate + 1e-3))
        for sleeper in islice(self._overdue(), SLICE):
            self.forget(sleeper)
            self._wake(sleeper, now)
        self._arm()

    def _overdue(self) -> Iterator[Sleeper]:
        """Yield the overdue sleepers, starting where the last turn stopped."""
        while self._ticks and self._ticks[0] <= self._past:
            tick = self._ticks[0]
            if tick != self._waking_tick:
                self._waking_tick = tick
                self._waking = iter(list(self._buckets.get(tick, ())))
            for sleeper in self._waking:
                if sleeper.tick == tick:  # its deadline has not moved meanwhile
                    yield sleeper
            # A tick is listed twice if its bucket was emptied and filled again.
            if self._ticks and self._ticks[0] == tick:
                heappop(self._ticks)

    def _wake(self, sleeper: Sleeper, now: float) -> None:
        try:
            sleeper.wake(now)
        except Exception:
            self._log.failure("a timer callback failed")

"""One reactor call for all the deadlines of all clients."""

from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import islice
from math import ceil
from typing import Protocol

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

__all__ = ["SLICE", "Sleeper", "TimerWheel"]

#: Sleepers that are woken in one turn of the reactor; the others wait for the next.
SLICE = 1000


class Sleeper(Protocol):
    """Something with one deadline at a time.

    ``tick`` belongs to the wheel and starts as 0.
    """

    tick: int

    def wake(self, now: float) -> None:
        """Take note that the deadline has passed."""


@define(eq=False)
class TimerWheel:
    """Wakes sleepers; ``rate`` times a second, so at most that much too late.

    A deadline costs a dict entry; the reactor holds one call, for the earliest.
    """

    _clock: IReactorTime
    rate: int = 10
    _log = Logger()
    _buckets: dict[int, dict[Sleeper, None]] = field(factory=dict, init=False)
    _ticks: list[int] = field(factory=list, init=False)
    _call: IDelayedCall | None = field(default=None, init=False)
    _call_tick: int = field(default=0, init=False)
    _past: int = field(default=0, init=False)
    #: The tick whose sleepers are being woken, and those that still sleep.
    _waking_tick: int = field(default=0, init=False)
    _waking: Iterator[Sleeper] = field(factory=lambda: iter(()), init=False)
    _ended: bool = field(default=False, init=False)

    def set(self, sleeper: Sleeper, at: float) -> None:
        """Wake *sleeper* at *at* (seconds of the clock), and not before."""
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
        """Let *sleeper* sleep."""
        if sleeper.tick:
            bucket = self._buckets[sleeper.tick]
            del bucket[sleeper]
            if not bucket:
                del self._buckets[sleeper.tick]
            sleeper.tick = 0

    def stop(self) -> None:
        """Let all sleep."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
        for bucket in self._buckets.values():
            for sleeper in bucket:
                sleeper.tick = 0
        self._buckets.clear()
        self._ticks.clear()

    def end(self) -> None:
        """Wake nobody any more, nor who is set later, as what fails at the end does."""
        self._ended = True
        self.stop()

    def _arm(self) -> None:
        """Have the reactor call at the earliest tick that somebody waits for."""
        while self._ticks and self._ticks[0] not in self._buckets:
            heappop(self._ticks)
        if self._call is not None:
            self._call.cancel()
            self._call = None
        if self._ticks:
            self._call_tick = self._ticks[0]
            delay = self._call_tick / self.rate - self._clock.seconds()
            self._call = self._clock.callLater(max(0.0, delay), self._turn)

    def _turn(self) -> None:
        self._call = None
        now = self._clock.seconds()
        self._past = max(self._past, int(now * self.rate + 1e-3))
        for sleeper in islice(self._overdue(), SLICE):
            self.forget(sleeper)
            self._wake(sleeper, now)
        self._arm()

    def _overdue(self) -> Iterator[Sleeper]:
        """Yield the sleepers whose time has come, from where the last turn ended."""
        while self._ticks and self._ticks[0] <= self._past:
            tick = self._ticks[0]
            if tick != self._waking_tick:
                self._waking_tick = tick
                self._waking = iter(list(self._buckets.get(tick, ())))
            for sleeper in self._waking:
                if sleeper.tick == tick:  # nobody let it sleep meanwhile
                    yield sleeper
            # A tick may stand here twice, when its bucket emptied and filled again.
            if self._ticks and self._ticks[0] == tick:
                heappop(self._ticks)

    def _wake(self, sleeper: Sleeper, now: float) -> None:
        try:
            sleeper.wake(now)
        except Exception:
            self._log.failure("a deadline's action failed")

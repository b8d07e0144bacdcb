"""Protects open connections by refusing new ones while the process is overloaded."""

from collections.abc import Callable
from math import ceil
from random import randint

import msgspec
from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from ..metrics import Counter, Histogram, Metrics
from ..options import Duration
from ..resident_memory import resident_memory

__all__ = ["OverloadGuard", "OverloadOptions"]

#: Seconds between two measurements of the lag.
PROBE = 0.5
#: Measurements over the limit, one after another, that make an overload.
LATE_PROBES = 2
#: Seconds without strain after which an overload is over.
CALM = 5.0
#: The shares of the two limits below which there is no strain.
CALM_LAG, CALM_MEMORY = 0.5, 0.9
#: The longest ``Retry-After``, as a multiple of the shortest.
SPREAD = 3


class OverloadOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Refusal of new connections while a process is overloaded, so that open ones are
    served; with workers, each process measures itself."""

    max_reactor_lag: Duration = 0.0
    """How late the reactor may call a timer before new connections are refused; 0: any
    lag is accepted.  A second suits most servers."""
    max_memory: int = 0
    """Resident memory of the process, in bytes, from which on new connections are
    refused; 0: no limit."""
    retry_after: Duration = 5.0
    """After how long refused clients may try again; ``Retry-After`` is spread from this
    to three times as long."""


_OFF = OverloadOptions()


@define(eq=False)
class OverloadGuard:
    """Measures lag and memory, and says whether new connections are refused.

    An overload begins when two measurements of the lag in a row, or one of the memory,
    exceed the limit.  It ends when for five seconds the lag is below half of its limit
    and the memory below nine tenths.  The log has a line for the beginning and one for
    the end.
    """

    _clock: IReactorTime
    _metrics: Metrics
    options: OverloadOptions = _OFF
    _memory: Callable[[], int] = resident_memory
    #: Why new connections are refused; empty while they are not.
    reason: str = field(default="", init=False)
    #: The latest measurements, in seconds and in bytes.
    lag: float = field(default=0.0, init=False)
    memory: int = field(default=0, init=False)
    _lags: Histogram = field(init=False)
    _gauge: Counter = field(init=False)
    _late: int = field(default=0, init=False)
    _due: float = field(default=0.0, init=False)
    _strained: float = field(default=0.0, init=False)
    _began: float = field(default=0.0, init=False)
    _refused: int = field(default=0, init=False)
    _call: IDelayedCall | None = field(default=None, init=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._lags = self._metrics.histogram("node_reactor_lag_seconds")
        self._gauge = self._metrics.counter("node_overloaded")
        for reason in ("reactor_lag", "memory"):
            self._shed(reason)

    def _shed(self, reason: str) -> Counter:
        return self._metrics.counter("node_connections_shed_total", reason=reason)

    def start(self) -> None:
        """Begin to measure."""
        self._schedule()

    def stop(self) -> None:
        """Measure no more."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def refuse(self) -> int:
        """Count a refused connection; return the seconds after which to try again."""
        self._shed(self.reason or "reactor_lag").value += 1
        self._refused += 1
        shortest = max(1, ceil(self.options.retry_after))
        return randint(shortest, SPREAD * shortest)

    def _schedule(self) -> None:
        self._due = self._clock.seconds() + PROBE
        self._call = self._clock.callLater(PROBE, self._measure)

    def _measure(self) -> None:
        now, options = self._clock.seconds(), self.options
        self.lag = max(0.0, now - self._due)
        self._lags.observe(self.lag)
        if options.max_memory:
            self.memory = self._memory()
        limit = options.max_reactor_lag
        self._late = self._late + 1 if limit and self.lag > limit else 0
        if self._is_strained():
            self._strained = now
        if not self.reason:
            if options.max_memory and self.memory > options.max_memory:
                self._begin("memory", now)
            elif self._late >= LATE_PROBES:
                self._begin("reactor_lag", now)
        elif now - self._strained >= CALM:
            self._end(now)
        self._schedule()

    def _is_strained(self) -> bool:
        options = self.options
        return bool(
            (options.max_reactor_lag and self.lag > CALM_LAG * options.max_reactor_lag)
            or (options.max_memory and self.memory > CALM_MEMORY * options.max_memory)
        )

    def _begin(self, reason: str, now: float) -> None:
        self.reason, self._began, self._refused = reason, now, 0
        self._gauge.value = 1
        measured = {"memory": self.memory} if self.memory else {}
        self._log.warn(
            "overloaded, refusing new connections",
            reason=reason,
            lag=round(self.lag, 3),
            **measured,
        )

    def _end(self, now: float) -> None:
        self.reason = ""
        self._gauge.value = 0
        self._log.info(
            "not overloaded any more, accepting new connections",
            refused=self._refused,
            seconds=round(now - self._began, 1),
        )

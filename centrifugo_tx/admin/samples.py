"""The measurements of a node in the last minutes, so that charts start filled."""

from collections import deque
from collections.abc import Callable

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from .messages import Measures, Sample

__all__ = ["INTERVAL", "KEPT", "SampleRing"]

#: Seconds between two samples, and how many are kept: a quarter of an hour.
INTERVAL, KEPT = 5.0, 180


@define(eq=False)
class SampleRing:
    """Takes a sample every `INTERVAL` seconds, at multiples of that since 1970.

    So the samples of all nodes have the same times, and can be added up.

    :param count: returns how many clients and subscriptions there are.
    :param measure: returns measures, given the seconds that the reactor was late.
    """

    _clock: IReactorTime
    _count: Callable[[], tuple[int, int]]
    _measure: Callable[[float], Measures]
    samples: "deque[Sample]" = field(factory=lambda: deque(maxlen=KEPT), init=False)
    _due: float = field(default=0.0, init=False)
    _call: IDelayedCall | None = field(default=None, init=False)

    def start(self) -> None:
        """Take the first sample now, and the next ones by the clock."""
        now = self._clock.seconds()
        self._due = now - now % INTERVAL
        self._take(0.0)

    def stop(self) -> None:
        """Take no more."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _take(self, lag: float) -> None:
        clients, subs = self._count()
        self.samples.append(
            Sample(
                time=self._due,
                num_clients=clients,
                num_subs=subs,
                measures=self._measure(lag),
            )
        )
        # A reactor that hung has missed some, which stay out.
        now = self._clock.seconds()
        self._due = now - now % INTERVAL + INTERVAL
        self._call = self._clock.callLater(self._due - now, self._next)

    def _next(self) -> None:
        self._call = None
        self._take(max(0.0, self._clock.seconds() - self._due))

"""The resources that a node uses: processor time, memory, and the reactor's lag."""

import time
from collections import deque

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ..metrics import Metrics
from ..resident_memory import resident_memory
from .messages import Measures

__all__ = ["LagProbe", "measure"]


@define(eq=False)
class LagProbe:
    """Measures once a second how late the reactor calls, while it is asked for it."""

    _clock: IReactorTime
    #: Seconds for which measuring continues after a request.
    _keep: float = 10.0
    _late: "deque[float]" = field(factory=lambda: deque(maxlen=5), init=False)
    _until: float = field(default=0.0, init=False)
    _due: float = field(default=0.0, init=False)
    _call: IDelayedCall | None = field(default=None, init=False)

    @property
    def running(self) -> bool:
        """Whether it measures."""
        return self._call is not None

    def worst(self) -> float:
        """Return the greatest lateness of the last five seconds, in seconds."""
        self._until = self._clock.seconds() + self._keep
        if self._call is None:
            self._late.clear()
            self._next()
        return max(self._late, default=0.0)

    def stop(self) -> None:
        """Measure no more."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _next(self) -> None:
        self._due = self._clock.seconds() + 1.0
        self._call = self._clock.callLater(1.0, self._measure)

    def _measure(self) -> None:
        self._call = None
        now = self._clock.seconds()
        self._late.append(max(0.0, now - self._due))
        if now < self._until:
            self._next()


def measure(metrics: Metrics, lag: float) -> Measures:
    """Return the resources that this process has used, and its traffic.

    :param lag: the lag of the reactor in seconds.
    """
    sums = dict.fromkeys(_COUNTED, 0.0)
    for name, labels, counter in metrics.counters():
        if name == "node_messages_sent_count" and ("type", "publication") in labels:
            sums["published"] += counter.value
        elif name in _COUNTED.values():
            found = next(key for key, counted in _COUNTED.items() if counted == name)
            sums[found] += counter.value
    return Measures(
        cpu_seconds=time.process_time(),
        memory_bytes=resident_memory(),
        lag_seconds=lag,
        sent=int(sums["sent"]),
        sent_bytes=int(sums["sent_bytes"]),
        received=int(sums["received"]),
        published=int(sums["published"]),
    )


_COUNTED = {
    "sent": "transport_messages_sent",
    "sent_bytes": "transport_messages_sent_size",
    "received": "transport_messages_received",
    "published": "",
}

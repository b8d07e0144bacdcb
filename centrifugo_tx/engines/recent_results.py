"""The results of recent calls with an idempotency key, in memory."""

from collections import deque

from attrs import define, field

from ..core.timer_wheel import TimerWheel
from ..protocol.messages import StreamPosition

__all__ = ["MAX_RESULTS", "RecentResults"]

#: Maximum number of results; the oldest are removed first.
MAX_RESULTS = 100_000
#: Results that are removed in one turn of the reactor.
SLICE = 10_000

Key = tuple[str, str]


@define(eq=False)
class RecentResults:
    """Positions by channel and idempotency key, each kept for a limited time.

    All share one deadline in the wheel.  Results are removed in the order in which they
    were stored, so a long-lived result delays the removal of later ones, until
    `MAX_RESULTS` more have arrived.
    """

    _wheel: TimerWheel
    tick: int = 0
    _found: dict[Key, tuple[float, StreamPosition]] = field(factory=dict, init=False)
    _order: deque[Key] = field(factory=deque, init=False)

    def __len__(self) -> int:
        return len(self._order)

    def get(self, channel: str, key: str, now: float) -> StreamPosition | None:
        """Return the result of an earlier call; None if it is unknown or forgotten."""
        found = self._found.get((channel, key))
        return found[1] if found is not None and found[0] > now else None

    def put(
        self, channel: str, key: str, position: StreamPosition, now: float, ttl: float
    ) -> None:
        """Remember a result for *ttl* seconds."""
        pair = channel, key
        if pair not in self._found:
            self._order.append(pair)
        self._found[pair] = now + ttl, position
        if len(self._order) > MAX_RESULTS:
            self._found.pop(self._order.popleft(), None)
        if not self.tick:
            self._wheel.set(self, now + ttl)

    def forget(self, channel: str) -> None:
        """Remove all results of a channel."""
        for pair in [pair for pair in self._found if pair[0] == channel]:
            del self._found[pair]
        self._order = deque(self._found)

    def wake(self, now: float) -> None:
        """Remove expired results, a slice at a time."""
        order, found = self._order, self._found
        for _ in range(min(SLICE, len(order))):
            due = found[order[0]][0]
            if due > now:
                break
            del found[order.popleft()]
        if order:
            self._wheel.set(self, max(now, found[order[0]][0]))

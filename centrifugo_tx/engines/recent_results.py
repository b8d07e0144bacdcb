"""What calls with an idempotency key came to, in memory."""

from collections import deque

from attrs import define, field

from ..core.timer_wheel import TimerWheel
from ..protocol.messages import StreamPosition

__all__ = ["MAX_RESULTS", "RecentResults"]

#: Results that are kept at a time; the oldest ones go first.
MAX_RESULTS = 100_000
#: Results that are let go of in one turn of the reactor.
SLICE = 10_000

Key = tuple[str, str]


@define(eq=False)
class RecentResults:
    """Positions by channel and idempotency key, each for a time.

    All of them have one deadline in the wheel.  Results leave in the order in which
    they came, so one that is kept for long holds up those behind it, but not longer
    than `MAX_RESULTS` others need to come.
    """

    _wheel: TimerWheel
    tick: int = 0
    _found: dict[Key, tuple[float, StreamPosition]] = field(factory=dict, init=False)
    _order: deque[Key] = field(factory=deque, init=False)

    def __len__(self) -> int:
        return len(self._order)

    def get(self, channel: str, key: str, now: float) -> StreamPosition | None:
        """Return what the call came to; None if there was none lately."""
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
        """Forget all results of a channel."""
        for pair in [pair for pair in self._found if pair[0] == channel]:
            del self._found[pair]
        self._order = deque(self._found)

    def wake(self, now: float) -> None:
        """Let go of results that are over, a slice at a time."""
        order, found = self._order, self._found
        for _ in range(min(SLICE, len(order))):
            due = found[order[0]][0]
            if due > now:
                break
            del found[order.popleft()]
        if order:
            self._wheel.set(self, max(now, found[order[0]][0]))

"""A bound on calls that run at the same time, and on those that wait."""

from attrs import define, field
from twisted.internet.defer import Deferred

from .client import BackendFailed

__all__ = ["CallLimiter"]


@define(eq=False)
class CallLimiter:
    """Admits ``limit`` calls at once; ``queue_limit`` further ones wait in order."""

    limit: int
    queue_limit: int
    running: int = field(default=0, init=False)
    _waiting: "dict[Deferred[None], None]" = field(factory=dict, init=False)

    @property
    def waiting(self) -> int:
        """The number of calls in the queue."""
        return len(self._waiting)

    def acquire(self) -> "Deferred[None] | None":
        """Take a place; return a Deferred of it if none is free, else None.

        Cancelling the Deferred leaves the queue.

        :raises BackendFailed: the queue is full.
        """
        if self.running < self.limit:
            self.running += 1
            return None
        if len(self._waiting) >= self.queue_limit:
            raise BackendFailed(
                f"{self.running} calls are running, {len(self._waiting)} are waiting"
            )
        place: Deferred[None] = Deferred(lambda place: self._waiting.pop(place, None))
        self._waiting[place] = None
        return place

    def release(self) -> None:
        """Give a place back, or pass it to the call that has waited longest."""
        for place in self._waiting:
            del self._waiting[place]
            place.callback(None)
            return
        self.running -= 1

"""Events one after another, also when one leads to the next."""

from collections import deque
from collections.abc import Callable

from attrs import define, field
from twisted.logger import Logger

__all__ = ["Turns"]


@define(eq=False)
class Turns:
    """Runs events at once, unless one is running: then they wait for their turn.

    So whoever publishes while being told of a publication is told of his own after
    it.
    """

    _running: bool = field(default=False, init=False)
    _next: deque[Callable[[], None]] = field(factory=deque, init=False)
    _log = Logger()

    def take(self, event: Callable[[], None]) -> None:
        """Run *event* after those that run already."""
        self._next.append(event)
        if self._running:
            return
        self._running = True
        try:
            while self._next:
                try:
                    self._next.popleft()()
                except Exception:
                    self._log.failure("an event could not be delivered")
        finally:
            self._running = False

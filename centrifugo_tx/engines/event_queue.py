"""Events one after another, also when one leads to the next."""

from collections import deque
from collections.abc import Callable

from attrs import define, field
from twisted.logger import Logger

__all__ = ["EventQueue"]


@define(eq=False)
class EventQueue:
    """Runs events at once, unless one is running: then they wait for their turn.

    So whoever publishes while being told of a publication is told of his own after
    it.
    """

    _running: bool = field(default=False, init=False)
    _waiting: deque[Callable[[], None]] = field(factory=deque, init=False)
    _log = Logger()

    def run(self, event: Callable[[], None]) -> None:
        """Run *event* after those that run already."""
        self._waiting.append(event)
        if self._running:
            return
        self._running = True
        try:
            while self._waiting:
                try:
                    self._waiting.popleft()()
                except Exception:
                    self._log.failure("an event could not be delivered")
        finally:
            self._running = False

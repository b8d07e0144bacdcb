"""Delivers events in order, even when one event triggers another."""

from collections import deque
from collections.abc import Callable

from attrs import define, field
from twisted.logger import Logger

__all__ = ["EventQueue"]


@define(eq=False)
class EventQueue:
    """Runs each event immediately, or after the event that is running.

    So a subscriber that publishes while it handles a publication receives its own
    publication after that one.
    """

    _running: bool = field(default=False, init=False)
    _waiting: deque[Callable[[], None]] = field(factory=deque, init=False)
    _log = Logger()

    def run(self, event: Callable[[], None]) -> None:
        """Run *event* after the events that were added before it."""
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

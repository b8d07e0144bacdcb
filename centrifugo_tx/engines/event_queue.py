"""Delivers events in order, even when one event triggers another."""

from collections import deque
from collections.abc import Callable
from typing import Any, TypeVarTuple

from attrs import define, field
from twisted.logger import Logger

__all__ = ["EventQueue"]

Ts = TypeVarTuple("Ts")


@define(eq=False)
class EventQueue:
    """Runs each event immediately, or after the event that is running.

    So a subscriber that publishes while it handles a publication receives its own
    publication after that one.
    """

    _running: bool = field(default=False, init=False)
    _waiting: deque[tuple[Callable[..., None], Any]] = field(factory=deque, init=False)
    _log = Logger()

    def run(self, event: Callable[[*Ts], None], *arguments: *Ts) -> None:
        """Run ``event(*arguments)`` after the events that were added before it."""
        if self._running:
            self._waiting.append((event, arguments))
            return
        self._running = True
        current: Callable[..., None] = event
        given: Any = arguments
        try:
            while True:
                try:
                    current(*given)
                except Exception:
                    self._log.failure("an event could not be delivered")
                if not self._waiting:
                    break
                current, given = self._waiting.popleft()
        finally:
            self._running = False

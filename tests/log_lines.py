"""Looking at log lines in tests."""

from typing import Any

from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.logs import json_line

__all__ = ["LogTestCase"]


class LogTestCase(SynchronousTestCase):
    """Keeps the events that our own code logs during a test."""

    def setUp(self) -> None:
        super().setUp()
        self.events: list[LogEvent] = []
        globalLogPublisher.addObserver(self._keep)
        self.addCleanup(globalLogPublisher.removeObserver, self._keep)

    def _keep(self, event: LogEvent) -> None:
        if event["log_namespace"].startswith("centrifugo_tx"):
            self.events.append(event)

    def text(self) -> str:
        """Return the log lines as they are written."""
        return "\n".join(map(json_line, self.events))

    def lines(self, *names: str) -> list[tuple[Any, ...]]:
        """Return level, message and the fields *names* of the lines since then."""
        found = [
            (
                event["log_level"].name,
                formatEvent(event),
                *(event.get(name) for name in names),
            )
            for event in self.events
        ]
        self.events.clear()
        return found

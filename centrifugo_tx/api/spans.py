"""What the server API asks of a tracer."""

from collections.abc import Mapping
from typing import Protocol

from twisted.internet.defer import Deferred

from . import api_messages as m

__all__ = ["Span", "Tracer"]


class Span(Protocol):
    """One traced call, or one request with a call."""

    def watch(
        self, request: m.Request, outcome: "m.Result | Deferred[m.Result]"
    ) -> None:
        """Record the channel of a call and, when it is known, its error."""

    def end(self, status: int | None = None) -> None:
        """End the span; *status* is that of the HTTP response."""


class Tracer(Protocol):
    """Starts spans."""

    def begin(self, name: str, headers: Mapping[str, str]) -> Span:
        """Start a span; *headers* may hold its parent (W3C Trace Context)."""

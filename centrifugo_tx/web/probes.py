"""Endpoints for those who watch the server (operations, 3)."""

from collections.abc import Callable
from typing import Any

from ..options import Answer
from .exposition import CONTENT_TYPE

__all__ = ["health", "metrics"]

_WELL = Answer(200, b"{}", "application/json")


def health(request: Any) -> Answer:
    """Say that the process lives; nothing else is looked at."""
    return _WELL


def metrics(exposition: Callable[[], bytes]) -> Callable[[Any], Answer]:
    """Return a handler that shows what *exposition* writes down."""

    def handler(request: Any) -> Answer:
        if request.method not in (b"GET", b"HEAD"):
            return Answer(405)
        return Answer(200, exposition(), CONTENT_TYPE)

    return handler

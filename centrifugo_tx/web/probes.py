"""Endpoints for those who watch the server (operations, 3)."""

from collections.abc import Callable
from typing import Any

from ..options import Answer

__all__ = ["health", "metrics"]

_WELL = Answer(200, b"{}", "application/json")


def health(request: Any) -> Answer:
    """Say that the process lives; nothing else is looked at."""
    return _WELL


def metrics(exposition: Callable[[str], tuple[bytes, str]]) -> Callable[[Any], Answer]:
    """Return a handler that shows the metrics.

    :param exposition: from an Accept header to body and content type.
    """

    def handler(request: Any) -> Answer:
        if request.method not in (b"GET", b"HEAD"):
            return Answer(405)
        body, content_type = exposition(request.getHeader("accept") or "")
        return Answer(200, body, content_type)

    return handler

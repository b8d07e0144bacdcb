"""Endpoints for monitoring (operations, "Endpoints for operators")."""

import json
from collections.abc import Callable
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred

from ..options import Answer
from ..transports.connection_limit import ConnectionLimiter
from ..transports.cors import CORS
from ..transports.overload import OverloadGuard
from .exposition import CONTENT_TYPE
from .request import Handler

__all__ = ["Health", "init", "metrics"]

_HEALTHY = Answer(200, b"{}", "application/json")
_STARTING = Answer(503, b"{}", "application/json")


@define(eq=False)
class Health:
    """Answers 200 once the whole server is serving, and 503 before.

    While new connections are refused because of an overload, it stays at 200, since
    open connections are served, and the body has the reason.
    """

    serving: bool = True
    overload: OverloadGuard | None = None

    def __call__(self, request: Any) -> Answer:
        """Answer a request of any method."""
        if self.serving and self.overload is not None and self.overload.reason:
            text = json.dumps({"overloaded": self.overload.reason}).encode()
            return Answer(200, text, "application/json")
        return _HEALTHY if self.serving else _STARTING


def metrics(exposition: "Callable[[], bytes | Deferred[bytes]]") -> Handler:
    """Return a handler that serves the text of *exposition*."""

    def handler(request: Any) -> "Answer | Deferred[Answer]":
        if request.method not in (b"GET", b"HEAD"):
            return Answer(405)
        text = exposition()
        if isinstance(text, Deferred):
            return text.addCallback(lambda whole: Answer(200, whole, CONTENT_TYPE))
        return Answer(200, text, CONTENT_TYPE)

    return handler


def init(limiter: ConnectionLimiter, cors: CORS) -> Handler:
    """Return a handler that shows clients whether they may connect.

    Such a request also opens an HTTP/2 connection, which the next request can use.
    """

    def handler(request: Any) -> Answer:
        if request.method != b"GET":
            return Answer(405)
        if (refusal := limiter.refusal()) is not None:
            return refusal
        kind = "application/json; charset=utf-8"
        return Answer(200, b"{}", kind, cors.headers(request))

    return handler

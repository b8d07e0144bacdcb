"""The endpoints for debugging (operations, "Endpoints for operators")."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import msgspec
from attrs import define
from twisted.internet.defer import Deferred

from ..options import Answer
from .diagnostics import REPORTS, CannotReport, Diagnostics, Question
from .pages import page_of_error, page_of_index, page_of_report

__all__ = ["DEBUG_PATHS", "debug_handlers"]

#: What is served below the prefix.
DEBUG_PATHS = ("", "/", *(f"/{report}" for report in REPORTS))

_HEADERS = (
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline';"),
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
)
#: Seconds of a profile, without a number.
SECONDS = 5.0

Handler = Callable[[Any], "Answer | Deferred[Answer]"]


def debug_handlers(
    diagnostics: Diagnostics, own: str, prefix: str
) -> dict[bytes, Handler]:
    """Return the handlers by path.

    :param own: the id of this node.
    """
    base = prefix.rstrip("/")
    redirect = Answer(301, b"", "", ((b"location", f"{base}/".encode()),))
    handlers: dict[bytes, Handler] = {}
    if base:
        handlers[base.encode()] = lambda request: redirect
    handlers[f"{base}/".encode()] = _Page(diagnostics, own, "")
    for report in REPORTS:
        handlers[f"{base}/{report}".encode()] = _Page(diagnostics, own, report)
    return handlers


@define(eq=False)
class _Page:
    """One report, as a page or as JSON."""

    _diagnostics: Diagnostics
    _own: str
    _report: str

    def __call__(self, request: Any) -> "Answer | Deferred[Answer]":
        if request.method not in (b"GET", b"HEAD"):
            return Answer(405)
        query = parse_qs(request.uri.partition(b"?")[2].decode(errors="replace"))
        asked = {name: values[0] for name, values in query.items()}
        wants_json = asked.get("format") == "json" or (
            request.getHeader(b"accept") or b""
        ).startswith(b"application/json")
        return Deferred.fromCoroutine(self._answer(asked, wants_json))

    async def _answer(self, asked: dict[str, str], wants_json: bool) -> Answer:
        node = asked.get("node", "") or self._own
        if not self._report:
            nodes = await self._diagnostics.nodes()
            if wants_json:
                return _json(200, {"nodes": nodes, "reports": REPORTS})
            return _html(200, page_of_index(nodes, node))
        try:
            question = Question(
                self._report, _seconds(asked.get("seconds", "")), "latest" in asked
            )
            report = await self._diagnostics.ask(question, node)
        except CannotReport as error:
            if wants_json:
                return _json(error.status, {"error": str(error)})
            return _html(error.status, page_of_error(self._report, node, str(error)))
        if wants_json:
            return _json(200, report)
        focus = asked.get("focus", "")
        return _html(200, page_of_report(self._report, report, node, focus))


def _seconds(text: str) -> float:
    """Return the length of a profile.

    :raises CannotReport: *text* is no number of seconds.
    """
    if not text:
        return SECONDS
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0.1 <= seconds <= 60:
        raise CannotReport(400, "seconds must be a number from 0.1 to 60")
    return seconds


def _json(status: int, value: object) -> Answer:
    return Answer(status, msgspec.json.encode(value), "application/json", _HEADERS)


def _html(status: int, page: str) -> Answer:
    return Answer(status, page.encode(), "text/html; charset=utf-8", _HEADERS)

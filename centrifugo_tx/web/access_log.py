"""A log line for each HTTP request, at level ``debug``, and its count."""

from typing import Any

from twisted.logger import Logger

from ..bounded_log import address_of, cut
from ..options import Answer
from .request import QuickRequest

__all__ = ["LoggedRequest"]


class LoggedRequest(QuickRequest):
    """Logs method, path, address, status and duration when the response is over.

    Its site has ``access_log``, whether to log, and ``counts``, or None.

    The query string is left out, because it may hold keys and tokens.  If the client
    disconnects early, the status is the one that was sent, or 499 if none was.
    """

    code: int
    _access = Logger()
    _fields: dict[str, object] | None = None
    _began = 0.0

    def process(self) -> None:
        """Record the start time."""
        self._began = self.channel.site.reactor.seconds()
        self._fields = {
            "method": cut(self.method.decode(errors="replace")),
            "path": cut(self._path().decode(errors="replace")),
            "addr": cut(address_of(self)),
        }
        super().process()

    def _answer(self, answer: Answer | None) -> None:
        if answer is not None and not self.startedWriting:
            self.code = answer.status
        super()._answer(answer)

    def finish(self) -> None:
        """Log that the response is complete."""
        self._finish_record(self.code)
        super().finish()

    def connectionLost(self, reason: Any) -> None:
        """Log that the client disconnected."""
        self._finish_record(self.code if self.startedWriting else 499)
        super().connectionLost(reason)

    def _finish_record(self, status: int) -> None:
        fields, self._fields = self._fields, None
        if fields is None:
            return
        site, path = self.channel.site, self._path()
        if site.counts is not None and (path in site.handlers or site.tree):
            route = path if path in site.handlers else site.tree_route
            site.counts.count(route, self.method, status)
        if site.access_log:
            duration = site.reactor.seconds() - self._began
            self._access.debug(
                "http request", status=status, duration=round(duration, 6), **fields
            )

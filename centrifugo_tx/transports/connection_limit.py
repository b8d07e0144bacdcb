"""Limits on the number of connections, and on the rate of new ones.

See configuration rules, "Connection limits".
"""

from collections.abc import Callable

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ..metrics import Counter
from ..options import Answer
from .overload import OverloadGuard

__all__ = ["ConnectionLimiter"]

#: Seconds between two log lines about the same limit.
QUIET = 3.0


@define(eq=False)
class ConnectionLimiter:
    """Refuses connections over ``limit``, or over ``rate`` per second; 0: no limit.

    ``connections`` returns the number of open connections; ``refused`` counts the
    connections refused because of ``limit``.  While ``overload`` has a reason, all new
    connections are refused.
    """

    _clock: IReactorTime
    _connections: Callable[[], int]
    _refused: Counter
    limit: int = 0
    rate: int = 0
    overload: OverloadGuard | None = None
    #: The ``Retry-After`` of the latest refusal, in seconds; empty if it has none.
    retry_after: str = field(default="", init=False)
    _tokens: float = field(init=False)
    _filled: float = field(init=False)
    _logged: float = field(default=float("-inf"), init=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._tokens = float(self.rate)
        self._filled = self._clock.seconds()

    def admits(self) -> bool:
        """Return whether one more connection may be accepted now."""
        if self.overload is not None and self.overload.reason:
            self.retry_after = str(self.overload.refuse())
            return False
        self.retry_after = ""
        if self.rate and not self._take_token():
            return False
        if 0 < self.limit <= self._connections():
            self._refused.value += 1
            now = self._clock.seconds()
            if now - self._logged >= QUIET:
                self._logged = now
                self._log.warn("node connection limit reached", limit=self.limit)
            return False
        return True

    def refusal(self) -> Answer | None:
        """Return the answer that refuses one more connection now, or None."""
        if self.admits():
            return None
        after = self.retry_after.encode()
        return Answer(503, headers=((b"Retry-After", after),) if after else ())

    def _take_token(self) -> bool:
        now = self._clock.seconds()
        refill = (now - self._filled) * self.rate
        self._tokens = min(float(self.rate), self._tokens + refill)
        self._filled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

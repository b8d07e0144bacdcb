"""The origins whose pages may connect (configuration rules, "Allowed origins")."""

from collections.abc import Callable, Sequence

from attrs import define, field

from ..bounded_log import BoundedLog
from ..globs import compile_glob

__all__ = ["OriginRule"]

#: How many origins are remembered, and how long these may be.
REMEMBERED = 256
LONGEST = 255


@define(eq=False)
class OriginRule:
    """Matches the ``Origin`` header, in lower case, against globs.

    A request without the header always passes: it does not come from a browser.
    Refusals are logged if a log is given.

    :raises ValueError: a pattern is not a glob.
    """

    patterns: Sequence[str] = ()
    _log: BoundedLog | None = None
    _match: list[Callable[[str], bool]] = field(init=False)
    #: Origins that have passed, since most connections come from the same few pages.
    _passed: set[str] = field(factory=set, init=False)

    def __attrs_post_init__(self) -> None:
        self._match = [compile_glob(pattern) for pattern in self.patterns]

    def passes(self, origin: str | None) -> bool:
        """Return whether a page of *origin* may connect."""
        if not origin:
            return True
        if origin in self._passed:
            return True
        lowered = origin.lower()
        if any(matches(lowered) for matches in self._match):
            if len(origin) <= LONGEST and len(self._passed) < REMEMBERED:
                self._passed.add(origin)
            return True
        if self._log is not None:
            self._refused(self._log, origin)
        return False

    def _refused(self, log: BoundedLog, origin: str) -> None:
        if self.patterns:
            log.info(
                "request Origin is not authorized",
                origin=origin,
                allowed_origins=list(self.patterns),
            )
        else:
            log.info(
                "request Origin is not authorized due to empty allowed_origins",
                origin=origin,
            )

"""Logs of events that clients can cause, bounded in the number of lines."""

from collections.abc import Hashable
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

__all__ = ["BoundedLog", "address_of", "cut", "host_of"]

#: Characters of a field that are logged; the rest is cut off.
FIELD_LIMIT = 256


def cut(value: object, limit: int = FIELD_LIMIT) -> object:
    """Return *value*, cut to *limit* characters if it is a text."""
    if isinstance(value, str) and len(value) > limit:
        return f"{value[:limit]}…"
    return value


def address_of(request: Any) -> str:
    """Return the address of the connection on which an HTTP request arrived.

    Behind a proxy, it is that of the proxy, because headers may be forged.
    """
    peer = getattr(request, "getClientAddress", None)
    return host_of(peer()) if peer is not None else ""


def host_of(address: object) -> str:
    """Return the host of an address of Twisted, empty if it has none."""
    return str(getattr(address, "host", "")).removeprefix("::ffff:")


@define(eq=False)
class _Count:
    """The number of lines about one cause in the current interval."""

    level: Any
    about: str
    known: dict[str, object]
    written: int = 0
    left_out: int = 0


@define(eq=False)
class BoundedLog:
    """Writes at most ``burst`` lines about each cause per ``interval`` seconds.

    Further lines are counted, and one line at the end of the interval reports their
    number.  A cause is a message with the values of the fields named by *by*.  After
    ``causes`` different causes in one interval, all others share a count.  Texts in
    fields are cut to `FIELD_LIMIT` characters.
    """

    _log: Logger
    _clock: IReactorTime
    burst: int = 5
    interval: float = 1.0
    causes: int = 32
    _counts: dict[Hashable, _Count] = field(factory=dict, init=False)
    _began: float = field(default=float("-inf"), init=False)
    _ending: IDelayedCall | None = field(default=None, init=False)

    def info(self, message: str, by: tuple[str, ...] = (), **fields: object) -> None:
        """Log an event that a client caused."""
        self._write(LogLevel.info, message, by, fields)

    def warn(self, message: str, by: tuple[str, ...] = (), **fields: object) -> None:
        """Log something an operator may want to act on."""
        self._write(LogLevel.warn, message, by, fields)

    def error(self, message: str, by: tuple[str, ...] = (), **fields: object) -> None:
        """Log something an operator should act on."""
        self._write(LogLevel.error, message, by, fields)

    def failure(
        self,
        message: str,
        failure: Failure,
        by: tuple[str, ...] = (),
        **fields: object,
    ) -> None:
        """Log an unexpected error with its traceback."""
        fields["log_failure"] = failure
        self._write(LogLevel.error, message, by, fields)

    def flush(self) -> None:
        """End the interval, and report the lines that were left out."""
        ending, self._ending = self._ending, None
        if ending is not None and ending.active():
            ending.cancel()
        counts, self._counts = self._counts, {}
        self._began = float("-inf")
        for count in counts.values():
            if count.left_out:
                self._log.emit(
                    count.level,
                    "log lines left out: {about}",
                    count=count.left_out,
                    about=count.about,
                    **count.known,
                )

    def _write(
        self,
        level: Any,
        message: str,
        by: tuple[str, ...],
        fields: dict[str, object],
    ) -> None:
        now = self._clock.seconds()
        if not 0 <= now - self._began < self.interval:
            self.flush()
            self._began = now
        count = self._count(level, message, {name: fields.get(name) for name in by})
        if count.written < self.burst:
            count.written += 1
            shown = {name: cut(value) for name, value in fields.items()}
            self._log.emit(level, message, **shown)
            return
        count.left_out += 1
        if self._ending is None:
            rest = self._began + self.interval - now
            self._ending = self._clock.callLater(rest, self.flush)

    def _count(self, level: Any, message: str, known: dict[str, object]) -> _Count:
        cause: Hashable = (message, *known.values())
        count = self._counts.get(cause)
        if count is None:
            if len(self._counts) >= self.causes:
                cause, message, known = None, "other causes", {}
            known = {name: cut(value) for name, value in known.items()}
            count = self._counts.setdefault(cause, _Count(level, message, known))
        return count

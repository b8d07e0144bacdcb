"""Log lines as the reference writes them: JSON, or colors on a terminal.

An event is one line: level, time, message, error, and the values that the
message was made of, so that lines can be counted and filtered (operations, "Logs").
"""

import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, TextIO, cast

from attrs import define
from twisted.logger import (
    FilteringLogObserver,
    ILogFilterPredicate,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    PredicateResult,
    formatEvent,
)
from zope.interface import implementer, provider

__all__ = [
    "console",
    "console_line",
    "filtered",
    "from_record",
    "json_line",
    "observer",
    "open_log",
    "to_record",
]

#: Thresholds of twisted.logger by the names of the option.
_THRESHOLDS = {
    "trace": LogLevel.debug,
    "debug": LogLevel.debug,
    "info": LogLevel.info,
    "warn": LogLevel.warn,
    "error": LogLevel.error,
    "fatal": LogLevel.critical,
}

_NAMES = {"critical": "fatal"}
_SHORT = {
    "trace": "TRC",
    "debug": "DBG",
    "info": "INF",
    "warn": "WRN",
    "error": "ERR",
    "fatal": "FTL",
}
_COLORS = {"trace": 34, "debug": 35, "info": 32, "warn": 33, "error": 31, "fatal": 31}

#: What `twisted.python.log` puts into events, beside the ``log_`` keys.
_LEGACY = frozenset(
    {"isError", "failure", "why", "time", "system", "format", "message"}
)


def observer(level: str, stream: TextIO, colored: bool) -> ILogObserver:
    """Return an observer that writes to *stream* what *level* lets through."""
    return filtered(level, _Writer(stream, colored))


def filtered(level: str, observer: Callable[[LogEvent], None]) -> ILogObserver:
    """Return an observer that passes on to *observer* what *level* lets through.

    twisted.logger knows no level ``trace``: such events are of level ``debug`` and
    have a field ``log_frame`` that is true.
    """
    if level.lower() == "none":
        return cast(ILogObserver, _drop)
    threshold = _THRESHOLDS.get(level.lower(), LogLevel.info)
    predicate = LogLevelFilterPredicate(defaultLogLevel=threshold)
    if threshold is LogLevel.info:
        # What the framework says of itself is detail to an operator.
        for namespace in ("twisted", "log_legacy", "autobahn"):
            predicate.setLogLevelForNamespace(namespace, LogLevel.warn)
    predicates = [predicate] if level.lower() == "trace" else [_no_trace, predicate]
    return cast(
        ILogObserver, FilteringLogObserver(cast(ILogObserver, observer), predicates)
    )


@provider(ILogFilterPredicate)
def _no_trace(event: LogEvent) -> Any:
    return PredicateResult.no if event.get("log_frame") else PredicateResult.maybe


def open_log(path: str) -> TextIO:
    """Open a log file to append to.

    :raises OSError: it cannot be opened.
    """
    return open(path, "a", buffering=1, encoding="utf-8")


@provider(ILogObserver)
def _drop(event: LogEvent) -> None:
    """Write nothing."""


@implementer(ILogObserver)
@define(eq=False)
class _Writer:
    """Writes one line per event."""

    _stream: TextIO
    _colored: bool

    def __call__(self, event: LogEvent) -> None:
        line = console_line(event) if self._colored else json_line(event)
        # A console that went away, or a full disk, must not stop the server.
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            pass


def json_line(event: LogEvent) -> str:
    """Return an event as one JSON object."""
    when = datetime.fromtimestamp(event["log_time"], UTC)
    fields: dict[str, object] = {
        "level": _level(event),
        "time": when.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "message": formatEvent(event),
    }
    if error := _error(event):
        fields["error"] = error
    for name, value in _fields(event):
        fields.setdefault(name, value)
    return json.dumps(fields, ensure_ascii=False, default=str)


def console_line(event: LogEvent) -> str:
    """Return an event as one line in colors."""
    when = datetime.fromtimestamp(event["log_time"]).strftime("%Y-%m-%d %H:%M:%S")
    level = _level(event)
    mark = f"\x1b[{_COLORS[level]}m[{_SHORT[level]}]\x1b[0m"
    parts = [when, mark, formatEvent(event).replace("\n", "\\n")]
    parts += [f"\x1b[36m{name}=\x1b[0m{value}" for name, value in _fields(event)]
    line = " ".join(parts)
    failure = event.get("log_failure")
    return line if failure is None else f"{line}\n{failure.getTraceback().rstrip()}"


def _level(event: LogEvent) -> str:
    if event.get("log_frame"):
        return "trace"
    name = getattr(event.get("log_level"), "name", "info")
    return _NAMES.get(name, name)


def _error(event: LogEvent) -> str:
    failure = event.get("log_failure")
    return "" if failure is None else str(failure.getTraceback())


def _fields(event: LogEvent) -> Iterator[tuple[str, object]]:
    """Yield what the event carries, simple values as they are."""
    for name, value in event.items():
        if name.startswith("log_") or name in _LEGACY:
            continue
        if value is None or isinstance(value, (str, int, float)):
            yield name, value
        elif isinstance(value, (list, tuple)):
            yield name, [str(each) for each in value]
        else:
            yield name, str(value)


def to_record(event: LogEvent) -> dict[str, object]:
    """Return what another process needs to know in order to log an event."""
    return {
        "time": event["log_time"],
        "level": _level(event),
        "namespace": event.get("log_namespace", ""),
        "text": formatEvent(event),
        "error": _error(event),
        "fields": dict(_fields(event)),
    }


def from_record(record: dict[str, Any], **fields: object) -> LogEvent:
    """Return the event of another process, with more *fields*."""
    level = {"fatal": "critical", "trace": "debug"}.get(
        record["level"], record["level"]
    )
    event: LogEvent = {
        **record["fields"],
        **fields,
        "log_time": record["time"],
        "log_level": LogLevel.levelWithName(level),
        "log_namespace": record["namespace"],
        "log_format": "{log_text}",
        "log_text": record["text"],
        "log_frame": record["level"] == "trace",
    }
    if record["error"]:
        event["log_failure"] = _Told(record["error"])
    return event


@define
class _Told:
    """A failure in another process, of which the traceback is known."""

    _traceback: str

    def getTraceback(self, *_: object, **__: object) -> str:
        """Return it."""
        return self._traceback


def console() -> tuple[TextIO, bool]:
    """Return where lines go without a file, and whether it shows colors."""
    if sys.stdout is not None and sys.stdout.isatty():
        return sys.stdout, True
    return sys.stderr, False

"""Log lines as the reference writes them: JSON, or colors on a terminal.

An event is one line: level, time, message, error, and the values that the
message was made of, so that lines can be counted and filtered (operations, "Logs").

Values may come from strangers.  So each is cut to a length, and what is not printable
(line breaks, control characters, escape sequences of terminals, characters that change
the direction of text) is escaped.
"""

import json
import math
import re
import sys
from collections.abc import Callable, Iterator, Sequence
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

#: Characters of a message, of one field, and of a traceback.
MESSAGE_LIMIT, FIELD_LIMIT, ERROR_LIMIT = 4096, 1024, 65536
#: As many more are kept, so that a text that was cut is not cut again by the parent.
SLACK = 64
#: Larger numbers are not written: that takes quadratic time, and Python refuses it.
LARGEST = 1 << 64

#: What can stand on a console without quotes, if it is printable.
_BARE = re.compile(r"""[^\s"'=\\]*""")
_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\x1b": "\\x1b"}

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
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        if not line.isascii() and encoding.lower() not in ("utf-8", "utf8"):
            line = "".join(
                each if each.isascii() else _unicode_escape(each) for each in line
            )
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
        "message": _message(event),
    }
    if error := _error(event):
        fields["error"] = error
    for name, value in _fields(event):
        fields.setdefault(name, value)
    line = json.dumps(fields, ensure_ascii=False)
    if line.isprintable():
        return line
    return "".join(
        each if each.isprintable() else _unicode_escape(each) for each in line
    )


def console_line(event: LogEvent) -> str:
    """Return an event as one line in colors, and its traceback on further ones.

    These are indented, so that nothing in them passes for an event.
    """
    when = datetime.fromtimestamp(event["log_time"]).strftime("%Y-%m-%d %H:%M:%S")
    level = _level(event)
    mark = f"\x1b[{_COLORS[level]}m[{_SHORT[level]}]\x1b[0m"
    parts = [when, mark, _escaped(_message(event))]
    parts += [
        f"\x1b[36m{name}=\x1b[0m{_quoted_if_needed(value)}"
        for name, value in _fields(event)
    ]
    lines = [" ".join(parts)]
    if error := _error(event).rstrip():
        lines += [f"    {_escaped(line)}" for line in error.split("\n")]
    return "\n".join(lines)


def _level(event: LogEvent) -> str:
    if event.get("log_frame"):
        return "trace"
    name = getattr(event.get("log_level"), "name", "info")
    return _NAMES.get(name, name)


def _message(event: LogEvent) -> str:
    return _cut(formatEvent(event), MESSAGE_LIMIT)


def _error(event: LogEvent) -> str:
    """Return the traceback, both ends of it if it is long."""
    failure = event.get("log_failure")
    text = "" if failure is None else str(failure.getTraceback())
    missing, half = len(text) - ERROR_LIMIT, ERROR_LIMIT // 2
    if missing <= SLACK:
        return text
    return f"{text[:half]}\n… ({missing} characters left out) …\n{text[-half:]}"


def _fields(event: LogEvent) -> Iterator[tuple[str, object]]:
    """Yield what the event carries, simple and short values as they are."""
    for name, value in event.items():
        if not name.startswith("log_") and name not in _LEGACY:
            yield name, _simple(value)


def _simple(value: object) -> object:
    """Return what JSON can say of a value within `FIELD_LIMIT` characters."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        small = -LARGEST < value < LARGEST
        return value if small else f"integer of {value.bit_length()} bits"
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, (list, tuple)):
        return _simple_list(value)
    try:
        return _cut(str(value), FIELD_LIMIT)
    except Exception:
        return f"<{type(value).__name__}>"


def _simple_list(values: Sequence[object]) -> list[str]:
    room = FIELD_LIMIT
    found: list[str] = []
    for number, value in enumerate(values):
        if room <= 0:
            return [*found, f"… ({len(values) - number} more)"]
        found.append(str(_simple(value)))
        room -= len(found[-1]) + 1
    return found


def _cut(text: str, limit: int) -> str:
    """Return at most *limit* characters of a text, and how many are missing."""
    if len(text) <= limit + SLACK:
        return text
    return f"{text[:limit]}… ({len(text) - limit} more characters)"


def _quoted_if_needed(value: object) -> str:
    """Return a field's value for the console, in quotes unless it is plain."""
    text = str(value)
    if text.isprintable() and _BARE.fullmatch(text):
        return text
    doubled = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_escaped(doubled)}"'


def _escaped(text: str) -> str:
    """Return a text as it can be shown on one line of a terminal."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else _ESCAPES.get(each) or _unicode_escape(each)
        for each in text
    )


def _unicode_escape(character: str) -> str:
    """Return a character by its number, as JSON has it (RFC 8259, 7)."""
    code = ord(character)
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 | code >> 10:04x}\\u{0xDC00 | code & 0x3FF:04x}"


def to_record(event: LogEvent) -> dict[str, object]:
    """Return what another process needs to know in order to log an event."""
    return {
        "time": event["log_time"],
        "level": _level(event),
        "namespace": event.get("log_namespace", ""),
        "text": _encodable(_message(event)),
        "error": _encodable(_error(event)),
        "fields": {name: _encodable(value) for name, value in _fields(event)},
    }


def _encodable(value: Any) -> Any:
    """Return a value of which UTF-8 can say all, lone surrogates escaped."""
    if isinstance(value, list):
        return [_encodable(each) for each in value]
    if not isinstance(value, str):
        return value
    return value.encode(errors="backslashreplace").decode()


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
        event["log_failure"] = _RelayedFailure(record["error"])
    return event


@define
class _RelayedFailure:
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

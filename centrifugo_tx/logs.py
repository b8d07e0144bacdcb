"""Log lines in the format of the reference: JSON, or colors on a terminal.

An event is one line: level, time, message, error, and the fields of the event, so that
lines can be counted and filtered (operations, "Logs").

Clients can cause values.  So each value is cut to a length, and unprintable characters
(line breaks, control characters, terminal escape sequences, characters that change the
direction of text) are escaped.
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
#: Extra characters allowed, so that the parent does not cut a cut text again.
SLACK = 64
#: Larger integers are not written: formatting them takes quadratic time.
LARGEST = 1 << 64

#: Values that need no quotes on a console, if they are printable.
_BARE = re.compile(r"""[^\s"'=\\]*""")
_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\x1b": "\\x1b"}

#: Keys that `twisted.python.log` adds to events, beside the ``log_`` keys.
_LEGACY = frozenset(
    {"isError", "failure", "why", "time", "system", "format", "message"}
)


def observer(level: str, stream: TextIO, colored: bool) -> ILogObserver:
    """Return an observer that writes events of *level* and above to *stream*."""
    return filtered(level, _Writer(stream, colored))


def filtered(level: str, observer: Callable[[LogEvent], None]) -> ILogObserver:
    """Return an observer that passes events of *level* and above to *observer*.

    twisted.logger knows no level ``trace``: such events are of level ``debug`` and
    have a field ``log_frame`` that is true.
    """
    if level.lower() == "none":
        return cast(ILogObserver, _drop)
    threshold = _THRESHOLDS.get(level.lower(), LogLevel.info)
    predicate = LogLevelFilterPredicate(defaultLogLevel=threshold)
    if threshold is LogLevel.info:
        # Messages of the frameworks about themselves are details to an operator.
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

    :raises OSError: the file cannot be opened.
    """
    return open(path, "a", buffering=1, encoding="utf-8")


@provider(ILogObserver)
def _drop(event: LogEvent) -> None:
    """Discard the event."""


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
        # A closed console or a full disk must not stop the server.
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
    """Return an event as one colored line, followed by the lines of its traceback.

    Those are indented, so that no text in them looks like an event.
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
    """Return the traceback; of a long one, both ends."""
    failure = event.get("log_failure")
    text = "" if failure is None else str(failure.getTraceback())
    missing, half = len(text) - ERROR_LIMIT, ERROR_LIMIT // 2
    if missing <= SLACK:
        return text
    return f"{text[:half]}\n… ({missing} characters left out) …\n{text[-half:]}"


def _fields(event: LogEvent) -> Iterator[tuple[str, object]]:
    """Yield the fields of an event, with values that JSON can represent."""
    for name, value in event.items():
        if not name.startswith("log_") and name not in _LEGACY:
            yield name, _simple(value)


def _simple(value: object) -> object:
    """Return a value for JSON, cut to `FIELD_LIMIT` characters."""
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
    """Return *text*, or *limit* characters of it and the number of the others."""
    if len(text) <= limit + SLACK:
        return text
    return f"{text[:limit]}… ({len(text) - limit} more characters)"


def _quoted_if_needed(value: object) -> str:
    """Return a field's value for the console, in quotes if necessary."""
    text = str(value)
    if text.isprintable() and _BARE.fullmatch(text):
        return text
    doubled = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_escaped(doubled)}"'


def _escaped(text: str) -> str:
    """Return *text* with unprintable characters escaped."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else _ESCAPES.get(each) or _unicode_escape(each)
        for each in text
    )


def _unicode_escape(character: str) -> str:
    """Return a character as a JSON escape (RFC 8259, 7)."""
    code = ord(character)
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 | code >> 10:04x}\\u{0xDC00 | code & 0x3FF:04x}"


def to_record(event: LogEvent) -> dict[str, object]:
    """Return an event in a form that another process can log."""
    return {
        "time": event["log_time"],
        "level": _level(event),
        "namespace": event.get("log_namespace", ""),
        "text": _encodable(_message(event)),
        "error": _encodable(_error(event)),
        "fields": {name: _encodable(value) for name, value in _fields(event)},
    }


def _encodable(value: Any) -> Any:
    """Return *value* with lone surrogates escaped, so that UTF-8 can encode it."""
    if isinstance(value, list):
        return [_encodable(each) for each in value]
    if not isinstance(value, str):
        return value
    return value.encode(errors="backslashreplace").decode()


def from_record(record: dict[str, Any], **fields: object) -> LogEvent:
    """Return the event of another process, with additional *fields*."""
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
    """A failure in another process, known only by its traceback."""

    _traceback: str

    def getTraceback(self, *_: object, **__: object) -> str:
        """Return the traceback."""
        return self._traceback


def console() -> tuple[TextIO, bool]:
    """Return the stream for lines without a log file, and whether it has colors."""
    if sys.stdout is not None and sys.stdout.isatty():
        return sys.stdout, True
    return sys.stderr, False

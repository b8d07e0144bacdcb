"""Findings of checks, and the rules that several checks share."""

import json
import re
from collections.abc import Iterator, Sequence

import re2

from ..durations import format_duration

__all__ = ["Finding", "named", "one_of", "regex", "short", "whole"]

#: The path of an option, and the problem there.
Finding = tuple[str, str]


def one_of(path: str, value: str, choices: Sequence[str]) -> Iterator[Finding]:
    """Yield that a value is not one of *choices*."""
    if value not in choices:
        allowed = ", ".join(json.dumps(choice) for choice in choices)
        yield path, f"{json.dumps(value)} must be one of {allowed}"


def named(path: str, names: list[str], form: re.Pattern[str]) -> Iterator[Finding]:
    """Yield names of a list's items that are malformed, or used twice."""
    for index, name in enumerate(names):
        if not form.fullmatch(name):
            yield f"{path}.[{index}].name", f"{name!r} must match ^{form.pattern}$"
        if name in names[:index]:
            yield f"{path}.[{index}].name", f"{name!r} is used twice"


def whole(path: str, seconds: float) -> Iterator[Finding]:
    """Yield that a duration has a fraction of a second."""
    if seconds > 0 and not seconds.is_integer():
        yield path, f"{format_duration(seconds)} must be whole seconds"


def short(path: str, text: str) -> Iterator[Finding]:
    """Yield that a text does not fit into a close frame (RFC 6455, 5.5)."""
    if not text.isascii() or len(text) > 123:
        yield path, f"{text!r} must be ASCII, of at most 123 characters"


def regex(path: str, pattern: str) -> Iterator[Finding]:
    """Yield that a pattern is malformed."""
    try:
        re2.compile(pattern)
    except re2.error as error:
        yield path, f"{pattern!r} is not a valid RE2 expression: {error}"

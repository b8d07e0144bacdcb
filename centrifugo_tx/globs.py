"""Glob patterns for whole strings, with the syntax of the reference."""

from collections.abc import Callable

import re2

__all__ = ["LONGEST_PATTERN", "compile_glob"]

#: Longest pattern, in characters; translating it takes about 50 ms.
LONGEST_PATTERN = 65536

#: Errors are raised; the library need not write them to standard error, too.
_OPTIONS = re2.Options()
_OPTIONS.log_errors = False


def compile_glob(pattern: str) -> Callable[[str], bool]:
    """Return a function that returns whether a string matches *pattern*.

    ``*`` matches any number of characters, ``?`` one character, ``[abc]`` one of
    these, ``[a-z]`` one of a range, ``[!…]`` any other character, and ``{a,b}`` one of
    several patterns.  A backslash escapes the next character.

    :raises ValueError: the pattern is malformed.
    """
    if len(pattern) > LONGEST_PATTERN:
        shown = repr(pattern[:40])
        raise ValueError(
            f"pattern {shown}… is longer than {LONGEST_PATTERN} characters"
        )
    try:
        text, _ = _sequence(pattern, 0, nested=False)
    except RecursionError:
        raise ValueError(f"pattern {pattern[:40]!r}… nests braces too deep") from None
    # RE2 takes linear time, because clients choose the strings that are matched.
    try:
        fullmatch = re2.compile(f"(?s){text}", _OPTIONS).fullmatch
    except re2.error as error:
        raise ValueError(f"pattern {pattern[:400]!r}: {error!s:.100}") from None
    return lambda string: fullmatch(string) is not None


def _sequence(pattern: str, at: int, nested: bool) -> tuple[str, int]:
    """Translate from *at* to the end, or to the brace that closes the group.

    Returns the translation and the position after it.
    """
    parts: list[str] = []
    while at < len(pattern):
        character = pattern[at]
        at += 1
        if character == "*":
            parts.append(".*")
        elif character == "?":
            parts.append(".")
        elif character == "[":
            text, at = _class(pattern, at)
            parts.append(text)
        elif character == "{":
            text, at = _sequence(pattern, at, nested=True)
            parts.append(f"(?:{text})")
        elif character == "}" and nested:
            return "".join(parts), at
        elif character == "," and nested:
            parts.append("|")
        else:
            if character == "\\":
                character, at = _escaped(pattern, at)
            parts.append(re2.escape(character))
    if nested:
        raise ValueError(f"'{{' without '}}' in pattern {pattern!r}")
    return "".join(parts), at


def _class(pattern: str, at: int) -> tuple[str, int]:
    """Translate a character class whose opening bracket is before *at*."""
    negated = pattern.startswith("!", at)
    at += negated
    members: list[str] = []
    if pattern.startswith("-", at + 1):
        low, high = pattern[at], pattern[at + 2 : at + 3]
        if low > high or not pattern.startswith("]", at + 3):
            raise ValueError(f"invalid range in pattern {pattern!r}")
        members, at = [re2.escape(low), "-", re2.escape(high)], at + 3
    while at < len(pattern) and pattern[at] != "]":
        character, at = pattern[at], at + 1
        if character == "\\":
            character, at = _escaped(pattern, at)
        members.append(re2.escape(character))
    if at == len(pattern) or not members:
        raise ValueError(f"empty or unclosed '[' in pattern {pattern!r}")
    return f"[{'^' if negated else ''}{''.join(members)}]", at + 1


def _escaped(pattern: str, at: int) -> tuple[str, int]:
    """Return the character after a backslash, and the position after it."""
    if at == len(pattern):
        raise ValueError(f"pattern {pattern!r} ends with a backslash")
    return pattern[at], at + 1

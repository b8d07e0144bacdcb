"""Glob patterns over whole strings, as operators write them for the reference."""

import re
from collections.abc import Callable

__all__ = ["compile_glob"]


def compile_glob(pattern: str) -> Callable[[str], bool]:
    """Return a function that tells whether a string matches *pattern*.

    ``*`` is any run of characters, ``?`` any one, ``[abc]`` and ``[a-z]`` one of
    these, ``[!a-z]`` one of the others, ``{a,b}`` one of these patterns, and a
    backslash takes the next character as it is.

    :raises ValueError: the pattern is malformed.
    """
    text, end = _alternatives(pattern, 0, nested=False)
    if end != len(pattern):
        raise ValueError(f"'}}' without '{{' in pattern {pattern!r}")
    matches = re.compile(text, re.DOTALL).fullmatch
    return lambda string: matches(string) is not None


def _alternatives(pattern: str, at: int, nested: bool) -> tuple[str, int]:
    """Translate from *at* up to the brace that closes the alternatives."""
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
            text, at = _alternatives(pattern, at, nested=True)
            if at >= len(pattern):
                raise ValueError(f"'{{' without '}}' in pattern {pattern!r}")
            parts.append(f"(?:{text})")
            at += 1
        elif character == "}":
            return "".join(parts), at - 1
        elif character == "," and nested:
            parts.append("|")
        elif character == "\\":
            if at == len(pattern):
                raise ValueError(f"a backslash ends pattern {pattern!r}")
            parts.append(re.escape(pattern[at]))
            at += 1
        else:
            parts.append(re.escape(character))
    return "".join(parts), at


def _class(pattern: str, at: int) -> tuple[str, int]:
    """Translate a character class; *at* is behind its opening bracket."""
    end = pattern.find("]", at)
    inside = pattern[at:end] if end >= 0 else ""
    negated = inside.startswith("!")
    members = inside[1:] if negated else inside
    if not members:
        raise ValueError(f"an empty or open '[' in pattern {pattern!r}")
    escaped = members.replace("\\", "\\\\").replace("^", "\\^").replace("[", "\\[")
    try:
        re.compile(f"[{escaped}]")
    except re.error as error:
        raise ValueError(f"a bad range in pattern {pattern!r}: {error}") from None
    return f"[{'^' if negated else ''}{escaped}]", end + 1

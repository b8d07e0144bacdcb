"""Checks and repairs of JSON text that need no decoder."""

import re
import sys
from collections.abc import Iterator
from itertools import accumulate, islice, product
from operator import add

__all__ = ["MAX_DEPTH", "check_text", "replace_lone_surrogates", "too_deep"]

#: The maximum nesting of a payload.  Decoders of outgoing messages allow at least
#: this much, so every accepted payload can be delivered.
MAX_DEPTH = 256

#: The rest of a string after its first quote; and a whole string, or text outside of
#: strings.  Possessive, because backtracking state would grow with the text.
_STRING_REST = re.compile(rb'(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_STRING_OR_NOT = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|([^"]++)', re.DOTALL)

#: Bytes that are examined at a time.
_WINDOW = 64 * 1024
#: Bytes that do not matter for nesting; a zero byte stands for an escape.
_PLAIN = bytes(set(range(256)) - set(b'[]{}"\\\0'))
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_NO_OPENING = bytes(set(range(256)) - set(b"[{"))
#: How often the innermost pairs of brackets are removed before the rest is counted.
_PASSES = 4
_STEPS = bytes.maketrans(b"[{]}", b"\1\1\0\0")


def _depth_tables() -> tuple[dict[int, int], dict[int, int]]:
    """Return the maximum and the final depth of every sequence of eight brackets."""
    deepest, ends = {}, {}
    for steps in product((0, 1), repeat=8):
        depths = list(accumulate(1 if step else -1 for step in steps))
        number = int.from_bytes(bytes(steps), sys.byteorder)
        deepest[number], ends[number] = max(depths), depths[-1]
    return deepest, ends


_DEEPEST, _ENDS = _depth_tables()

#: An escaped surrogate.
_LONE_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
#: The text up to the next lone surrogate, or that surrogate.
_SURROGATE_PART = re.compile(
    rb"(?:[^\\]++|\\u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2}"
    rb"|\\(?!u[dD][89a-fA-F][\da-fA-F]{2}).|\\\Z)++"
    rb"|(\\u[dD][89a-fA-F][\da-fA-F]{2})",
    re.DOTALL,
)


def check_text(text: bytes) -> None:
    """Check payloads for invalid UTF-8 and for nesting that the decoder accepts.

    :raises ValueError: the text has either.
    """
    if not text.isascii():
        text.decode()
    if len(text) > MAX_DEPTH and too_deep(text):
        raise ValueError(f"nested more than {MAX_DEPTH} levels deep")


def too_deep(text: bytes) -> bool:
    """Whether the JSON in *text* nests deeper than `MAX_DEPTH`.

    Takes time proportional to the size of *text*, and bounded memory.
    """
    if not _has_many_brackets(text):
        return False
    depth, left = 0, b""
    for outside in _outside_strings(text):
        if not left:  # a quick look: most text is shallow
            rest = _without_pairs(outside)
            if depth + 2 * _PASSES + len(rest) <= MAX_DEPTH:
                opened = len(rest.translate(None, b"]}"))
                depth += 2 * opened - len(rest)
                continue
        steps = left + outside.translate(_STEPS, _NO_BRACKETS)
        whole = len(steps) & ~7
        eights, left = memoryview(steps)[:whole].cast("Q"), steps[whole:]
        depths = list(accumulate(map(_ENDS.__getitem__, eights), initial=depth))
        deepest = map(add, depths, map(_DEEPEST.__getitem__, eights))
        if max(deepest, default=0) > MAX_DEPTH:
            return True
        depth = depths[-1]
    last = int.from_bytes(left.ljust(8, b"\0"), sys.byteorder)
    return depth + _DEEPEST[last] > MAX_DEPTH


def _has_many_brackets(text: bytes) -> bool:
    found = 0
    for at in range(0, len(text), _WINDOW):
        window = text[at : at + _WINDOW]
        found += len(window.translate(None, _NO_OPENING))
        if found > MAX_DEPTH:
            return True
    return False


def _without_pairs(brackets: bytes) -> bytes:
    """Remove the innermost pairs of brackets, at most two levels in each pass."""
    for _ in range(_PASSES):
        brackets = brackets.replace(b"{}", b"").replace(b"[]", b"")
    return brackets


def _outside_strings(text: bytes) -> Iterator[bytes]:
    """Yield the brackets of *text* outside of strings, in chunks."""
    at = 0
    while at < len(text):
        window = text[at : at + _WINDOW]
        if b"\\" in window:
            # The only quotes left are those that delimit strings.
            window = window.replace(b"\\\\", b"\0\0").replace(b'\\"', b"\0\0")
        # Empty strings do not affect the text around them.
        parts = window.translate(None, _PLAIN).replace(b'""', b"").split(b'"')
        outside = b"".join(parts[::2])
        if b"\0" in outside or b"\\" in outside:
            # A backslash outside of strings is neither JSON nor an escape.
            others = (match[1] or b"" for match in _STRING_OR_NOT.finditer(text, at))
            while some := list(islice(others, 4096)):
                yield b"".join(some)
            return
        yield outside
        at += len(window)
        if len(parts) % 2 == 0:
            opened = _STRING_REST.match(
                text, at - len(window) + window.rindex(b'"') + 1
            )
            assert opened is not None
            at = opened.end()


def replace_lone_surrogates(text: bytes) -> bytes:
    """Replace lone escaped surrogates, which JavaScript produces when it cuts an emoji.

    Each becomes U+FFFD, as in the strings of the reference.
    """
    if _LONE_SURROGATE.search(text) is None:
        return text
    replace_lone_surrogates = bytearray()
    for part in _SURROGATE_PART.finditer(text):
        replace_lone_surrogates += rb"\ufffd" if part[1] else part[0]
    return bytes(replace_lone_surrogates)

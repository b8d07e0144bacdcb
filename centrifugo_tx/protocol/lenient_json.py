"""JSON that only a lenient decoder accepts (client protocol, "Batches").

The reference ignores text after a value, unknown names and the case of names, and
treats null as an absent field.  No SDK needs that, so this module is used only after
the strict decoder has failed.
"""

import re
import sys
from collections.abc import Iterator
from functools import lru_cache
from itertools import accumulate, islice, product
from operator import add

import msgspec
from msgspec import inspect

from .messages import Command, Raw

__all__ = ["MAX_DEPTH", "as_strict_json", "replace_lone_surrogates", "too_deep"]

#: The maximum nesting of a payload.  Decoders of outgoing messages allow at least
#: this much, so every accepted payload can be delivered.
MAX_DEPTH = 256

_members = msgspec.json.Decoder(dict[str, Raw]).decode
_items = msgspec.json.Decoder(list[Raw]).decode
_encode = msgspec.json.Encoder().encode
_any = msgspec.json.Decoder(Raw).decode

#: The rest of a string after its first quote; and a whole string, or text outside of
#: strings.  Possessive, because backtracking state would grow with the text.
_STRING_REST = re.compile(rb'(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_STRING_OR_NOT = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|([^"]++)', re.DOTALL)

#: Bytes that are examined at a time.
_WINDOW = 64 * 1024
#: Bytes that do not matter for nesting; a zero byte stands for an escape.
_PLAIN = bytes(set(range(256)) - set(b'[]{}"\\\0'))
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
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
_TRAILING = re.compile(r"JSON is malformed: trailing characters \(byte ([0-9]+)\)")


def too_deep(text: bytes) -> bool:
    """Whether the JSON in *text* nests deeper than `MAX_DEPTH`.

    Takes time proportional to the size of *text*, and bounded memory.
    """
    if not _has_many_brackets(text):
        return False
    depth, left = 0, b""
    for outside in _outside_strings(text):
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
    found = text.count(b"[", 0, _WINDOW) + text.count(b"{", 0, _WINDOW)
    at = _WINDOW
    while found <= MAX_DEPTH and at < len(text):
        found += text.count(b"[", at, at + _WINDOW) + text.count(b"{", at, at + _WINDOW)
        at += _WINDOW
    return found > MAX_DEPTH


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


_described = lru_cache(inspect.type_info)


def as_strict_json(
    line: bytes, struct: type[msgspec.Struct] = Command, *, alone: bool = False
) -> bytes:
    """Rewrite the first value in *line* as strict JSON of a *struct*.

    :param alone: whether text after that value is an error.
    :raises ValueError: there is no value, or the reference could not read it either.
    """
    if not line.isascii():
        line.decode()
    text = replace_lone_surrogates(line)
    try:
        value = bytes(_any(text))
    except msgspec.DecodeError as error:
        behind = _TRAILING.fullmatch(str(error))
        if behind is None or alone:
            raise
        # The position of the first byte after the value, counted from 1.
        value = text[: int(behind[1]) - 1].strip(b" \t\r\n")
    return _known_names_only(value, _described(struct))


def _known_names_only(value: bytes, kind: inspect.Type) -> bytes:
    """Rename the members of *value* to the names of *kind*; drop unknown members."""
    if isinstance(kind, inspect.UnionType):
        kind = kind.types[0]
    if isinstance(kind, inspect.StructType) and value.startswith(b"{"):
        return _encode(dict(_known_members(value, kind)))
    if isinstance(kind, inspect.DictType) and value.startswith(b"{"):
        inner = kind.value_type
        parts = _members(value).items()
        return _encode(
            {name: Raw(_element(bytes(part), inner)) for name, part in parts}
        )
    if isinstance(kind, inspect.ListType) and value.startswith(b"["):
        inner = kind.item_type
        return _encode([Raw(_element(bytes(part), inner)) for part in _items(value)])
    return value


def _element(value: bytes, kind: inspect.Type) -> bytes:
    """Return an element; null in place of a string becomes an empty string."""
    if value == b"null" and isinstance(kind, inspect.StrType):
        return b'""'
    return _known_names_only(value, kind)


def _known_members(value: bytes, kind: inspect.StructType) -> Iterator[tuple[str, Raw]]:
    known = {field.name: field.type for field in kind.fields}
    for written, member in _members(value).items():
        name = written if written in known else written.lower()
        inner, part = known.get(name), bytes(member)
        if isinstance(inner, inspect.RawType) or (inner and part != b"null"):
            yield name, Raw(_known_names_only(part, inner))

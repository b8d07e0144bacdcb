"""What only the reference reads as JSON commands (client protocol, 2.1).

It ignores text after a value, unknown names and the case of names, and takes a
null for an absent field.  No SDK needs that, so the decoder comes here only after
it has failed.
"""

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import accumulate

import msgspec
from msgspec import inspect

from .messages import Command, Raw

__all__ = ["MAX_DEPTH", "as_read", "mended", "too_deep"]

#: How deep a payload may nest.  Whoever takes it out of a message again has at
#: least this much room, so what came in can also go out.
MAX_DEPTH = 256

_members = msgspec.json.Decoder(dict[str, Raw]).decode
_items = msgspec.json.Decoder(list[Raw]).decode
_encode = msgspec.json.Encoder().encode
_scan = json.JSONDecoder(parse_int=str, parse_float=str).raw_decode

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}

#: A pair of surrogates, a lone one, or any other escape.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2}"
    rb"|(u[dD][89a-fA-F][\da-fA-F]{2})|.)",
    re.DOTALL,
)


def too_deep(text: bytes) -> bool:
    """Whether the JSON in *text* nests deeper than `MAX_DEPTH`."""
    if text.count(b"[") + text.count(b"{") <= MAX_DEPTH:
        return False
    brackets = _STRING.sub(b"", text).translate(None, _NO_BRACKETS)
    return max(accumulate(map(_STEP.__getitem__, brackets)), default=0) > MAX_DEPTH


def mended(text: bytes) -> bytes:
    """Replace escaped halves of surrogate pairs, as JavaScript makes of a cut emoji.

    U+FFFD stands for each, as it does in the reference's strings.
    """
    return _ESCAPE.sub(lambda m: rb"\ufffd" if m[1] else m[0], text)


_described = lru_cache(inspect.type_info)


def as_read(line: bytes, struct: type[msgspec.Struct] = Command) -> bytes:
    """Rewrite the first value in *line* as strict JSON of a *struct*.

    :raises ValueError: there is no value, or not even the reference could read it.
    """
    text = line.decode()
    start = len(text) - len(text.lstrip(" \t\r\n"))
    _, end = _scan(text, start)
    return _folded(mended(text[start:end].encode()), _described(struct))


def _folded(value: bytes, kind: inspect.Type) -> bytes:
    """Give the members of *value* the names that *kind* knows; drop the others."""
    if isinstance(kind, inspect.UnionType):
        kind = kind.types[0]
    if isinstance(kind, inspect.StructType) and value.startswith(b"{"):
        return _encode(dict(_known_members(value, kind)))
    if isinstance(kind, inspect.DictType) and value.startswith(b"{"):
        inner = kind.value_type
        parts = _members(value).items()
        return _encode({name: Raw(_folded(bytes(part), inner)) for name, part in parts})
    if isinstance(kind, inspect.ListType) and value.startswith(b"["):
        inner = kind.item_type
        return _encode([Raw(_folded(bytes(part), inner)) for part in _items(value)])
    return value


def _known_members(value: bytes, kind: inspect.StructType) -> Iterator[tuple[str, Raw]]:
    known = {field.name: field.type for field in kind.fields}
    for written, member in _members(value).items():
        name = written if written in known else written.lower()
        inner, part = known.get(name), bytes(member)
        if isinstance(inner, inspect.RawType) or (inner and part != b"null"):
            yield name, Raw(_folded(part, inner))

"""JSON that only a lenient decoder accepts (client protocol, "Batches").

The reference ignores text after a value, unknown names and the case of names, and
treats null as an absent field.  No SDK needs that, so this module is used only after
the strict decoder has failed.
"""

import re
from collections.abc import Iterator
from functools import lru_cache

import msgspec
from msgspec import inspect

from .json_text import replace_lone_surrogates
from .messages import Command
from .payloads import Raw

__all__ = ["as_strict_json"]

_members = msgspec.json.Decoder(dict[str, Raw]).decode
_items = msgspec.json.Decoder(list[Raw]).decode
_encode = msgspec.json.Encoder().encode
_any = msgspec.json.Decoder(Raw).decode

_TRAILING = re.compile(r"JSON is malformed: trailing characters \(byte ([0-9]+)\)")


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

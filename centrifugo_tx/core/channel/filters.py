"""Filters of publications by their tags (client protocol, "Tag filters")."""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from operator import ge, gt, le, lt
from typing import Any

from ...errors import ReplyError
from ...protocol.codes import BAD_REQUEST
from ...protocol.messages import FilterNode

__all__ = ["Filter", "compile_filter"]

Tags = Mapping[str, str]

#: Returns whether a publication with these tags passes.
Filter = Callable[[Tags], bool]

#: Matches numbers that can be compared, within the bounds of the reference server.
_NUMBER = re.compile(r"[+-]?[0-9]{1,200}(?:\.[0-9]{1,19})?")
_LONGEST_NUMBER = 200

_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    **{"gt": gt, "gte": ge, "lt": lt, "lte": le}
}


def compile_filter(node: FilterNode) -> Filter:
    """Compile *node* to a function of tags.

    :raises ReplyError: 107, the filter is invalid.
    """
    if node.op == "":
        return _leaf(node)
    if node.op not in ("and", "or", "not") or not node.nodes:
        raise ReplyError(BAD_REQUEST)
    parts = tuple(compile_filter(each) for each in node.nodes)
    if node.op == "and":
        return lambda tags: all(part(tags) for part in parts)
    if node.op == "or":
        return lambda tags: any(part(tags) for part in parts)
    if len(parts) > 1:
        raise ReplyError(BAD_REQUEST)
    negated = parts[0]
    return lambda tags: not negated(tags)


def _leaf(node: FilterNode) -> Filter:
    key, cmp = node.key, node.cmp
    given = bool(node.val), bool(node.vals)
    if cmp in ("ex", "nex"):
        if any(given):
            raise ReplyError(BAD_REQUEST)
        if cmp == "ex":
            return lambda tags: key in tags
        return lambda tags: key not in tags
    if not key or given != ((False, True) if cmp in ("in", "nin") else (True, False)):
        raise ReplyError(BAD_REQUEST)
    if cmp in ("in", "nin"):
        wanted = frozenset(node.vals)
        if cmp == "in":
            return lambda tags: tags.get(key, "") in wanted
        return lambda tags: tags.get(key, "") not in wanted
    if cmp in _ORDERS:
        return _numeric(key, _ORDERS[cmp], node.val)
    return _textual(key, cmp, node.val)


def _textual(key: str, cmp: str, val: str) -> Filter:
    if cmp == "eq":
        return lambda tags: tags.get(key) == val
    if cmp == "neq":
        return lambda tags: tags.get(key) != val
    if cmp == "sw":
        return lambda tags: tags.get(key, "").startswith(val)
    if cmp == "ew":
        return lambda tags: tags.get(key, "").endswith(val)
    if cmp == "ct":
        return lambda tags: val in tags.get(key, "")
    raise ReplyError(BAD_REQUEST)


def _numeric(key: str, holds: Callable[[Any, Any], bool], val: str) -> Filter:
    limit = _number(val)

    def compare(tags: Tags) -> bool:
        number = _number(tags.get(key, ""))
        return number is not None and limit is not None and holds(number, limit)

    return compare


def _number(text: str) -> Decimal | None:
    """Return the exact, finite number in *text*; None if *text* is not a number."""
    if len(text) > _LONGEST_NUMBER or not _NUMBER.fullmatch(text):
        return None
    return Decimal(text)

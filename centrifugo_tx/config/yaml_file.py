"""Reads YAML as the reference does: the core schema of YAML 1.2, plus dates.

PyYAML parses; this module decides only the meaning of plain scalars.  PyYAML follows
YAML 1.1, in which ``no`` is false and ``12:30:45`` a number.
"""

import re
from base64 import b64decode
from datetime import date
from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.events import AliasEvent, NodeEvent
from yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode

from .values import WrittenFloat, WrittenInt

__all__ = ["MOST_NODES", "parse_yaml"]

#: Most nodes of a document after its aliases are expanded.
MOST_NODES = 1_000_000

_TAG = "tag:yaml.org,2002:"
_WORDS: dict[str, object] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
    **dict.fromkeys((".inf", ".Inf", ".INF"), float("inf")),
    **dict.fromkeys(("+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
}
_INTEGER = re.compile(
    r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))"
)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_DATE = re.compile(
    r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})"
    r"(?:([Tt ])([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?:[.,][0-9]+)?"
    r"(Z|[-+][0-9]{2}:[0-9]{2})?)?"
)
_KINDS: dict[type, str] = {
    type(None): "null",
    bool: "bool",
    WrittenInt: "int",
    WrittenFloat: "float",
    date: "timestamp",
    str: "str",
}


def parse_yaml(text: str) -> Any:
    """Return the content of a document; None if it is empty.

    :raises ValueError: the document is malformed; the message is one line and names the
        line.
    """
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            return None
        _examine(root)
        return loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        problem = " ".join((error.problem or error.context or "is malformed").split())
        raise ValueError(f"{_line(error.problem_mark)}{problem}") from None
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None


def plain_value(text: str) -> object:
    """Return the value of an unquoted scalar."""
    if text in _WORDS:
        value = _WORDS[text]
        return WrittenFloat(value, text) if isinstance(value, float) else value
    if text[0] not in "+-.0123456789":
        return text
    day = _date(text)
    if day is not None:
        return day
    digits = text.replace("_", "")
    match = _INTEGER.fullmatch(digits)
    if match is not None:
        sign, *forms = match.groups()
        number = next(
            int(form, base)
            for form, base in zip(forms, (16, 2, 8, 10), strict=True)
            if form is not None
        )
        if sign == "-":
            number = -number
        if -(2**63) <= number < 2**64:
            return WrittenInt(number, text)
    if _FLOAT.fullmatch(digits) and abs(float(digits)) != float("inf"):
        return WrittenFloat(float(digits), text)
    return text


def _date(text: str) -> date | None:
    """Return the date in *text*, which may have a time; None for other text."""
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    year, month, day, mark, hour, minute, second, zone = match.groups()
    try:
        found = date(int(year), int(month), int(day))
    except ValueError:
        return None
    if mark is None:
        return found
    in_range = int(hour) < 24 and int(minute) < 60 and int(second) < 60
    return found if in_range and (mark == " ") == (zone is None) else None


class _Loader(yaml.SafeLoader):
    """Gives plain scalars the values of `plain_value`."""

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        """Return the next node; an anchor may be defined again."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, NodeEvent) and not isinstance(event, AliasEvent):
            self.anchors.pop(event.anchor, None)
        return super().compose_node(parent, index)

    def resolve(self, kind: type[Node], value: Any, implicit: Any) -> str:
        """Return the tag of an untagged node."""
        if kind is not ScalarNode or not implicit[0]:
            return super().resolve(kind, value, (False, True))  # type: ignore[no-any-return,no-untyped-call]
        if value == "<<":
            return f"{_TAG}merge"
        return _TAG + _KINDS[type(plain_value(value))]

    def construct_text(self, node: ScalarNode) -> str:
        """Return the text that a scalar holds as base64."""
        try:
            return b64decode(node.value, validate=False).decode()
        except ValueError:
            problem = f"{node.value!r} is not base64-encoded text"
            raise ConstructorError(None, None, problem, node.start_mark) from None

    def construct_plain(self, node: ScalarNode) -> object:
        """Return a scalar's value, which must be of the kind that its tag names."""
        wanted = node.tag.removeprefix(_TAG)
        value = plain_value(node.value)
        if wanted == "float" and isinstance(value, WrittenInt):
            value = WrittenFloat(int(value), value.written)
        if _KINDS[type(value)] != wanted:
            problem = f"{node.value!r} is no {wanted}"
            raise ConstructorError(None, None, problem, node.start_mark)
        return value


for _kind in ("null", "bool", "int", "float", "timestamp"):
    _Loader.add_constructor(_TAG + _kind, _Loader.construct_plain)
_Loader.add_constructor(_TAG + "binary", _Loader.construct_text)


def _examine(root: Node) -> None:
    """Raise if a mapping defines a key twice, or if aliases expand it too far."""
    sizes: dict[Node, int] = {}
    open_nodes: set[Node] = set()
    waiting = [root]
    while waiting:
        node = waiting[-1]
        if node in sizes:
            waiting.pop()
            continue
        children = _children(node)
        if node in open_nodes:
            sizes[node] = 1 + sum(sizes[child] for child in children)
            if sizes[node] > MOST_NODES:
                problem = (
                    f"aliases expand the document to more than {MOST_NODES} values"
                )
                raise ConstructorError(None, None, problem, node.start_mark)
            open_nodes.discard(node)
            waiting.pop()
            continue
        if isinstance(node, MappingNode):
            _refuse_twins(node)
        open_nodes.add(node)
        for child in children:
            if child in open_nodes:
                problem = "the value of an anchor contains itself"
                raise ConstructorError(None, None, problem, child.start_mark)
        waiting += [child for child in children if child not in sizes]


def _children(node: Node) -> list[Node]:
    if isinstance(node, MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, CollectionNode) else []


def _refuse_twins(node: MappingNode) -> None:
    lines: dict[str, int] = {}
    for key, _ in node.value:
        if not isinstance(key, ScalarNode):
            continue
        if key.value in lines:
            problem = f"key {key.value!r} is already defined in line {lines[key.value]}"
            raise ConstructorError(None, None, problem, key.start_mark)
        lines[key.value] = key.start_mark.line + 1


def _line(mark: Any) -> str:
    return f"line {mark.line + 1}: " if mark is not None else ""

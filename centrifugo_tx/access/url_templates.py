"""URLs of key sets that depend on the token (permissions, "Key sets")."""

import re
from collections.abc import Iterator, Mapping, Sequence

__all__ = ["resolve", "unsafe_template"]

_PLACEHOLDER = re.compile(r"\{\{(.*?)\}\}")
_TOKEN = re.compile(r"\\.|\(\?P?<\w+>|\(\?[\w-]*:?|.", re.DOTALL)
_CLASSES = frozenset(rf"\{letter}" for letter in "dDwWsSpP")
#: Characters that match other text than themselves, repeat something, or are
#: assertions.
_OPEN = frozenset(".*+?{}^$")


def resolve(template: str, groups: Mapping[str, str]) -> str:
    """Fill each ``{{name}}`` of a template; a name without a value becomes empty."""
    return _PLACEHOLDER.sub(lambda found: groups.get(found[1].strip(), ""), template)


def unsafe_template(template: str, patterns: Sequence[str]) -> str:
    """Return why tokens could manipulate the URL; empty if they cannot.

    The text for a placeholder comes from a token that is not verified yet.  So a group
    that fills one may contain only literals and alternatives, and no pattern may have a
    character class (configuration rules, "Validation").
    """
    wanted = {name.strip() for name in _PLACEHOLDER.findall(template)}
    if not wanted:
        return ""
    for pattern in patterns:
        tokens = _TOKEN.findall(pattern)
        if "[" in tokens or not _CLASSES.isdisjoint(tokens):
            return f"the pattern {pattern!r} has a character class"
        for name in _open_groups(tokens):
            if name in wanted:
                return f"the group {name!r} is not made of literals"
    return ""


def _open_groups(tokens: Sequence[str]) -> Iterator[str]:
    """Yield the named groups that match more than the texts written in them."""
    inside: list[str] = []
    for token in tokens:
        if token.startswith("("):
            name = re.search(r"<(\w+)>", token)
            inside.append(name[1] if name else "")
        elif token == ")" and inside:
            inside.pop()
        elif token in _OPEN or re.fullmatch(r"\\[A-Za-z]", token):
            yield from inside

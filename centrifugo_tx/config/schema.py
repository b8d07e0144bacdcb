"""Names, kinds, defaults and meanings of options, read from the option classes.

Option classes are frozen structs, and the docstring below a field is the option's
meaning.  All other modules read option classes through this one.
"""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from attrs import frozen
from msgspec import NODEFAULT, Struct

__all__ = [
    "ENVIRONMENT_PREFIX",
    "Option",
    "environment_name",
    "is_secret",
    "leaves",
    "options_of",
]

ENVIRONMENT_PREFIX = "CENTRIFUGO"

#: The kinds of options; a section contains options itself.
Kind = Literal[
    "bool",
    "int",
    "float",
    "str",
    "duration",
    "pem",
    "strings",
    "map",
    "section",
    "sections",
]

_PLAIN: dict[object, Kind] = {bool: "bool", int: "int", float: "float", str: "str"}


@frozen
class Option:
    """One option of a section, or a nested section."""

    name: str
    kind: Kind
    default: Any
    #: The section that the option belongs to.
    owner: type[Struct]
    choices: tuple[str, ...] = ()
    section: type[Struct] | None = None
    #: Whether a list is stored as a tuple.
    frozen: bool = False

    @property
    def meaning(self) -> str:
        """Return the docstring below the field.

        Few commands need it, and reading it takes longer than starting the server.
        """
        return _meanings(self.owner).get(self.name, "")

    @property
    def named(self) -> bool:
        """Whether this is a list of sections that have names."""
        return (
            self.kind == "sections"
            and self.section is not None
            and "name" in self.section.__struct_fields__
        )


@cache
def options_of(section: type[Struct]) -> tuple[Option, ...]:
    """Return the options of a section: ``name`` first, then in order of definition."""
    hints = get_type_hints(section, include_extras=True)
    found = [
        _option(section, field, hints[field.name])
        for field in msgspec.structs.fields(section)
    ]
    return tuple(sorted(found, key=lambda option: option.name != "name"))


def _option(
    section: type[Struct], field: msgspec.structs.FieldInfo, hint: Any
) -> Option:
    default = field.default
    if default is NODEFAULT:
        if field.default_factory is NODEFAULT:
            raise TypeError(f"the option {field.name} has no default")
        default = field.default_factory()
    kind, choices, part, is_tuple = _classify(field.name, hint)
    return Option(field.name, kind, default, section, choices, part, is_tuple)


def _classify(
    name: str, hint: Any
) -> tuple[Kind, tuple[str, ...], type[Struct] | None, bool]:
    """Return the kind, the choices, the section, and whether a list is a tuple."""
    marked = ""
    if get_origin(hint) is Annotated:
        hint, *marks = get_args(hint)
        for mark in marks:
            if isinstance(mark, msgspec.Meta):
                marked = (mark.extra or {}).get("kind", marked)
    if marked in ("duration", "pem"):
        return ("duration" if marked == "duration" else "pem"), (), None, False
    if hint in _PLAIN:
        return _PLAIN[hint], (), None, False
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return "str", tuple(arguments), None, False
    if isinstance(hint, type) and issubclass(hint, Struct):
        return "section", (), hint, False
    if origin is dict:
        return "map", (), None, False
    if origin in (list, tuple):
        if arguments[0] is str:
            return "strings", (), None, origin is tuple
        if get_origin(arguments[0]) is Literal:
            return "strings", get_args(arguments[0]), None, origin is tuple
        if isinstance(arguments[0], type) and issubclass(arguments[0], Struct):
            return "sections", (), arguments[0], origin is tuple
    raise TypeError(f"the option {name} has a type that no file can hold: {hint!r}")


@cache
def _meanings(section: type[Struct]) -> dict[str, str]:
    """Return the docstrings below the fields, including those of base classes."""
    found: dict[str, str] = {}
    for cls in reversed(section.__mro__):
        if not (issubclass(cls, Struct) and cls.__struct_fields__):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, below in zip(body.body, body.body[1:], strict=False):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
                and isinstance(below.value.value, str)
            ):
                found[field.target.id] = inspect.cleandoc(below.value.value)
    return found


def leaves(section: type[Struct], path: str = "") -> Iterator[tuple[str, Option]]:
    """Yield every option that is not a section, with its dotted path."""
    for option in options_of(section):
        name = f"{path}.{option.name}" if path else option.name
        if option.kind == "section" and option.section is not None:
            yield from leaves(option.section, name)
        else:
            yield name, option


def environment_name(prefix: str, name: str) -> str:
    """Return the variable of an option or item, below *prefix*."""
    return f"{prefix}_{name.replace('.', '_').replace('-', '_').upper()}"


_SECRET = ("key", "password", "secret", "token", "dsn", "value", "pem", "string")


def is_secret(name: str) -> bool:
    """Whether the value of the option with this name must not be shown."""
    return name.rpartition("_")[2] in _SECRET or name in ("address", "url")

"""Generates the configuration reference from the option classes."""

import json
from collections import Counter
from collections.abc import Iterator

from attrs import define, field, frozen
from msgspec import Struct

from ..durations import format_duration
from .model import Config
from .schema import Option, options_of
from .unsupported import POINTLESS, UNSUPPORTED

__all__ = ["Block", "Entry", "Heading", "Reference", "Text", "markdown", "restructured"]


@frozen
class Heading:
    """The title of a section of the file, or of a shared object."""

    text: str


@frozen
class Text:
    """A paragraph."""

    text: str


@frozen
class Entry:
    """One option, with its path, type, default and meaning."""

    path: str
    facts: str
    meaning: str
    #: The title of the object that is this option's value.
    see: str = ""


Block = Heading | Text | Entry

_INTRODUCTION = """Each option stands in the file under its path, one object per
dot, and in the environment as ``CENTRIFUGO_`` with the path in upper case and
underscores: ``client.ping_interval`` is ``CENTRIFUGO_CLIENT_PING_INTERVAL``.  A
variable goes before the file, a command-line flag before both.  A zero, an empty
text and ``false`` count as unset, so the default applies."""

#: The name of each kind of option, as in the reference.
_TYPES = {
    "bool": "true or false",
    "int": "whole number",
    "float": "number",
    "str": "text",
    "duration": "duration",
    "pem": "PEM",
    "strings": "list of texts",
    "map": "names with texts",
    "sections": "list of objects",
    "section": "object",
}


def restructured() -> str:
    """Return the whole reference as reStructuredText."""
    lines = [
        "Configuration reference",
        "=======================",
        "",
        _INTRODUCTION,
        "",
    ]
    for block in Reference().blocks(""):
        if isinstance(block, Heading):
            lines += [block.text, "-" * len(block.text), ""]
        elif isinstance(block, Text):
            lines += [block.text, ""]
        else:
            see = f" See `{block.see}`_." if block.see else ""
            meaning = f"{block.meaning}\n{block.facts}{see}".strip().split("\n")
            lines += [f"``{block.path}``", *(f"    {line}" for line in meaning), ""]
    return "\n".join(lines).rstrip() + "\n"


def markdown(section: str = "", base_level: int = 1) -> str:
    """Return the reference, or one top-level section of it, as Markdown.

    :raises KeyError: there is no such section.
    """
    if section and section not in Config.__struct_fields__:
        raise KeyError(section)
    lines: list[str] = []
    if not section:
        lines += ["#" * base_level + " Configuration reference", "", _INTRODUCTION, ""]
    for block in Reference().blocks(section):
        if isinstance(block, Heading):
            lines += ["#" * (base_level + 1) + f" {block.text}", ""]
        elif isinstance(block, Text):
            lines += [block.text, ""]
        else:
            anchor = block.see.lower().replace(" ", "-")
            see = f" See [{block.see}](#{anchor})." if block.see else ""
            meaning = " ".join(f"{block.meaning} {block.facts}{see}".split())
            lines += [f"* ``{block.path}``: {meaning}", ""]
    return "\n".join(lines).rstrip().replace("``", "`") + "\n"


@define
class Reference:
    """Walks the option tree once; shared classes come last.

    ``uses`` has the paths at which each shared object stands, by its title, once
    all blocks have been read.
    """

    _shared: set[type[Struct]] = field(factory=lambda: _shared_classes(Config))
    #: The shared classes found so far, with their paths.
    _met: dict[type[Struct], list[str]] = field(factory=dict)

    @property
    def uses(self) -> dict[str, list[str]]:
        """Return the paths of each shared object; ``.*`` follows that of a list."""
        return {_title(section): places for section, places in self._met.items()}

    def blocks(self, only: str) -> Iterator[Block]:
        """Yield all blocks, or those of one top-level section."""
        for option in options_of(Config):
            if only in ("", option.name):
                yield Heading(option.name)
                yield from self._top(option)
        described: set[type[Struct]] = set()
        while waiting := [cls for cls in self._met if cls not in described]:
            for section in waiting:
                described.add(section)
                yield Heading(_title(section))
                yield Text((section.__doc__ or "").strip())
                yield from self._inside(section, "", list(self._met[section]))

    def _top(self, option: Option) -> Iterator[Block]:
        if option.kind != "section" or option.section is None:
            yield from self._option(option, option.name, [option.name])
            return
        yield Text(option.meaning + _state([f"{option.name}.enabled"]))
        yield from self._inside(option.section, option.name, [option.name])

    def _option(self, option: Option, path: str, places: list[str]) -> Iterator[Block]:
        section = option.section
        if section is None:
            yield Entry(path, _facts(option) + _state(places), option.meaning)
            return
        facts = _TYPES[option.kind].capitalize() + "."
        facts += _state([f"{place}.enabled" for place in places])
        see = section if section in self._shared else self._base(section)
        if see is not None:
            self._met.setdefault(see, []).extend(places)
        yield Entry(path, facts, option.meaning, _title(see) if see else "")
        if see is not section:
            listed = option.kind == "sections"
            yield from self._inside(
                section,
                f"{path}[]" if listed else path,
                [f"{place}.*" if listed else place for place in places],
            )

    def _inside(
        self, section: type[Struct], path: str, places: list[str]
    ) -> Iterator[Block]:
        base = self._base(section)
        if base is not None:
            self._met.setdefault(base, []).extend(places)
            if not path:
                yield Text(f"All of the {_title(base)}, and:")
        known = set(base.__struct_fields__) if base is not None else set()
        for option in options_of(section):
            if option.name not in known:
                inner = [f"{place}.{option.name}" for place in places]
                name = f"{path}.{option.name}" if path else option.name
                yield from self._option(option, name, inner)

    def _base(self, section: type[Struct]) -> type[Struct] | None:
        """Return the nearest shared class that this one extends."""
        return next((cls for cls in section.__mro__[1:] if cls in self._shared), None)


def _shared_classes(root: type[Struct]) -> set[type[Struct]]:
    """Return the classes that occur more than once, or below such a class."""
    counts: Counter[type[Struct]] = Counter()

    def count(section: type[Struct]) -> None:
        for option in options_of(section):
            if option.section is None:
                continue
            if not counts[option.section]:
                count(option.section)
            for cls in option.section.__mro__:
                if issubclass(cls, Struct) and cls.__struct_fields__:
                    counts[cls] += 1

    count(root)
    return {section for section, times in counts.items() if times > 1}


def _facts(option: Option) -> str:
    """Return type, choices and default as one sentence."""
    facts = _TYPES[option.kind]
    if option.choices:
        facts += ", one of " + ", ".join(f"``{c}``" for c in option.choices if c)
    default = _default(option)
    facts += f"; default ``{default}``" if default else ""
    return f"{facts[0].upper()}{facts[1:]}."


def _state(places: list[str]) -> str:
    """Return a remark if the option has an effect at none of its paths."""
    for options, remark in (
        (POINTLESS.keys(), "Has no effect in this server."),
        (UNSUPPORTED.keys(), "Not supported by this server."),
    ):
        if all(place in options for place in places):
            return f" **{remark}**"
    return ""


def _default(option: Option) -> str:
    """Return the default as a file would hold it; empty for a zero value."""
    if not option.default:
        return ""
    if option.kind == "duration":
        return format_duration(option.default)
    if option.kind == "strings":
        return json.dumps(list(option.default))
    if option.kind == "str":
        return str(option.default)
    return json.dumps(option.default)


def _title(section: type[Struct]) -> str:
    return f"{section.__name__.removesuffix('Options')} object"

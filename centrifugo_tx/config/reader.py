"""Makes sections from a file's objects, environment variables and flags.

Flags take precedence over variables, variables over the file, and the file over
defaults.  A zero value counts as unset (configuration rules, "Sources").
"""

import json
import os
import re
from collections.abc import Mapping
from typing import Any

from attrs import define, field
from msgspec import Struct

from .files import parse_json
from .schema import ENVIRONMENT_PREFIX, Option, environment_name, is_secret, options_of
from .values import (
    WrittenFloat,
    WrittenInt,
    read_bool,
    read_duration,
    read_float,
    read_int,
    read_map,
    read_pem,
    read_str,
    read_strings,
    substitute,
)

__all__ = ["Reader"]

#: Variables that Kubernetes sets for a service named centrifugo.
_KUBERNETES = re.compile(r"^CENTRIFUGO(?:_[A-Z0-9_]+)?_(PORT|SERVICE_)")
#: Variables of commands that call a server.
_CONSOLE = "CENTRIFUGO_TX_"
#: The options that a systemd unit passes on the command line.
_UNIT = "CENTRIFUGO_OPTS"


@define
class Reader:
    """Makes sections from file, environment and flags, and collects the problems."""

    environ: Mapping[str, str]
    flags: Mapping[str, str]
    problems: list[str] = field(factory=list, init=False)
    unknown: list[str] = field(factory=list, init=False)
    converted: list[str] = field(factory=list, init=False)
    #: The paths of PEM files, by option.
    pem_files: dict[str, str] = field(factory=dict, init=False)
    _known: set[str] = field(factory=set, init=False)

    def section(
        self, cls: type[Struct], tree: object, path: str, variable: str
    ) -> Struct:
        """Return a section; without *variable*, only the file sets its options."""
        if tree is None:
            tree = {}
        if not isinstance(tree, Mapping):
            self._complain(path, tree, "must be an object")
            tree = {}
        given = self.members(tree, path)
        names = {option.name for option in options_of(cls)}
        self.unknown += [_join(path, key) for key in given if key not in names]
        return cls(
            **{
                option.name: self._option(
                    option,
                    given.get(option.name),
                    _join(path, option.name),
                    environment_name(variable, option.name) if variable else "",
                )
                for option in options_of(cls)
            }
        )

    def members(self, tree: Mapping[Any, Any], path: str) -> dict[str, Any]:
        """Return the members of an object by their lower-case names.

        Outside lists, a dot in a name leads into an object, as in the reference.
        """
        found: dict[str, Any] = {}
        writings: dict[str, str] = {}
        for key, value in tree.items():
            name = str(key).lower()
            parts = name.split(".")
            if "[" in path or not all(parts):
                parts = [name]
            if name in writings or not _put(found, parts, value):
                other = writings.get(name, name)
                message = f"is already defined as {other!r}"
                self._complain(_join(path, name), str(key), message)
            writings[name] = str(key)
        return found

    def strangers(self) -> list[str]:
        """Return the variables that have our prefix but set no option."""
        return sorted(
            name
            for name in self.environ
            if name.startswith(ENVIRONMENT_PREFIX + "_")
            and name not in self._known
            and name != _UNIT
            and not name.startswith((ENVIRONMENT_PREFIX + "_VAR_", _CONSOLE))
            and not _KUBERNETES.match(name)
        )

    def _option(self, option: Option, value: object, path: str, variable: str) -> Any:
        if option.kind == "section":
            assert option.section is not None
            return self.section(option.section, value, path, variable)
        if value == {} and "[" not in path:
            value = None  # as an empty value, except in lists
        place, is_text = path, False
        if variable:
            self._known.add(variable)
            if self.environ.get(variable):
                place, is_text = variable, True
        if path in self.flags:
            place, is_text = f"--{path}", True
        text = self.flags.get(path, self.environ.get(variable, ""))
        if option.kind == "sections":
            return self._sections(option, value, text, path, variable)
        if is_text:
            value = text
        try:
            found = self._value(option, value, is_text)
        except ValueError as error:
            self._complain(place, value, str(error), option.name)
            return option.default
        if option.kind == "pem" and found != value and os.path.isfile(str(value)):
            self.pem_files[path] = str(value)
        self._compare(option, value, found, place)
        return found or option.default

    def _value(self, option: Option, value: object, is_text: bool) -> Any:
        if value is None:
            return option.default
        if option.kind == "map":
            found = read_map(value, text=is_text)
            return {key: substitute(item, self.environ) for key, item in found.items()}
        if option.kind == "strings":
            texts = read_strings(value, split=is_text)
            for text in texts:
                _choose(option, text)
            return tuple(texts) if option.frozen else texts
        if option.kind == "str":
            return _choose(option, read_str(value))
        return _READERS[option.kind](value)

    def _sections(
        self, option: Option, value: object, text: str, path: str, variable: str
    ) -> Any:
        assert option.section is not None
        items = self._items(option, value, text, path, variable)
        made = []
        for index, item in enumerate(items):
            own = ""
            if option.named and variable and isinstance(item, Mapping):
                lowered = {str(key).lower(): part for key, part in item.items()}
                own = environment_name(variable, str(lowered.get("name", "")))
            made.append(self.section(option.section, item, f"{path}.[{index}]", own))
        return tuple(made) if option.frozen else made

    def _items(
        self, option: Option, value: object, text: str, path: str, variable: str
    ) -> list[Any]:
        """Return the items of the file, replaced or extended by the variable."""
        if value is None or value == {}:
            value = []
        if isinstance(value, Mapping):
            value = [value]
        if not isinstance(value, list):
            self._complain(path, value, "must be a list of objects")
            value = []
        if not text:
            return value
        if text.startswith("[") and text.endswith("]"):
            try:
                return list(parse_json(text))
            except ValueError as error:
                self._complain(variable, text, f"must be a JSON array: {error}")
                return []
        if not option.named:
            self._complain(variable, text, "must be a JSON array")
            return value
        there = {item.get("name") for item in value if isinstance(item, Mapping)}
        new = [name for name in text.split(" ") if name and name not in there]
        return [*value, *({"name": name} for name in new)]

    def _compare(self, option: Option, value: object, found: Any, place: str) -> None:
        """Record values that differ from the text in the file."""
        all_given = value if isinstance(value, list) else [value]
        all_taken = found if isinstance(found, (list, tuple)) else [found]
        for given, taken in zip(all_given, all_taken, strict=False):
            if isinstance(given, bool) and isinstance(taken, str):
                written = "true" if given else "false"
            elif isinstance(given, (WrittenInt, WrittenFloat)):
                written = given.written
            else:
                continue
            hint = ""
            if isinstance(taken, str):
                changed, hint = taken != written, "; quote the value to keep it"
            else:
                changed = option.kind == "int" and taken != given
            if changed and is_secret(option.name):
                self.converted.append(f"{place} is not text{hint}")
            elif changed:
                self.converted.append(f"{place}: {written} is taken as {taken}{hint}")

    def _complain(
        self, place: str, value: object, message: str, name: str = ""
    ) -> None:
        shown = "" if name and is_secret(name) else f" {_shown(value)}"
        self.problems.append(f"{place}:{shown} {message}")


def _put(place: dict[str, Any], names: list[str], value: object) -> bool:
    """Put a value where *names* lead; return whether there was room."""
    first, *rest = names
    there = place.get(first)
    if first not in place:
        place[first] = {}
        if rest:
            return _put(place[first], rest, value)
        place[first] = value
        return True
    if not isinstance(there, Mapping):
        return False
    place[first] = copied = {str(key).lower(): part for key, part in there.items()}
    if rest:
        return _put(copied, rest, value)
    if not isinstance(value, Mapping):
        return False
    return all(_put(copied, [str(k).lower()], part) for k, part in value.items())


_READERS: dict[str, Any] = {
    "bool": read_bool,
    "int": read_int,
    "float": read_float,
    "duration": read_duration,
    "pem": read_pem,
}


def _choose(option: Option, text: str) -> str:
    if option.choices and text and text not in option.choices:
        choices = ", ".join(choice for choice in option.choices if choice)
        raise ValueError(f"must be one of: {choices}")
    return text


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _shown(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:59] + "…"

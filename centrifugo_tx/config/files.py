"""Configuration files, read by their extension into plain objects.

A key that stands twice in one object is refused in every format: which of the two
would count cannot be seen.
"""

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Never

from ..errors import ConfigError
from .values import WrittenFloat

__all__ = ["LARGEST_FILE", "read_file"]

#: Bytes that a configuration file may have.
LARGEST_FILE = 16 * 1024 * 1024

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:\n]')


def read_file(path: str) -> dict[str, Any] | None:
    """Return what a file holds, by its extension; None when there is no such file.

    :raises ConfigError: it cannot be opened, or is not well-formed; one line.
    """
    extension = Path(path).suffix.lower()
    if extension not in _PARSERS:
        raise ConfigError(
            f"{path}: extension {extension!r} is not one of .json, .yaml, .yml, .toml"
        )
    try:
        with open(path, "rb") as stream:
            content = stream.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > LARGEST_FILE:
        raise ConfigError(f"{path}: is larger than {LARGEST_FILE} bytes")
    try:
        tree = _PARSERS[extension](content.decode())
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8") from None
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    except RecursionError:
        raise ConfigError(f"{path}: is nested too deeply") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: must contain an object at the top level")
    return tree


def parse_json(text: str) -> Any:
    """Return what JSON text holds; numbers remember how they were written.

    :raises ValueError: it is no JSON, or names a key twice.
    """
    return json.loads(
        text,
        object_pairs_hook=lambda pairs: _object(pairs, text),
        parse_float=_json_float,
        parse_constant=_no_constant,
    )


def _object(pairs: list[tuple[str, Any]], text: str) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) < len(pairs):
        raise ValueError(_twins(text))
    return tree


def _twins(text: str) -> str:
    """Say which key of an object in JSON text stands there twice, and where."""
    line = 1
    #: The keys of each open object with their lines; None for a list.
    inside: list[dict[str, int] | None] = []
    is_key = False
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token == "\n":
            line += 1
        elif token in "{[":
            inside.append({} if token == "{" else None)
            is_key = token == "{"
        elif token in "}]":
            inside.pop()
        elif token == ",":
            is_key = bool(inside) and inside[-1] is not None
        elif token != ":" and is_key:
            is_key = False
            keys, key = inside[-1], json.loads(token)
            assert keys is not None
            if key in keys:
                return (
                    f"line {line}: key {key!r} is already defined in line {keys[key]}"
                )
            keys[key] = line
    return "a key is used twice"


def _json_float(text: str) -> WrittenFloat:
    number = WrittenFloat(float(text), text)
    if abs(number) == float("inf"):
        raise ValueError(f"the number {text:.30} is too large")
    return number


def _no_constant(text: str) -> Never:
    raise ValueError(f"{text} is not valid JSON")


def parse_toml(text: str) -> dict[str, Any]:
    """Return what TOML text holds; numbers remember how they were written.

    :raises ValueError: it is no TOML, or names a key twice.
    """
    try:
        return tomllib.loads(
            text, parse_float=lambda number: WrittenFloat(float(number), number)
        )
    except tomllib.TOMLDecodeError as error:
        said = str(error)
        place = re.search(r"Cannot overwrite a value \(at line ([0-9]+)", said)
        if place is None:
            raise
        line = text.split("\n")[int(place[1]) - 1]
        key = line.partition("=")[0].strip()
        raise ValueError(f"line {place[1]}: key {key!r} is already defined") from None


def _parse_yaml(text: str) -> Any:
    """Import what reads YAML only for such files: it takes as long as all the rest."""
    from .yaml_file import parse_yaml

    return parse_yaml(text)


_PARSERS: dict[str, Callable[[str], Any]] = {
    ".json": parse_json,
    ".yaml": _parse_yaml,
    ".yml": _parse_yaml,
    ".toml": parse_toml,
}

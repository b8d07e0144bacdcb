"""Reads configuration files into plain objects, by their extension.

Every format refuses an object that defines a key twice, because a reader cannot see
which of the two applies.
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

#: Largest configuration file, in bytes.
LARGEST_FILE = 16 * 1024 * 1024

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:\n]')


def read_file(path: str) -> dict[str, Any] | None:
    """Return the content of a file, by its extension; None if there is no such file.

    :raises ConfigError: the file cannot be read or is malformed; the message is one
        line.
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
    """Return the value of JSON text; numbers remember how they were written.

    :raises ValueError: the text is not JSON, or an object defines a key twice.
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
    """Return a message that names the duplicate key in JSON text, and its lines."""
    line = 1
    #: For each open object its keys with their lines; None for a list.
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
    """Return the value of TOML text; numbers remember how they were written.

    :raises ValueError: the text is not TOML, or a table defines a key twice.
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
    """Return the YAML reader, imported late because it doubles the time of a start."""
    from .yaml_file import parse_yaml

    return parse_yaml(text)


_PARSERS: dict[str, Callable[[str], Any]] = {
    ".json": parse_json,
    ".yaml": _parse_yaml,
    ".yml": _parse_yaml,
    ".toml": parse_toml,
}

"""Writes a configuration as a file of any format, or as environment variables."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import yaml
from msgspec import Struct

from ..durations import format_duration
from ..errors import ConfigError
from .model import Config
from .schema import ENVIRONMENT_PREFIX, environment_name, options_of

__all__ = ["FORMATS", "as_text", "as_tree", "as_variables"]


def _as_json(tree: dict[str, Any]) -> str:
    return json.dumps(tree, indent=2, ensure_ascii=False) + "\n"


def _as_yaml(tree: dict[str, Any]) -> str:
    text: str = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)
    return text


def _as_toml(tree: dict[str, Any]) -> str:
    try:
        import tomli_w
    except ImportError:
        raise ConfigError(
            "error: writing TOML needs tomli-w: pip install 'centrifugo-tx[console]'"
        ) from None
    return tomli_w.dumps(tree)


#: The writer of each file extension.
FORMATS: dict[str, Callable[[dict[str, Any]], str]] = {
    ".json": _as_json,
    ".toml": _as_toml,
    ".yaml": _as_yaml,
    ".yml": _as_yaml,
}


def as_text(tree: dict[str, Any], extension: str) -> str:
    """Return *tree* in the format of a file with this extension.

    :raises KeyError: no format has this extension.
    :raises ConfigError: the library for TOML is not installed.
    """
    return FORMATS[extension](tree)


def as_tree(section: Struct) -> dict[str, Any]:
    """Return a section as files hold it: all options, durations as text."""
    tree: dict[str, Any] = {}
    for option in options_of(type(section)):
        value = getattr(section, option.name)
        if option.kind == "section":
            value = as_tree(value)
        elif option.kind == "sections":
            value = [as_tree(item) for item in value]
        elif option.kind == "duration":
            value = format_duration(value)
        elif option.kind == "strings":
            value = list(value)
        tree[option.name] = value
    # The reference leaves this block out, because nothing reads it.
    if isinstance(section, Config):
        del tree["broker"]["redisnats"]
    return tree


def as_variables(
    section: Struct, prefix: str = ENVIRONMENT_PREFIX
) -> Iterator[tuple[str, str, bool]]:
    """Yield name, value, and whether it is set, of every variable, unsorted."""
    for option in options_of(type(section)):
        name = environment_name(prefix, option.name)
        value = getattr(section, option.name)
        if option.kind == "section":
            yield from as_variables(value, name)
            continue
        if option.kind == "sections" and option.named:
            yield name, json.dumps(" ".join(item.name for item in value)), bool(value)
            for item in value:
                yield from as_variables(item, environment_name(name, item.name))
            continue
        yield name, _variable(option.kind, value), value != option.default


def _variable(kind: str, value: Any) -> str:
    """Return the text of a value, quoted if a shell requires it."""
    if kind == "duration":
        return format_duration(value)
    if kind == "strings":
        return json.dumps(" ".join(value))
    if kind == "map":
        return json.dumps(json.dumps(value))
    if kind == "sections":
        return json.dumps(json.dumps([as_tree(item) for item in value]))
    return json.dumps(value)

"""Rewrites old configuration files and environment variables with current names."""

import json
from collections.abc import Mapping
from typing import Any

from attrs import frozen
from msgspec import Struct

from .dump import as_variables
from .legacy import modernize
from .legacy_changes import Change, keep_behavior
from .legacy_channels import channel_options
from .legacy_names import why_gone
from .legacy_versions import CURRENT, Verdict, detect
from .model import Config
from .reader import Reader
from .schema import ENVIRONMENT_PREFIX, Option, environment_name, options_of

__all__ = ["Conversion", "convert", "convert_variables"]

Tree = dict[str, Any]


@frozen
class Conversion:
    """A rewritten file and its report; ``verdict.version`` is 0 if unknown."""

    verdict: Verdict
    tree: Tree
    changes: list[Change]


def convert(tree: Mapping[Any, Any], version: int = 0) -> Conversion:
    """Rewrite the content of a file so that it keeps its meaning with current names.

    :param version: the version that the file was written for; 0 detects it.
    """
    given: Tree = _plain(Reader({}, {}).members(tree, ""))
    verdict = Verdict(version, "given by --from") if version else detect(given)
    if verdict.version in (0, CURRENT):
        return Conversion(verdict, given, [])
    modern, changes = modernize(given, verdict.version)
    changes += keep_behavior(given, modern, verdict.version)
    reader = Reader({}, {})
    reader.section(Config, modern, "", "")
    for path in reader.unknown:
        changes.append(_drop(modern, path))
    return Conversion(verdict, modern, changes)


def _plain(value: Any) -> Any:
    """Return a value that every file format can hold."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool):
        return value
    for kind in (int, float):
        if isinstance(value, kind):
            return kind(value)
    return str(value)


def _drop(tree: Tree, path: str) -> Change:
    """Remove an option that no version has; the server would ignore it."""
    *parents, last = path.split(".")
    inside: Any = tree
    for parent in parents:
        inside = inside[int(parent[1:-1]) if parent.startswith("[") else parent]
    for key in [key for key in inside if str(key).lower() == last]:
        del inside[key]
    return Change("gone", path, why_gone(last) or "no version has such an option")


def convert_variables(
    variables: Mapping[str, str], version: int = 0
) -> tuple[Conversion, dict[str, str]]:
    """Rewrite ``CENTRIFUGO_`` variables; return them by their current names.

    Other variables are left out; variables with current names stay as they are.
    """
    known = {name for name, _, _ in as_variables(Config())}
    kept: dict[str, str] = {}
    old: Tree = {}
    for name, text in variables.items():
        if not name.startswith(f"{ENVIRONMENT_PREFIX}_") or not text:
            continue
        if name in known or name.startswith(f"{ENVIRONMENT_PREFIX}_VAR_"):
            kept[name] = text
        else:
            old[name.removeprefix(f"{ENVIRONMENT_PREFIX}_").lower()] = _value(text)
    if not old:
        return Conversion(Verdict(CURRENT, "no variable has an old name"), {}, []), kept
    verdict = Verdict(version, "given by --from") if version else detect(old)
    if not verdict.version:
        return Conversion(verdict, {}, []), kept
    modern, changes = modernize(old, verdict.version)
    if not channel_options() & old.keys():
        # If there is a file, added permissions belong in it.
        modern.get("channel", {}).pop("without_namespace", None)
        changes = [change for change in changes if change.name != "permissions"]
    reader = Reader({}, {})
    reader.section(Config, modern, "", "")
    changes += [_drop(modern, path) for path in reader.unknown]
    found = {**_variables(Config, modern, ENVIRONMENT_PREFIX), **kept}
    return Conversion(verdict, modern, changes), found


def _value(text: str) -> Any:
    """Return the value of a variable as a file would hold it."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if text[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def _variables(section: type[Struct], tree: Tree, prefix: str) -> dict[str, str]:
    """Return the variables of all values in *tree*."""
    found: dict[str, str] = {}
    for option in options_of(section):
        if option.name not in tree:
            continue
        name, value = environment_name(prefix, option.name), tree[option.name]
        if option.section is not None and isinstance(value, Mapping):
            found |= _variables(option.section, dict(value), name)
        else:
            found[name] = _text(option, value)
    return found


def _text(option: Option, value: Any) -> str:
    if option.kind == "strings" and isinstance(value, list):
        return " ".join(map(str, value))
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value)

"""The command that rewrites old configuration files."""

import argparse
import os
import shlex
import sys
from pathlib import Path

from ..config.check import problems
from ..config.conversion import Conversion, convert, convert_variables
from ..config.dump import FORMATS, as_text
from ..config.files import read_file
from ..config.legacy_versions import CURRENT
from ..config.load import from_tree, read_dotenv
from ..config.unsupported import refused
from ..errors import ConfigError
from .config_commands import write_new_file
from .outcome import FAILED, USAGE, CommandFailed

__all__ = ["convertconfig"]

_TITLES = {
    "moved": "moved",
    "shadowed": "not used",
    "gone": "dropped",
    "adapted": "changed",
}


def convertconfig(options: argparse.Namespace) -> None:
    """Rewrite a configuration of v2 to v5 for today, and report what has changed."""
    if options.env_file:
        text, conversion = _variables(options.env_file, options.version)
    else:
        text, conversion = _file(options)
    if options.output:
        taken = f"error: output file already exists: {options.output}"
        write_new_file(options.output, text, taken)
    else:
        sys.stdout.write(text)
    if not options.env_file:
        _check(conversion)


def _file(options: argparse.Namespace) -> tuple[str, Conversion]:
    path = options.config
    try:
        tree = read_file(path)
    except ConfigError as error:
        raise CommandFailed(str(error), USAGE) from None
    if tree is None:
        raise CommandFailed(f"{path}: there is no such file", USAGE)
    extension = Path(options.output or path).suffix.lower()
    if extension not in FORMATS:
        names = ", ".join(FORMATS)
        raise CommandFailed(f"{options.output}: must end in one of: {names}", USAGE)
    conversion = convert(tree, options.version)
    _report(path, conversion)
    return as_text(conversion.tree, extension), conversion


def _variables(path: str, version: int) -> tuple[str, Conversion]:
    if not Path(path).is_file():
        raise CommandFailed(f"{path}: there is no such file", USAGE)
    try:
        variables = read_dotenv(path)
    except ConfigError as error:
        raise CommandFailed(str(error), USAGE) from None
    conversion, found = convert_variables(variables, version)
    _report(path, conversion)
    lines = [f"{name}={shlex.quote(text)}\n" for name, text in sorted(found.items())]
    return "".join(lines), conversion


def _report(path: str, conversion: Conversion) -> None:
    """Print what has changed; each line names one option.

    :raises CommandFailed: the version cannot be told.
    """
    version, reason = conversion.verdict.version, conversion.verdict.reason
    if not version:
        raise CommandFailed(
            f"{path}: cannot tell the version: {reason}; give --from, because"
            " channels were open by default before v4",
            USAGE,
        )
    kind = "already of" if version == CURRENT else "read as a file of"
    _say(f"{path}: {kind} v{version} ({reason})")
    for change in sorted(
        conversion.changes, key=lambda each: list(_TITLES).index(each.kind)
    ):
        arrow = " -> " if change.kind == "moved" else ": "
        _say(f"{_TITLES[change.kind]}: {change.name}{arrow}{change.explanation}")


def _check(conversion: Conversion) -> None:
    """Check the result as ``checkconfig`` would.

    :raises CommandFailed: the server would refuse it.
    """
    try:
        config = from_tree(conversion.tree, os.environ).config
        found = problems(config) + refused(config)
    except ConfigError as error:
        found = str(error).split("\n")
    for line in found:
        _say(f"error: {line}")
    if found:
        raise CommandFailed("the server would refuse the result", FAILED)


def _say(line: str) -> None:
    print(line, file=sys.stderr)

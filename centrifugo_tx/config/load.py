"""Loads the configuration from file, environment and flags, as the reference does."""

import os
from collections.abc import Mapping
from typing import cast

from attrs import field, frozen

from ..errors import ConfigError
from .files import read_file
from .legacy import modernize
from .model import Config
from .reader import Reader
from .schema import ENVIRONMENT_PREFIX

__all__ = ["Loaded", "from_tree", "load", "read_dotenv"]


@frozen
class Loaded:
    """A configuration, and remarks on its sources."""

    config: Config
    path: str
    found: bool
    unknown_keys: list[str]
    unknown_variables: list[str]
    #: One line per old name that was read.
    renamed: list[str]
    #: One line per value that was converted to the type of its option.
    converted: list[str]
    #: The paths of PEM files, by option.
    pem_files: dict[str, str] = field(factory=dict)


def load(
    path: str,
    environ: Mapping[str, str],
    flags: Mapping[str, str] | None = None,
) -> Loaded:
    """Read and convert the configuration; check only the types.

    :raises ConfigError: one line for each value that cannot be read.
    """
    tree = read_file(path) if path else None
    return from_tree(tree, environ, flags, path)


def from_tree(
    tree: Mapping[str, object] | None,
    environ: Mapping[str, str],
    flags: Mapping[str, str] | None = None,
    path: str = "",
) -> Loaded:
    """Convert the content of a configuration file; None if there is no such file.

    :raises ConfigError: one line for each value that cannot be read.
    """
    reader = Reader(environ, flags or {})
    modern, renamed = modernize(reader.members(tree or {}, ""))
    config = cast(Config, reader.section(Config, modern, "", ENVIRONMENT_PREFIX))
    if reader.problems:
        raise ConfigError("\n".join(reader.problems))
    return Loaded(
        config,
        path,
        tree is not None,
        reader.unknown,
        reader.strangers(),
        [str(change) for change in renamed],
        reader.converted,
        reader.pem_files,
    )


def read_dotenv(path: str) -> dict[str, str]:
    """Return the variables of a ``.env`` file; none if there is no such file.

    :raises ConfigError: a line is malformed.
    """
    if not os.path.exists(path):
        return {}
    from dotenv import dotenv_values
    from dotenv.parser import parse_stream

    try:
        with open(path) as stream:
            broken = [part.original.line for part in parse_stream(stream) if part.error]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    if broken:
        raise ConfigError(f"{path}: line {broken[0]} is not NAME=value")
    return {name: value or "" for name, value in dotenv_values(path).items()}

"""Commands that write, check and describe configuration files."""

import argparse
import base64
import os
import secrets
import sys
from pathlib import Path

from ..config.check import problems, warnings
from ..config.dump import FORMATS, as_text, as_tree, as_variables
from ..config.reference import markdown, restructured
from ..config.reference_pages import update
from ..config.unsupported import ignored, refused
from ..workers import check_workers
from .configuration import checked, loaded
from .outcome import Refusal

__all__ = [
    "checkconfig",
    "configdoc",
    "defaultconfig",
    "defaultenv",
    "genconfig",
    "write_new_file",
]

#: Origins of pages in development.
PAGES = ("http://localhost:*", "http://127.0.0.1:*")


def genconfig(options: argparse.Namespace) -> None:
    """Write a minimal configuration file with fresh secrets."""
    extension = _extension(options.config)
    tree = {
        "client": {
            "token": {"hmac_secret_key": _secret(64)},
            "allowed_origins": [*PAGES],
        },
        "admin": {"enabled": False, "password": _secret(16), "secret": _secret(64)},
        "http_api": {"key": _secret(64)},
    }
    taken = f"error: output config file already exists: {options.config}"
    write_new_file(options.config, as_text(tree, extension), taken)
    try:
        checked(options.config)
    except Refusal:
        Path(options.config).unlink()
        raise
    print(
        f"{options.config}: pages of {' and '.join(PAGES)} may connect; add the origins"
        " of your own pages to client.allowed_origins"
    )


def _secret(size: int) -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(size)).decode().rstrip("=")


def _extension(path: str) -> str:
    extension = Path(path).suffix.lower()
    if extension not in FORMATS:
        names = ", ".join(name[1:] for name in FORMATS)
        raise Refusal(
            f"error: output config file must have one of supported extensions: {names}"
        )
    return extension


def write_new_file(path: str, text: str, taken: str) -> None:
    """Write a new file that only its owner may read.

    :param taken: the error if there is such a file already.
    :raises Refusal: it cannot be written.
    """
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Refusal(taken) from None
    except OSError as error:
        raise Refusal(f"error: {path}: {error.strerror}") from None
    with open(number, "w") as stream:
        stream.write(text)


def checkconfig(options: argparse.Namespace) -> None:
    """Check a configuration file."""
    file = loaded(options.config)
    if not file.found:
        raise Refusal("config file not found")
    found = problems(file.config) + refused(file.config)
    found = found or check_workers(file.config)
    if found:
        raise Refusal("error validating config: " + "\n".join(found))
    lines = [
        *(f"unknown variable {name}" for name in file.unknown_variables),
        *file.renamed,
        *file.converted,
        *ignored(file.config),
        *warnings(file.config),
    ]
    if options.strict:
        errors = [f"error: {line}" for line in lines]
        if file.unknown_keys:
            errors.append("unknown keys in config: " + ", ".join(file.unknown_keys))
        if errors:
            raise Refusal("\n".join(errors))
    for line in (*(f"unknown key {key}" for key in file.unknown_keys), *lines):
        print(f"warning: {line}", file=sys.stderr)


def defaultconfig(options: argparse.Namespace) -> None:
    """Write a configuration file with all options."""
    extension = _extension(options.config)
    text = as_text(as_tree(checked(options.base)), extension)
    if options.dry_run:
        print(text, end="")
        return
    write_new_file(options.config, text, "error: target file already exists")


def defaultenv(options: argparse.Namespace) -> None:
    """Print all options as environment variables."""
    for name, value, is_set in sorted(as_variables(checked(options.base))):
        if is_set or not options.base_non_zero_only:
            print(f"{name}={value}")


def configdoc(options: argparse.Namespace) -> None:
    """Print what all options mean, or write it into the documentation."""
    if options.update:
        try:
            update(Path(options.update))
        except (OSError, ValueError) as error:
            raise Refusal(f"error: {error}") from None
        return
    if not options.markdown:
        if options.section or options.base_level != 1:
            raise Refusal("error: --section and --base-level require --markdown")
        print(restructured(), end="")
        return
    try:
        print(markdown(options.section, options.base_level), end="")
    except KeyError:
        raise Refusal(f"error: no section {options.section}") from None

"""Converts the values of options from files, variables and flags.

Every reader takes a value from a file, an environment variable or a flag, and returns
the option's value.  A value of the wrong form raises `ValueError` with the right form
(configuration rules, "Value types").
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

from ..durations import parse_duration

__all__ = [
    "WrittenFloat",
    "WrittenInt",
    "read_bool",
    "read_duration",
    "read_float",
    "read_int",
    "read_map",
    "read_pem",
    "read_str",
    "read_strings",
    "substitute",
]

#: Text of a whole number, as Go reads it in any base: ``_`` separates digits only after
#: a prefix, and a leading zero means octal.
_WHOLE = re.compile(
    r"([-+]?)(?:0[xX]((?:_?[0-9a-fA-F])+)|0[bB]((?:_?[01])+)|0[oO]?((?:_?[0-7])+)"
    r"|(0|[1-9](?:_?[0-9])*))"
)
_LARGEST = 2**63 - 1
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False", ""})
_VARIABLE = re.compile(r"\$\{(CENTRIFUGO_VAR_[A-Za-z0-9_]+)\}")


class WrittenInt(int):
    """A whole number that remembers its text in the file."""

    written: str

    def __new__(cls, value: int, written: str) -> "WrittenInt":
        """Return the number *value*."""
        self = super().__new__(cls, value)
        self.written = written
        return self


class WrittenFloat(float):
    """A number that remembers its text in the file."""

    written: str

    def __new__(cls, value: float, written: str) -> "WrittenFloat":
        """Return the number *value*."""
        self = super().__new__(cls, value)
        self.written = written
        return self


def read_duration(value: object) -> float:
    """Return seconds; text has units, and a bare number counts nanoseconds."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return read_int(value) * 1e-9
    if not isinstance(value, str):
        raise ValueError("must be a duration such as 1m30s")
    return parse_duration(value)


def read_bool(value: object) -> bool:
    """Return a truth value; text may have any of the usual spellings."""
    if isinstance(value, (bool, int, float)):
        return bool(value)
    if isinstance(value, str):
        if value in _TRUE:
            return True
        if value in _FALSE:
            return False
    raise ValueError("must be true or false")


def read_int(value: object) -> int:
    """Return a whole number of 64 bits; drop a fraction.

    Text may be decimal, or begin with ``0x``, ``0o``, ``0`` (octal) or ``0b``.
    """
    if isinstance(value, str):
        number = _int(value)
    elif isinstance(value, (int, float)) and value - value == 0:  # no NaN or infinity
        number = int(value)
    else:
        raise ValueError("must be a whole number")
    if not -_LARGEST - 1 <= number <= _LARGEST:
        raise ValueError(f"must be a whole number up to {_LARGEST}")
    return number


def _int(text: str) -> int:
    match = _WHOLE.fullmatch(text or "0")
    if match is None:
        raise ValueError("must be a whole number")
    sign, *forms = match.groups()
    for form, base in zip(forms, (16, 2, 8, 10), strict=True):
        if form is not None:
            digits = form.replace("_", "")[
                :80
            ]  # longer numbers are out of range anyway
            return -int(digits, base) if sign == "-" else int(digits, base)
    raise AssertionError(text)


def read_float(value: object) -> float:
    """Return a number."""
    if isinstance(value, (bool, int, float, str)):
        try:
            return float(value)
        except ValueError:
            pass
    raise ValueError("must be a number")


def read_str(value: object) -> str:
    """Return text; a number becomes its digits."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float) and value - value == 0:
        text = format(Decimal(repr(float(value))), "f")
        return text.removesuffix(".0")
    if isinstance(value, int):
        return str(int(value))
    raise ValueError("must be text")


def read_strings(value: object, *, split: bool) -> list[str]:
    """Return a list of texts; ``split`` separates text at each space.

    Without ``split`` a text is a list of one item, and commas have no meaning.
    """
    if isinstance(value, str):
        if value == "" or (split and not value.strip()):
            return []
        return value.split(" ") if split else [value]
    if isinstance(value, (list, tuple)):
        return ["" if item is None else read_str(item) for item in value]
    if isinstance(value, Mapping) and not value:
        return []
    if isinstance(value, (bool, int, float)):
        return [read_str(value)]
    raise ValueError("must be a list of texts")


def read_map(value: object, *, text: bool) -> dict[str, str]:
    """Return names with their values; ``text``: the value is JSON from a variable."""
    if isinstance(value, str):
        if value == "":
            return {}
        if not text:
            raise ValueError("must be an object, or a list of key and value")
        try:
            value = json.loads(value)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise ValueError("must be a JSON object")
        return _texts(value)
    if isinstance(value, Mapping):
        lowered = {str(key).lower(): item for key, item in value.items()}
        dotted = next((key for key in lowered if "." in key), None)
        if dotted is not None:
            raise ValueError(
                f"cannot hold the name {dotted!r}: write names with a dot as a list"
                " of key and value"
            )
        return _texts(lowered)
    if isinstance(value, (list, tuple)):
        return _pairs(value)
    raise ValueError("must be an object, or a list of key and value")


def _texts(value: Mapping[str, object]) -> dict[str, str]:
    for key, item in value.items():
        if not isinstance(item, str):
            raise ValueError(f"must have text at {key!r}")
    return {key: str(item) for key, item in value.items()}


def _pairs(items: list[object] | tuple[object, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in items:
        if not isinstance(item, Mapping):
            raise ValueError("must be a list of objects with key and value")
        pair = {str(key).lower(): part for key, part in item.items()}
        key, text = pair.get("key"), pair.get("value")
        if not isinstance(key, str) or not isinstance(text, str):
            raise ValueError("must have text as key and as value in each object")
        if key in found:
            raise ValueError(f"names {key!r} twice")
        found[key] = text
    return found


def substitute(value: str, variables: Mapping[str, str]) -> str:
    """Return *value* with each ``${CENTRIFUGO_VAR_…}`` replaced by its variable."""

    def look_up(match: re.Match[str]) -> str:
        name = match[1]
        if name not in variables:
            raise ValueError(f"names the variable {name}, which is not set")
        return variables[name]

    return _VARIABLE.sub(look_up, value)


def read_pem(value: object) -> str:
    """Return PEM text from PEM, its base64, or the path of its file."""
    text = read_str(value)
    if text == "" or _is_pem(text):
        return text
    try:
        decoded = base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        decoded = ""
    if _is_pem(decoded):
        return decoded
    try:
        content = Path(text).read_text()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no such file"
        raise ValueError(
            f"must be PEM, the base64 of PEM, or the path of a PEM file ({reason})"
        ) from None
    if not _is_pem(content):
        raise ValueError("is the path of a file that contains no PEM")
    return content


def _is_pem(text: str) -> bool:
    return "-----BEGIN " in text and "-----END " in text

"""Durations as text: ``300ms``, ``1m30s``, ``720h``.

See configuration rules, "Value types".
"""

import re

__all__ = ["format_duration", "parse_duration"]

_UNITS = {
    "ns": 1e-9,
    "us": 1e-6,
    "\u00b5s": 1e-6,
    "\u03bcs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)([a-z\u00b5\u03bc]+)")
#: The longest duration, in nanoseconds: the largest signed number of 64 bits.
_LONGEST = 2**63 - 1


def parse_duration(text: str) -> float:
    """Return the seconds of *text*: numbers with units, and an optional sign.

    :raises ValueError: it is not a duration; the message gives an example.
    """
    sign = -1.0 if text.startswith("-") else 1.0
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return 0.0
    parts = _PART.findall(rest)
    known = all(unit in _UNITS for _, unit in parts)
    if not (parts and known) or "".join(map("".join, parts)) != rest:
        raise ValueError("must be a duration such as 300ms, 1m30s or 720h")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if seconds * 1e9 > _LONGEST:
        raise ValueError("must be a duration of less than 292 years")
    return sign * seconds


def format_duration(seconds: float) -> str:
    """Return the text of a duration, as ``720h0m0s``, ``1m30s`` or ``300ms``."""
    nanoseconds = round(seconds * 1e9)
    sign, rest = ("-" if nanoseconds < 0 else ""), abs(nanoseconds)
    if rest < 1_000_000_000:
        for unit, size in (("ms", 1_000_000), ("us", 1000), ("ns", 1)):
            if rest >= size:
                return f"{sign}{rest / size:g}{unit}"
        return "0s"
    minutes, nanoseconds = divmod(rest, 60_000_000_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{nanoseconds / 1e9:.9f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{sign}{hours}h{minutes}m{text}"
    return f"{sign}{minutes}m{text}" if minutes else sign + text

"""Text for terminals: colors, tables, and nothing that could command the terminal."""

import os
import sys
from collections.abc import Sequence
from typing import TextIO

from attrs import frozen

__all__ = ["Style", "duration", "printable", "style_for", "table"]


@frozen
class Style:
    """Colors, if there are any."""

    enabled: bool = False

    def bold(self, text: str) -> str:
        """Return *text*, bold."""
        return self._with("1", text)

    def faint(self, text: str) -> str:
        """Return *text*, less visible."""
        return self._with("2", text)

    def red(self, text: str) -> str:
        """Return *text* in red."""
        return self._with("31", text)

    def green(self, text: str) -> str:
        """Return *text* in green."""
        return self._with("32", text)

    def cyan(self, text: str) -> str:
        """Return *text* in cyan."""
        return self._with("36", text)

    def _with(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.enabled and text else text


def style_for(stream: TextIO | None = None) -> Style:
    """Return colors for a terminal that wants them (no-color.org)."""
    stream = stream or sys.stdout
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return Style(wanted and stream.isatty())


def printable(text: str) -> str:
    r"""Return *text* with what no terminal should get as ``\x1b`` or ``\u202e``."""
    if text.isprintable():
        return text
    return "".join(
        char
        if char.isprintable()
        else char.encode("unicode_escape", "surrogatepass").decode()
        for char in text
    )


def table(
    titles: Sequence[str],
    rows: Sequence[Sequence[str]],
    style: Style,
    right: frozenset[int] = frozenset(),
) -> list[str]:
    """Return the lines of a table; columns in *right* are aligned to the right.

    The last column is not padded.
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [
        max(len(title), *(len(row[index]) for row in cells), 0)
        for index, title in enumerate(titles)
    ]

    def line(row: Sequence[str]) -> str:
        return "  ".join(
            cell.rjust(widths[index]) if index in right else cell.ljust(widths[index])
            for index, cell in enumerate(row)
        ).rstrip()

    return [style.bold(line(titles)), *map(line, cells)]


def duration(seconds: float) -> str:
    """Return a time in its two largest units, such as ``3d 4h``."""
    whole = int(seconds)
    parts = [
        (whole // 86400, "d"),
        (whole // 3600 % 24, "h"),
        (whole // 60 % 60, "m"),
        (whole % 60, "s"),
    ]
    first = next((index for index, part in enumerate(parts) if part[0]), 3)
    return " ".join(f"{value}{unit}" for value, unit in parts[first : first + 2])

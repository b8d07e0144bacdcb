"""One page out of many names, without holding up the reactor."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from ..core.time_slices import Slices

__all__ = ["first_rows", "merged"]

#: Rows that are looked at between two looks at the clock.
CHUNK = 256

T = TypeVar("T")


async def first_rows(
    rows: Sequence[T],
    name_of: Callable[[T], str],
    matches: Callable[[T], bool],
    after: str,
    limit: int,
    slices: Slices,
) -> tuple[list[T], int]:
    """Return the first rows by name, and the number of matches.

    Work continues in a later turn of the reactor after 5 ms.

    :param after: only rows with a greater name.
    :return: at most *limit* rows and one more, which shows that another page exists.
    """
    found: list[tuple[str, int, T]] = []
    most, matched = limit + 1, 0
    for start in range(0, len(rows), CHUNK):
        if slices.over():
            await slices.next()
        last = found[-1][0] if len(found) == most else None
        for number, row in enumerate(rows[start : start + CHUNK], start):
            if not matches(row):
                continue
            matched += 1
            name = name_of(row)
            if name > after and (last is None or name < last):
                found.append((name, number, row))
        found.sort(key=_order)
        del found[most:]
    return [row for _, _, row in found], matched


def _order(found: tuple[str, int, object]) -> tuple[str, int]:
    return found[0], found[1]


def merged(
    pages: Iterable[Sequence[T]], name_of: Callable[[T], str], limit: int
) -> tuple[list[T], bool]:
    """Return one page out of the pages of several nodes, and whether more follow."""
    rows = sorted((row for page in pages for row in page), key=name_of)
    return rows[:limit], len(rows) > limit

"""The objects of a process by type, counted without stopping it."""

import gc
import sys
from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import Any

import msgspec
from msgspec import Raw

from ..core.time_slices import Slices

__all__ = ["HeapCensus", "TypeRow", "count_objects"]

#: Objects that are counted; the set of their ids then takes about 70 MB.
MOST = 1_000_000
#: Entries of one container that are looked at, so that none takes a turn for itself.
ENTRIES = 20_000
#: Objects between two looks at the clock.
STEP = 32
#: Types in the answer.
TYPES = 100

#: Types whose objects refer to nothing.
_ATOMIC = frozenset((str, bytes, int, float, bool, complex, bytearray, type(None)))


class TypeRow(msgspec.Struct, frozen=True):
    """The objects of one type; ``size`` is in bytes, without what they refer to."""

    name: str
    count: int
    size: int


class HeapCensus(msgspec.Struct, frozen=True):
    """What was found.

    ``complete`` is false when there are more than `MOST` objects; ``cut`` is the number
    of containers of which only the first `ENTRIES` entries were followed.
    """

    objects: int
    size: int
    complete: bool
    cut: int
    types: list[TypeRow]


async def count_objects(roots: Iterable[object], slices: Slices) -> HeapCensus:
    """Count what can be reached from *roots*, in slices of a few milliseconds.

    The process goes on in between, so the numbers are those of no single moment.
    Texts that are only keys are passed over, as the garbage collector does.
    """
    counts: dict[type, list[int]] = {}
    waiting: deque[Any] = deque(roots)
    seen: set[int] = set()
    # What this function itself has made is not counted.
    seen.update((id(counts), id(waiting), id(seen), id(slices)))
    objects = size = cut = 0
    while waiting and objects < MOST:
        if objects % STEP == 0 and slices.over():
            await slices.next()
        each = waiting.popleft()
        number = id(each)
        if number in seen:
            continue
        seen.add(number)
        objects += 1
        kind = type(each)
        bytes_of = _size(each)
        size += bytes_of
        row = counts.setdefault(kind, [0, 0])
        row[0] += 1
        row[1] += bytes_of
        if kind not in _ATOMIC:
            referents, is_cut = _referents(each)
            cut += is_cut
            waiting.extend(each for each in referents if id(each) not in seen)
    rows = sorted(counts.items(), key=lambda item: item[1][1], reverse=True)
    return HeapCensus(
        objects,
        size,
        not waiting,
        cut,
        [TypeRow(_name(kind), count, total) for kind, (count, total) in rows[:TYPES]],
    )


def _referents(container: Any) -> tuple[Iterable[Any], bool]:
    kind = type(container)
    if kind in (dict, list, tuple, set, frozenset, deque) and len(container) > ENTRIES:
        first = list(islice(container, ENTRIES))
        if kind is dict:
            first += [container[key] for key in first]
        return first, True
    return gc.get_referents(container), False


def _size(each: object) -> int:
    if isinstance(each, Raw):  # it says nonsense
        return 64 + memoryview(each).nbytes
    try:
        return sys.getsizeof(each)
    except Exception:  # some extension types cannot say
        return 0


def _name(kind: type) -> str:
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"

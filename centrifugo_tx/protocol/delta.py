"""Payloads as the difference to the one before: fossil deltas.

See client protocol, "Deltas".

A delta is text as far as its target is: no insert begins or ends inside a character
of UTF-8.
"""

import re
from collections.abc import Iterator
from itertools import islice
from struct import unpack
from typing import Literal

from attrs import define, field

from .errors import DecodeError

__all__ = ["apply", "make"]

_DIGITS = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~"
_VALUES = {digit: value for value, digit in enumerate(_DIGITS)}
_NEWLINE, _COPY, _INSERT, _COMMA, _END = b"\n@:,;"

#: How many bytes are looked for near by, and how far away that is.
_NEAR, _REACH = 8, 32
#: How long the parts of the base are that can be found anywhere, and how long a
#: common part must be to be taken without looking for a better one.
_BLOCK, _LONG = 16, 32
#: How many common parts are looked for.
_MOST = 400

#: How much is compared at once, and the runs of zeros where it is alike.
_WINDOW = 1024
_ALIKE = re.compile(rb"\0{8,}")

#: A part of the target that the base has, too: where in the target, where in the
#: base, how long.
Match = tuple[int, int, int]


def make(base: bytes, target: bytes) -> bytes:
    """Return what makes *target* of *base*; it may be longer than *target*.

    The time it takes grows with the lengths, not with their product.
    """
    parts = [_number(len(target)), b"\n"]
    characters = not target.isascii() and _is_text(target)
    written = 0
    for match in _matches(base, target):
        start, at, count = _whole(match, target) if characters else match
        copy = b"%b@%b," % (_number(count), _number(at))
        if count <= len(copy) + 1:
            continue
        if start > written:
            parts += (_number(start - written), b":", target[written:start])
        parts.append(copy)
        written = start + count
    if written < len(target):
        parts += (_number(len(target) - written), b":", target[written:])
    parts += (_number(_checksum(target)), b";")
    return b"".join(parts)


def apply(base: bytes, delta: bytes) -> bytes:
    """Return what *delta* makes of *base*.

    :raises DecodeError: *delta* is none, or belongs to another base.
    """
    size, place = _read(delta, 0)
    _expect(delta, place, _NEWLINE, "its length ends with a newline")
    place += 1
    made = bytearray()
    while True:
        number, place = _read(delta, place)
        command = delta[place] if place < len(delta) else None
        place += 1
        if command == _COPY:
            at, place = _read(delta, place)
            _expect(delta, place, _COMMA, "a copy ends with a comma")
            place += 1
            _claim(at + number <= len(base), "a copy lies within the base")
            made += base[at : at + number]
        elif command == _INSERT:
            _claim(place + number <= len(delta), "an insert lies within the delta")
            made += delta[place : place + number]
            place += number
        else:
            _claim(command == _END, "a command is a copy, an insert or the end")
            _claim(place == len(delta), "nothing follows the end")
            _claim(len(made) == size, "the result has the length that was said")
            _claim(_checksum(made) == number, "the result has the right checksum")
            return bytes(made)
        _claim(len(made) <= size, "the result has the length that was said")


# --- What two payloads have in common ------------------------------------------


def _matches(base: bytes, target: bytes) -> Iterator[Match]:
    """Find common parts, in the order of *target*; they do not overlap there."""
    first = _alike(base, 0, target, 0, min(len(base), len(target)))
    if first:
        yield 0, 0, first
    last = _alike_at_end(base, target, min(len(base), len(target)) - first)
    stop = len(target) - last
    if first + _NEAR <= stop:
        yield from islice(_Search(base, target, stop).matches(first), _MOST)
    if last:
        yield stop, len(base) - last, last


@define(eq=False)
class _Search:
    """Finds common parts between the first and the last change.

    What was changed in its place goes on beside it, at the same distance; what was
    moved a little is found near by, what was moved far by an index of the base.
    Where nothing is found, the steps become longer.
    """

    base: bytes
    target: bytes
    stop: int
    #: Where blocks of the base stand.
    _index: dict[bytes, int] | None = field(default=None, init=False)
    #: How often the index may still be of no use.
    _hope: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._hope = min(2 + len(self.target) // 512, _BLOCK)

    def matches(self, place: int) -> Iterator[Match]:
        """Find common parts from *place* on, which is the same in both."""
        at = place
        while True:
            for match in self._beside(place, at):
                better = None
                if match[2] < _LONG and self._hope > 0:
                    better = self._better(match, place)
                match = better or match
                yield match
                place, at = match[0] + match[2], match[1] + match[2]
                if better:
                    break
            else:
                found = self._near(place, at)
                if found is None:
                    return
                if found[2] < _LONG and self._hope > 0:
                    found = self._better(found, place) or found
                yield found
                place, at = found[0] + found[2], found[1] + found[2]

    def _beside(self, place: int, at: int) -> Iterator[Match]:
        """Find what is alike at the same distance, as long as the gaps are small."""
        base, target, stop = self.base, self.target, self.stop
        while True:
            size = min(_WINDOW, stop - place, len(base) - at)
            if size < _NEAR:
                return
            one = int.from_bytes(base[at : at + size], "little")
            other = int.from_bytes(target[place : place + size], "little")
            end = 0
            for run in _ALIKE.finditer((one ^ other).to_bytes(size, "little")):
                start, before, end = run.start(), end, run.end()
                if start - before > _REACH:
                    return
                if end == size:
                    limit = min(stop - place, len(base) - at) - end
                    end += _alike(base, at + end, target, place + end, limit)
                yield place + start, at + start, end - start
            if not end:
                return
            place, at = place + end, at + end

    def _near(self, place: int, at: int) -> Match | None:
        """Find the next common part, wherever it begins."""
        find, target, floor, misses = self.base.find, self.target, place, 0
        while place + _NEAR <= self.stop:
            beside = at + place - floor
            low = beside - _REACH if place - floor > _REACH else at
            found = find(target[place : place + _NEAR], low, beside + _REACH)
            if found < 0 and misses >= _BLOCK:
                found = self._known().get(target[place : place + _BLOCK], -1)
            if found >= 0:
                return self._extended(place, found, floor)
            misses += 1
            place += 1 + misses // _BLOCK
        return None

    def _extended(self, place: int, at: int, floor: int) -> Match:
        """Return what is alike around *place* and *at*."""
        base, target = self.base, self.target
        while place > floor and at > 0 and base[at - 1] == target[place - 1]:
            place, at = place - 1, at - 1
        limit = min(len(base) - at, self.stop - place)
        return place, at, _alike(base, at, target, place, limit)

    def _better(self, match: Match, floor: int) -> Match | None:
        """Return what the index knows instead of a short match, if it is long."""
        place = match[0]
        known = self._known()
        for start in range(place, min(place + _LONG, self.stop - _BLOCK)):
            at = known.get(self.target[start : start + _BLOCK], -1)
            if at >= 0:
                found = self._extended(start, at, floor)
                if found[2] >= _LONG:
                    return found
        self._hope -= 1
        return None

    def _known(self) -> dict[bytes, int]:
        if self._index is None:
            base = self.base
            places = range(0, len(base) - _BLOCK + 1, _BLOCK)
            self._index = {base[place : place + _BLOCK]: place for place in places}
        return self._index


def _alike(base: bytes, at: int, target: bytes, place: int, limit: int) -> int:
    """Return how many bytes are the same from here on, at most *limit*."""
    known, size = 0, 64
    while known < limit:
        size = min(size, limit - known)
        one = base[at + known : at + known + size]
        other = target[place + known : place + known + size]
        if one != other:
            return known + _first_difference(one, other, "little")
        known, size = known + size, size * 4
    return known


def _alike_at_end(base: bytes, target: bytes, limit: int) -> int:
    """Return how many bytes are the same at the end, at most *limit*."""
    known, size = 0, 64
    while known < limit:
        size = min(size, limit - known)
        one = base[len(base) - known - size : len(base) - known]
        other = target[len(target) - known - size : len(target) - known]
        if one != other:
            return known + _first_difference(one, other, "big")
        known, size = known + size, size * 4
    return known


def _first_difference(one: bytes, other: bytes, order: Literal["little", "big"]) -> int:
    """Return how many bytes before the first different one, seen from low to high."""
    different = int.from_bytes(one, order) ^ int.from_bytes(other, order)
    return (different & -different).bit_length() - 1 >> 3


def _is_text(target: bytes) -> bool:
    try:
        target.decode()
    except UnicodeDecodeError:
        return False
    return True


def _whole(match: Match, target: bytes) -> Match:
    """Return *match* without the parts of characters at its ends."""
    start, at, count = match
    while count and target[start] & 0xC0 == 0x80:
        start, at, count = start + 1, at + 1, count - 1
    end = start + count
    if end < len(target):
        while count and target[start + count] & 0xC0 == 0x80:
            count -= 1
    return start, at, count


# --- Numbers --------------------------------------------------------------------


def _number(value: int) -> bytes:
    """Return *value* in base 64, without leading zeros."""
    if value < 64:
        return _DIGITS[value : value + 1]
    if value < 4096:
        return bytes((_DIGITS[value >> 6], _DIGITS[value & 63]))
    digits = bytearray()
    while value:
        digits.append(_DIGITS[value & 63])
        value >>= 6
    digits.reverse()
    return bytes(digits)


def _read(delta: bytes, place: int) -> tuple[int, int]:
    """Return the number at *place*, and where it ends."""
    value, start = 0, place
    while place < len(delta) and delta[place] in _VALUES:
        value = value << 6 | _VALUES[delta[place]]
        place += 1
        _claim(value < 2**32, "a number has 32 bits")
    _claim(place > start, "a number has digits")
    return value, place


def _checksum(data: bytes | bytearray) -> int:
    """Return the sum of *data* as big-endian numbers of 32 bits."""
    words = (len(data) + 3) // 4
    numbers: tuple[int, ...] = unpack(f">{words}I", data.ljust(words * 4, b"\0"))
    return sum(numbers) & 0xFFFFFFFF


def _expect(delta: bytes, place: int, byte: int, claim: str) -> None:
    _claim(place < len(delta) and delta[place] == byte, claim)


def _claim(holds: bool, claim: str) -> None:
    if not holds:
        raise DecodeError(f"malformed delta: not so that {claim}")

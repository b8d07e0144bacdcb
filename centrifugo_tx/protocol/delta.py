"""Fossil deltas: payloads as differences from the previous payload.

See client protocol, "Deltas".

A delta between texts is itself text: no insert splits a UTF-8 character.
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

#: The number of bytes to search for nearby, and the greatest distance of that search.
_NEAR, _REACH = 8, 32
#: The length of indexed blocks of the base, and the length from which a match is taken
#: without looking for a better one.
_BLOCK, _LONG = 16, 32
#: Maximum number of matches.
_MOST = 400

#: Bytes that are compared at once, and the runs of zeros that mark equal bytes.
_WINDOW = 1024
_ALIKE = re.compile(rb"\0{8,}")

#: A match: its start in the target, its start in the base, and its length.
Match = tuple[int, int, int]


def make(base: bytes, target: bytes) -> bytes:
    """Return the delta that turns *base* into *target*; it may be longer than *target*.

    The time grows with the sum of the lengths, not with their product.
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
    """Return the result of applying *delta* to *base*.

    :raises DecodeError: *delta* is malformed, or belongs to another base.
    """
    size, place = _read(delta, 0)
    _expect(delta, place, _NEWLINE, "no newline after its length")
    place += 1
    made = bytearray()
    while True:
        number, place = _read(delta, place)
        command = delta[place] if place < len(delta) else None
        place += 1
        if command == _COPY:
            at, place = _read(delta, place)
            _expect(delta, place, _COMMA, "no comma after a copy")
            place += 1
            _require(at + number <= len(base), "a copy reaches beyond the base")
            made += base[at : at + number]
        elif command == _INSERT:
            _require(place + number <= len(delta), "an insert reaches beyond the delta")
            made += delta[place : place + number]
            place += number
        else:
            _require(command == _END, "an unknown command")
            _require(place == len(delta), "bytes follow the end")
            _require(len(made) == size, "the result has another length")
            _require(_checksum(made) == number, "the result has another checksum")
            return bytes(made)
        _require(len(made) <= size, "the result has another length")


# --- What two payloads have in common ------------------------------------------


def _matches(base: bytes, target: bytes) -> Iterator[Match]:
    """Find matches in the order of *target*, in which they do not overlap."""
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
    """Finds matches between the first and the last difference.

    A match after a change in place has the same distance between base and target.  A
    block that moved a little is found by a search nearby, one that moved far by an
    index of the base.  While no match is found, the steps become longer.
    """

    base: bytes
    target: bytes
    stop: int
    #: The positions of blocks in the base.
    _index: dict[bytes, int] | None = field(default=None, init=False)
    #: The number of failed lookups that the index may still have.
    _hope: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._hope = min(2 + len(self.target) // 512, _BLOCK)

    def matches(self, place: int) -> Iterator[Match]:
        """Find matches from *place* on, which is the same position in both."""
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
        """Find matches at the same distance, as long as the gaps are small."""
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
        """Find the next match at any distance."""
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
        """Return the match around *place* and *at*."""
        base, target = self.base, self.target
        while place > floor and at > 0 and base[at - 1] == target[place - 1]:
            place, at = place - 1, at - 1
        limit = min(len(base) - at, self.stop - place)
        return place, at, _alike(base, at, target, place, limit)

    def _better(self, match: Match, floor: int) -> Match | None:
        """Return the indexed match in place of a short one, if it is long enough."""
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
    """Return how many bytes are equal from here on, at most *limit*."""
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
    """Return how many bytes are equal at the end, at most *limit*."""
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
    """Return the number of bytes before the first difference, from low to high."""
    different = int.from_bytes(one, order) ^ int.from_bytes(other, order)
    return (different & -different).bit_length() - 1 >> 3


def _is_text(target: bytes) -> bool:
    try:
        target.decode()
    except UnicodeDecodeError:
        return False
    return True


def _whole(match: Match, target: bytes) -> Match:
    """Return *match* without partial characters at its ends."""
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
    """Return the number at *place*, and the place after it."""
    value, start = 0, place
    while place < len(delta) and delta[place] in _VALUES:
        value = value << 6 | _VALUES[delta[place]]
        place += 1
        _require(value < 2**32, "a number exceeds 32 bits")
    _require(place > start, "a number has no digits")
    return value, place


def _checksum(data: bytes | bytearray) -> int:
    """Return the sum of *data* as big-endian numbers of 32 bits."""
    words = (len(data) + 3) // 4
    numbers: tuple[int, ...] = unpack(f">{words}I", data.ljust(words * 4, b"\0"))
    return sum(numbers) & 0xFFFFFFFF


def _expect(delta: bytes, place: int, byte: int, claim: str) -> None:
    _require(place < len(delta) and delta[place] == byte, claim)


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise DecodeError(f"malformed delta: {problem}")

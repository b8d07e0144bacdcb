"""Fossil deltas."""

import json
from typing import Any

from centrifuge.fossil import apply_delta  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.errors import DecodeError
from centrifugo_tx.protocol.delta import apply, make

BASE = b'{"lamp":"kitchen","level":41,"mode":"night"}'
TARGET = b'{"lamp":"kitchen","level":87,"mode":"night"}'
DELTA = b"h\nQ@0,2:87G@S,ogJ_P;"


@st.composite
def edited(draw: Any, pieces: st.SearchStrategy[Any]) -> tuple[Any, Any]:
    """Return something made of pieces, and the same after some edits."""
    base = draw(st.lists(pieces, max_size=12))
    target = list(base)
    for _ in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(["insert", "remove", "move", "replace"]))
        place = draw(st.integers(0, len(target)))
        if kind == "insert":
            target.insert(place, draw(pieces))
        elif place < len(target):
            piece = target.pop(place)
            if kind == "move":
                target.insert(draw(st.integers(0, len(target))), piece)
            elif kind == "replace":
                target.insert(place, draw(pieces))
    empty = b"" if base and isinstance(base[0], bytes) else ""
    return empty.join(base), empty.join(target) if base else draw(pieces)


TEXTS = edited(st.text(max_size=60))
BYTES = edited(st.binary(min_size=1, max_size=60) | st.sampled_from([b"a" * 40]))


class MakingTests(SynchronousTestCase):
    """A delta turns the base into the target."""

    def test_example(self) -> None:
        """The worked example comes out to the byte (client protocol, "Deltas")."""
        self.assertEqual(make(BASE, TARGET), DELTA)
        self.assertEqual(apply(BASE, DELTA), TARGET)

    def test_extremes(self) -> None:
        """Nothing, the same, and something else altogether can be said."""
        for base, target, delta in (
            (b"", b"", b"0\n0;"),
            (b"", b"abc", b"3\n3:abc1XObC0;"),
            (b"abc", b"", b"0\n0;"),
            (BASE, BASE, b"h\nh@0,ogJKJ;"),
        ):
            self.assertEqual(make(base, target), delta)
            self.assertEqual(apply_delta(base, delta), target)

    def both_ways(self, base: bytes, target: bytes) -> bytes:
        """Apply a delta by our own means and by those of the official client."""
        delta = make(base, target)
        self.assertEqual(apply(base, delta), target)
        self.assertEqual(bytes(apply_delta(base, delta)), target)
        return delta

    @given(st.binary(max_size=200), st.binary(max_size=200))
    def test_any(self, base: bytes, target: bytes) -> None:
        """Any bytes can be led to any others."""
        self.both_ways(base, target)

    @settings(max_examples=300)
    @given(BYTES)
    def test_edited(self, payloads: tuple[bytes, bytes]) -> None:
        """So can bytes that have much in common."""
        base, target = payloads
        self.both_ways(base or b"", target or b"")

    @settings(max_examples=300)
    @given(TEXTS)
    def test_text(self, payloads: tuple[str, str]) -> None:
        """Between texts of any language, a delta is text."""
        base, target = payloads
        self.both_ways(base.encode(), target.encode()).decode()

    @given(st.binary(max_size=100), st.text(max_size=100))
    def test_to_text(self, base: bytes, text: str) -> None:
        """A delta to a text is text, even if its base is not."""
        target = base[:50] + text.encode()
        delta = self.both_ways(base, text.encode())
        delta.decode()
        self.both_ways(target, base)

    def test_shared_bytes(self) -> None:
        """Characters that begin or end alike are not cut in two."""
        base, target = "|ä|é|".encode(), "|ö|è|".encode()
        long = b"x" * 40
        delta = self.both_ways(long + base + long, long + target + long)
        self.assertIn(target[1:-1], delta)
        self.assertLess(len(delta), 30)


class SizeTests(SynchronousTestCase):
    """The changed bytes determine the length of a delta, not the rest."""

    def rows(self, count: int) -> list[dict[str, Any]]:
        return [
            {"id": n, "name": f"user{n}", "score": n * 7919 % 9973}
            for n in range(count)
        ]

    def delta(self, before: Any, after: Any) -> bytes:
        base, target = json.dumps(before).encode(), json.dumps(after).encode()
        delta = make(base, target)
        self.assertEqual(bytes(apply_delta(base, delta)), target)
        return delta

    def test_in_place(self) -> None:
        """Each number that changed costs about a dozen bytes."""
        after = self.rows(200)
        for n in range(5, 200, 20):
            after[n]["score"] += 1
        self.assertLess(len(self.delta(self.rows(200), after)), 10 * 14 + 12)

    def test_window(self) -> None:
        """Replacing an item of a list costs only the new item."""
        before = self.rows(100)
        newest = {"id": 7000, "name": "somebody", "score": 31337}
        after = [newest, *before[:-1]]
        self.assertLess(len(self.delta(before, after)), 90)

    def test_moved(self) -> None:
        """A block that moved far is found."""
        before = self.rows(100)
        after = [before[80], *before[:80], *before[81:]]
        self.assertLess(len(self.delta(before, after)), 60)

    def test_unlike(self) -> None:
        """Nothing in common costs a few bytes more than the payload."""
        base, target = b"ab" * 30_000, b"cde" * 20_000
        self.assertLess(len(make(base, target)), len(target) + 20)


class BadDeltaTests(SynchronousTestCase):
    """A malformed delta, or one for another base, is refused."""

    def test_malformed(self) -> None:
        """The error names the problem."""
        for delta, fault in (
            (b"", "digits"),
            (b"\n", "digits"),
            (b"h", "newline"),
            (b"h;", "newline"),
            (b"h\n", "digits"),
            (b"h\nQ", "command"),
            (b"h\nQ!", "command"),
            (b"h\nQ@", "digits"),
            (b"h\nQ@0", "comma"),
            (b"h\nQ@0;", "comma"),
            (b"h\nQ@T,", "base"),
            (b"h\nQ@~~~~~~,", "32 bits"),
            (b"4\n5:abcde0;", "length"),
            (b"h\nZ:abc", "insert"),
            (b"5\n4:abcd1XODa;", "length"),
            (b"4\n4:abcd0;", "checksum"),
            (DELTA + b"\n", "follow the end"),
        ):
            error = self.assertRaises(DecodeError, apply, BASE, delta)
            self.assertIn(fault, str(error), delta)

    def test_other_base(self) -> None:
        """A delta for another base fails the checksum."""
        other = BASE.replace(b"night", b"party")
        self.assertRaises(DecodeError, apply, other, DELTA)

    @given(st.binary(max_size=60))
    def test_noise(self, delta: bytes) -> None:
        """Arbitrary bytes lead to an error or a result."""
        try:
            apply(BASE, delta)
        except DecodeError:
            pass
        else:
            self.assertRegex(delta, rb";\Z")

    @given(st.integers(0, len(DELTA) - 1), st.integers(0, 255))
    def test_flipped(self, place: int, byte: int) -> None:
        """One wrong byte never gives a wrong payload."""
        wrong = bytearray(DELTA)
        wrong[place] = byte
        try:
            self.assertEqual(apply(BASE, bytes(wrong)), TARGET)
        except DecodeError:
            self.assertNotEqual(bytes(wrong), DELTA)

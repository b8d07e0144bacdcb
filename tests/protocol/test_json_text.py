"""JSON text that is examined without a decoder."""

import json
import tracemalloc
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.protocol import json_text
from centrifugo_tx.protocol.json_text import (
    MAX_DEPTH,
    replace_lone_surrogates,
    too_deep,
)


def nests_too_deeply(text: bytes) -> bool:
    """Decide as `too_deep` does, byte by byte."""
    depth, in_string, escaped = 0, False, False
    for byte in text:
        character = chr(byte)
        if in_string:
            in_string = escaped or character != '"'
            escaped = not escaped and character == "\\"
        elif character == '"':
            in_string = True
        elif character in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif character in "]}":
            depth -= 1
    return False


class TooDeepTests(SynchronousTestCase):
    """JSON that nests deeper than the bound is detected."""

    def setUp(self) -> None:
        """Let windows end within every kind of text."""
        self.patch(json_text, "_WINDOW", 300)

    @settings(deadline=None, max_examples=60)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(
                    [
                        *("[", "]", "{", "}", "[]", '"', "\\", '\\"', '""', '"["'),
                        *("\0", '"a\\\\"', '"\\"]"', "x" * 50, "\\\\"),
                        '"' + "é[" * 40 + '"',
                    ]
                ),
                st.integers(1, 300),
            ),
            max_size=12,
        )
    )
    def test_any_bytes(self, parts: list[tuple[str, int]]) -> None:
        """Of any bytes the same is said as by reading them one by one."""
        text = "".join(part * times for part, times in parts).encode()
        self.assertEqual(too_deep(text), nests_too_deeply(text))

    @settings(deadline=None, max_examples=60)
    @given(
        st.recursive(
            st.text('[]{}"\\a', max_size=8) | st.integers(),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.text('{"\\', max_size=3), inner, max_size=3)
            ),
        ),
        st.integers(MAX_DEPTH - 6, MAX_DEPTH + 2),
        st.integers(0, 400),
    )
    def test_json(self, value: object, depth: int, siblings: int) -> None:
        """The contents of strings do not count."""
        inside = json.dumps([value] + [[]] * siblings).encode()
        text = b"[" * depth + inside + b"]" * depth
        self.assertEqual(too_deep(text), nests_too_deeply(text))

    def test_bound(self) -> None:
        """Nesting up to the bound is accepted, whatever follows."""
        for beside in (b"", b"[]," * 500, b'"' + b"[" * 500 + b'",', b'"\\"[",' * 500):
            for depth in (MAX_DEPTH, MAX_DEPTH + 1):
                text = b"[" + beside + b"[" * (depth - 1) + b"]" * depth
                self.assertEqual(too_deep(text), depth > MAX_DEPTH)


class MendedTests(SynchronousTestCase):
    """Halves of surrogate pairs give way, and nothing else does."""

    def test_halves(self) -> None:
        """A half without its other becomes the replacement character."""
        for text, expected in (
            (rb'"a"', rb'"a"'),
            (rb'"\ud83d\ude00"', rb'"\ud83d\ude00"'),
            (rb'"\ud83d"', rb'"\ufffd"'),
            (rb'"\uDE00x\ud83d\ud83d\ude00"', rb'"\ufffdx\ufffd\ud83d\ude00"'),
            (rb'"\\ud83d\\\ud83d"', rb'"\\ud83d\\\ufffd"'),
            (rb'"\u00e9\n\ud8"', rb'"\u00e9\n\ud8"'),
            (b"\\ud83d\\", b"\\ufffd\\"),
        ):
            self.assertEqual(replace_lone_surrogates(text), expected)

    @settings(deadline=None, max_examples=60)
    @given(st.lists(st.sampled_from([r"\ud83d", r"\ude00", "\\\\", r"\n", "x", "ud8"])))
    def test_any(self, parts: list[str]) -> None:
        """The result can be decoded, and differs only in the lone surrogates."""
        text = f'"{"".join(parts)}"'.encode()
        expected = json.loads(text).encode("utf-16", "surrogatepass")
        self.assertEqual(
            json.loads(replace_lone_surrogates(text)),
            expected.decode("utf-16", "replace"),
        )


class MemoryTests(SynchronousTestCase):
    """However a text is made, a look at it takes little memory."""

    def test_memory(self) -> None:
        """Less than a byte for each of the text, be it strings, escapes or brackets."""
        opened = b"[" * MAX_DEPTH
        for text in (
            opened + b'"' + b"a" * 1_000_000 + b'"' + b"]" * 9 + b"[]",
            opened + b'"' + b"\\n" * 500_000 + b'"' + b"]" * 9 + b"[]",
            opened + b'"\\"",' * 200_000 + b"]" * 9 + b"[]",
            opened + b"]" + b"[]" * 500_000,
            opened + b'\\""a"' * 200_000 + b"]" * 9 + b"[]",
        ):
            self.assertFalse(too_deep(text))
            self.assertLess(self.peak(lambda text=text: too_deep(text)), len(text))

    def peak(self, action: Callable[[], object]) -> int:
        """Return how many bytes an action needed at most."""
        tracemalloc.start()
        try:
            action()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

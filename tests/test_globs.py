"""Glob patterns."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.globs import compile_glob


class GlobTests(SynchronousTestCase):
    """What matches what."""

    def test_matches(self) -> None:
        """Each kind of pattern."""
        for pattern, text, expected in (
            ("*", "", True),
            ("*", "a.b:c", True),
            ("https://*.example.com", "https://a.b.example.com", True),
            ("https://*.example.com", "https://example.com", False),
            ("a?c", "abc", True),
            ("a?c", "ac", False),
            ("[abc]", "b", True),
            ("[a-c]x", "bx", True),
            ("[!a-c]", "b", False),
            ("[!a-c]", "d", True),
            ("{a,b*}c", "bxxc", True),
            ("{a,b*}c", "cc", False),
            (r"\*", "*", True),
            (r"\*", "x", False),
            ("a.c", "abc", False),
            ("a,b", "a,b", True),
            ("[^]", "^", True),
            ("a\nb", "a\nb", True),
        ):
            with self.subTest(pattern=pattern, text=text):
                self.assertIs(compile_glob(pattern)(text), expected)

    def test_malformed(self) -> None:
        """Open brackets and braces, and lone backslashes, are refused."""
        for pattern in ("[", "[]", "[!]", "{a", "a}", "\\", "[b-a]"):
            with self.subTest(pattern=pattern), self.assertRaises(ValueError):
                compile_glob(pattern)

    @given(st.text(max_size=30))
    def test_escaped(self, text: str) -> None:
        """Any text, escaped, matches itself."""
        escaped = "".join(f"\\{character}" for character in text)
        self.assertTrue(compile_glob(escaped)(text))

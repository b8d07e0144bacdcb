"""Globs: their matches, and malformed patterns."""

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.globs import LONGEST_PATTERN, compile_glob

MATCHES = (
    ("", ("",), ("a",)),
    ("abc", ("abc",), ("ab", "abcd", "xabc", "ABC")),
    ("a*c", ("ac", "abc", "a/b.c", "a\nc"), ("ab", "bc")),
    ("*", ("", "anything", "line\nline"), ()),
    ("**", ("", "a"), ()),
    ("a?c", ("abc", "a\u20acc"), ("ac", "abbc")),
    ("https://*.example.com", ("https://a.b.example.com",), ("https://example.com",)),
    ("a.c", ("a.c",), ("abc",)),
    ("a+(b)|^$", ("a+(b)|^$",), ("aab",)),
    ("[abc]", ("a", "c"), ("d", "", "ab")),
    ("[!abc]", ("d", "\u20ac"), ("a", "")),
    ("[a-c]x", ("ax", "bx"), ("dx", "-x")),
    ("[!a-c]", ("d", "-"), ("b",)),
    ("[-a]", ("-", "a"), ("b",)),
    ("[ab-d]", ("a", "b", "-", "d"), ("c",)),
    ("[a!]", ("a", "!"), ("b",)),
    (r"[\]^]", ("]", "^"), ("\\", "a")),
    ("[*?]", ("*", "?"), ("a",)),
    ("{ab,cd}e", ("abe", "cde"), ("ae", "e", "ab,cde")),
    ("{a,}b", ("ab", "b"), ("aab",)),
    ("{a*,[xy]{1,2}}", ("a", "aaa", "x1", "y2"), ("x", "x3")),
    ("a,b", ("a,b",), ("a", "b")),
    ("a}b", ("a}b",), ("ab",)),
    (r"\*", ("*",), ("a", "\\*")),
    (r"\{a,b\}", ("{a,b}",), ("a",)),
    (r"a\\b", ("a\\b",), ("ab",)),
    ("h\u00e9llo*", ("h\u00e9llo w\u00f6rld",), ("hello",)),
)

MALFORMED = ("[", "[]", "[!]", "[a", "[a-", "[a-]", "[c-a]", "[a-zA]", "{a", "{a,{b}")


class GlobTests(SynchronousTestCase):
    """Patterns over whole strings."""

    def test_matches(self) -> None:
        """A pattern matches whole strings, and only the right ones."""
        for pattern, good, bad in MATCHES:
            matches = compile_glob(pattern)
            for string in good:
                self.assertTrue(matches(string), (pattern, string))
            for string in bad:
                self.assertFalse(matches(string), (pattern, string))

    def test_malformed(self) -> None:
        """A malformed pattern is refused, and the message names it."""
        for pattern in (*MALFORMED, "a\\", "[\\"):
            error = self.assertRaises(ValueError, compile_glob, pattern)
            self.assertIn(repr(pattern), str(error))

    def test_bounds(self) -> None:
        """A pattern has a bound of length and of depth."""
        for pattern in ("a" * (LONGEST_PATTERN + 1), "{" * 5000):
            error = self.assertRaises(ValueError, compile_glob, pattern)
            self.assertLess(len(str(error)), 1000)
        self.assertTrue(compile_glob("{" * 50 + "a" + "}" * 50)("a"))

    def test_time(self) -> None:
        """Many stars and a long hostile string take no time to speak of."""
        matches = compile_glob("*a" * 12 + "*b")
        self.assertFalse(matches("a" * 20_000))

    @given(st.text(alphabet="ab*?[]!-{},\\^|.$(+") | st.text())
    @example("[^a]")
    def test_any(self, pattern: str) -> None:
        """Every pattern works, or raises ValueError."""
        try:
            matches = compile_glob(pattern)
        except ValueError:
            return
        matches(pattern)

    @given(st.text(st.characters(exclude_categories=["Cs"])))
    def test_escaped(self, string: str) -> None:
        """A string with a backslash before each character matches only itself."""
        matches = compile_glob("".join("\\" + character for character in string))
        self.assertTrue(matches(string))
        self.assertFalse(matches(string + "x"))

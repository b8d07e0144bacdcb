"""Filters of publications by their tags."""

from fractions import Fraction
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.core.channel.filters import compile_filter
from centrifugo_tx.errors import ReplyError
from centrifugo_tx.protocol.messages import FilterNode


def leaf(key: str, cmp: str, *vals: str) -> FilterNode:
    """Return a comparison; ``in`` and ``nin`` take several values."""
    if cmp in ("in", "nin"):
        return FilterNode(key=key, cmp=cmp, vals=list(vals))
    return FilterNode(key=key, cmp=cmp, val="".join(vals))


def node(op: str, *nodes: FilterNode) -> FilterNode:
    """Return a combination."""
    return FilterNode(op=op, nodes=list(nodes))


class ComparisonTests(SynchronousTestCase):
    """Leaves compare one tag."""

    def check(self, cmp: str, vals: tuple[str, ...], wanted: dict[Any, bool]) -> None:
        """Compare tag ``k`` of each value; None: the tag is missing."""
        passes = compile_filter(leaf("k", cmp, *vals))
        for value, expected in wanted.items():
            tags = {"other": "x"} if value is None else {"other": "x", "k": value}
            self.assertIs(passes(tags), expected, (cmp, vals, value))

    def test_equal(self) -> None:
        """A missing tag equals nothing."""
        self.check("eq", ("red",), {"red": True, "Red": False, "": False, None: False})
        self.check("neq", ("red",), {"red": False, "reds": True, None: True})

    def test_among(self) -> None:
        """A missing tag counts as an empty one."""
        vals = ("a", "b")
        self.check("in", vals, {"a": True, "b": True, "c": False, None: False})
        self.check("nin", vals, {"a": False, "b": False, "c": True, None: True})
        self.check("in", ("a", ""), {"a": True, "": True, None: True})
        self.check("nin", ("a", ""), {"": False, None: False, "b": True})

    def test_exists(self) -> None:
        """A tag may be there and empty."""
        self.check("ex", (), {"": True, "x": True, None: False})
        self.check("nex", (), {"": False, "x": False, None: True})

    def test_parts_of_text(self) -> None:
        """Beginning, end and middle; a missing tag has none."""
        self.check("sw", ("eu",), {"eu-1": True, "eu": True, "xeu": False, None: False})
        self.check("ew", ("eu",), {"eu-1": False, "eu": True, "xeu": True, None: False})
        self.check("ct", ("u-",), {"eu-1": True, "eu": False, "u-": True, None: False})

    def test_numbers(self) -> None:
        """Numbers are compared as numbers."""
        self.check("gt", ("9",), {"10": True, "9": False, "9.0": False, "9.01": True})
        self.check("gte", ("9",), {"10": True, "9": True, "9.000": True, "8.99": False})
        self.check("lt", ("-0.5",), {"-1": True, "-0.5": False, "+0": False})
        self.check("lte", ("-0.5",), {"-1": True, "-0.50": True, "-0.49": False})
        self.check("gt", ("0.1",), {"0.1000000000000000001": True, "0.1": False})
        self.check("gte", ("0" * 199 + "1",), {"1": True, "0": False})

    def test_no_numbers(self) -> None:
        """A text that is not a number on either side passes no comparison."""
        for cmp in ("gt", "gte", "lt", "lte"):
            for text in ("", "x", "1e3", "NaN", "Infinity", "-inf", "1_0", ".5", "5."):
                self.check(cmp, ("1",), {text: False, None: False})
                if text:
                    self.check(cmp, (text,), {"1": False, text: False})
            for text in (" 1", "1\n", "+", "--1", "1.2.3", "٣", "0." + "1" * 20):
                self.check(cmp, ("0",), {text: False})
            self.check(cmp, ("0",), {"1" * 201: False})

    @given(st.decimals(-999, 999, places=3), st.decimals(-999, 999, places=2))
    def test_exact(self, one: Any, other: Any) -> None:
        """The order is that of exact arithmetic."""
        tags, left, right = {"k": f"{one:f}"}, Fraction(one), Fraction(other)
        found = [
            compile_filter(leaf("k", cmp, f"{other:f}"))(tags)
            for cmp in ("gt", "gte", "lt", "lte")
        ]
        wanted = [left > right, left >= right, left < right, left <= right]
        self.assertEqual(found, wanted)


class CombinationTests(SynchronousTestCase):
    """Nodes combine the filters below them."""

    def test_tables(self) -> None:
        """And, or and not combine filters as their names say."""
        one, two = leaf("a", "eq", "1"), leaf("b", "eq", "1")
        for a in "01":
            for b in "01":
                tags = {"a": a, "b": b}
                for tree, wanted in (
                    (node("and", one, two), a == b == "1"),
                    (node("or", one, two), "1" in (a, b)),
                    (node("not", one), a == "0"),
                    (node("and", one), a == "1"),
                    (node("not", node("or", one, two)), a == b == "0"),
                    (node("or", node("and", one, two), node("not", one)), a <= b),
                ):
                    self.assertIs(compile_filter(tree)(tags), wanted, (tree, tags))

    def test_deep(self) -> None:
        """As deep as a command can nest, a filter works."""
        tree = leaf("a", "eq", "1")
        for _ in range(128):
            tree = node("not", tree)
        self.assertTrue(compile_filter(tree)({"a": "1"}))


class FaultTests(SynchronousTestCase):
    """A meaningless filter is a bad request."""

    def test_faults(self) -> None:
        """Each fault is found, wherever it stands."""
        good = leaf("k", "eq", "v")
        for faulty in (
            FilterNode(),
            FilterNode(key="k"),
            leaf("k", "like", "v"),
            leaf("k", "EQ", "v"),
            leaf("k", "eq"),
            leaf("", "eq", "v"),
            FilterNode(key="k", cmp="eq", val="v", vals=["v"]),
            FilterNode(key="k", cmp="gt", vals=["1"]),
            FilterNode(key="k", cmp="in", val="v"),
            FilterNode(key="k", cmp="in", val="v", vals=["v"]),
            leaf("k", "in"),
            leaf("", "nin", "v"),
            leaf("k", "ex", "v"),
            FilterNode(key="k", cmp="nex", vals=["v"]),
            FilterNode(op="xor", nodes=[good]),
            FilterNode(op="AND", nodes=[good]),
            node("and"),
            node("or"),
            node("not"),
            node("not", good, good),
        ):
            for tree in (faulty, node("and", good, node("not", faulty))):
                error = self.assertRaises(ReplyError, compile_filter, tree)
                self.assertEqual(error.error.code, 107, tree)

    def test_no_key(self) -> None:
        """Only existence can be asked of a tag without a name."""
        self.assertTrue(compile_filter(leaf("", "ex"))({"": "x"}))
        self.assertTrue(compile_filter(leaf("", "nex"))({"a": "x"}))

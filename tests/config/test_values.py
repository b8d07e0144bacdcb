"""How option values are written."""

import base64
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.config.values import (
    read_bool,
    read_duration,
    read_float,
    read_int,
    read_map,
    read_pem,
    read_str,
    read_strings,
    substitute,
)
from centrifugo_tx.durations import format_duration

PEM = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n"


class DurationTests(SynchronousTestCase):
    """Durations carry Go's units."""

    def test_units(self) -> None:
        """Each unit counts, and they add up."""
        for text, seconds in (
            ("1m30s", 90.0),
            ("300ms", 0.3),
            ("720h", 2592000.0),
            ("1.5h", 5400.0),
            (".5s", 0.5),
            ("7us", 7e-6),
            ("7\u00b5s", 7e-6),
            ("7\u03bcs", 7e-6),
            ("3ns", 3e-9),
            ("+2s", 2.0),
            ("-1s", -1.0),
            ("0", 0.0),
        ):
            self.assertAlmostEqual(read_duration(text), seconds, 12, text)

    def test_bare_number(self) -> None:
        """A number without a unit counts nanoseconds, as in Go."""
        self.assertAlmostEqual(read_duration(60), 6e-8, 15)
        self.assertAlmostEqual(read_duration(1_500_000_000), 1.5, 12)

    def test_refused(self) -> None:
        """Text without a unit, with an unknown unit, or with two signs is invalid."""
        for value in ("60", "1d", "s", "--1s", "1m 3s", "1h-3s", True, [], None):
            with self.assertRaises(ValueError, msg=repr(value)):
                read_duration(value)

    def test_format(self) -> None:
        """Durations are printed as Go prints them."""
        for seconds, text in (
            (2592000.0, "720h0m0s"),
            (60.0, "1m0s"),
            (90.5, "1m30.5s"),
            (25.0, "25s"),
            (0.3, "300ms"),
            (0.0015, "1.5ms"),
            (7e-6, "7us"),
            (3e-9, "3ns"),
            (0.0, "0s"),
            (-1.0, "-1s"),
            (-0.3, "-300ms"),
        ):
            self.assertEqual(format_duration(seconds), text)


class ScalarTests(SynchronousTestCase):
    """Scalars are converted where nothing can be misunderstood."""

    def test_bool(self) -> None:
        """Go's words for true and false, and numbers."""
        for value in ("1", "t", "T", "TRUE", "true", "True", True, 1):
            self.assertIs(read_bool(value), True)
        for value in ("0", "f", "F", "FALSE", "false", "False", False, 0, ""):
            self.assertIs(read_bool(value), False)
        for value in ("yes", "on", "tRUE", [], None):
            with self.assertRaises(ValueError):
                read_bool(value)

    def test_int(self) -> None:
        """Numbers, and text in four bases."""
        for value, number in (
            (8000, 8000),
            ("8000", 8000),
            ("0x1F", 31),
            ("0o17", 15),
            ("0b101", 5),
            ("-5", -5),
            ("010", 8),
            ("-0b11", -3),
            ("1_000", 1000),
            ("0_7", 7),
            (3.0, 3),
            (3.9, 3),
            (-3.9, -3),
            (True, 1),
            ("", 0),
        ):
            self.assertEqual(read_int(value), number)
        for refused in ("8000.5", "eight", " 8", "089", "1__0", "_1", [], None, {}):
            with self.assertRaises(ValueError):
                read_int(refused)

    def test_int_out_of_range(self) -> None:
        """A whole number has 64 bits."""
        self.assertEqual(read_int(2**63 - 1), 2**63 - 1)
        self.assertEqual(read_int("-0x8000000000000000"), -(2**63))
        for refused in (2**63, 1e30, "9" * 5000, float("nan"), float("-inf")):
            with self.assertRaises(ValueError):
                read_int(refused)

    def test_float(self) -> None:
        """Numbers, and text that holds one."""
        self.assertEqual(read_float("1.5"), 1.5)
        self.assertEqual(read_float(2), 2.0)
        for refused in ("x", [], None):
            with self.assertRaises(ValueError):
                read_float(refused)

    def test_str(self) -> None:
        """A number becomes its digits."""
        self.assertEqual(read_str(8001), "8001")
        self.assertEqual(read_str("a"), "a")
        self.assertEqual(read_str(True), "1")
        for number, digits in (
            (1000.0, "1000"),
            (1e22, "10000000000000000000000"),
            (1e-7, "0.0000001"),
            (-12.5, "-12.5"),
        ):
            self.assertEqual(read_str(number), digits)
        for refused in ([], {}, None, float("inf")):
            with self.assertRaises(ValueError):
                read_str(refused)


class ListTests(SynchronousTestCase):
    """Lists of texts."""

    def test_single_text(self) -> None:
        """In a file a single text is a list of one, commas included."""
        self.assertEqual(read_strings("a,b c", split=False), ["a,b c"])
        self.assertEqual(read_strings("", split=False), [])

    def test_spaces(self) -> None:
        """In a variable single spaces separate."""
        self.assertEqual(read_strings("a b,c", split=True), ["a", "b,c"])

    def test_items(self) -> None:
        """Items are converted as texts are."""
        self.assertEqual(read_strings(["a", 1], split=False), ["a", "1"])
        with self.assertRaises(ValueError):
            read_strings([{}], split=False)


class MapTests(SynchronousTestCase):
    """Names with texts."""

    def test_object(self) -> None:
        """The keys of an object are lowered."""
        self.assertEqual(read_map({"X-Key": "a"}, text=False), {"x-key": "a"})

    def test_object_with_dot(self) -> None:
        """A key with a dot needs the other form."""
        with self.assertRaisesRegex(ValueError, "'a.b'"):
            read_map({"a.b": "c"}, text=False)

    def test_pairs(self) -> None:
        """A list of key and value keeps the case, and dots."""
        pairs = [{"key": "X.Key", "value": "a"}, {"Key": "b", "VALUE": "c"}]
        self.assertEqual(read_map(pairs, text=False), {"X.Key": "a", "b": "c"})

    def test_double_key(self) -> None:
        """A key may be there once."""
        pair = {"key": "a", "value": "b"}
        with self.assertRaisesRegex(ValueError, "twice"):
            read_map([pair, pair], text=False)

    def test_refused(self) -> None:
        """Values must be texts, and a file holds no JSON in a text."""
        for value in ({"a": 1}, [{"key": "a"}], ["a"], '{"a": "b"}', 5):
            with self.assertRaises(ValueError, msg=repr(value)):
                read_map(value, text=False)

    def test_variable(self) -> None:
        """A variable holds a JSON object."""
        self.assertEqual(read_map('{"X.Key": "a"}', text=True), {"X.Key": "a"})
        self.assertEqual(read_map("", text=True), {})
        for refused in ("[]", "x", '{"a": 1}'):
            with self.assertRaises(ValueError):
                read_map(refused, text=True)

    def test_substitute(self) -> None:
        """Our variables are replaced by their values, others are not."""
        variables = {"CENTRIFUGO_VAR_KEY": "k"}
        text = "a ${CENTRIFUGO_VAR_KEY} ${HOME} $X"
        self.assertEqual(substitute(text, variables), "a k ${HOME} $X")

    def test_substitute_unknown(self) -> None:
        """A variable that is not set is an error."""
        with self.assertRaisesRegex(ValueError, "CENTRIFUGO_VAR_KEY"):
            substitute("${CENTRIFUGO_VAR_KEY}", {})


class PemTests(SynchronousTestCase):
    """PEM has three forms."""

    def test_text(self) -> None:
        """PEM itself, and nothing."""
        self.assertEqual(read_pem(PEM), PEM)
        self.assertEqual(read_pem(""), "")

    def test_base64(self) -> None:
        """The base64 of PEM."""
        self.assertEqual(read_pem(base64.b64encode(PEM.encode()).decode()), PEM)

    def test_path(self) -> None:
        """The path of a file with PEM."""
        path = Path(self.mktemp())
        path.write_text(PEM)
        self.assertEqual(read_pem(str(path)), PEM)

    def test_refused(self) -> None:
        """Anything else is an error, which does not repeat the value."""
        path = Path(self.mktemp())
        path.write_text("no certificate")
        for value in (str(path), "c2VjcmV0", "/nowhere/key.pem", "a\0b", "x" * 5000):
            with self.assertRaises(ValueError) as caught:
                read_pem(value)
            self.assertNotIn(value, str(caught.exception))

"""JSON that only a lenient decoder accepts."""

import tracemalloc
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.protocol.lenient_json import as_strict_json


class AsReadTests(SynchronousTestCase):
    """The first value is found before any other text."""

    def test_behind(self) -> None:
        """Text after a value is omitted, or is an error."""
        for behind in (b"", b" ", b"x", b" {", b"\n{}", b"\\", b'"'):
            self.assertEqual(as_strict_json(b' {"ID": 7}' + behind), b'{"id":7}')
        self.assertEqual(as_strict_json(b'{"ID": 7} ', alone=True), b'{"id":7}')
        for text in (b'{"id": 7} x', b"{} {}"):
            self.assertRaises(ValueError, as_strict_json, text, alone=True)
        for text in (
            b"",
            b" ",
            b"{",
            b'{"id": NaN}',
            b'{"id": "\xff"}',
            b'{"a": 1}\xff',
        ):
            self.assertRaises(ValueError, as_strict_json, text)


class MemoryTests(SynchronousTestCase):
    """However a text is made, reading it takes little memory."""

    def test_other_reading(self) -> None:
        """The second pass needs memory for a few copies of the text."""
        for inside in (b"1,", b'"a",', b"[],", b'"\\ud83d",', b'{"a":1},'):
            text = b'{"A":[' + inside * 100_000 + b"0]}"
            self.assertLess(
                self.peak(lambda text=text: as_strict_json(text)), 5 * len(text)
            )

    def peak(self, action: Callable[[], object]) -> int:
        """Return how many bytes an action needed at most."""
        tracemalloc.start()
        try:
            action()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

"""The benchmarks use names that the package has."""

import ast
import json
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.rows import ROWS
from benchmarks.settings import SETTINGS
from benchmarks.side_by_side import Result, as_json, as_rst, as_text

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def imported_names() -> Iterator[tuple[str, str, str]]:
    """Yield file, module and name of each import from the package."""
    for path in sorted(BENCHMARKS.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            module = node.module if isinstance(node, ast.ImportFrom) else None
            if isinstance(node, ast.ImportFrom) and module is not None:
                if not module.startswith("centrifugo_tx"):
                    continue
                yield from ((path.name, module, alias.name) for alias in node.names)


class ImportTests(SynchronousTestCase):
    """A renamed module or name fails here, not during a measurement."""

    def test_names(self) -> None:
        """Every import from the package resolves."""
        found = list(imported_names())
        self.assertGreater(len(found), 10)
        for file, module, name in found:
            with self.subTest(file=file, module=module, name=name):
                resolves = hasattr(import_module(module), name)
                submodule = f"{module}.{name}"
                self.assertTrue(resolves or find_spec(submodule) is not None)


def result(ours: list[float], theirs: list[float]) -> Result:
    """Return a figure with these values."""
    return Result("fanout1k", "Fan-out to 1,000", "µs CPU", ours, theirs)


class ResultTests(SynchronousTestCase):
    """The arithmetic and the tables of the side-by-side comparison."""

    def test_ratio(self) -> None:
        """The ratio is the median of the rounds' ratios, not that of the medians."""
        found = result([10.0, 40.0, 30.0], [10.0, 20.0, 100.0])
        self.assertEqual(found.ratio, 1.0)
        self.assertEqual(found.spread, (0.3, 2.0))

    def test_text(self) -> None:
        """A line per figure, with columns that are aligned."""
        head, line = as_text([result([7.174], [1512.0])]).splitlines()
        self.assertEqual(
            line.split()[-6:], ["7.17", "1,512", "0.00", "0.00", "to", "0.00"]
        )
        self.assertEqual(head.index("unit"), line.index("µs CPU"))

    def test_rst(self) -> None:
        """The table for the documentation has a cell per column."""
        text = as_rst([result([5.0], [10.0])], "Python 3.11.2, 2 cores")
        self.assertTrue(text.startswith("Python 3.11.2, 2 cores.\n"))
        heads, cells = text.count("   * - "), text.count("     - ")
        self.assertEqual((heads, cells), (2, 10))
        self.assertIn("     - 0.50\n", text)

    def test_json(self) -> None:
        """The file has every value of every round."""
        text = as_json([result([5.0, 6.0], [10.0, 12.0])], "a machine")
        row = json.loads(text)["rows"][0]
        self.assertEqual(row["centrifugo-tx"], [5.0, 6.0])
        self.assertEqual(row["Centrifugo"], [10.0, 12.0])
        self.assertEqual(row["ratio"], 0.5)


class RowTests(SynchronousTestCase):
    """The rows of the table."""

    def test_settings(self) -> None:
        """Each row names a configuration that exists."""
        self.assertLessEqual({row.setting for row in ROWS.values()}, set(SETTINGS))

    def test_titles(self) -> None:
        """No two figures have the same title."""
        titles = [title for row in ROWS.values() for title, _ in row.figures]
        self.assertEqual(len(titles), len(set(titles)))

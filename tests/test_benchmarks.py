"""The benchmarks use names that the package has."""

import ast
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

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

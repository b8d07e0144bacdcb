"""The tests that the documentation shows, of its own examples.

They are ``test_rooms.py`` and ``test_messages.py`` beside the examples.
"""

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import twisted.internet.reactor  # noqa: F401  # the one that runs trial's tests
from twisted.trial.unittest import SynchronousTestCase

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples" / "embedding"


class ExampleTests(SynchronousTestCase):
    """Each function of them passes."""

    def functions(self, name: str) -> list[Callable[[], None]]:
        """Return the tests of a module beside the examples."""
        self.patch(sys, "path", [str(EXAMPLES), *sys.path])
        module = import_module(name)
        return [each for key, each in vars(module).items() if key.startswith("test_")]

    def test_rooms(self) -> None:
        """Those of a policy with users."""
        functions = self.functions("test_rooms")
        self.assertEqual(len(functions), 4)
        for function in functions:
            function()

    def test_messages(self) -> None:
        """Those of a policy for asyncio."""
        (function,) = self.functions("test_messages")
        function()

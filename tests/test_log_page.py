"""The page on the log tells of every line from info on, and of no others."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import centrifugo_tx

from .syntax_trees import last_name, syntax_tree

PACKAGE = Path(centrifugo_tx.__file__).parent
PAGE = Path(__file__).parents[1] / "docs" / "logging.rst"
LEVELS = ("info", "warn", "error", "critical", "failure")
#: Functions that take a cause as their second argument.
CARRIERS = ("ReplyError", "DisconnectClient", "_reject")


def modules() -> Iterator[ast.Module]:
    """Yield all modules of the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        yield syntax_tree(path)


@cache
def calls() -> list[ast.Call]:
    """Return all calls in the package."""
    return [
        node
        for module in modules()
        for node in ast.walk(module)
        if isinstance(node, ast.Call)
    ]


def is_log(node: ast.expr) -> bool:
    """Whether *node* is a method of a log, or refers to one."""
    if isinstance(node, ast.Name):
        return node.id == "say"
    if not isinstance(node, ast.Attribute) or node.attr not in LEVELS:
        return False
    return last_name(node.value) in ("log", "_log", "_LOG", "notices")


def logged() -> set[str]:
    """Return all messages from info on; each must be a plain text."""
    return {_text(call.args[0]) for call in calls() if is_log(call.func)}


def causes() -> set[str]:
    """Return the causes of errors and disconnects that are plain texts."""
    found: set[str] = set()
    for module in modules():
        constants = {
            each.targets[0].id: each.value
            for each in module.body
            if isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name)
        }
        for node in ast.walk(module):
            for given in _causes(node):
                value = given
                if isinstance(given, ast.Name):
                    value = constants.get(given.id, given)
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    found.add(value.value)
    return found - {""}


def _causes(node: ast.AST) -> Iterator[ast.expr]:
    if not isinstance(node, ast.Call):
        return
    name = last_name(node.func)
    if name in CARRIERS:
        yield from node.args[1:2]
    yield from (each.value for each in node.keywords if each.arg == "cause")


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    raise AssertionError(f"line {node.lineno}: a message is no text")


def documented_terms(section: str) -> set[str]:
    """Return the terms in a section of the page."""
    text = PAGE.read_text()
    start = text.index(f"\n{section}\n---")
    end = text.find("\n---", start + len(section) + 4)
    part = text[start : end if end > 0 else None]
    return {term for line in part.splitlines() for term in _terms(line)}


def _terms(line: str) -> list[str]:
    return re.findall(r"``([^`]+)``", line) if line.startswith("``") else []


class LogPageTests(SynchronousTestCase):
    """Messages and causes, in code and on the page."""

    maxDiff = None

    def test_messages(self) -> None:
        """Every message is explained."""
        # The summary of a bounded log is emitted at the level of its lines.
        self.assertEqual(
            sorted(logged() | {"log lines left out: {about}"}),
            sorted(documented_terms("Messages")),
        )

    def test_causes(self) -> None:
        """Every cause is explained."""
        self.assertEqual(sorted(causes()), sorted(documented_terms("Causes")))

    def test_finds(self) -> None:
        """Messages and causes are found at all."""
        self.assertIn("client command error", logged())
        self.assertIn("token user mismatch", causes())
        self.assertGreater(len(logged()), 40)

"""The syntax trees of our own modules, each made once for all tests that read them."""

import ast
from functools import cache
from pathlib import Path

__all__ = ["last_name", "syntax_tree"]


@cache
def syntax_tree(path: Path) -> ast.Module:
    """Return the tree of a module, which callers must not change."""
    return ast.parse(path.read_text())


def last_name(node: ast.expr) -> str:
    """Return the last name of ``a.b.c``, or of a call of it, or an empty text."""
    if isinstance(node, ast.Call):
        return last_name(node.func)
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""

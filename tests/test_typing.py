"""The protocols for type checkers are equal to the zope interfaces."""

import ast
import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import Interface

from centrifugo_tx import interfaces, typing

from .syntax_trees import syntax_tree

#: The protocol of each interface that applications use or implement.
TWINS = {
    "IBroker": "Broker",
    "IBrokerEventHandler": "BrokerEventHandler",
    "IClient": "Client",
    "IControlEventHandler": "ControlEventHandler",
    "IController": "Controller",
    "IMapBroker": "MapBroker",
    "IMapEventHandler": "MapEventHandler",
    "IPolicy": "PolicyProtocol",
    "IPresenceManager": "PresenceManager",
    "IReceiptStore": "ReceiptStore",
    "ITransport": "Transport",
}
#: Interfaces between parts of the server alone.
INTERNAL = {"IEmulatedTransport", "IEventProxies", "IEventProxy"}

#: One member: its parameters with their defaults, and what it returns.
Signature = tuple[tuple[tuple[str, str, str], ...], str]


def classes(module: object) -> dict[str, ast.ClassDef]:
    """Return the classes that a module defines, by name."""
    path = Path(str(module.__file__))  # type: ignore[attr-defined]
    return {
        node.name: node
        for node in syntax_tree(path).body
        if isinstance(node, ast.ClassDef)
    }


def text_of(annotation: ast.expr | None) -> str:
    """Return an annotation without quotes, with the protocols' names."""
    text = "" if annotation is None else ast.unparse(annotation).strip("'\"")
    return re.sub(r"\bI[A-Z]\w+", lambda name: TWINS.get(name[0], name[0]), text)


def signature(function: ast.FunctionDef) -> Signature:
    """Return the signature of a function, without ``self``."""
    given = function.args.args
    empty = [""] * (len(given) - len(function.args.defaults))
    defaults = [*empty, *(ast.unparse(each) for each in function.args.defaults)]
    parameters = tuple(
        (each.arg, text_of(each.annotation), default)
        for each, default in zip(given, defaults, strict=True)
        if each.arg != "self"
    )
    return parameters, text_of(function.returns)


def members(definition: ast.ClassDef) -> dict[str, Signature]:
    """Return the members of an interface or protocol, by name."""
    found: dict[str, Signature] = {}
    for node in definition.body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = signature(node)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = (), text_of(node.annotation)
    return found


def decision(returned: str) -> set[str]:
    """Return on what a method decides that answers at once or later."""
    parts = re.sub(r"\b(Deferred|Decision)\[(.*?\]?)\](?= \||$)", r"\2", returned)
    return set(parts.split(" | "))


class TwinTests(SynchronousTestCase):
    """The two forms."""

    def setUp(self) -> None:
        self.interfaces, self.protocols = classes(interfaces), classes(typing)

    def test_all(self) -> None:
        """Every interface of an application has a protocol."""
        found = {
            name
            for name, each in vars(interfaces).items()
            if isinstance(each, type(Interface)) and each is not Interface
        }
        self.assertEqual(found - INTERNAL, set(TWINS))

    def test_equal(self) -> None:
        """Both have the same members, with the same parameters and types."""
        count = 0
        for interface, protocol in TWINS.items():
            if interface == "IPolicy":
                continue
            mine = members(self.interfaces[interface])
            self.assertEqual(mine, members(self.protocols[protocol]), protocol)
            count += len(mine)
        self.assertGreater(count, 40)

    def test_policy(self) -> None:
        """A policy decides on the same questions, at once or later."""
        mine = members(self.interfaces["IPolicy"])
        theirs = members(self.protocols["PolicyProtocol"])
        self.assertEqual(set(mine), set(theirs))
        for name, (parameters, returned) in mine.items():
            self.assertEqual(parameters, theirs[name][0], name)
            self.assertEqual(decision(returned), decision(theirs[name][1]), name)

    def test_decisions(self) -> None:
        """Differences between decisions are seen."""
        self.assertEqual(decision("Decision[list[int]]"), {"list[int]"})
        self.assertEqual(decision("int | Deferred[int | None] | None"), {"int", "None"})
        self.assertNotEqual(decision("Deferred[int]"), decision("Decision[str]"))

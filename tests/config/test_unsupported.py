"""Options without their documented effect are reported, never silently accepted."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.config.model import Config
from centrifugo_tx.config.schema import Option, options_of
from centrifugo_tx.config.unsupported import (
    POINTLESS,
    UNSUPPORTED,
    ignored,
    refused,
)

from .test_check import config_of, nested


def all_paths(section: Any, path: str = "") -> dict[str, Option]:
    """Return all options by path, with ``*`` for items."""
    found: dict[str, Option] = {}
    for option in options_of(section):
        here = f"{path}.{option.name}".lstrip(".")
        found[here] = option
        if option.section is not None:
            inner = f"{here}.*" if option.kind == "sections" else here
            found |= all_paths(option.section, inner)
    return found


class TableTests(SynchronousTestCase):
    """The tables."""

    def test_paths(self) -> None:
        """Each line names an option."""
        listed = {*POINTLESS, *UNSUPPORTED}
        self.assertEqual(listed - set(all_paths(Config)), set())

    def test_disjoint(self) -> None:
        """No option stands twice."""
        tables = [*POINTLESS, *UNSUPPORTED]
        self.assertEqual(len(tables), len(set(tables)))


class ReportTests(SynchronousTestCase):
    """One line per option that was set."""

    def test_defaults(self) -> None:
        """Default options cause no reports."""
        self.assertEqual(ignored(Config()), [])
        self.assertEqual(refused(Config()), [])

    def test_each(self) -> None:
        """Every option of the tables is reported when it is set."""
        known = all_paths(Config)
        values: dict[str, Any] = {
            **{"bool": True, "int": 7, "str": "x", "strings": ["x"]},
            "duration": "7s",
        }
        for path in (*POINTLESS, *UNSUPPORTED):
            outer, star, inner = path.partition(".*.")
            value = values[known[path].kind]
            tree = nested(outer, [nested(inner, value)] if star else value)
            config = config_of(tree)
            shown = path.replace("*", "[0]")
            is_refused = path in UNSUPPORTED
            told = refused(config) if is_refused else ignored(config)
            self.assertEqual(len(told), 1, path)
            self.assertIn(shown, told[0])
            reason = POINTLESS.get(path) or UNSUPPORTED.get(path, "implemented")
            self.assertIn(reason, told[0])

    def test_pointless(self) -> None:
        """The line says why an option never has an effect."""
        [line] = ignored(config_of({"prometheus": {"native_histograms": True}}))
        self.assertIn("has no effect: metrics are served as text", line)

    def test_backends(self) -> None:
        """The chosen engines, brokers and presence managers must be implemented."""
        for tree, paths in (
            ({"engine": {"type": "redis"}}, []),
            ({"broker": {"type": "nats"}}, []),
            ({"broker": {"type": "nats", "enabled": True}}, ["broker.type"]),
            (
                {"broker": {"enabled": True}, "engine": {"type": "redis"}},
                [],
            ),
            (
                {
                    "broker": {"enabled": True},
                    "presence_manager": {"enabled": True},
                    "engine": {"type": "redis"},
                },
                [],
            ),
            (
                {"presence_manager": {"type": "redis", "enabled": True}},
                [],
            ),
        ):
            told = refused(config_of(tree))
            self.assertEqual([line.partition(":")[0] for line in told], paths)

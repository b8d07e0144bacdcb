"""The contents of the package, and the files next to it."""

import json
import re
from configparser import ConfigParser
from pathlib import Path

from packaging.version import Version
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.config.check import problems
from centrifugo_tx.config.load import load
from centrifugo_tx.config.unsupported import ignored, refused

ROOT = Path(__file__).parents[1]

#: The extras that only contributors install.
FOR_CONTRIBUTORS = ("dev", "docs", "lint", "test")


class PluginTests(SynchronousTestCase):
    """The plugin of ``twistd``."""

    def test_namespace(self) -> None:
        """The plugin's folder is not a package, which would hide Twisted's."""
        self.assertEqual(list((ROOT / "twisted").rglob("__init__.py")), [])


class DataTests(SynchronousTestCase):
    """The files that the package brings along."""

    def test_links(self) -> None:
        """They are in the package by links to where contributors look for them."""
        for name, folder in (
            ("files", "config"),
            ("development_page", "docs/examples/page"),
        ):
            packed = ROOT / "centrifugo_tx" / name
            self.assertEqual(packed.resolve(), (ROOT / folder).resolve())


class ExampleTests(SynchronousTestCase):
    """The files under ``config/`` and ``examples/``."""

    def test_configurations(self) -> None:
        """Each is right, known in full, and without options that do nothing."""
        examples = list(ROOT.glob("examples/*/centrifugo.json"))
        self.assertEqual(len(examples), 7)
        for path in [*(ROOT / "config").glob("*.json"), *examples]:
            if path.name.startswith("grafana"):
                continue
            loaded = load(str(path), {})
            self.assertEqual(loaded.unknown_keys, [], path)
            for found in (problems, refused, ignored):
                self.assertEqual(found(loaded.config), [], path)

    def test_page(self) -> None:
        """The page of ``make run`` has an allowed origin."""
        makefile = (ROOT / "Makefile").read_text()
        self.assertIn("serve --dir docs/examples/page", makefile)
        self.assertTrue((ROOT / "docs/examples/page/index.html").exists())
        development = json.loads((ROOT / "config/development.json").read_text())
        origins = development["client"]["allowed_origins"]
        self.assertIn("http://localhost:*", origins)


class FloorTests(SynchronousTestCase):
    """The oldest versions of the dependencies."""

    def test_floors(self) -> None:
        """The tests run with exactly the oldest versions that are allowed."""
        setup = ConfigParser()
        setup.read(ROOT / "setup.cfg")
        extras = setup["options.extras_require"]
        needed = [setup["options"]["install_requires"]]
        needed += [extras[name] for name in extras if name not in FOR_CONTRIBUTORS]
        allowed = {
            name: Version(version)
            for line in "\n".join(needed).split("\n")
            for name, version in re.findall(r"^([\w-]+)(?:\[.*\])? >= ([\d.]+)", line)
        }
        lines = (ROOT / "tests" / "dependency-floors.txt").read_text().split("\n")
        tested = dict(
            line.split(" == ") for line in lines if line and not line.startswith("#")
        )
        self.assertEqual(
            {name: Version(version) for name, version in tested.items()}, allowed
        )

"""The documentation builds, and says what is so."""

import json
import re
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from centrifugo_tx.config.check import problems
from centrifugo_tx.config.reference import restructured

from .config.test_check import config_of

DOCS = Path(__file__).parents[1] / "docs"


class BuildTests(SynchronousTestCase):
    """Sphinx has nothing to complain about."""

    def test_no_warnings(self) -> None:
        """A strict build succeeds."""
        try:
            import sphinx  # noqa: F401
        except ImportError:
            raise SkipTest("sphinx is not installed") from None
        built = subprocess.run(
            [
                sys.executable,
                "-m",
                "sphinx",
                "-W",
                "-q",
                "-b",
                "dummy",
                DOCS,
                self.mktemp(),
            ],
            capture_output=True,
            text=True,
        )
        self.assertEqual((built.returncode, built.stderr), (0, ""))


class ReferenceTests(SynchronousTestCase):
    """The reference is made from the options themselves."""

    def test_up_to_date(self) -> None:
        """``make docs`` would change nothing."""
        written = (DOCS / "configuration.rst").read_text()
        self.assertEqual(written, restructured())


class MapsPageTests(SynchronousTestCase):
    """The page on maps and shared poll."""

    def test_configurations(self) -> None:
        """Each whole configuration on it is a good one."""
        text = (DOCS / "maps.rst").read_text()
        blocks = re.findall(r"::\n\n((?:    .*\n|\n)+)", text)
        trees = [json.loads(block) for block in blocks if '"namespaces"' in block]
        self.assertEqual(len(trees), 2)
        for tree in trees:
            self.assertEqual(problems(config_of(tree)), [])

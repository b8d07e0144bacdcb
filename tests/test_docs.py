"""The documentation builds, and says what is so."""

import json
import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.config.check import problems
from centrifugo_tx.config.reference import restructured

from .config.test_check import config_of

DOCS = Path(__file__).parents[1] / "docs"


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

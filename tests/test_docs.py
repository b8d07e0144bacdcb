"""The documentation builds, and its statements are true."""

import json
import re

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.config.check import problems
from centrifugo_tx.config.reference import restructured
from centrifugo_tx.protocol.codes import DISCONNECTS, ERRORS, UNSUBSCRIBES

from .config.test_check import config_of
from .integration.page import DOCS, blocks_of


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


class GuidesTests(SynchronousTestCase):
    """Codes and options in the guides."""

    def test_codes(self) -> None:
        """The page has every code with the server's own text, and no others."""
        text = (DOCS / "codes.rst").read_text()
        told = {
            (int(code), message)
            for code, message in re.findall(r"(?m)^(\d{3,4})  +(\S+(?: \S+)*)", text)
        }
        known = {(each.code, each.message) for each in ERRORS}
        known |= {(each.code, each.reason) for each in (*DISCONNECTS, *UNSUBSCRIBES)}
        self.assertEqual(told, known)

    def test_configurations(self) -> None:
        """Nothing is wrong with a configuration that a guide shows."""
        count = 0
        for page in sorted(DOCS.glob("*.rst")):
            for block in blocks_of(page.read_text()):
                if block.caption == "config.json":
                    count += 1
                    tree = json.loads(block.text)
                    self.assertEqual(
                        (page.name, problems(config_of(tree))), (page.name, [])
                    )
        self.assertGreater(count, 10)

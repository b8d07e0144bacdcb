"""The documentation builds, and its statements are true."""

import json
import re
import shutil
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.config.check import problems, warnings
from centrifugo_tx.config.reference import Heading, Reference
from centrifugo_tx.config.reference_pages import MARK, PAGES, generated, update
from centrifugo_tx.config.unsupported import ignored, refused
from centrifugo_tx.protocol.codes import DISCONNECTS, ERRORS, UNSUBSCRIBES
from centrifugo_tx.workers import check_workers

from .config.test_check import config_of
from .integration.certificates import Authority
from .integration.page import DOCS, blocks_of

OPTIONS = DOCS / "configuration"
#: Where the pages say that certificates are.
CERTIFICATES = "/etc/letsencrypt/live/example.com"
#: A test that a page cites: its path, and the class within.
CITED = re.compile(r"``(tests/[\w/]+(?:\.py)?)(?:::(\w+))?``")
#: A file or a folder of the repository.
NAMED = re.compile(
    r"``((?:config|docs|deploy|tests|examples|centrifugo_tx|benchmarks)/[\w./*-]+)``"
)


class OptionPagesTests(SynchronousTestCase):
    """The pages of the options are made from the options themselves."""

    def test_up_to_date(self) -> None:
        """``make docs`` would change nothing."""
        for name, text in generated().items():
            page = (OPTIONS / f"{name}.rst").read_text()
            self.assertEqual(page.partition(MARK)[2], text, name)

    def test_complete(self) -> None:
        """Each section and each shared object is on one page, and no other page is."""
        titles = [each for page in PAGES.values() for each in page]
        blocks = Reference().blocks("")
        known = [block.text for block in blocks if isinstance(block, Heading)]
        self.assertEqual(sorted(titles), sorted(known))
        written = {path.stem for path in OPTIONS.glob("*.rst")}
        self.assertEqual(written, {*generated(), "index"})

    def test_all_paths(self) -> None:
        """The list of all options has an entry for each option on the pages."""
        pages = "".join((OPTIONS / f"{name}.rst").read_text() for name in PAGES)
        options = re.findall(r"(?m)^\.\. confval:: (\S+)$", pages)
        listed = re.findall(r":confval:`(\S+)`", (OPTIONS / "keys.rst").read_text())
        self.assertEqual(sorted(listed), sorted(options))
        self.assertIn("client.ping_interval", options)

    def test_update(self) -> None:
        """An outdated page is rewritten below the mark; its top stays."""
        folder = Path(self.mktemp())
        shutil.copytree(OPTIONS, folder)
        self.assertEqual(update(folder), [])
        page = folder / "log.rst"
        right = page.read_text()
        page.write_text(right.partition(MARK)[0] + MARK + "old")
        self.assertEqual(update(folder), [page])
        self.assertEqual(page.read_text(), right)
        page.write_text("no mark")
        self.assertRaises(ValueError, update, folder)


class MapsPageTests(SynchronousTestCase):
    """The page on maps and shared poll."""

    def test_configurations(self) -> None:
        """Each whole configuration on it is a good one."""
        text = (DOCS / "maps.rst").read_text()
        blocks = [each.text for each in blocks_of(text) if each.language == "json"]
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
        """``checkconfig --strict`` accepts every configuration that a page shows."""
        count = 0
        certificate, key = Authority().issue("example.com")
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "fullchain.pem").write_text(certificate)
        (folder / "privkey.pem").write_text(key)
        for page in sorted(DOCS.rglob("*.rst")):
            for block in blocks_of(page.read_text()):
                if block.caption == "config.json":
                    count += 1
                    text = block.text.replace(CERTIFICATES, str(folder))
                    config = config_of(json.loads(text))
                    found = problems(config) + refused(config) + check_workers(config)
                    if page.parent == OPTIONS:
                        found += ignored(config) + warnings(config)
                    self.assertEqual((page.name, found), (page.name, []))
        self.assertGreater(count, 25)


class NamedFilesTests(SynchronousTestCase):
    """The files that pages name, above all the tests that they name as proof."""

    def test_files(self) -> None:
        """Each file and folder of the repository that a page names is there."""
        for page in (*DOCS.rglob("*.rst"), *DOCS.parent.glob("*.rst")):
            for path in NAMED.findall(page.read_text()):
                found = list(DOCS.parent.glob(path.rstrip("/")))
                self.assertNotEqual(found, [], f"{page.name}: {path}")

    def test_exist(self) -> None:
        """Each file is there, and so is the class after ``::``."""
        count = 0
        for page in sorted(DOCS.rglob("*.rst")):
            for path, name in CITED.findall(page.read_text()):
                count += 1
                file = DOCS.parent / path
                self.assertTrue(file.exists(), f"{page.name}: {path}")
                if name:
                    self.assertIn(f"\nclass {name}(", file.read_text(), page.name)
        self.assertGreater(count, 40)

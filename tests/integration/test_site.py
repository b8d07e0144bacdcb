"""The documentation, built as a site."""

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from .page import DOCS

#: Pages that Sphinx generates: without a source.
GENERATED = {"genindex.html", "search.html", "py-modindex.html"}


@define(eq=False)
class Links(HTMLParser):
    """The links and the anchors of one page."""

    targets: list[str] = field(factory=list)
    anchors: set[str] = field(factory=set)

    def __attrs_post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what an element links to, and its id."""
        values = dict(attrs)
        if values.get("id"):
            self.anchors.add(values["id"] or "")
        for name in ("href", "src"):
            if values.get(name):
                self.targets.append(values[name] or "")


class SiteTests(SynchronousTestCase):
    """Sphinx has nothing to complain about, and all parts fit together."""

    def test_site(self) -> None:
        """A strict build succeeds; links lead to pages and anchors that exist."""
        site = Path(self.mktemp())
        built = subprocess.run(
            [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", DOCS, site],
            capture_output=True,
            text=True,
        )
        self.assertEqual((built.returncode, built.stderr), (0, ""))
        pages = {}
        for path in site.rglob("*.html"):
            pages[path.resolve()] = links = Links()
            links.feed(path.read_text())
        self.assertGreater(len(pages), 60)
        count = 0
        for path, links in pages.items():
            for target in links.targets:
                parts = urlsplit(target)
                if parts.scheme or parts.netloc:
                    continue
                count += 1
                aim = (path.parent / unquote(parts.path)).resolve()
                aim = aim if parts.path else path
                self.assertTrue(aim.exists(), f"{path.name}: {target}")
                anchor = unquote(parts.fragment)
                if anchor and aim in pages and aim.name not in GENERATED:
                    self.assertIn(anchor, pages[aim].anchors, f"{path.name}: {target}")
        self.assertGreater(count, 5000)

"""The documents and the comments have no misspelled words.

Documents are compared with a dictionary of American English and with
``docs/words.txt``; sources, where most words are names, with a list of known
misspellings.
"""

import gc
import re
from contextlib import redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path
from warnings import catch_warnings, simplefilter

from codespell_lib import main as codespell
from spylls.hunspell import Dictionary
from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parents[1]
WORDS = ROOT / "docs" / "words.txt"
#: What is no prose: blocks of directives without text, then inline markup.
NO_PROSE = (
    re.compile(
        r"^( *)\.\. (?:code-block|svgbob|literalinclude|toctree|image|figure|hlist"
        r"|highlight|raw|auto\w+|currentmodule|contents)::.*?(?=^\1\S|\Z)",
        re.M | re.S,
    ),
    re.compile(r"^ *\.\. .*$", re.M),
    re.compile(r"^ *:[\w-]+: .*$", re.M),
    re.compile(r"``.*?``", re.S),
    re.compile(r":[\w:]+:`[^`<]*`|<[^<>`]+>`_?"),
    re.compile(r"https?://\S+"),
)
#: Words of letters; what has dots, slashes or underscores in it is a name.
WORD = re.compile(r"(?<![\w./-])[A-Za-z][A-Za-z']*[A-Za-z](?![\w/]|\.\w)")
#: Names in camel case, and abbreviations.
NAME = re.compile(r".*[a-z][A-Z]|[A-Z]+s?$|[A-Z]{2,}[a-z]")


@cache
def american() -> Dictionary:
    """Return the dictionary that comes with the library."""
    with catch_warnings():
        # The library leaves the closing of its files to the garbage collector.
        simplefilter("ignore", ResourceWarning)
        dictionary = Dictionary.from_files("en_US")
        gc.collect()
    return dictionary


def prose(text: str) -> str:
    """Return a page without code and names."""
    for pattern in NO_PROSE:
        text = pattern.sub(" ", text)
    return text


def words_of(path: Path) -> set[str]:
    """Return the words of a page that a dictionary may know."""
    found = WORD.findall(prose(path.read_text()).replace("\u2019", "'"))
    words = {re.sub(r"'s?$", "", word) for word in found}
    return {word for word in words if not NAME.match(word)}


class SpellingTests(SynchronousTestCase):
    """Each word is in a dictionary, or in the project's own list."""

    def test_documents(self) -> None:
        """Correct the words that this finds, or add them to ``docs/words.txt``."""
        pages = (*ROOT.glob("docs/**/*.rst"), *ROOT.glob("*.rst"))
        own = set(WORDS.read_text().split())
        dictionary = american()
        known: dict[str, bool] = {}
        unknown = []
        for page in pages:
            for word in words_of(page):
                if word not in known:
                    known[word] = word.lower() in own or dictionary.lookup(word)
                if not known[word]:
                    unknown.append(f"{page.name}: {word}")
        self.assertEqual(sorted(unknown), [])

    def test_finds(self) -> None:
        """A mistake is found, and what is no prose is not."""
        page = Path(self.mktemp())
        page.write_text(
            "Recieve a `page <https://example.com/recieve>`_ by ``recieve``.\n\n"
            ".. code-block:: sh\n\n   recieve\n\nThe user's SDKs, :doc:`recieve`.\n"
        )
        self.assertEqual(words_of(page), {"Recieve", "page", "by", "The", "user"})
        self.assertFalse(american().lookup("Recieve"))

    def test_sources(self) -> None:
        """The list of known misspellings has nothing against the sources."""
        folders = ("centrifugo_tx", "config", "deploy", "docs", "examples")
        names = ("newsfragments", "benchmarks", "NEWS.rst", "Makefile", "setup.cfg")
        arguments = (
            *("--skip", "*.svg,*.png,*_pb2.py,*.pyi,node_modules,.venv,*.lock"),
            # Names: the header TE, an operator of filters, one of HAProxy's words.
            *("--ignore-words-list", "te,nin,iif,allready,pres"),
        )
        with redirect_stdout(StringIO()) as printed:
            paths = [str(ROOT / name) for name in (*folders, *names)]
            codespell(*arguments, *paths)
        self.assertEqual(printed.getvalue(), "")

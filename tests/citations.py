"""Find the sources that comments and docstrings name.

A citation is the name of a page in ``docs/protocol`` and the titles of sections on it:
``client protocol, "Recovery" and "History"``.  RFCs are cited by number and section.
"""

import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "protocol"

#: A docstring, or another text that begins a line.
_DOCSTRING = re.compile(r'^ *r?"""(.*?)"""', re.MULTILINE | re.DOTALL)
#: A comment on a line of its own or behind code.
_COMMENT = re.compile(r"(?:^ *|  )#:? (.*)")
#: A page's name, a comma, and a title in quotes.
_CITATION = re.compile(
    r"(?<![\w-])(?P<page>[A-Za-z][A-Za-z0-9]*(?: [A-Za-z0-9]+){0,3}), "
    r'(?P<titles>"[A-Z][^"]*"(?:(?:,| and|, and) "[A-Z][^"]*")*)'
)

#: An RFC, and the section if there is one.
_RFC = re.compile(r"\bRFC(?P<rest>.{0,24})")
_GOOD_RFC = re.compile(r" (?P<number>\d{3,5})(?P<section>, \d+(\.\d+)*)?(?!\d)")

#: The form of citations that named section numbers.
_OLD = (
    re.compile(
        r"(?<![\w])\((?!RFC )(?:[A-Za-z][\w -]*, )?"
        r"(?:[A-E]\.?\d*(?:\.\d+)?|\d{1,2}(?:\.\d{1,2})*)"
        r"(?:(?:,| and| to) (?:[A-E]\.)?\d{1,2}(?:\.\d{1,2})*)*"
        r"(?:[,;] [^()]*)?\)"
    ),
    re.compile(r"\b(?:[Ss]ection|[Cc]hapter|§)\s?\d"),
    re.compile(r"\brows? \d"),
    re.compile(r"\b[a-z0-9-]+\.md\b"),
    re.compile(r"\bthe specification\b"),
    re.compile(r"\bCentrifugo page\b"),
)


def sources() -> Iterator[Path]:
    """Yield the files whose comments and docstrings may cite something."""
    for top in ("centrifugo_tx", "tests", "benchmarks", "twisted"):
        for folder, inside, names in os.walk(ROOT / top):
            inside[:] = sorted(set(inside) - {"node_modules", "__pycache__"})
            for name in sorted(names):
                path = Path(folder, name)
                if path.suffix in (".py", ".proto") and not path.stem.endswith("_pb2"):
                    yield path


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yield each comment block and docstring of a file: its line, and its words."""
    source = path.read_text()
    if path.suffix != ".py":
        for number, line in enumerate(source.splitlines(), 1):
            if (at := line.find("//")) >= 0:
                yield number, line[at + 2 :].strip()
        return
    for found in _DOCSTRING.finditer(source):
        yield source.count("\n", 0, found.start(1)) + 1, " ".join(found[1].split())
    yield from _comments(source)


def _comments(source: str) -> Iterator[tuple[int, str]]:
    """Yield each block of comments: its first line, and its words."""
    began, last, words = 0, -1, ""
    for line, text in enumerate(source.splitlines(), 1):
        found = _COMMENT.search(text)
        if found is None:
            continue
        if line == last + 1:
            words += " " + found[1].strip()
        else:
            if words:
                yield began, words
            began, words = line, found[1].strip()
        last = line
    if words:
        yield began, words


def sections() -> dict[str, set[str]]:
    """Return the titles of all sections, by the lower-case name of their page."""
    return {
        path.stem.replace("-", " "): {
            title
            for title, line in _pairs(path.read_text().splitlines())
            if line and len(line) == len(title) and set(line) <= {"-"}
        }
        for path in (*PAGES.glob("*.rst"), ROOT / "docs" / "architecture.rst")
        if path.stem != "index"
    }


def _pairs(lines: list[str]) -> Iterator[tuple[str, str]]:
    return itertools.pairwise(lines)


def citations(words: str) -> Iterator[tuple[str, str]]:
    """Yield the lower-case page and the title of each citation.

    Words of the sentence may stand before the page's name.
    """
    for found in _CITATION.finditer(words):
        page = found["page"].lower().removeprefix("see ")
        for title in re.findall(r'"([^"]+)"', found["titles"]):
            yield page, title


def bad_rfcs(words: str) -> Iterator[str]:
    """Yield what names an RFC in another way than ``RFC 6455, 5.2``."""
    for found in _RFC.finditer(words):
        if not _GOOD_RFC.match(found["rest"]):
            yield found.group()


def old_forms(words: str) -> Iterator[str]:
    """Yield what looks like a citation by the number of a section."""
    for pattern in _OLD:
        for found in pattern.finditer(words):
            yield found.group()

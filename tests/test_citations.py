"""Every source that the code names can be looked up."""

from functools import cache

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.config.reference_pages import generated

from .citations import (
    ROOT,
    bad_rfcs,
    citations,
    old_forms,
    prose,
    sections,
    sources,
)

#: Numbers in parentheses that cite nothing.
NO_CITATIONS = {"(9 to 15)"}

#: These two show what citations must not look like.
_HERE = {"citations.py", "test_citations.py"}


@cache
def _blocks() -> list[tuple[str, str]]:
    """Return every comment and docstring: where it is, and its words."""
    return [
        (f"{path.relative_to(ROOT).as_posix()}:{line}", words)
        for path in sources()
        if path.name not in _HERE
        for line, words in prose(path)
    ]


class CitationTests(SynchronousTestCase):
    """Comments and docstrings."""

    def test_found(self) -> None:
        """Each citation names a page of ``docs/protocol`` and a section on it."""
        pages = sections()
        wrong = []
        count = 0
        for where, words in _blocks():
            for page, title in citations(words):
                # The longest name counts: words may stand before it.
                names = [name for name in pages if f" {page}".endswith(f" {name}")]
                count += 1
                if not names or title not in pages[max(names, key=len)]:
                    wrong.append(f"{where}: {page}, {title!r}")
        self.assertEqual(wrong, [])
        self.assertGreater(count, 250)

    def test_rfcs(self) -> None:
        """RFCs are cited by number and section: ``RFC 6455, 5.2``."""
        wrong = [
            f"{where}: {bad}" for where, words in _blocks() for bad in bad_rfcs(words)
        ]
        self.assertEqual(wrong, [])

    def test_numbers(self) -> None:
        """Nothing is cited by the bare number of a section."""
        wrong = [
            f"{where}: {old}"
            for where, words in _blocks()
            for old in old_forms(words)
            if old not in NO_CITATIONS
        ]
        self.assertEqual(wrong, [])


class FormTests(SynchronousTestCase):
    """The patterns match citations and nothing else."""

    def test_citations(self) -> None:
        """One page may be cited with several titles, several pages after another."""
        self.assertEqual(
            list(citations('Read it (client protocol, "A" and "B"; engines, "C").')),
            [("client protocol", "A"), ("client protocol", "B"), ("engines", "C")],
        )
        self.assertEqual(
            list(citations('See client protocol v1, "A", "B" and "C".')),
            [("client protocol v1", title) for title in "ABC"],
        )

    def test_rfcs(self) -> None:
        """A section follows the number after a comma."""
        for good in ("RFC 6455, 5.2", "(RFC 7692)", "RFC 7515, 2).", "RFC 6455."):
            self.assertEqual(list(bad_rfcs(good)), [], good)
        for bad in ("RFC6455", "RFC-6455", "the RFC says", "RFCs 1 and 2"):
            self.assertEqual(len(list(bad_rfcs(bad))), 1, bad)

    def test_numbers(self) -> None:
        """Bare numbers are found in every form that was ever used."""
        for old in (
            "it (6.2).",
            "it (3).",
            "it (6.4, 6.5).",
            "it (v1, 5).",
            "it (client protocol, 7.1 to 7.3).",
            "it (engines, A.4 and C.3).",
            "it (C.2).",
            "it (5, row 9).",
            "in section 3.2",
            "see engines.md",
        ):
            self.assertTrue(list(old_forms(old)), old)
        for other in ("fails (3004)", "``sd_notify(3)``", "it (RFC 9112, 3.2)"):
            self.assertEqual(list(old_forms(other)), [], other)

    def test_help(self) -> None:
        """No option's help cites anything."""
        output = "".join(generated().values())
        pages = sections()
        self.assertEqual([p for p, _ in citations(output) if p in pages], [])
        self.assertEqual(list(bad_rfcs(output)), [])

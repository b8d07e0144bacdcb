"""Our server and the reference in turn, and the table of both.

Both have the same configuration, run on the first core, and get the same bytes from
load clients on the last core.  They are measured alternately.
"""

import json
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from attrs import define, field

from .processes import Load, Tools
from .rows import Figures, Row, Subject
from .settings import OURS, THEIRS, Servers

__all__ = ["Result", "SideBySide", "as_json", "as_rst", "as_text"]


@define
class Result:
    """One figure: the values of both servers, one a round."""

    row: str
    title: str
    unit: str
    ours: list[float] = field(factory=list)
    theirs: list[float] = field(factory=list)

    @property
    def ratio(self) -> float:
        """The median, over the rounds, of ours divided by theirs."""
        pairs = zip(self.ours, self.theirs, strict=True)
        return median(one / other for one, other in pairs)

    @property
    def spread(self) -> tuple[float, float]:
        """The lowest and the highest ratio of a round."""
        pairs = zip(self.ours, self.theirs, strict=True)
        ratios = [one / other for one, other in pairs]
        return min(ratios), max(ratios)


@define(eq=False)
class SideBySide:
    """Runs rows on both servers."""

    _servers: Servers
    _tools: Tools
    _rounds: int
    #: The server beside ours.
    _other: str = THEIRS

    def run(self, row: Row) -> list[Result]:
        """Return the figures of a row; the first round does not count.

        :raises RuntimeError: if a server does not start or does not answer.
        """
        results = [Result(row.name, *figure) for figure in row.figures]
        with ExitStack() as stack:
            subjects: dict[str, Subject] = {}
            for turn in range(self._rounds + (not row.fresh)):
                for name in (OURS, self._other) if turn % 2 else (self._other, OURS):
                    if row.fresh:
                        with ExitStack() as alone:
                            subject = self._prepared(row, name, alone)
                            values = row.measure(subject)
                    else:
                        if name not in subjects:
                            subjects[name] = self._prepared(row, name, stack)
                        values = row.measure(subjects[name])
                    if turn or row.fresh:
                        _take(results, name, values)
        return results

    def _prepared(self, row: Row, name: str, stack: ExitStack) -> Subject:
        server = stack.enter_context(self._servers.started(name, row.setting))
        load = Load(self._tools, server, row.security)
        subject = Subject(name, server, load, self._tools)
        stack.callback(subject.close)
        row.prepare(subject)
        return subject


def _take(results: list[Result], name: str, values: Figures) -> None:
    for result, value in zip(results, values, strict=True):
        (result.ours if name == OURS else result.theirs).append(value)


def _shown(value: float) -> str:
    """Return a value with three digits."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _cells(result: Result) -> tuple[str, str, str, str, str, str]:
    lowest, highest = result.spread
    return (
        result.title,
        result.unit,
        _shown(median(result.ours)),
        _shown(median(result.theirs)),
        f"{result.ratio:.2f}",
        f"{lowest:.2f} to {highest:.2f}",
    )


_HEAD = ("work", "unit", OURS, THEIRS, "ratio", "rounds")


def as_text(results: Iterable[Result]) -> str:
    """Return the table as aligned text."""
    lines = [_HEAD, *map(_cells, results)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if number > 1 else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def as_rst(results: Iterable[Result], machine: str) -> str:
    """Return the table for the documentation, with the machine above it."""
    lines = [machine + ".", "", ".. list-table::", "   :header-rows: 1", ""]
    for cells in (_HEAD, *map(_cells, results)):
        first, *others = cells
        lines.append(f"   * - {first}")
        lines += [f"     - {cell}" for cell in others]
    return "\n".join(lines) + "\n"


def as_json(results: Iterable[Result], machine: str) -> str:
    """Return every value of every round."""
    rows = [
        {
            "row": result.row,
            "title": result.title,
            "unit": result.unit,
            OURS: result.ours,
            THEIRS: result.theirs,
            "ratio": result.ratio,
        }
        for result in results
    ]
    return json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n"


def write(path: str, text: str) -> None:
    """Write a file of results; nothing if there is no path."""
    if path:
        Path(path).write_text(text)

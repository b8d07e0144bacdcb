"""The rows of the side-by-side table against baselines, without the reference.

The other rows have measurements of their own: fan-outs and bursts, Redis and workers,
and memory.
"""

from collections.abc import Iterator

from .measures import Bench, Comparison, Figure
from .rows import ROWS
from .settings import OURS, Servers
from .side_by_side import SideBySide

__all__ = ["table"]


def table(bench: Bench) -> Iterator[Figure]:
    """Commands and API requests that plain Autobahn or Twisted Web answer, too."""
    servers = Servers(bench.folder, "")
    for row in ROWS.values():
        if not row.baseline:
            continue
        pair = SideBySide(servers, bench.tools, bench.rounds, row.baseline)
        for result in pair.run(row):
            values = {OURS: result.ours, row.baseline: result.theirs}
            yield Figure(
                result.title, result.unit, values, [Comparison(row.baseline, OURS)]
            )

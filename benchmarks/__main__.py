"""python -m benchmarks: measure, and print figures and ratios."""

import os
import platform
import tempfile
from argparse import ArgumentParser
from importlib.metadata import version
from pathlib import Path

from .delta import deltas
from .engines import engines
from .grpc_api import grpc_api
from .http_neighbors import http_neighbors
from .measures import MEASURES, Bench, Comparison, Figure
from .names import names
from .processes import Tools
from .workers import nodes, workers

__all__ = ["main"]

_ALL = {
    **MEASURES,
    "grpc": grpc_api,
    "http_neighbors": http_neighbors,
    "delta": deltas,
    "engines": engines,
    "names": names,
    "workers": workers,
    "nodes": nodes,
}


def main() -> None:
    """Run the measurements that the command line names."""
    parser = ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "measures", nargs="*", metavar="MEASURE", help=f"one of {', '.join(_ALL)}"
    )
    parser.add_argument("--rounds", type=int, default=7, help="default: 7")
    asked = parser.parse_args()
    names = asked.measures or list(_ALL)
    if unknown := set(names) - set(_ALL):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    print(_machine())
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), Tools(Path(folder)), asked.rounds)
        for name in names:
            for figure in _ALL[name](bench):
                print(f"\n{shown(figure)}", flush=True)


def _machine() -> str:
    packages = [f"{name} {version(name)}" for name in ("twisted", "autobahn")]
    python = f"{platform.python_implementation()} {platform.python_version()}"
    cores = len(os.sched_getaffinity(0))
    return ", ".join([python, *packages, platform.machine(), f"{cores} cores"])


def shown(figure: Figure) -> str:
    """Return a figure as lines of text."""
    lines = [f"{figure.title} ({figure.unit})"]
    for name, values in figure.rounds.items():
        digits = 1 if figure.value(name) < 100 else 0
        spread = f"{min(values):,.{digits}f} to {max(values):,.{digits}f}"
        lines.append(f"  {name:<20} {figure.value(name):>10,.{digits}f}   {spread}")
    lines += [f"  {_compared(figure, each)}" for each in figure.comparisons]
    return "\n".join(lines)


def _compared(figure: Figure, comparison: Comparison) -> str:
    top, bottom = comparison.top, comparison.bottom
    if bottom:
        ratio = figure.ratio(top, bottom)
        text = f"{top} / {bottom}: {ratio:.2f}"
    else:
        ratio = figure.value(top)
        text = f"{top}: {ratio:,.0f}"
    if not comparison.limit:
        return text
    word = "at most" if comparison.at_most else "at least"
    verdict = "met" if comparison.met(ratio) else "MISSED"
    return f"{text} (target: {word} {comparison.limit:,g}; {verdict})"


if __name__ == "__main__":
    main()

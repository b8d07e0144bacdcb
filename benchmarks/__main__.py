"""python -m benchmarks: measure, and print figures and ratios."""

import os
import platform
import subprocess
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Container, Iterable
from importlib.metadata import version
from pathlib import Path

from centrifugo_tx.interpreter import interpreter_name

from .asgi import asgi
from .delta import deltas
from .engines import engines
from .grpc_api import grpc_api
from .http_neighbors import http_neighbors
from .idle import idle_connections
from .measures import MEASURES, Bench, Comparison, Figure
from .names import names
from .processes import Tools
from .rows import ROWS
from .settings import Servers
from .side_by_side import Result, SideBySide, as_json, as_rst, as_text, write
from .table import table
from .workers import nodes, workers

__all__ = ["main"]

_ALL = {
    **MEASURES,
    "asgi": asgi,
    "grpc": grpc_api,
    "http_neighbors": http_neighbors,
    "delta": deltas,
    "engines": engines,
    "names": names,
    "table": table,
    "workers": workers,
    "nodes": nodes,
}


def main() -> None:
    """Run the measurements that the command line names."""
    parser = _parser()
    asked = parser.parse_args()
    if asked.reference:
        if asked.measures:
            parser.error("--reference runs rows, not measurements: use --rows")
        rows = asked.rows.split(",") if asked.rows else list(ROWS)
        _refuse_unknown(parser, rows, ROWS)
        _compare_with_reference(asked, rows)
        return
    names = asked.measures or list(_ALL)
    _refuse_unknown(parser, names, _ALL)
    print(_machine())
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), Tools(Path(folder)), asked.rounds or 7)
        for name in names:
            for figure in _ALL[name](bench):
                print(f"\n{shown(figure)}", flush=True)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "measures", nargs="*", metavar="MEASURE", help=f"one of {', '.join(_ALL)}"
    )
    parser.add_argument(
        "--rounds", type=int, default=0, help="default: 7; with --reference: 3"
    )
    parser.add_argument(
        "--reference",
        default="",
        metavar="BINARY",
        help="compare with this program, the server of Centrifugo 6",
    )
    parser.add_argument(
        "--rows",
        default="",
        metavar="ROW,...",
        help=f"with --reference: some of {', '.join(ROWS)}",
    )
    parser.add_argument(
        "--idle",
        type=int,
        default=0,
        metavar="COUNT",
        help="with --reference: measure so many idle connections instead of rows",
    )
    parser.add_argument(
        "--json", default="", metavar="FILE", help="write all values of all rounds"
    )
    parser.add_argument(
        "--rst", default="", metavar="FILE", help="write the table for the docs"
    )
    return parser


def _refuse_unknown(
    parser: ArgumentParser, names: Iterable[str], known: Container[str]
) -> None:
    if unknown := [name for name in names if name not in known]:
        parser.error(f"unknown: {', '.join(unknown)}")


def _compare_with_reference(asked: Namespace, rows: list[str]) -> None:
    """Run rows on both servers; print the table."""
    machine = f"{_machine()}; {_version_of(asked.reference)}, GOMAXPROCS=1"
    print(machine, flush=True)
    results: list[Result] = []
    with tempfile.TemporaryDirectory() as folder:
        tools = Tools(Path(folder))
        servers = Servers(Path(folder), asked.reference)
        both = SideBySide(servers, tools, asked.rounds or 3)
        if asked.idle:
            results += idle_connections(servers, tools, asked.idle)
            rows = []
        for name in rows:
            if ROWS[name].security and not tools.has_tls:
                print(f"{name}: left out, because OpenSSL's headers are missing")
                continue
            results += both.run(ROWS[name])
            print(as_text(results[-len(ROWS[name].figures) :]), flush=True)
            write(asked.json, as_json(results, machine))
            write(asked.rst, as_rst(results, machine))
    print(f"\n{as_text(results)}")


def _version_of(binary: str) -> str:
    return subprocess.run(
        [binary, "version"], check=True, capture_output=True, text=True
    ).stdout.strip()


def _machine() -> str:
    packages = [f"{name} {version(name)}" for name in ("twisted", "autobahn")]
    cores = f"{len(os.sched_getaffinity(0))} cores"
    return ", ".join([interpreter_name(), *packages, platform.machine(), cores])


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

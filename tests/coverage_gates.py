"""Compare the coverage of the unit tests with the gate of each package.

``python -m tests.coverage_gates coverage.json`` prints a line per package, and exits
with code 1 if one of them is below its gate in ``pyproject.toml``.
"""

import json
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def gates() -> dict[str, float]:
    """Return the least percentage of branches by package."""
    tree = tomllib.loads((ROOT / "pyproject.toml").read_text())
    found: dict[str, float] = tree["tool"]["centrifugo_tx"]["branches"]
    return found


def branches(report: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Return how many branches are taken, and how many there are, by package.

    :param report: what ``coverage json`` writes.
    """
    sums: dict[str, tuple[int, int]] = {}
    for name, file in report["files"].items():
        parts = Path(name).parts
        inside = parts[parts.index("centrifugo_tx") + 1 :]
        package = inside[0] if len(inside) > 1 else "."
        taken, all_ = sums.get(package, (0, 0))
        summary = file["summary"]
        sums[package] = (
            taken + summary["covered_branches"],
            all_ + summary["num_branches"],
        )
    return sums


def judge(
    sums: Mapping[str, tuple[int, int]], least: Mapping[str, float]
) -> tuple[list[str], bool]:
    """Return a line per package, and whether all are at their gates or above.

    A package without a gate is not good.
    """
    lines, good = [], True
    for package, (taken, all_) in sorted(sums.items()):
        share = 100 * taken / all_ if all_ else 100.0
        gate = least.get(package)
        fine = gate is not None and share >= gate
        good = good and fine
        wanted = "no gate" if gate is None else f"gate {gate:g} %"
        mark = "" if fine else "  <-- below" if gate is not None else "  <-- set one"
        lines.append(
            f"{package:12} {share:5.1f} % of {all_:4} branches, {wanted}{mark}"
        )
    return lines, good


def main(path: str) -> int:
    """Judge the report at *path*; return the exit code."""
    lines, good = judge(branches(json.loads(Path(path).read_text())), gates())
    print("\n".join(lines))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

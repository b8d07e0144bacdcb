"""The gates of coverage."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from .coverage_gates import ROOT, branches, gates, judge


def _file(taken: int, all_: int) -> dict[str, dict[str, int]]:
    return {"summary": {"covered_branches": taken, "num_branches": all_}}


class GateTests(SynchronousTestCase):
    """The output of ``make coverage``."""

    def test_sums(self) -> None:
        """Files are summed by package; those beside the packages have one of theirs."""
        report = {
            "files": {
                "centrifugo_tx/core/hub.py": _file(1, 2),
                "centrifugo_tx/core/maps/maps.py": _file(3, 4),
                "centrifugo_tx/cli.py": _file(0, 1),
            }
        }
        self.assertEqual(branches(report), {"core": (4, 6), ".": (0, 1)})

    def test_judge(self) -> None:
        """At the gate is good; below it, or without one, is not."""
        least = {"core": 50.0}
        self.assertTrue(judge({"core": (1, 2)}, least)[1])
        (line,), good = judge({"core": (1, 3)}, least)
        self.assertFalse(good)
        self.assertIn("33.3 %", line)
        self.assertFalse(judge({"web": (1, 1)}, least)[1])
        self.assertTrue(judge({"core": (0, 0)}, least)[1])

    def test_every_package(self) -> None:
        """Each package has a gate, and each gate a package."""
        package = Path(ROOT, "centrifugo_tx")
        inside = {
            path.parent.name for path in package.glob("*/__init__.py") if path.parent
        }
        self.assertEqual(set(gates()), inside | {"."})

    def test_heart(self) -> None:
        """Core and protocol are held to 95 %."""
        for name in ("core", "protocol"):
            self.assertGreaterEqual(gates()[name], 95)

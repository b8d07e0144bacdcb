"""Rules of the options for monitoring."""

from typing import Any

from .test_check import CheckCase


class GraphiteTests(CheckCase):
    """The section ``graphite``, and the interval of ``info``."""

    def graphite(self, **options: Any) -> dict[str, Any]:
        return {"graphite": {"enabled": True, **options}}

    def test_fine(self) -> None:
        """The defaults can run, and nothing matters while it is off."""
        self.assertFine(self.graphite())
        self.assertFine({"graphite": {"port": -1, "interval": "0s"}})
        self.assertFine({"node": {"info_metrics_aggregate_interval": "0s"}})

    def test_problems(self) -> None:
        """An invalid port and intervals that are too short are reported."""
        self.assertProblem(self.graphite(port=70000), "graphite.port: 70000 is not")
        self.assertProblem(self.graphite(interval="10ms"), "graphite.interval: must be")
        self.assertProblem(
            {"node": {"info_metrics_aggregate_interval": "1ms"}},
            "node.info_metrics_aggregate_interval: must be",
        )

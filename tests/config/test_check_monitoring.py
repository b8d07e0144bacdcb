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
        self.assertProblem(self.graphite(interval="10ms"), "graphite.interval: 10ms")
        self.assertProblem(
            {"node": {"info_metrics_aggregate_interval": "1ms"}},
            "node.info_metrics_aggregate_interval: 1ms must be",
        )


class OverloadTests(CheckCase):
    """The section ``overload``."""

    def test_fine(self) -> None:
        """No limits, the lowest ones, and those of the defaults."""
        self.assertFine({})
        self.assertFine({"overload": {"max_reactor_lag": "0s", "max_memory": 0}})
        self.assertFine({"overload": {"max_reactor_lag": "50ms", "retry_after": "1h"}})

    def test_problems(self) -> None:
        """Limits that no server could keep are reported with their values."""
        for option, value, message in (
            ("max_reactor_lag", "10ms", "10ms must be at least 50ms, or 0s: no limit"),
            ("max_memory", -1, "-1 must not be negative"),
            ("retry_after", "100ms", "100ms must be from 1s to 1h"),
            ("retry_after", "2h", "2h0m0s must be from 1s to 1h"),
        ):
            line = f"overload.{option}: {message}"
            self.assertProblem({"overload": {option: value}}, line)

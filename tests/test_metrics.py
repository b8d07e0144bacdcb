"""What is counted, and what Prometheus reads of it."""

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.metrics import BOUNDS, Metrics
from centrifugo_tx.web.exposition import exposition

from .support import World

DURATION = "api_command_duration_seconds_histogram"


class CountingTests(SynchronousTestCase):
    """Counters and histograms."""

    def setUp(self) -> None:
        self.metrics = Metrics()

    def test_same(self) -> None:
        """A name and labels stand for one counter."""
        self.metrics.counter("c", a="1").value += 2
        self.metrics.counter("c", a="2").value += 1
        self.assertEqual(self.metrics.counter("c", a="1").value, 2)
        found = [(name, labels) for name, labels, _ in self.metrics.counters()]
        self.assertEqual(found, [("c", (("a", "1"),)), ("c", (("a", "2"),))])

    def test_bounds(self) -> None:
        """An observation counts under the first bound that is not less."""
        histogram = self.metrics.histogram(DURATION)
        for value in (0.001, 0.005, 0.006, 11):
            histogram.observe(value)
        self.assertEqual((histogram.counts[0], histogram.counts[1]), (2, 1))
        self.assertEqual((histogram.counts[-1], sum(histogram.counts)), (1, 4))
        self.assertAlmostEqual(histogram.sum, 11.012)

    def test_quantiles(self) -> None:
        """Quantiles are exact over the last 1024 observations."""
        histogram = self.metrics.histogram(DURATION)
        self.assertEqual(list(histogram.quantiles()), [])
        for value in range(2000):
            histogram.observe(value)
        self.assertEqual(dict(histogram.quantiles())[0.5], 1487)
        self.assertEqual(dict(histogram.quantiles())[0.999], 1998)

    def test_no_summary(self) -> None:
        """A histogram without a summary keeps no observations."""
        name = "node_broadcast_duration_seconds"
        self.metrics.histogram(name).observe(1)
        self.assertEqual(list(self.metrics.histogram(name).quantiles()), [])
        self.assertEqual(list(self.metrics.summaries()), [])

    def test_sorted_bounds(self) -> None:
        """The bounds of all histograms grow."""
        for name, bounds in BOUNDS.items():
            self.assertEqual(list(bounds), sorted(set(bounds)), name)


class ExpositionTests(SynchronousTestCase):
    """The text that Prometheus reads."""

    def setUp(self) -> None:
        self.world = World()
        self.metrics = self.world.node.metrics

    def read(self) -> dict[str, Metric]:
        """Return the families by name, as the client library parses them."""
        text = exposition(self.world.node)().decode()
        families: dict[str, Metric] = {}
        for line in text.splitlines():
            self.assertFalse(line.startswith(" "), line)
        for family in text_string_to_metric_families(text):
            self.assertNotIn(family.name, families)
            families[family.name] = family
        return families

    def value(self, name: str, **labels: str) -> float:
        """Return the value of one sample.

        The parser puts ``_total`` behind the names of counters.
        """
        names = f"centrifugo_{name}", f"centrifugo_{name}_total"
        (value,) = (
            sample.value
            for family in self.read().values()
            for sample in family.samples
            if sample.name in names and sample.labels == labels
        )
        return value

    def test_gauges(self) -> None:
        """The node's figures are those of the moment."""
        self.world.subscribed("a", "u")
        for name in ("clients", "users", "channels", "subscriptions", "nodes"):
            self.assertEqual(self.value(f"node_num_{name}"), 1, name)
        self.assertEqual(self.value("node_build", version="1.2.3"), 1)

    def test_names(self) -> None:
        """Counters keep the reference's names; each has one family and a type."""
        self.world.subscribed("a", "u")
        self.world.publish("a", 1)
        families = self.read()
        for name, kind in (
            ("node_messages_sent_count", "counter"),
            ("client_command_duration_seconds", "summary"),
            ("client_command_duration_seconds_histogram", "histogram"),
            ("node_num_clients", "gauge"),
        ):
            self.assertEqual(families[f"centrifugo_{name}"].type, kind, name)
        text = exposition(self.world.node)()
        self.assertIn(b"\ncentrifugo_node_messages_sent_count{", text)
        labels = {"type": "publication", "channel_namespace": ""}
        self.assertEqual(self.value("node_messages_sent_count", **labels), 1)

    def test_durations(self) -> None:
        """A duration is a histogram and a summary."""
        for value in (0.004, 0.3):
            self.metrics.histogram(DURATION, protocol="http", method="x").observe(value)
        labels = {"protocol": "http", "method": "x"}
        self.assertEqual(self.value(f"{DURATION}_bucket", **labels, le="0.005"), 1)
        self.assertEqual(self.value(f"{DURATION}_bucket", **labels, le="+Inf"), 2)
        name = DURATION.removesuffix("_histogram")
        self.assertEqual(self.value(name, **labels, quantile="0.5"), 0.004)
        self.assertEqual(self.value(name, **labels, quantile="0.999"), 0.3)
        self.assertEqual(self.value(f"{name}_count", **labels), 2)
        self.assertAlmostEqual(self.value(f"{name}_sum", **labels), 0.304)

    def test_hostile_labels(self) -> None:
        """A label's value cannot break out of its quotes."""
        value = 'a"b\\c\nd'
        self.metrics.counter("api_command_errors_total", error=value).value += 1
        self.assertEqual(self.value("api_command_errors_total", error=value), 1)

    def test_process(self) -> None:
        """What the client library knows of the process follows."""
        families = self.read()
        self.assertIn("process_resident_memory_bytes", families)
        self.assertIn("python_info", families)

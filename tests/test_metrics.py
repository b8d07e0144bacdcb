"""Counters, and their form for Prometheus."""

import re
from math import isnan
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

import centrifugo_tx
from centrifugo_tx.core.node_metrics import MessageCounters
from centrifugo_tx.metrics import BOUNDS, Metrics
from centrifugo_tx.options import Admission, SubscribeOptions
from centrifugo_tx.protocol.codes import FORCE_DISCONNECT
from centrifugo_tx.web.exposition import exposition
from centrifugo_tx.web.metric_help import HELP

from .support import Peer, World

DURATION = "api_command_duration_seconds_histogram"


class CountingTests(SynchronousTestCase):
    """Counters and histograms."""

    def setUp(self) -> None:
        self.metrics = Metrics()

    def test_same(self) -> None:
        """A name and labels identify a counter."""
        self.metrics.counter("c", a="1").value += 2
        self.metrics.counter("c", a="2").value += 1
        self.assertEqual(self.metrics.counter("c", a="1").value, 2)
        found = [(name, labels) for name, labels, _ in self.metrics.counters()]
        self.assertEqual(found, [("c", (("a", "1"),)), ("c", (("a", "2"),))])

    def test_attribute(self) -> None:
        """A counter may be an attribute of the object that counts."""
        counters = MessageCounters()
        self.metrics.read(counters, "size", "b", of="1")
        self.metrics.counter("a").value += 1
        counters.add(2, 50)
        found = [(each[0], each[2].value) for each in self.metrics.counters()]
        self.assertEqual(found, [("a", 1), ("b", 100)])
        self.assertRaises(ValueError, self.metrics.read, counters, "size", "b", of="1")

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

    def test_help(self) -> None:
        """Each family has a help text before its type."""
        self.busy()
        heads = [
            line.split(" ", 3)
            for line in exposition(self.world.node)().decode().splitlines()
            if line.startswith("# ") and " centrifugo_" in line
        ]
        helps = [head[2] for head in heads if head[1] == "HELP" and head[3]]
        self.assertEqual(helps, [head[2] for head in heads if head[1] == "TYPE"])
        self.assertEqual([head[1] for head in heads[:2]], ["HELP", "TYPE"])

    def test_all_known(self) -> None:
        """So does each family that the code names anywhere."""
        root = Path(centrifugo_tx.__file__).parent
        pattern = re.compile(r'(?:counter|histogram)\(\s*"([a-z_]+)"')
        named = {
            name
            for path in root.rglob("*.py")
            for name in pattern.findall(path.read_text())
        }
        self.assertIn("client_connections_inflight", named)
        self.assertEqual(named - HELP.keys(), set())

    def busy(self) -> Peer:
        """Return a client that has subscribed, published and left again."""
        peer = self.world.subscribed("a", "u")
        peer.ask(publish={"channel": "a", "data": 1})
        peer.ask(unsubscribe={"channel": "a"})
        return peer

    def test_from_the_start(self) -> None:
        """Common counters exist from the start; rare ones do not."""
        for method in ("connect", "send", "unknown"):
            labels = {"method": method, "channel_namespace": ""}
            name = "client_command_duration_seconds"
            self.assertEqual(self.value(f"{name}_histogram_count", **labels), 0)
            self.assertTrue(isnan(self.value(name, **labels, quantile="0.5")))
        for type in ("publication", "join", "leave", "control"):
            labels = {"type": type, "channel_namespace": ""}
            for way in ("sent", "received"):
                self.value(f"node_messages_{way}_count", **labels)
        late = {"centrifugo_node_pub_sub_lag_seconds", "centrifugo_client_recover"}
        self.assertEqual(late & self.read().keys(), set())

    def inflight(self) -> tuple[float, float]:
        """Return how many connections and subscriptions there are now."""
        client = {"client_name": "unnamed", "client_version": "unversioned"}
        transport = {"transport": "websocket", "accept_protocol": ""}
        channel = {"client_name": "unnamed", "channel_namespace": ""}
        return (
            self.value("client_connections_inflight", **transport, **client),
            self.value("client_subscriptions_inflight", **channel),
        )

    def test_inflight(self) -> None:
        """Connections and subscriptions are counted as they come and go."""
        peer = self.world.subscribed("a", "u")
        other = self.world.subscribed("a", "u")
        other.ask(subscribe={"channel": "b"})
        self.assertEqual(self.inflight(), (2, 3))
        other.ask(unsubscribe={"channel": "a"})
        self.assertEqual(self.inflight(), (2, 2))
        other.client.close(FORCE_DISCONNECT)
        self.assertEqual(self.inflight(), (1, 1))
        peer.client.transport_lost()
        self.assertEqual(self.inflight(), (0, 0))

    def test_failed_connect(self) -> None:
        """A connect that fails half-way leaves nothing behind."""
        self.world.policy.admission = Admission(subs={"a": SubscribeOptions()})
        self.world.broker.fail("subscribe")
        peer = self.world.open()
        peer.ask(connect={})
        self.assertEqual(peer.closed, 3004)
        self.assertEqual(self.inflight(), (0, 0))
        self.world.open().client.close(FORCE_DISCONNECT)
        self.assertEqual(self.inflight(), (0, 0))

    def test_actions(self) -> None:
        """The node's work for its clients is counted."""
        options = SubscribeOptions(presence=True, positioned=True)
        self.world.policy.subscription = options
        peer = self.busy()
        peer.client.close(FORCE_DISCONNECT)
        self.world.clock.advance(2)
        for action in (
            *("add_client", "remove_client", "add_subscription"),
            *("remove_subscription", "add_presence", "remove_presence"),
            *("broker_subscribe", "broker_unsubscribe", "history_stream_top"),
        ):
            labels = {"action": action, "channel_namespace": ""}
            self.assertEqual(self.value("node_action_count", **labels), 1, action)

    def test_unidirectional(self) -> None:
        """The connect request of a unidirectional client is not a command."""
        peer = self.world.open(unidirectional=True, name="uni_sse")
        peer.send({"id": 1, "connect": {}})
        self.assertTrue(peer.transport.frames)
        labels = {"method": "connect", "channel_namespace": ""}
        name = "client_command_duration_seconds_histogram_count"
        self.assertEqual(self.value(name, **labels), 0)
        self.assertNotIn("centrifugo_transport_messages_received", self.read())

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
        """The process metrics of the client library follow."""
        families = self.read()
        self.assertIn("process_resident_memory_bytes", families)
        self.assertIn("python_info", families)

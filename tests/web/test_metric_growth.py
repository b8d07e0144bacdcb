"""Metrics over intervals, as ``info`` shows them."""

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.metric_reports import InfoMetrics
from centrifugo_tx.web.metric_growth import MetricGrowth

from ..support import World

DURATION = "api_command_duration_seconds_histogram"
SENT = "centrifugo.node.messages_sent_count.type.publication"


class GrowthTests(SynchronousTestCase):
    """Rates of metrics."""

    def setUp(self) -> None:
        self.world = World()
        self.growth = MetricGrowth(self.world.node)

    def test_counters(self) -> None:
        """Counters show their growth, gauges their value."""
        self.world.subscribed("a", "u")
        self.world.publish("a", 1)
        for sent in (1, 0):
            items = self.growth.items()
            self.assertEqual(items[SENT], sent)
            self.assertEqual(items["centrifugo.node.num_clients"], 1)
        self.assertEqual(items["centrifugo.node.build.version.1.2.3"], 1)

    def test_summaries(self) -> None:
        """Sum and count grow; labels are sorted; histograms are left out."""
        labels = {"protocol": "http", "method": "publish"}
        histogram = self.world.node.metrics.histogram(DURATION, **labels)
        histogram.observe(0.25)
        self.growth.items()
        histogram.observe(0.5)
        name = "centrifugo.api.command_duration_seconds"
        end = "method.publish.protocol.http"
        items = {
            key: value for key, value in self.growth.items().items() if ".api." in key
        }
        self.assertEqual(
            items,
            {
                f"{name}.sum.{end}": 0.5,
                f"{name}.count.{end}": 1,
                f"{name}.quantile.50.{end}": 0.25,
                f"{name}.quantile.99.{end}": 0.5,
                f"{name}.quantile.999.{end}": 0.5,
            },
        )

    def test_empty_labels(self) -> None:
        """Labels without a value are left out."""
        self.assertIn(
            "centrifugo.client.command_duration_seconds.count.method.connect",
            self.growth.items(),
        )


class InfoTests(SynchronousTestCase):
    """The service that puts them into ``info``."""

    def sent(self, world: World) -> float | None:
        """Return how many publications ``info`` says have been sent."""
        [info] = self.successResultOf(world.node.info())
        return None if info.metrics is None else info.metrics[SENT]

    def test_intervals(self) -> None:
        """The totals come first, then the growth of each whole interval."""
        world = World()
        service = InfoMetrics(world.node)
        service.startService()
        self.addCleanup(service.stopService)
        self.assertEqual(self.sent(world), 0)
        world.publish("a", 1)
        world.clock.advance(59)
        self.assertEqual(self.sent(world), 0)
        world.clock.advance(1)
        self.assertEqual(self.sent(world), 1)
        world.clock.advance(60)
        self.assertEqual(self.sent(world), 0)

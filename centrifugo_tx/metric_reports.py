"""Reports of metrics that a server sends by itself: to other nodes, and to Graphite."""

from collections.abc import Iterator
from typing import Any

from attrs import define, field
from twisted.application.service import IService, Service
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.task import LoopingCall

from .config.model import Config
from .core import Node
from .graphite import GraphiteExporter, graphite_prefix
from .web.exposition import process_registry
from .web.metric_growth import MetricGrowth

__all__ = ["InfoMetrics", "metric_reports"]

#: Seconds that Graphite has to accept a connection.
CONNECT_TIMEOUT = 5.0


@define(eq=False, slots=False)
class InfoMetrics(Service):
    """Shows the metrics of each interval in ``info`` (server API, "Info").

    The totals at the start stand in for the first interval.
    """

    _node: Node
    _growth: MetricGrowth = field(init=False)
    _loop: LoopingCall | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._growth = MetricGrowth(self._node)

    def startService(self) -> None:
        """Take the first snapshot; an interval of 0 takes none."""
        Service.startService(self)
        interval = self._node.options.metrics_interval
        if interval <= 0:
            return
        self._node.peers.set_metrics(self._growth.peek())
        self._loop = LoopingCall(self._report)
        self._loop.clock = self._node.clock
        self._loop.start(interval, now=False)

    def stopService(self) -> None:
        """Take no more."""
        Service.stopService(self)
        if self._loop is not None:
            self._loop.stop()

    def _report(self) -> None:
        self._node.peers.set_metrics(self._growth.items())


def metric_reports(reactor: Any, config: Config, node: Node) -> Iterator[IService]:
    """Yield the services that *config* asks for."""
    yield InfoMetrics(node)
    options = config.graphite
    if options.enabled:
        yield GraphiteExporter(
            reactor,
            MetricGrowth(node),
            HostnameEndpoint(reactor, options.host, options.port, CONNECT_TIMEOUT),
            graphite_prefix(options.prefix, node.options.name),
            options.interval,
            options.tags,
            process_registry(),
        )

"""The metrics in Prometheus text format (operations, "Metrics").

Version 0.0.4, written here, because the client library would append ``_total`` to the
reference's counter names.  The library's own process metrics follow.
"""

from collections.abc import Callable, Iterator
from math import isnan
from time import perf_counter

from attrs import define, field
from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from ..core import Node
from ..metrics import QUANTILES, Histogram, Labels
from .metric_help import HELP, SHOWN_LATER

__all__ = [
    "CONTENT_TYPE",
    "PREFIX",
    "exposition",
    "is_gauge",
    "node_gauges",
    "process_registry",
]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "centrifugo_"
#: How the names of gauges end that are kept among the counters.
GAUGES = (
    *("inflight", "inflight_requests", "days_left", "buffered_messages"),
    *("node_overloaded",),
)
#: The largest share of time spent on writing, and the seconds allowed at once.
SHARE, BURST = 0.1, 0.1
#: The quantiles without observations.
UNKNOWN = [(quantile, float("nan")) for quantile in QUANTILES]


def exposition(node: Node) -> Callable[[], bytes]:
    """Return a function that renders all metrics of *node* and the process."""
    registry = process_registry()

    def write() -> bytes:
        text = "\n".join(_lines(node)) + "\n"
        return text.encode() + generate_latest(registry)

    return ThrottledExposition(write)


def process_registry() -> CollectorRegistry:
    """Return the client library's metrics of this process."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


def is_gauge(name: str) -> bool:
    """Return whether a counter of this name goes down as well as up."""
    return name.endswith(GAUGES)


@define(eq=False)
class ThrottledExposition:
    """Returns the result of *write*, but spends at most a tenth of the time on it.

    After 0.1 s of writing, callers receive the previous text until enough time has
    passed.  A text is at most ten times as old as it takes to write one.
    """

    _write: Callable[[], bytes]
    _seconds: Callable[[], float] = perf_counter
    _text: bytes = field(default=b"", init=False)
    _spent: float = field(default=0.0, init=False)
    _since: float = field(default=0.0, init=False)

    def __call__(self) -> bytes:
        now = self._seconds()
        self._spent = max(0.0, self._spent - (now - self._since) * SHARE)
        self._since = now
        if self._spent < BURST or not self._text:
            self._text = self._write()
            self._spent += self._seconds() - now
        return self._text


def _lines(node: Node) -> Iterator[str]:
    last = ""
    for name, number in node_gauges(node):
        yield from _type(name, "gauge")
        yield f"{PREFIX}{name} {number}"
    yield from _type("node_build", "gauge")
    yield f"{PREFIX}node_build{_labels((('version', node.options.version),))} 1"
    for name, labels, counter in node.metrics.counters():
        if name in SHOWN_LATER and not counter.value:
            continue
        if name != last:
            yield from _type(name, "gauge" if is_gauge(name) else "counter")
        last = name
        yield f"{PREFIX}{name}{_labels(labels)} {_number(counter.value)}"
    for name, labels, histogram in node.metrics.histograms():
        if name in SHOWN_LATER and not any(histogram.counts):
            continue
        if name != last:
            yield from _type(name, "histogram")
        last = name
        yield from _histogram(name, labels, histogram)
    for name, labels, histogram in node.metrics.summaries():
        if name != last:
            yield from _type(name, "summary")
        last = name
        for quantile, value in list(histogram.quantiles()) or UNKNOWN:
            which = (*labels, ("quantile", _number(quantile)))
            yield f"{PREFIX}{name}{_labels(which)} {_number(value)}"
        yield from _sum_and_count(name, labels, histogram)


def _histogram(name: str, labels: Labels, histogram: Histogram) -> Iterator[str]:
    total = 0
    bounds = (*histogram.bounds, float("inf"))
    for bound, count in zip(bounds, histogram.counts, strict=True):
        total += count
        edge = (*labels, ("le", _number(bound)))
        yield f"{PREFIX}{name}_bucket{_labels(edge)} {total}"
    yield from _sum_and_count(name, labels, histogram)


def _sum_and_count(name: str, labels: Labels, histogram: Histogram) -> Iterator[str]:
    yield f"{PREFIX}{name}_sum{_labels(labels)} {_number(histogram.sum)}"
    yield f"{PREFIX}{name}_count{_labels(labels)} {sum(histogram.counts)}"


def node_gauges(node: Node) -> Iterator[tuple[str, int]]:
    """Yield the sizes of the node, by the name of their metric."""
    hub = node.hub
    yield "node_num_clients", node.connections.num_clients
    yield "node_num_users", node.connections.num_users
    yield "node_num_subscriptions", hub.num_subscriptions
    yield "node_num_channels", hub.num_channels
    yield "node_num_nodes", node.num_nodes
    yield "shared_poll_num_channels", len(node.polls.channels)
    yield "shared_poll_num_keys", node.polls.num_keys


def _type(name: str, kind: str) -> Iterator[str]:
    if name in HELP:
        yield f"# HELP {PREFIX}{name} {HELP[name]}"
    yield f"# TYPE {PREFIX}{name} {kind}"


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    pairs = (f'{name}="{_escaped(value)}"' for name, value in sorted(labels))
    return "{" + ",".join(pairs) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    if isnan(value):
        return "NaN"
    if value == float("inf"):
        return "+Inf"
    return str(int(value)) if value == int(value) else repr(value)

"""Metrics over intervals, as ``info`` and Graphite show them (server API, "Info").

Counters, and sums and counts of summaries, become their growth since the previous
interval.  Gauges and quantiles keep their present values; histograms are left out.
"""

from collections.abc import Iterator

from attrs import define, field, frozen
from prometheus_client import CollectorRegistry

from ..core import Node
from ..metrics import Labels
from .exposition import PREFIX, is_gauge, node_gauges
from .metric_help import SHOWN_LATER

__all__ = ["MetricGrowth", "Value"]


@frozen
class Value:
    """One number: ``name`` is that of the family, with its prefix.

    ``part`` is ``sum``, ``count`` or ``quantile.50`` of a summary, else empty;
    ``labels`` are sorted, without those that have no value; ``counted`` marks the
    growth of a counter.
    """

    name: str
    part: str
    labels: Labels
    number: float
    counted: bool = False

    @property
    def path(self) -> tuple[str, ...]:
        """Return the parts of its name: the family in three, part, labels."""
        flat = (word for label in self.labels for word in label)
        family = self.name.split("_", 2)
        return (*family, *((self.part,) if self.part else ()), *flat)


@define(eq=False)
class MetricGrowth:
    """The values of one node's metrics, and how they have grown since the last call."""

    _node: Node
    _previous: dict[tuple[str, str, Labels], float] = field(factory=dict, init=False)

    def take(self, process: CollectorRegistry | None = None) -> list[Value]:
        """Return all values; the next call starts from here.

        :param process: metrics of the process to include.
        """
        values = list(self._own())
        if process is not None:
            values += self._of_process(process)
        return values

    def peek(self) -> dict[str, float]:
        """Return the present totals by dotted name, as before the first interval."""
        return flattened(MetricGrowth(self._node).take())

    def items(self) -> dict[str, float]:
        """Return the values of `take` by dotted name."""
        return flattened(self.take())

    def _own(self) -> Iterator[Value]:
        node = self._node
        for name, number in node_gauges(node):
            yield Value(PREFIX + name, "", (), number)
        version = (("version", node.options.version),)
        yield Value(f"{PREFIX}node_build", "", version, 1)
        for name, labels, counter in node.metrics.counters():
            if name in SHOWN_LATER and not counter.value:
                continue
            full, shown = PREFIX + name, _shown(labels)
            if is_gauge(name):
                yield Value(full, "", shown, counter.value)
            else:
                yield self._growth_of(full, "", shown, counter.value, True)
        for name, labels, histogram in node.metrics.summaries():
            full, shown = PREFIX + name, _shown(labels)
            yield self._growth_of(full, "sum", shown, histogram.sum)
            yield self._growth_of(full, "count", shown, sum(histogram.counts))
            for quantile, value in histogram.quantiles():
                part = f"quantile.{_percent(quantile)}"
                yield Value(full, part, shown, value)

    def _of_process(self, registry: CollectorRegistry) -> Iterator[Value]:
        for family in registry.collect():
            counted = family.type == "counter"
            for sample in family.samples:
                labels = _shown(tuple(sample.labels.items()))
                if not counted:
                    yield Value(sample.name, "", labels, sample.value)
                elif sample.name.endswith("_total"):
                    yield self._growth_of(sample.name, "", labels, sample.value, True)

    def _growth_of(
        self, name: str, part: str, labels: Labels, total: float, counted: bool = False
    ) -> Value:
        key = name, part, labels
        growth = total - self._previous.get(key, 0.0)
        self._previous[key] = total
        return Value(name, part, labels, growth, counted)


def flattened(values: list[Value]) -> dict[str, float]:
    """Return the numbers by dotted name."""
    return {".".join(value.path): value.number for value in values}


def _shown(labels: Labels) -> Labels:
    return tuple(sorted((name, value) for name, value in labels if value))


def _percent(quantile: float) -> str:
    """Return the digits of a quantile: 50, 99, 999."""
    return f"{round(quantile * 1000)}".removesuffix("0")

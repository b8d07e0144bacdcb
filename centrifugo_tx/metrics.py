"""Counters and histograms, under the reference's names (operations, "Metrics").

Counting must cost next to nothing: a `Counter` is a slot that the code adds to,
a `Histogram` one bisection.  They become Prometheus samples only on a scrape.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Sequence
from math import ceil

from attrs import define, field

__all__ = [
    "BOUNDS",
    "QUANTILES",
    "AttributeCounter",
    "Counter",
    "Histogram",
    "Metrics",
]

#: The quantiles of summaries (operations, "Metrics").
QUANTILES = (0.5, 0.99, 0.999)
#: How many of the last observations the quantiles are taken from.
RECENT = 1024
#: Histograms of these names have a summary of the same name without it.
SUMMARIZED = "_histogram"


@define(eq=False)
class Counter:
    """A number that grows; add to ``value``."""

    value: float = 0


@define(eq=False)
class AttributeCounter:
    """A counter that is kept as a number in an attribute of another object.

    Where every nanosecond counts, that object adds to its own attribute, which takes
    half the time of adding to a `Counter` in it.
    """

    _owner: object
    _name: str

    @property
    def value(self) -> float:
        """The present number."""
        value: float = getattr(self._owner, self._name)
        return value


@define(eq=False)
class Histogram:
    """The number of observations below each bound.

    The last ``keep`` observations are kept for the quantiles.
    """

    bounds: Sequence[float]
    keep: int = 0
    counts: list[int] = field(init=False)
    sum: float = field(default=0.0, init=False)
    _first: float = field(init=False)
    _recent: "deque[float]" = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._first = self.bounds[0]
        self.counts = [0] * (len(self.bounds) + 1)
        self._recent = deque(maxlen=self.keep)

    def observe(self, value: float) -> None:
        """Count *value*, in the unit of the bounds."""
        if value <= self._first:  # as most values are
            self.counts[0] += 1
        else:
            self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value
        self._recent.append(value)

    def quantiles(self) -> Iterator[tuple[float, float]]:
        """Yield each of the quantiles and its value; nothing without observations."""
        ordered = sorted(self._recent)
        for quantile in QUANTILES if ordered else ():
            yield quantile, ordered[ceil(quantile * len(ordered)) - 1]


Labels = tuple[tuple[str, str], ...]


@define(eq=False)
class Metrics:
    """All counters and histograms of one process, by name and labels."""

    _counters: dict[tuple[str, Labels], Counter] = field(factory=dict, init=False)
    _attributes: dict[tuple[str, Labels], AttributeCounter] = field(
        factory=dict, init=False
    )
    _histograms: dict[tuple[str, Labels], Histogram] = field(factory=dict, init=False)

    def counter(self, name: str, /, **labels: str) -> Counter:
        """Return the counter of this name and these labels, the same every time."""
        key = name, tuple(labels.items())
        return self._counters.get(key) or self._counters.setdefault(key, Counter())

    def read(self, owner: object, attribute: str, name: str, /, **labels: str) -> None:
        """Read the counter of this name and these labels from an attribute of *owner*.

        :raises ValueError: another object has it already.
        """
        key = name, tuple(labels.items())
        if key in self._attributes:
            raise ValueError(f"two objects count {name}")
        self._attributes[key] = AttributeCounter(owner, attribute)

    def histogram(self, name: str, /, **labels: str) -> Histogram:
        """Return the histogram of this name and these labels, the same every time."""
        key = name, tuple(labels.items())
        found = self._histograms.get(key)
        if found is None:
            keep = RECENT if name.endswith(SUMMARIZED) else 0
            found = self._histograms[key] = Histogram(BOUNDS[name], keep)
        return found

    def counters(self) -> Iterator[tuple[str, Labels, Counter | AttributeCounter]]:
        """Yield every counter with its name and labels, sorted."""
        counters: dict[tuple[str, Labels], Counter | AttributeCounter] = {
            **self._counters,
            **self._attributes,
        }
        for (name, labels), counter in sorted(counters.items(), key=_key):
            yield name, labels, counter

    def histograms(self) -> Iterator[tuple[str, Labels, Histogram]]:
        """Yield every histogram with its name and labels, sorted."""
        for (name, labels), histogram in sorted(self._histograms.items(), key=_key):
            yield name, labels, histogram

    def summaries(self) -> Iterator[tuple[str, Labels, Histogram]]:
        """Yield the histograms that have a summary, with the summary's name."""
        for name, labels, histogram in self.histograms():
            if name.endswith(SUMMARIZED):
                yield name.removesuffix(SUMMARIZED), labels, histogram


def _key(item: tuple[tuple[str, Labels], object]) -> tuple[str, Labels]:
    return item[0]


_COMMON = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_DEFAULT = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_CLIENT = (0.0001, 0.00025, 0.0005, *_COMMON)
_ITEMS = (1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000)

#: The bounds of every histogram, in its unit (operations, "Metric buckets").
BOUNDS: dict[str, Sequence[float]] = {
    "client_command_duration_seconds_histogram": _CLIENT,
    "client_ping_pong_duration_seconds": _CLIENT,
    "client_receipt_duration_seconds": _CLIENT,
    "client_recovered_publications": (
        *(0, 1, 2, 3, 5, 10, 20, 50, 100, 250, 500, 1000, 2000, 5000, 10000),
    ),
    "api_command_duration_seconds_histogram": _DEFAULT,
    "api_rpc_duration_seconds_histogram": _DEFAULT,
    "proxy_duration_seconds_histogram": _DEFAULT,
    "shared_poll_proxy_request_items": _ITEMS,
    "shared_poll_proxy_response_items": _ITEMS,
    "node_survey_duration_seconds_histogram": _COMMON,
    "node_pub_sub_lag_seconds": (
        *(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
    ),
    "node_reactor_lag_seconds": _COMMON,
    "node_broadcast_duration_seconds": (
        *(0.000001, 0.000005, 0.00001, 0.00005, 0.0001, 0.00025, 0.0005),
        *_COMMON,
    ),
}

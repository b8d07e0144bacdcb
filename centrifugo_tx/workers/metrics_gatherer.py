"""The metrics of all workers in one answer, whichever worker is scraped."""

from collections.abc import Callable, Mapping
from typing import Protocol

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from .link_messages import CollectMetrics, GatheredMetrics, Order

__all__ = ["MetricsGatherer", "merge_expositions"]

#: Seconds that workers have to report their metrics.
COLLECT_TIMEOUT = 2.0


class OrderTarget(Protocol):
    """A worker that receives orders."""

    def order(self, order: Order) -> None:
        """Send an order."""


@define(eq=False)
class MetricsGatherer:
    """Collects the metrics of all workers when one of them is scraped.

    ``_targets`` returns the workers that are ready, by their numbers.
    """

    _clock: IReactorTime
    _targets: Callable[[], Mapping[int, OrderTarget]]
    _requesters: list[OrderTarget] = field(factory=list, init=False)
    _missing: set[int] = field(factory=set, init=False)
    _texts: dict[int, str] = field(factory=dict, init=False)
    _deadline: IDelayedCall | None = field(default=None, init=False)

    def gather(self, requester: OrderTarget) -> None:
        """Collect the metrics for *requester*; join a collection already under way."""
        self._requesters.append(requester)
        if self._deadline is not None:
            return
        members = self._targets()
        self._missing, self._texts = set(members), {}
        self._deadline = self._clock.callLater(COLLECT_TIMEOUT, self._finish)
        for member in members.values():
            member.order(CollectMetrics())

    def add(self, number: int, text: str) -> None:
        """Store the metrics of a worker; ignore one that is late."""
        if number not in self._missing:
            return
        self._missing.remove(number)
        self._texts[number] = text
        if not self._missing and self._deadline is not None:
            self._deadline.cancel()
            self._finish()

    def _finish(self) -> None:
        self._deadline = None
        self._missing.clear()
        whole = merge_expositions(dict(sorted(self._texts.items())))
        requesters, self._requesters = self._requesters, []
        for requester in requesters:
            requester.order(GatheredMetrics(whole))

    def stop(self) -> None:
        """Answer the waiting requests with the metrics that have arrived."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._finish()


def merge_expositions(texts: Mapping[int, str]) -> str:
    """Merge the expositions of workers; each sample gets a ``worker`` label.

    All samples of one name are adjacent, as the format requires.
    """
    comments: dict[str, dict[str, None]] = {}
    samples: dict[str, list[str]] = {}
    for number, text in texts.items():
        name = ""
        for line in text.splitlines():
            if line.startswith("#"):
                # "# TYPE name kind" and "# HELP name …" precede the name's samples.
                name = line.split(" ", 3)[2]
                comments.setdefault(name, {})[line] = None
            else:
                comments.setdefault(name, {})
                samples.setdefault(name, []).append(_labelled(line, number))
    lines = [
        line for name in comments for line in (*comments[name], *samples.get(name, ()))
    ]
    return "".join(f"{line}\n" for line in lines)


def _labelled(sample: str, number: int) -> str:
    """Return *sample* with a ``worker`` label."""
    name, space, value = sample.partition(" ")
    label = f'worker="{number}"'
    if "{" in name:
        return sample.replace("{", f"{{{label},", 1)
    return f"{name}{{{label}}}{space}{value}"

"""One answer for Prometheus: whichever worker is asked, all of them are in it."""

from collections.abc import Callable, Mapping
from typing import Protocol

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from .link_messages import CollectMetrics, GatheredMetrics, Order

__all__ = ["MetricsGatherer", "merge_expositions"]

#: Seconds that workers have to say what they have counted.
COLLECT_TIMEOUT = 2.0


class OrderTarget(Protocol):
    """Somebody who can be told things."""

    def order(self, order: Order) -> None:
        """Tell what to do."""


@define(eq=False)
class MetricsGatherer:
    """Asks all workers when one of them was asked.

    ``_targets`` returns those that serve, by their numbers.
    """

    _clock: IReactorTime
    _targets: Callable[[], Mapping[int, OrderTarget]]
    _requesters: list[OrderTarget] = field(factory=list, init=False)
    _missing: set[int] = field(factory=set, init=False)
    _texts: dict[int, str] = field(factory=dict, init=False)
    _deadline: IDelayedCall | None = field(default=None, init=False)

    def gather(self, requester: OrderTarget) -> None:
        """Begin to ask, if that is not under way; *requester* will be told."""
        self._requesters.append(requester)
        if self._deadline is not None:
            return
        members = self._targets()
        self._missing, self._texts = set(members), {}
        self._deadline = self._clock.callLater(COLLECT_TIMEOUT, self._finish)
        for member in members.values():
            member.order(CollectMetrics())

    def add(self, number: int, text: str) -> None:
        """Take what a worker has counted; who is late is left out."""
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
        """Tell those who still wait what there is."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._finish()


def merge_expositions(texts: Mapping[int, str]) -> str:
    """Return the expositions of workers as one, each sample with its ``worker``.

    What belongs to one name stands together, as the format demands.
    """
    comments: dict[str, dict[str, None]] = {}
    samples: dict[str, list[str]] = {}
    for number, text in texts.items():
        name = ""
        for line in text.splitlines():
            if line.startswith("#"):
                # "# TYPE name kind" and "# HELP name …" lead what belongs to them.
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
    """Return a sample with one more label."""
    name, space, value = sample.partition(" ")
    label = f'worker="{number}"'
    if "{" in name:
        return sample.replace("{", f"{{{label},", 1)
    return f"{name}{{{label}}}{space}{value}"

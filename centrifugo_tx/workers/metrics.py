"""One answer for Prometheus: whichever worker is asked, all of them are in it."""

from collections.abc import Callable, Mapping
from typing import Protocol

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from .messages import Collect, Gathered, Order

__all__ = ["Gatherer", "merged"]

#: Seconds that workers have to say what they have counted.
PATIENCE = 2.0


class Member(Protocol):
    """Somebody who can be told things."""

    def order(self, order: Order) -> None:
        """Tell what to do."""


@define(eq=False)
class Gatherer:
    """Asks all workers when one of them was asked.

    ``_members`` returns those that serve, by their numbers.
    """

    _clock: IReactorTime
    _members: Callable[[], Mapping[int, Member]]
    _askers: list[Member] = field(factory=list, init=False)
    _missing: set[int] = field(factory=set, init=False)
    _texts: dict[int, str] = field(factory=dict, init=False)
    _deadline: IDelayedCall | None = field(default=None, init=False)

    def wanted(self, asker: Member) -> None:
        """Begin to ask, if that is not under way; *asker* will be told."""
        self._askers.append(asker)
        if self._deadline is not None:
            return
        members = self._members()
        self._missing, self._texts = set(members), {}
        self._deadline = self._clock.callLater(PATIENCE, self._finish)
        for member in members.values():
            member.order(Collect())

    def collected(self, number: int, text: str) -> None:
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
        whole = merged(dict(sorted(self._texts.items())))
        askers, self._askers = self._askers, []
        for asker in askers:
            asker.order(Gathered(whole))

    def stop(self) -> None:
        """Tell those who still wait what there is."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._finish()


def merged(texts: Mapping[int, str]) -> str:
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

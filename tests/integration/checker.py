"""Checks that clients received the publications: all of them, once, in order."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from attrs import define, field

__all__ = ["Account", "Sent", "Verdict", "judge", "out_of_order"]


class Sent(NamedTuple):
    """A publication that the server has acknowledged."""

    number: int
    epoch: str
    offset: int


@define(eq=False)
class _Span:
    """The publications without a gap: numbers, by their offsets after ``start``."""

    epoch: str
    start: int
    upto: int
    got: dict[int, int] = field(factory=dict)


@define(eq=False)
class Account:
    """The messages of one client in one channel.

    The client updates it while it reads; errors that do not depend on the publications
    are recorded at once in ``faults``.
    """

    name: str
    epoch: str = ""
    offset: int = 0
    faults: list[str] = field(factory=list)
    _spans: list[_Span] = field(factory=list)
    _numbers: set[int] = field(factory=set)

    def begin(self, epoch: str, offset: int) -> None:
        """Take note that the client was given a place without all before it.

        That is what its first subscription does, and any that says
        ``recovered=false``.
        """
        self.epoch, self.offset = epoch, offset
        self._spans.append(_Span(epoch, offset, offset))

    def go_on(self, epoch: str) -> None:
        """Record that the client was told of a complete recovery."""
        if epoch != self.epoch:
            self.faults.append(f"{self.name}: recovered from {self.epoch} to {epoch}")

    def take(self, number: int, offset: int) -> None:
        """Take note of a publication."""
        if offset != self.offset + 1:
            self.faults.append(f"{self.name}: {offset} came after {self.offset}")
        if number in self._numbers:
            self.faults.append(f"{self.name}: number {number} came twice")
        self._numbers.add(number)
        self.offset = offset
        span = self._spans[-1]
        span.upto = offset
        span.got[offset] = number

    @property
    def losses_told(self) -> int:
        """The number of times that the client was told of a possible loss."""
        return max(0, len(self._spans) - 1)

    def received(self, sent: Sent) -> bool:
        """Whether the client has got *sent*."""
        return any(
            span.epoch == sent.epoch and span.got.get(sent.offset) == sent.number
            for span in self._spans
        )

    def another(self, sent: Sent, known: set[int]) -> bool:
        """Whether the client received an unknown publication in the place of *sent*."""
        return any(
            span.epoch == sent.epoch
            and span.got.get(sent.offset, sent.number) not in {sent.number, *known}
            for span in self._spans
        )

    def excused(self, sent: Sent) -> bool:
        """Whether the client knows that it did not get *sent*.

        It does if it was given a place behind it, or in another epoch while it had
        not come as far as *sent*.
        """
        for before, after in pairwise(self._spans):
            if after.epoch == sent.epoch and sent.offset <= after.start:
                return True
            if before.epoch == sent.epoch != after.epoch and sent.offset > before.upto:
                return True
        first = self._spans[0] if self._spans else None
        return bool(first and first.epoch == sent.epoch and sent.offset <= first.start)


@define(eq=False)
class Verdict:
    """The findings about all clients together.

    ``replaced``: offsets that storage has assigned twice, which clients cannot know.
    """

    checked: int = 0
    excused: int = 0
    replaced: int = 0
    losses_told: int = 0
    faults: list[str] = field(factory=list)


def judge(
    accounts: Iterable[Account], sent: Sequence[Sent], goes_back: bool = False
) -> Verdict:
    """Compare the publications of a channel with those that its clients received.

    :param sent: the publications acknowledged after all clients had subscribed.
    :param goes_back: storage may lose its newest publications and assign their offsets
        again, in the same epoch, as a new master does.
    """
    verdict = Verdict()
    known = {each.number for each in sent}
    for account in accounts:
        verdict.losses_told += account.losses_told
        verdict.faults += account.faults
        for each in sent:
            if account.received(each):
                verdict.checked += 1
            elif account.excused(each):
                verdict.excused += 1
            elif goes_back and account.another(each, known):
                verdict.replaced += 1
            else:
                verdict.faults.append(f"{account.name}: never got {each}")
    return verdict


def out_of_order(sent: Sequence[Sent]) -> list[str]:
    """Return the offsets where the server's numbers differ from the publisher's."""
    faults = []
    for before, after in pairwise(sent):
        if before.epoch == after.epoch and before.offset >= after.offset:
            faults.append(f"{before} and then {after}")
    return faults

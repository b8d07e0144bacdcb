"""Whether clients got what was published: nothing lost, nothing twice, all in order."""

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
    """What came without a hole: numbers, by their offsets after ``start``."""

    epoch: str
    start: int
    upto: int
    got: dict[int, int] = field(factory=dict)


@define(eq=False)
class Account:
    """What one client was given of one channel, and what it was told.

    The client keeps it while it reads; what is wrong whatever was published is noted
    at once in ``faults``.
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
        """Take note that the client was told that it missed nothing."""
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
    def told(self) -> int:
        """How often the client was told that something may be lost for it."""
        return max(0, len(self._spans) - 1)

    def received(self, sent: Sent) -> bool:
        """Whether the client has got *sent*."""
        return any(
            span.epoch == sent.epoch and span.got.get(sent.offset) == sent.number
            for span in self._spans
        )

    def another(self, sent: Sent, known: set[int]) -> bool:
        """Whether the client got what is not *known* in the place of *sent*."""
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
    """What was found out about all clients together.

    ``replaced``: places in the stream that storage has given twice, of which clients
    cannot know.
    """

    checked: int = 0
    excused: int = 0
    replaced: int = 0
    told: int = 0
    faults: list[str] = field(factory=list)


def judge(
    accounts: Iterable[Account], sent: Sequence[Sent], goes_back: bool = False
) -> Verdict:
    """Compare what was sent into a channel with what its clients got.

    :param sent: what was acknowledged after all of them had subscribed.
    :param goes_back: storage may lose its newest publications and give their offsets
        again, in the same epoch, as a new master does.
    """
    verdict = Verdict()
    known = {each.number for each in sent}
    for account in accounts:
        verdict.told += account.told
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
    """Return where the server numbered differently from who sent, one by one."""
    faults = []
    for before, after in pairwise(sent):
        if before.epoch == after.epoch and before.offset >= after.offset:
            faults.append(f"{before} and then {after}")
    return faults

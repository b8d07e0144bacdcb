"""What one subscriber has proved to have received of its channel."""

from typing import NamedTuple

import msgspec

from ...options import Proof
from .recovery import Recovery
from .write_marks import WriteMarks

__all__ = ["Entry", "SubscriberReceipt", "entry_of"]


class Entry(msgspec.Struct, frozen=True, gc=False):
    """Where the deliveries to one subscription begin.

    The reply to its subscribe had been written at ``moment``; with it the subscriber
    has all publications after ``floor`` up to ``upto``.
    """

    moment: int
    epoch: str
    floor: int
    upto: int

    def proof(self, answered: int, at: float, marks: WriteMarks) -> Proof:
        """Return what is proved by the last pong.

        :param answered: the moment of the ping that it answered; *at* is when it came.
        """
        received = self.floor
        if answered > self.moment:
            received = max(self.upto, marks.upto(answered))
        return Proof(self.epoch, self.floor, received, at)


def entry_of(recovery: Recovery, latest_only: bool, moment: int) -> Entry:
    """Return the entry of a subscriber whose reply carried *recovery*.

    A subscriber that recovered has what came before by its own account: it named the
    position to recover from.

    :param latest_only: whether only the latest publication is recovered.
    """
    if not recovery.recovered:
        floor = recovery.upto
    else:
        floor = max(0, recovery.upto - 1) if latest_only else 0
    return Entry(moment, recovery.epoch, floor, recovery.upto)


class SubscriberReceipt(NamedTuple):
    """The proof of one subscriber; ``answers``: it is expected to answer pings."""

    user: str
    proof: Proof
    answers: bool

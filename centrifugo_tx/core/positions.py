"""Find out whether a channel here still stands where its stream does (engines, A.6)."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ..options import History, HistoryQuery

if TYPE_CHECKING:
    from .channel import Channel
    from .node import Node

__all__ = ["Positions"]


@define(eq=False)
class Positions:
    """Compares channels with storage: one question per channel, not per subscriber."""

    _node: "Node"
    _read: "Callable[[str, HistoryQuery], Deferred[History]]"
    _asked: "set[Channel]" = field(factory=set, init=False)

    def check_if_silent(self, channel: "Channel") -> None:
        """Check *channel* if nothing confirmed its position for a while."""
        node = self._node
        delay = node.options.position_check_delay
        if delay >= 0 and node.clock.seconds() - channel.confirmed > (delay or 40.0):
            self.check(channel)

    def check(self, channel: "Channel") -> None:
        """Check *channel* now; those who are not at the top lose their place."""
        if channel not in self._asked and channel.has_positioned:
            self._asked.add(channel)
            self._ask(channel, again=True)

    def _ask(self, channel: "Channel", again: bool) -> None:
        """Read the top; if it differs read *again*, as a delivery may be under way."""
        confirmed = channel.confirmed
        asked = self._read(channel.name, HistoryQuery())

        def answered(history: History) -> None:
            if channel.confirmed != confirmed:
                self._asked.discard(channel)  # something came meanwhile
            elif again and not channel.stands_at(history.position):
                self._ask(channel, again=False)
            else:
                self._asked.discard(channel)
                self._node.lose(channel.compare(history.position))

        def failed(failure: Failure) -> None:
            self._asked.discard(channel)  # it counts as valid; the next tick asks

        asked.addCallbacks(answered, failed)

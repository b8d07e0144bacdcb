"""Checks that the channels of this node have kept up with their streams.

See engines, "Position checks".
"""

from collections.abc import Callable

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ...options import History, HistoryQuery
from ..runtime import Runtime
from .channel import Channel
from .lanes import lose_positions

__all__ = ["PositionCheck"]

#: Seconds before a failed check is repeated: the first time, and at most.
SOON, LATER = 1.0, 30.0


@define(eq=False)
class _Doubt:
    """A channel whose position is being compared with storage."""

    channel: Channel
    _ask: "Callable[[_Doubt], None]"
    delay: float = SOON
    tick: int = 0

    def wake(self, now: float) -> None:
        """Repeat the check."""
        self._ask(self)


@define(eq=False)
class PositionCheck:
    """Compares channels with storage: one question per channel, not per subscriber."""

    _runtime: Runtime
    _read: "Callable[[str, HistoryQuery], Deferred[History]]"
    _doubts: dict[Channel, _Doubt] = field(factory=dict, init=False)

    def check_if_silent(self, channel: Channel) -> None:
        """Check *channel* if nothing confirmed its position for a while."""
        runtime = self._runtime
        delay = runtime.options.position_check_delay
        silent = runtime.clock.seconds() - channel.confirmed
        if delay >= 0 and silent > (delay or 40.0) and channel not in self._doubts:
            self.check(channel)

    def check(self, channel: Channel) -> None:
        """Check *channel* now; subscribers behind the top lose their position."""
        doubt = self._doubts.get(channel)
        if doubt is not None:
            if not doubt.tick:
                return  # the check is under way
            self._runtime.wheel.forget(doubt)
        self._doubts[channel] = _Doubt(channel, self._ask)
        self._ask(self._doubts[channel])

    def _ask(self, doubt: _Doubt, again: bool = True) -> None:
        """Read the top; if it differs read it *again*: a delivery may be under way."""
        channel = doubt.channel
        if not channel.has_positioned:
            del self._doubts[channel]
            return
        confirmed = channel.confirmed
        asked = self._read(channel.name, HistoryQuery())

        def answered(history: History) -> None:
            top = history.position
            if channel.confirmed != confirmed:
                # A delivery during the check may be an old one that was on its way.
                if channel.has_passed(top):
                    del self._doubts[channel]
                else:
                    self._later(doubt)
            elif again and not channel.stands_at(top):
                self._ask(doubt, again=False)
            else:
                del self._doubts[channel]
                lose_positions(channel.compare(top))

        def failed(failure: Failure) -> None:
            self._later(doubt)  # meanwhile it counts as valid

        asked.addCallbacks(answered, failed)

    def _later(self, doubt: _Doubt) -> None:
        self._runtime.wheel.set(doubt, self._runtime.clock.seconds() + doubt.delay)
        doubt.delay = min(LATER, doubt.delay * 2)

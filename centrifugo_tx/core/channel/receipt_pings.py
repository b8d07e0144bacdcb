"""Pings that ask the subscribers of a channel for receipts."""

from collections.abc import Callable

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from ..time_slices import RoundRobin, Slices
from .lanes import Audience

__all__ = ["INTERVAL", "ReceiptPings"]

#: Seconds between two rounds of one channel, at least.
INTERVAL = 1.0


@define(eq=False)
class _Round:
    """The last round of a channel; another one is ``due`` when it is over."""

    rest: IDelayedCall | None = None
    running: bool = True
    due: bool = False


@define(eq=False)
class ReceiptPings:
    """Pings all subscribers of a channel, in slices, at most once a second.

    :param failed: called with the failure of a round.
    """

    _clock: IReactorTime
    _failed: Callable[[Failure, str, str], None]
    _robin: RoundRobin = field(init=False)
    _rounds: dict[Audience, _Round] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self._robin = RoundRobin(self._clock)

    def ask(self, channel: Audience) -> None:
        """Ping the subscribers of *channel*, now or when the last round is over."""
        last = self._rounds.get(channel)
        if last is not None:
            last.due = True
            return
        begun = self._rounds[channel] = _Round()
        begun.rest = self._clock.callLater(INTERVAL, self._rested, channel, begun)
        running = Deferred.fromCoroutine(self._run(channel))
        running.addErrback(self._failed, "asking for receipts", channel.name)
        running.addCallback(lambda _: self._ran(channel, begun))

    def stop(self) -> None:
        """Begin no further rounds."""
        rounds, self._rounds = self._rounds, {}
        for last in rounds.values():
            if last.rest is not None:
                last.rest.cancel()

    async def _run(self, channel: Audience) -> None:
        slices = Slices(self._robin, self._clock)
        for subscriber in list(channel.subscribers):
            if slices.over():
                await slices.next()
            if subscriber in channel.subscribers and subscriber.active:
                subscriber.ask_for_receipt()

    def _ran(self, channel: Audience, last: _Round) -> None:
        last.running = False
        self._finish(channel, last)

    def _rested(self, channel: Audience, last: _Round) -> None:
        last.rest = None
        self._finish(channel, last)

    def _finish(self, channel: Audience, last: _Round) -> None:
        if last.running or last.rest is not None:
            return
        # It is absent if the node has stopped.
        if self._rounds.pop(channel, None) is not None and last.due:
            self.ask(channel)

"""What users had received when they left, in this process."""

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from ..core.timer_wheel import TimerWheel
from ..interfaces import IReceiptStore
from ..options import Departures, Proof

__all__ = ["MemoryReceiptStore"]


@define(eq=False)
class _ChannelDepartures:
    """The departures of one channel, which expire together."""

    name: str
    channels: dict[str, "_ChannelDepartures"]
    wheel: TimerWheel
    users: dict[str, Proof] = field(factory=dict, init=False)
    due: float = field(default=0.0, init=False)
    tick: int = field(default=0, init=False)

    def wake(self, now: float) -> None:
        """Expire, unless a later departure was added."""
        if self.due > now:
            self.wheel.set(self, self.due)
        else:
            del self.channels[self.name]


@implementer(IReceiptStore)
@define(eq=False)
class MemoryReceiptStore:
    """Departures within one process."""

    _clock: IReactorTime
    _channels: dict[str, _ChannelDepartures] = field(factory=dict, init=False)
    _wheel: TimerWheel = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._wheel = TimerWheel(self._clock, 1)

    def left(
        self, channel: str, user: str, proof: Proof, ttl: float
    ) -> "Deferred[None]":
        """Remember a departure."""
        found = self._channels.get(channel)
        if found is None:
            found = _ChannelDepartures(channel, self._channels, self._wheel)
            self._channels[channel] = found
        found.users[user] = proof
        found.due = self._clock.seconds() + ttl
        if not found.tick:
            self._wheel.set(found, found.due)
        return succeed(None)

    def returned(self, channel: str, user: str) -> "Deferred[None]":
        """Forget a departure."""
        found = self._channels.get(channel)
        if found is not None and user in found.users:
            del found.users[user]
            if not found.users:
                self._wheel.forget(found)
                del self._channels[channel]
        return succeed(None)

    def departures(self, channel: str, cursor: str) -> "Deferred[Departures]":
        """Return all departures: they are one page."""
        found = self._channels.get(channel)
        users = {} if found is None else dict(found.users)
        return succeed(Departures(users))

    def stop(self) -> None:
        """Cancel all timers."""
        self._wheel.stop()

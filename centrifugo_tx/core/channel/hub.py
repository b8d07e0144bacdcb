"""The channels that have subscribers on this node."""

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Protocol

from attrs import define, field

from ...protocol.messages import Push
from .broker_subscriptions import BrokerSubscriptions
from .channel import Channel
from .lanes import BroadcastContext
from .position_check import PositionCheck

__all__ = ["ChannelSource", "Hub"]


@define(eq=False)
class Hub:
    """Finds the channels of this node by name, and counts their subscriptions.

    Map channels have a broker of their own, so they are kept apart: a stream and a
    map may have the same name.
    """

    _context: BroadcastContext
    channels: dict[str, Channel] = field(factory=dict, init=False)
    maps: dict[str, Channel] = field(factory=dict, init=False)
    num_subscriptions: int = field(default=0, init=False)

    @property
    def num_channels(self) -> int:
        """How many channels have subscribers here."""
        return sum(1 for _ in self.occupied())

    def occupied(self) -> Iterator[Channel]:
        """Iterate over the channels that have subscribers here."""
        everything = chain(self.channels.values(), self.maps.values())
        return (channel for channel in everything if channel.num_subscribers)

    def channel(self, name: str) -> Channel:
        """Return the stream channel *name*; create it if needed."""
        channel = self.channels.get(name)
        if channel is None:
            channel = self.channels[name] = Channel(name, self._context)
        return channel

    def map(self, name: str) -> Channel:
        """Return the map channel *name*; create it if needed."""
        channel = self.maps.get(name)
        if channel is None:
            channel = self.maps[name] = Channel(name, self._context)
        return channel

    def announce(self, push: Push) -> None:
        """Send a join or leave to the subscribers that observe its channel."""
        for channels in (self.channels, self.maps):
            found = channels.get(push.channel)
            if found is not None:
                found.announce(push)


class ChannelSource(Protocol):
    """Where the channels of one kind of subscription come from."""

    @property
    def broker_subscriptions(self) -> BrokerSubscriptions[Channel]:
        """The broker subscriptions of these channels."""

    @property
    def position_check(self) -> PositionCheck:
        """Compares these channels with storage."""

    @property
    def local(self) -> Callable[[str], Channel]:
        """Returns the channel of a name on this node."""

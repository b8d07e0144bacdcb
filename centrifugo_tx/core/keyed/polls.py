"""The polled channels of a node."""

from attrs import define, field
from twisted.internet.defer import Deferred

from ...interfaces import IBroker
from ...options import PollRules, Published, PublishOptions
from ...protocol.messages import Publication, Raw
from ..runtime import Runtime
from .feeds import Feeds, feed_name, split_name
from .polled_channel import PolledChannel

__all__ = ["Polls"]


@define(eq=False)
class Polls:
    """Finds polled channels by name.

    A channel is there from its first subscriber on, and some time after its last.
    """

    _runtime: Runtime
    _broker: IBroker
    channels: dict[str, PolledChannel] = field(factory=dict, init=False)
    feeds: Feeds = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.feeds = Feeds(self._runtime, self._broker)

    def channel(self, name: str, rules: PollRules) -> PolledChannel:
        """Return the channel of this name, a new one if need be."""
        channel = self.channels.get(name)
        if channel is None:
            channel = PolledChannel(self._runtime, name, rules, self._forget)
            self.channels[name] = channel
        return channel

    def publish(
        self, channel: str, key: str, data: Raw, version: int, epoch: str = ""
    ) -> "Deferred[Published]":
        """Set a key without being asked; all who track it, on any node, are told.

        Of no effect where nobody does, since its value is had when somebody asks.
        """
        options = PublishOptions(key=key, version=version, epoch=epoch)
        name = feed_name(channel, key)
        return self._broker.publish(name, data, options)

    def take(self, name: str, publication: Publication, epoch: str) -> None:
        """Take a value that was published, if *name* is the channel of a key.

        Nobody need track the key: the epoch is that of all keys.
        """
        channel, key = split_name(name)
        found = self.channels.get(channel)
        if found is not None:
            value = Publication(
                data=publication.data,
                key=key,
                version=publication.version,
                epoch=epoch,
            )
            found.publish(value, epoch)

    def handle_gap(self, name: str) -> None:
        """Ask for a key whose publications may not have come here."""
        feed = self.feeds.by_name.get(name)
        if feed is not None and feed.channel in self.channels:
            self.channels[feed.channel].want([feed.key])

    @property
    def num_keys(self) -> int:
        """How many keys are tracked."""
        return sum(len(channel.keys) for channel in self.channels.values())

    def stop(self) -> None:
        """Leave nothing behind in the reactor."""
        for channel in list(self.channels.values()):
            channel.stop()
        self.channels.clear()
        self.feeds.stop()

    def _forget(self, channel: PolledChannel) -> None:
        self.channels.pop(channel.name, None)

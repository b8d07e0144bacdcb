"""The polled channels of a node."""

from attrs import define, field
from twisted.internet.defer import Deferred

from ...interfaces import IBroker
from ...options import PollRules, Published, PublishOptions
from ...protocol.messages import Payload, Publication
from ..run_or_defer import as_deferred
from ..runtime import Runtime
from .key_channels import KeyChannels, key_channel_name, split_key_channel_name
from .polled_channel import PolledChannel

__all__ = ["Polls"]


@define(eq=False)
class Polls:
    """Finds polled channels by name.

    A channel exists from its first subscriber until some time after its last.
    """

    _runtime: Runtime
    _broker: IBroker
    channels: dict[str, PolledChannel] = field(factory=dict, init=False)
    key_channels: KeyChannels = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.key_channels = KeyChannels(self._runtime, self._broker)

    def channel(self, name: str, rules: PollRules) -> PolledChannel:
        """Return the channel *name*; create it if needed."""
        channel = self.channels.get(name)
        if channel is None:
            channel = PolledChannel(self._runtime, name, rules, self._forget)
            self.channels[name] = channel
        return channel

    def publish(
        self, channel: str, key: str, data: Payload, version: int, epoch: str = ""
    ) -> "Deferred[Published]":
        """Publish the value of a key to its trackers on all nodes.

        A node without trackers ignores it and polls the key when it is tracked.
        """
        options = PublishOptions(key=key, version=version, epoch=epoch)
        name = key_channel_name(channel, key)
        return as_deferred(self._broker.publish(name, data, options))

    def take(self, name: str, publication: Publication, epoch: str) -> None:
        """Handle a published value, if *name* is the broker's channel of a key.

        The epoch applies to all keys of the channel, even if the key is not tracked.
        """
        channel, key = split_key_channel_name(name)
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
        """Poll a key whose publications may have been missed."""
        key_channel = self.key_channels.by_name.get(name)
        if key_channel is not None and key_channel.channel in self.channels:
            self.channels[key_channel.channel].request_poll([key_channel.key])

    @property
    def num_keys(self) -> int:
        """The number of keys that are tracked."""
        return sum(len(channel.keys) for channel in self.channels.values())

    def stop(self) -> None:
        """Cancel all delayed calls."""
        for channel in list(self.channels.values()):
            channel.stop()
        self.channels.clear()
        self.key_channels.stop()

    def _forget(self, channel: PolledChannel) -> None:
        self.channels.pop(channel.name, None)

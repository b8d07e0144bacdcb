"""The polled channels of a node."""

from attrs import define, field

from ...options import PollRules
from ...protocol.messages import Publication, Raw
from ..runtime import Runtime
from .polled_channel import PolledChannel

__all__ = ["Polls"]


@define(eq=False)
class Polls:
    """Finds polled channels by name.

    A channel is there from its first subscriber on, and some time after its last.
    """

    _runtime: Runtime
    channels: dict[str, PolledChannel] = field(factory=dict, init=False)

    def channel(self, name: str, rules: PollRules) -> PolledChannel:
        """Return the channel of this name, a new one if need be."""
        channel = self.channels.get(name)
        if channel is None:
            channel = PolledChannel(self._runtime, name, rules, self._forget)
            self.channels[name] = channel
        return channel

    def publish(
        self, channel: str, key: str, data: Raw, version: int, epoch: str = ""
    ) -> None:
        """Set a key without being asked; who tracks it here is told.

        Of no effect where nobody does, since its value is had when somebody asks.
        """
        found = self.channels.get(channel)
        if found is not None:
            found.publish(
                Publication(data=data, key=key, version=version, epoch=epoch), epoch
            )

    @property
    def num_keys(self) -> int:
        """How many keys are tracked."""
        return sum(len(channel.keys) for channel in self.channels.values())

    def stop(self) -> None:
        """Leave nothing behind in the reactor."""
        for channel in list(self.channels.values()):
            channel.stop()
        self.channels.clear()

    def _forget(self, channel: PolledChannel) -> None:
        self.channels.pop(channel.name, None)

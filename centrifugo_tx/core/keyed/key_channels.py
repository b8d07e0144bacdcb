"""The broker's channels of polled keys, into which values are published.

See engines, "Other keys in Redis".
"""

from collections.abc import Iterable

from attrs import define, field
from twisted.internet.defer import Deferred, gatherResults, succeed

from ...interfaces import IBroker
from ..channel.broker_subscriptions import BrokerSubscriptions
from ..runtime import Runtime
from .polled_channel import Tracker

__all__ = ["KeyChannel", "KeyChannels", "key_channel_name", "split_key_channel_name"]


def key_channel_name(channel: str, key: str) -> str:
    """Return the broker's channel of a key; the length is in bytes."""
    return f"{len(channel.encode())}:{channel}{key}"


def split_key_channel_name(name: str) -> tuple[str, str]:
    """Return channel and key of a broker's channel; empty if it belongs to no key."""
    length, _, rest = name.partition(":")
    if not (length.isascii() and length.isdigit() and len(length) < 6):
        return "", ""
    data = rest.encode()
    channel, key = data[: int(length)], data[int(length) :]
    if len(channel) < int(length):
        return "", ""
    try:
        return channel.decode(), key.decode()
    except UnicodeDecodeError:
        return "", ""


@define(eq=False)
class KeyChannel:
    """The broker's channel of one key, with its trackers on this node."""

    name: str
    channel: str
    key: str
    subscribed: bool = False
    subscribers: dict[Tracker, None] = field(factory=dict, init=False)

    def forget_position(self) -> None:
        """Do nothing: keys have versions instead of a position."""


@define(eq=False)
class KeyChannels:
    """Subscribes the node to the broker's channels of the keys it tracks."""

    _runtime: Runtime
    _broker: IBroker
    by_name: dict[str, KeyChannel] = field(factory=dict, init=False)
    _broker_subscriptions: BrokerSubscriptions[KeyChannel] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._broker_subscriptions = BrokerSubscriptions(
            self._runtime, self._broker, self.by_name
        )

    def join(
        self, channel: str, keys: Iterable[str], tracker: Tracker
    ) -> "Deferred[None]":
        """Subscribe to *keys* for *tracker*.

        :return: fires when the broker delivers all *keys* here.  It fails with
            `BrokerUnavailable`; then `leave` removes the keys subscribed so far.
        """
        starting = []
        for key in keys:
            name = key_channel_name(channel, key)
            key_channel = self.by_name.get(name)
            if key_channel is None:
                key_channel = self.by_name[name] = KeyChannel(name, channel, key)
            key_channel.subscribers[tracker] = None
            started = self._broker_subscriptions.start(key_channel)
            if started is not None:
                starting.append(started)
        if not starting:
            return succeed(None)
        return gatherResults(starting, consumeErrors=True).addCallback(lambda _: None)

    def leave(self, channel: str, keys: Iterable[str], tracker: Tracker) -> None:
        """Unsubscribe *tracker* from *keys*; ignore keys that it has not joined."""
        for key in keys:
            key_channel = self.by_name.get(key_channel_name(channel, key))
            if key_channel is not None and tracker in key_channel.subscribers:
                del key_channel.subscribers[tracker]
                self._broker_subscriptions.vacate(key_channel)

    def stop(self) -> None:
        """Cancel all delayed calls."""
        self._broker_subscriptions.stop()

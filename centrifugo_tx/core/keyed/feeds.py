"""What others publish into polled keys, by way of the broker.

See engines, "Other keys in Redis".
"""

from collections.abc import Iterable

from attrs import define, field
from twisted.internet.defer import Deferred, gatherResults, succeed

from ...interfaces import IBroker
from ..channel.broker_subscriptions import BrokerSubscriptions
from ..runtime import Runtime
from .polled_channel import Tracker

__all__ = ["Feed", "Feeds", "feed_name", "split_name"]


def feed_name(channel: str, key: str) -> str:
    """Return the broker's channel of a key; the length counts bytes."""
    return f"{len(channel.encode())}:{channel}{key}"


def split_name(name: str) -> tuple[str, str]:
    """Return channel and key of a broker's channel; both empty if it is no key's."""
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
class Feed:
    """One key of a channel, as the broker delivers it to this node."""

    name: str
    channel: str
    key: str
    subscribed: bool = False
    subscribers: dict[Tracker, None] = field(factory=dict, init=False)

    def forget_position(self) -> None:
        """Do nothing: versions say what is newer."""


@define(eq=False)
class Feeds:
    """Listens to the keys that somebody here tracks, where they may be published."""

    _runtime: Runtime
    _broker: IBroker
    by_name: dict[str, Feed] = field(factory=dict, init=False)
    _listening: BrokerSubscriptions[Feed] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._listening = BrokerSubscriptions(self._runtime, self._broker, self.by_name)

    def join(
        self, channel: str, keys: Iterable[str], tracker: Tracker
    ) -> "Deferred[None]":
        """Listen to *keys* for *tracker*.

        :return: fires when what is published from now on comes here.  It fails with
            `BrokerUnavailable`; `leave` undoes what was reached until then.
        """
        starting = []
        for key in keys:
            name = feed_name(channel, key)
            feed = self.by_name.get(name)
            if feed is None:
                feed = self.by_name[name] = Feed(name, channel, key)
            feed.subscribers[tracker] = None
            started = self._listening.start(feed)
            if not feed.subscribed:
                starting.append(started)
        if not starting:
            return succeed(None)
        return gatherResults(starting, consumeErrors=True).addCallback(lambda _: None)

    def leave(self, channel: str, keys: Iterable[str], tracker: Tracker) -> None:
        """Listen no more for *tracker*; no error if it did not."""
        for key in keys:
            feed = self.by_name.get(feed_name(channel, key))
            if feed is not None and tracker in feed.subscribers:
                del feed.subscribers[tracker]
                self._listening.vacate(feed)

    def stop(self) -> None:
        """Leave nothing behind in the reactor."""
        self._listening.stop()

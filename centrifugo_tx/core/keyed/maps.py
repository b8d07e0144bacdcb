"""The maps of a node: reading, changes, and the events of the map broker."""

from collections.abc import Sequence

import msgspec
from attrs import define, field
from twisted.internet.defer import Deferred
from zope.interface import implementer

from ...errors import ReplyError
from ...interfaces import IMapBroker, IMapEventHandler
from ...options import (
    NOWHERE,
    History,
    HistoryQuery,
    MapChange,
    MapChanged,
    MapPage,
    MapQuery,
    MapRules,
)
from ...protocol.codes import UNRECOVERABLE_POSITION
from ...protocol.messages import (
    ClientInfo,
    Join,
    Leave,
    Payload,
    Publication,
    Push,
    StreamPosition,
)
from ..channel.broker_subscriptions import BrokerSubscriptions
from ..channel.channel import Channel
from ..channel.hub import Hub
from ..channel.lanes import lose_positions
from ..channel.position_check import PositionCheck
from ..runtime import Runtime

__all__ = ["Maps", "shown"]


def shown(publication: Publication) -> Publication:
    """Return *publication* without its time, as clients receive it."""
    return msgspec.structs.replace(publication, time=0)


@implementer(IMapEventHandler)
@define(eq=False)
class Maps:
    """Reads and changes maps, and delivers the map broker's events to channels.

    Clients read maps by a `MapReader`; the channels are in ``hub.maps``.
    """

    _runtime: Runtime
    _hub: Hub
    broker: IMapBroker
    broker_subscriptions: BrokerSubscriptions[Channel] = field(init=False)
    position_check: PositionCheck = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.broker_subscriptions = BrokerSubscriptions(
            self._runtime, self.broker, self._hub.maps, "map_broker"
        )
        self.position_check = PositionCheck(self._runtime, self._top)

    def _top(self, channel: str, query: HistoryQuery) -> "Deferred[History]":
        """Read a map's position, which also keeps its metadata alive."""
        rules = self._runtime.policy.channel(channel).map
        ttl = 0.0 if rules is None else rules.meta_ttl
        query = msgspec.structs.replace(query, meta_ttl=ttl)
        return self.broker.stream(channel, query)

    def start(self) -> None:
        """Start to receive the broker's events."""
        self.broker.listen(self)

    def stop(self) -> None:
        """Cancel all delayed calls."""
        self.broker_subscriptions.stop()

    def local(self, name: str) -> Channel:
        """Return the map channel *name* on this node."""
        return self._hub.map(name)

    # --- Reading and changes ---------------------------------------------------

    def publish(
        self, channel: str, key: str, data: Payload, change: MapChange
    ) -> "Deferred[MapChanged]":
        """Set a key of *channel*."""
        self._runtime.metrics.sent["map_publication"].value += 1
        self._runtime.metrics.actions["map_publish"].value += 1
        done = self.broker.publish(channel, key, data, change)
        return done.addCallback(self._count, "publish")

    def remove(
        self, channel: str, key: str, change: MapChange
    ) -> "Deferred[MapChanged]":
        """Remove a key from *channel*."""
        self._runtime.metrics.sent["map_removal"].value += 1
        self._runtime.metrics.actions["map_remove"].value += 1
        done = self.broker.remove(channel, key, change)
        return done.addCallback(self._count, "remove")

    def _count(self, changed: MapChanged, verb: str) -> MapChanged:
        if changed.suppressed:
            self._runtime.metrics.count_suppressed(verb, changed.suppressed)
        return changed

    def state(
        self, channel: str, query: MapQuery, epoch: str = ""
    ) -> "Deferred[MapPage]":
        """Read entries.  Fails with `ReplyError` 112 if the map has another epoch."""

        def compare(page: MapPage) -> MapPage:
            _compare(epoch, page.position)
            return page

        self._runtime.metrics.actions["map_state_read"].value += 1
        return self.broker.state(channel, query).addCallback(compare)

    def stream(self, channel: str, query: HistoryQuery) -> "Deferred[History]":
        """Read changes.

        Fails with `ReplyError` 112, too, if the next change is not kept any more.
        """
        since = query.since or NOWHERE

        def compare(history: History) -> History:
            _compare(since.epoch, history.position)
            changes = history.publications
            followed = bool(changes and since.offset and not query.reverse)
            if followed and changes[0].offset > since.offset + 1:
                raise ReplyError(UNRECOVERABLE_POSITION)
            return history

        self._runtime.metrics.actions["map_stream_read"].value += 1
        return self.broker.stream(channel, query).addCallback(compare)

    def size(self, channel: str) -> "Deferred[int]":
        """Return the number of keys."""
        self._runtime.metrics.actions["map_stats"].value += 1
        return self.broker.size(channel)

    def clear(self, channel: str) -> "Deferred[None]":
        """Remove all keys of *channel*."""
        self._runtime.metrics.actions["map_clear"].value += 1
        return self.broker.clear(channel)

    # --- Events of the broker --------------------------------------------------

    def handle_change(
        self,
        channel: str,
        publication: Publication,
        position: StreamPosition,
        previous: Publication | None,
    ) -> None:
        """Deliver a change to the subscribers on this node."""
        self._runtime.metrics.delivered += 1
        found = self._hub.maps.get(channel)
        if found is not None and found.subscribers:
            lose_positions(found.deliver(shown(publication), position, previous))

    def handle_clear(self, channel: str) -> None:
        """Make all subscribers on this node read the map again."""
        found = self._hub.maps.get(channel)
        if found is not None:
            lost = found.forget_position()
            lost += [each for each in found.subscribers if each.active]
            lose_positions(lost)

    def handle_gap(self, channels: Sequence[str]) -> None:
        """Compare maps with storage; subscribers read maps without a stream again."""
        for name in channels:
            found = self._hub.maps.get(name)
            if found is None:
                continue
            if found.has_positioned:
                self.position_check.check(found)
            else:
                lose_positions([each for each in found.subscribers if each.active])

    def handle_join(self, channel: str, info: ClientInfo) -> None:
        """Send a join to the subscribers on this node."""
        self._runtime.metrics.received["join"].value += 1
        self._hub.announce(Push(channel=channel, join=Join(info)))

    def handle_leave(self, channel: str, info: ClientInfo) -> None:
        """Send a leave to the subscribers on this node."""
        self._runtime.metrics.received["leave"].value += 1
        self._hub.announce(Push(channel=channel, leave=Leave(info)))

    def rules(self, channel: str) -> MapRules | None:
        """Return the rules of the map *channel*; None if *channel* is not a map."""
        try:
            return self._runtime.policy.channel(channel).map
        except ReplyError:
            return None


def _compare(epoch: str, position: StreamPosition) -> None:
    if epoch and epoch != position.epoch:
        raise ReplyError(UNRECOVERABLE_POSITION)

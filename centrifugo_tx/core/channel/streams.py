"""The node's stream channels: publish, history, and the broker's events."""

from collections.abc import Callable, Sequence
from typing import Protocol

from attrs import define, field
from msgspec.structs import replace
from twisted.internet.defer import Deferred, fail
from zope.interface import implementer

from ...errors import ReplyError
from ...interfaces import IBroker, IBrokerEventHandler
from ...options import History, HistoryQuery, Published, PublishOptions
from ...protocol.codes import BAD_REQUEST, UNRECOVERABLE_POSITION
from ...protocol.messages import (
    ClientInfo,
    Join,
    Leave,
    Payload,
    Publication,
    Push,
    StreamPosition,
)
from ..runtime import Runtime
from .broker_subscriptions import BrokerSubscriptions
from .channel import Channel
from .hub import Hub
from .lanes import lose_positions
from .position_check import PositionCheck
from .shared_reads import SharedReads

__all__ = ["Streams"]

_PLAIN = PublishOptions()


class KeyReceiver(Protocol):
    """Handles the broker's events for polled keys."""

    def take(self, name: str, publication: Publication, epoch: str) -> None:
        """Handle a published value, if *name* is the broker's channel of a key."""

    def handle_gap(self, name: str) -> None:
        """Handle missed values, if *name* is the broker's channel of a key."""


@implementer(IBrokerEventHandler)
@define(eq=False)
class Streams:
    """Publishes to the broker, and delivers the broker's events to channels."""

    _runtime: Runtime
    broker: IBroker
    _hub: Hub
    _keys: KeyReceiver
    #: Returns the channel of a name on this node.
    local: Callable[[str], Channel] = field(init=False)
    broker_subscriptions: BrokerSubscriptions[Channel] = field(init=False)
    position_check: PositionCheck = field(init=False)
    _shared_reads: SharedReads = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.local = self._hub.channel
        self.broker_subscriptions = BrokerSubscriptions(
            self._runtime, self.broker, self._hub.channels
        )
        self.position_check = PositionCheck(
            self._runtime, lambda name, query: self.broker.history(name, query)
        )
        self._shared_reads = SharedReads(
            self._runtime.clock, lambda name, query: self.broker.history(name, query)
        )

    def start(self) -> None:
        """Start to receive the broker's events."""
        self.broker.listen(self)

    def stop(self) -> None:
        """Cancel all delayed calls."""
        self.broker_subscriptions.stop()
        self._shared_reads.stop()

    # --- Publish and history ---------------------------------------------------

    def publish(
        self, channel: str, data: Payload, options: PublishOptions = _PLAIN
    ) -> Published | Deferred[Published]:
        """Publish *data* into *channel*."""
        self._runtime.metrics.published += 1
        return self.broker.publish(channel, data, options)

    def history(self, channel: str, query: HistoryQuery) -> Deferred[History]:
        """Read part of a stream (engines, "Reading history").

        Fails with `ReplyError`: 107, backwards from offset 0; 112, another epoch.
        """
        self._runtime.metrics.actions["history"].value += 1
        since = query.since
        if since is not None and query.reverse and not since.offset:
            return fail(ReplyError(BAD_REQUEST))
        found = self.broker.history(channel, query)
        if since is None or not since.epoch:
            return found
        epoch = since.epoch

        def compare(history: History) -> History:
            if history.position.epoch != epoch:
                raise ReplyError(UNRECOVERABLE_POSITION)
            return history

        return found.addCallback(compare)

    def read(self, channel: Channel, query: HistoryQuery) -> Deferred[History]:
        """Read history for a subscriber that *channel* is buffering for.

        Its recovery compares the epochs.
        """
        return self._shared_reads.read(channel, query)

    def remove_history(self, channel: str) -> Deferred[None]:
        """Delete a channel's publications; its stream position continues."""
        self._runtime.metrics.actions["history_remove"].value += 1
        found = self._hub.channels.get(channel)
        if found is not None:
            found.revision += 1
        return self.broker.remove_history(channel)

    def publish_join(self, channel: str, info: ClientInfo) -> None:
        """Announce a subscriber on all nodes; no caller waits for it."""
        self._runtime.metrics.sent["join"].value += 1
        done = self.broker.publish_join(channel, info)
        done.addErrback(self._runtime.log_failure, "join", channel)

    def publish_leave(self, channel: str, info: ClientInfo) -> None:
        """Announce on all nodes that a subscriber left; no caller waits for it."""
        self._runtime.metrics.sent["leave"].value += 1
        done = self.broker.publish_leave(channel, info)
        done.addErrback(self._runtime.log_failure, "leave", channel)

    # --- Events of the broker --------------------------------------------------

    def handle_publication(
        self,
        channel: str,
        publication: Publication,
        position: StreamPosition,
        previous: Publication | None,
    ) -> None:
        """Deliver a publication to the subscribers on this node."""
        runtime = self._runtime
        runtime.metrics.delivered += 1
        found = self._hub.channels.get(channel)
        if found is None or not found.subscribers:
            if found is not None:
                found.revision += 1
            if publication.key:
                self._keys.take(channel, publication, position.epoch)
            return
        began = runtime.clock.seconds()
        if publication.time and self._lags(publication, began):
            lose_positions(found.forget_position())
        epoch = position.epoch if position.offset == 1 else ""
        if publication.time or publication.epoch != epoch:
            publication = replace(publication, time=0, epoch=epoch)
        lost = found.deliver(publication, position, previous)
        if lost:
            lose_positions(lost)
        runtime.metrics.broadcast_duration.observe(runtime.clock.seconds() - began)

    def _lags(self, publication: Publication, now: float) -> bool:
        """Whether a publication took too long to arrive here.

        See client protocol, "Live positions".
        """
        lag = now - publication.time / 1000
        self._runtime.metrics.delivery_lag.observe(max(0.0, lag))
        return 0 < self._runtime.options.position_max_time_lag < lag

    def handle_join(self, channel: str, info: ClientInfo) -> None:
        """Send a join to the subscribers on this node."""
        self._runtime.metrics.received["join"].value += 1
        self._hub.announce(Push(channel=channel, join=Join(info)))

    def handle_leave(self, channel: str, info: ClientInfo) -> None:
        """Send a leave to the subscribers on this node."""
        self._runtime.metrics.received["leave"].value += 1
        self._hub.announce(Push(channel=channel, leave=Leave(info)))

    def handle_gap(self, channels: Sequence[str]) -> None:
        """Compare channels with storage; subscribers behind it lose their position."""
        for name in channels:
            found = self._hub.channels.get(name)
            if found is not None:
                found.revision += 1
                self.position_check.check(found)
            else:
                self._keys.handle_gap(name)

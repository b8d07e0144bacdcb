"""Receivers that record the events of an engine."""

from collections.abc import Sequence

from attrs import define, field
from twisted.internet.defer import Deferred
from zope.interface import implementer

from centrifugo_tx.interfaces import IBrokerEventHandler, IControlEventHandler
from centrifugo_tx.protocol.messages import ClientInfo, Publication, StreamPosition

__all__ = ["Delivery", "Mailbox", "Receiver"]


@define
class Delivery:
    """One publication as a broker delivered it."""

    channel: str
    publication: Publication
    position: StreamPosition
    previous: Publication | None


@define(eq=False)
class _Waiting:
    """Tells when a list has grown to a length."""

    _goals: "list[tuple[Sequence[object], int, Deferred[None]]]" = field(
        factory=list, init=False
    )

    def when_count_is(self, events: Sequence[object], count: int) -> "Deferred[None]":
        """Return a Deferred that fires when *events* are *count*."""
        reached: Deferred[None] = Deferred()
        self._goals.append((events, count, reached))
        self.fire_reached()
        return reached

    def fire_reached(self) -> None:
        """Fire the Deferreds whose counts are reached."""
        for goal in list(self._goals):
            events, count, reached = goal
            if len(events) >= count:
                self._goals.remove(goal)
                reached.callback(None)


@implementer(IBrokerEventHandler)
@define(eq=False)
class Receiver:
    """Records the events of a broker."""

    deliveries: list[Delivery] = field(factory=list, init=False)
    joins: list[tuple[str, ClientInfo]] = field(factory=list, init=False)
    leaves: list[tuple[str, ClientInfo]] = field(factory=list, init=False)
    gaps: list[str] = field(factory=list, init=False)
    _waiting: _Waiting = field(factory=_Waiting, init=False)

    def handle_publication(
        self,
        channel: str,
        publication: Publication,
        position: StreamPosition,
        previous: Publication | None,
    ) -> None:
        """Write it down."""
        self.deliveries.append(Delivery(channel, publication, position, previous))
        self._waiting.fire_reached()

    def handle_join(self, channel: str, info: ClientInfo) -> None:
        """Write it down."""
        self.joins.append((channel, info))
        self._waiting.fire_reached()

    def handle_leave(self, channel: str, info: ClientInfo) -> None:
        """Write it down."""
        self.leaves.append((channel, info))
        self._waiting.fire_reached()

    def handle_gap(self, channels: Sequence[str]) -> None:
        """Write it down."""
        self.gaps.extend(channels)
        self._waiting.fire_reached()

    def when_count_is(self, events: Sequence[object], count: int) -> "Deferred[None]":
        """Return a Deferred that fires when one of the lists has *count* entries."""
        return self._waiting.when_count_is(events, count)


@implementer(IControlEventHandler)
@define(eq=False)
class Mailbox:
    """Writes down the messages that a controller delivers."""

    messages: list[bytes] = field(factory=list, init=False)
    _waiting: _Waiting = field(factory=_Waiting, init=False)

    def handle_control(self, message: bytes) -> None:
        """Write it down."""
        self.messages.append(message)
        self._waiting.fire_reached()

    def when_count_is(self, count: int) -> "Deferred[None]":
        """Return a Deferred that fires when there are *count* messages."""
        return self._waiting.when_count_is(self.messages, count)

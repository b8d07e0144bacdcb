"""Lanes: the subscribers that get the same bytes, and broadcasts to them."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from ...interfaces import ITransport
from ...metrics import Counter
from ...protocol.wire import Wire
from ..transport_counters import TransportCounters
from .deltas import Deltas
from .encoded_publication import EncodedPublication
from .variants import Variant

__all__ = [
    "BroadcastContext",
    "Lane",
    "Lanes",
    "PendingBroadcast",
    "Subscriber",
    "enter",
    "lose_positions",
]


class Subscriber(Protocol):
    """One subscription, as its channel knows it.

    ``lane`` is the channel's to set: where the subscriber stands, None outside.
    """

    lane: "Lane | None"
    variant: Variant | None

    @property
    def transport(self) -> ITransport:
        """Where its frames go."""

    @property
    def positioned(self) -> bool:
        """Whether it relies on its position in the stream."""

    @property
    def active(self) -> bool:
        """Whether it has its place in the channel."""

    @property
    def observes_presence(self) -> bool:
        """Whether it is sent the joins and leaves of others."""

    def deliver(self, encoded: EncodedPublication) -> None:
        """Send *encoded* to this subscriber alone."""

    def lose_position(self) -> None:
        """Tell the client that it missed something; the subscriber has left."""

    def undeliverable(self) -> None:
        """End the connection: a publication cannot be encoded for it."""


def lose_positions(lost: Iterable[Subscriber]) -> None:
    """Tell those that lost their position in the stream."""
    for subscriber in lost:
        subscriber.lose_position()


@define(eq=False)
class Lane:
    """Subscribers that get the same bytes."""

    wire: Wire
    members: dict[Subscriber, ITransport] = field(factory=dict, init=False)


#: Lanes that differ by their wire alone.
Lanes = dict[Wire, Lane]


def enter(lanes: Lanes, subscriber: Subscriber) -> Lane:
    """Put *subscriber* into the lane of its wire; return that lane."""
    transport = subscriber.transport
    lane = lanes.get(transport.wire)
    if lane is None:
        lane = lanes[transport.wire] = Lane(transport.wire)
    lane.members[subscriber] = transport
    return lane


@define(eq=False)
class PendingBroadcast:
    """One frame that a part of its subscribers have been sent."""

    frame: bytes
    members: Sequence[tuple[Subscriber, ITransport]]
    done: int
    #: The subscribers that have left since.
    gone: set[Subscriber] = field(factory=set, init=False)


@define(eq=False)
class BroadcastContext:
    """What the channels of a node share for their broadcasts.

    One channel makes at most ``limit`` writes in one turn of the reactor, so that other
    work is not delayed.  ``unwanted`` counts the publications that filters dropped.
    """

    clock: IReactorTime
    limit: int
    transport_counters: TransportCounters
    unwanted: Counter
    deltas: Deltas = field(factory=Deltas)

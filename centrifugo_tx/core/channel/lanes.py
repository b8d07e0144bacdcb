"""Subscribers who get the same bytes, and how frames come to many of them."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from ...interfaces import ITransport
from ...metrics import Counter
from ...protocol.wire import Wire
from ..traffic import Traffic
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
    def settled(self) -> bool:
        """Whether it has its place in the channel."""

    @property
    def observes_presence(self) -> bool:
        """Whether it is sent the joins and leaves of others."""

    def give(self, encoded: EncodedPublication) -> None:
        """Send *edition* to this subscriber alone."""

    def lose_position(self) -> None:
        """Tell the client that it missed something; the subscriber has left."""

    def undeliverable(self) -> None:
        """End the connection: its encoding cannot say a publication."""


def lose_positions(lost: Iterable[Subscriber]) -> None:
    """Tell those that lost their position in the stream."""
    for subscriber in lost:
        subscriber.lose_position()


@define(eq=False)
class Lane:
    """Subscribers who get the same bytes."""

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
    """One frame on its way to many, of which a part had their turn."""

    frame: bytes
    members: Sequence[tuple[Subscriber, ITransport]]
    done: int
    #: Who left since.
    gone: set[Subscriber] = field(factory=set, init=False)


@define(eq=False)
class BroadcastContext:
    """What all channels of a node need for theirs.

    ``limit`` is how many writes one channel may do in one turn of the reactor, so
    that others have their turn.  ``unwanted`` counts what filters kept back.
    """

    clock: IReactorTime
    limit: int
    traffic: Traffic
    unwanted: Counter
    deltas: Deltas = field(factory=Deltas)

"""Subscribers who get the same bytes, and how frames come to many of them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from ...interfaces import ITransport
from ...metrics import Counter
from ...protocol.wire import Wire
from ..traffic import Traffic
from .deltas import Deltas

if TYPE_CHECKING:
    from ..subscription import Subscription

__all__ = ["Cast", "FanOut", "Lane", "Lanes", "enter"]


@define(eq=False)
class Lane:
    """Subscribers who get the same bytes."""

    wire: Wire
    members: "dict[Subscription, ITransport]" = field(factory=dict, init=False)


#: Lanes that differ by their wire alone.
Lanes = dict[Wire, Lane]


def enter(lanes: Lanes, subscription: "Subscription") -> Lane:
    """Put *subscription* into the lane of its wire; return that."""
    transport = subscription.client.transport
    lane = lanes.get(transport.wire)
    if lane is None:
        lane = lanes[transport.wire] = Lane(transport.wire)
    lane.members[subscription] = transport
    return lane


@define(eq=False)
class Cast:
    """One frame on its way to many, of which a part had their turn."""

    frame: bytes
    members: "Sequence[tuple[Subscription, ITransport]]"
    done: int
    #: Who left since.
    gone: "set[Subscription]" = field(factory=set, init=False)


@define(eq=False)
class FanOut:
    """What all channels of a node need for theirs.

    ``limit`` is how many writes one channel may do in one turn of the reactor, so
    that others have their turn.  ``unwanted`` counts what filters kept back.
    """

    clock: IReactorTime
    limit: int
    traffic: Traffic
    unwanted: Counter
    deltas: Deltas = field(factory=Deltas)

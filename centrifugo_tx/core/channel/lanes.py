"""Lanes: the subscribers that get the same bytes, and broadcasts to them."""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from ...interfaces import ITransport
from ...metrics import Counter
from ...protocol.wire import Wire
from ..node_metrics import TransportCounters
from ..write_order import WriteOrder
from .deltas import Deltas
from .encoded_publication import EncodedPublication
from .receipt import SubscriberReceipt
from .variants import Variant

__all__ = [
    "Audience",
    "BroadcastContext",
    "Lane",
    "Lanes",
    "PendingBroadcast",
    "Subscriber",
    "enter",
    "lose_positions",
]


class Subscriber(Protocol):
    """One subscription, as its channel uses it.

    The channel sets ``lane``; None: the subscriber is in no lane.
    """

    lane: "Lane | None"
    variant: Variant | None

    @property
    def transport(self) -> ITransport:
        """The transport of its client."""

    @property
    def positioned(self) -> bool:
        """Whether it tracks its position in the stream."""

    @property
    def active(self) -> bool:
        """Whether it has been activated."""

    @property
    def observes_presence(self) -> bool:
        """Whether it receives the joins and leaves of other subscribers."""

    def deliver(self, encoded: EncodedPublication) -> None:
        """Send *encoded* to this subscriber."""

    def receipt(self) -> SubscriberReceipt | None:
        """Return what it has proved to have received; None without receipts."""

    def ask_for_receipt(self) -> None:
        """Ping the client soon, so that its pong proves what it has received."""

    def lose_position(self) -> None:
        """Tell the client that it may have missed publications."""

    def undeliverable(self) -> None:
        """Close the connection: its encoding cannot carry a publication."""


def lose_positions(lost: Iterable[Subscriber]) -> None:
    """Tell subscribers that they have lost their position in the stream."""
    for subscriber in lost:
        subscriber.lose_position()


@define(eq=False)
class Lane:
    """Subscribers that get the same bytes.

    ``entries`` counts how often subscribers have entered: a broadcast that was made
    since is for all members.  A lane is ``joined`` if it holds the members of other
    lanes for one broadcast.
    """

    wire: Wire
    joined: bool = False
    members: dict[Subscriber, ITransport] = field(factory=dict, init=False)
    entries: int = field(default=0, init=False)


#: Lanes that differ by their wire alone.
Lanes = dict[Wire, Lane]


def enter(lanes: Lanes, subscriber: Subscriber) -> Lane:
    """Put *subscriber* into the lane of its wire; return that lane."""
    transport = subscriber.transport
    lane = lanes.get(transport.wire)
    if lane is None:
        lane = lanes[transport.wire] = Lane(transport.wire)
    lane.members[subscriber] = transport
    lane.entries += 1
    return lane


@define(eq=False)
class PendingBroadcast:
    """Frames on their way to the members that a lane had when they were made.

    ``announces`` tells joins and leaves from publications.  Nothing of the stream up to
    the offset ``upto`` is among the frames.
    """

    lane: Lane
    announces: bool
    frames: list[bytes]
    upto: int
    done: int = field(default=0, init=False)
    members: Sequence[tuple[Subscriber, ITransport]] = field(init=False)
    #: The subscribers that have left since.
    gone: set[Subscriber] = field(factory=set, init=False)
    _entries: int = field(init=False)
    _size: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.members = list(self.lane.members.items())
        self._entries, self._size = self.lane.entries, len(self.frames[0])

    def gather(self, frame: bytes, limit: int) -> bool:
        """Take *frame* along, unless the broadcast has begun or has other members.

        :param limit: how many bytes may be gathered.
        :return: whether it is taken.
        """
        size = self._size + len(frame)
        if self.done or size > limit or self.lane.entries != self._entries:
            return False
        self.frames.append(frame)
        self._size = size
        return True

    def next(self, count: int) -> int:
        """Write to the next *count* members; return how many there were."""
        if len(self.frames) > 1 and self.lane.wire.joins:
            self.frames = [b"".join(self.frames)]
        part = self.members[self.done : self.done + count]
        self.done += len(part)
        for frame in self.frames:
            for subscriber, transport in part:
                if subscriber not in self.gone:
                    transport.write(frame)
        return len(part)


class Audience(Protocol):
    """All subscribers of one channel."""

    name: str
    subscribers: dict[Subscriber, None]


def _ignore(audience: Audience) -> None:
    """Ask for no receipts."""


@define(eq=False)
class BroadcastContext:
    """What the channels of a node share for their broadcasts.

    One channel makes at most ``limit`` writes in one turn of the reactor, so that other
    work is not delayed.  Up to ``gathered`` bytes that wait for one lane are written
    as one.  ``unwanted`` counts the publications that filters dropped, ``writes`` the
    moments of the node; ``ask_for_receipts`` makes the subscribers of a channel prove
    what they have received.
    """

    clock: IReactorTime
    limit: int
    transport_counters: TransportCounters
    unwanted: Counter
    writes: WriteOrder = field(factory=WriteOrder)
    ask_for_receipts: Callable[[Audience], None] = _ignore
    gathered: int = 65536
    deltas: Deltas = field(factory=Deltas)

"""One channel on this node: its position, its subscribers and their broadcasts."""

from collections import deque
from collections.abc import Sequence

from attrs import define, field

from ...errors import EncodeError
from ...metrics import Histogram
from ...protocol.messages import Publication, Push, StreamPosition
from ...protocol.wire import Wire
from .encoded_publication import EncodedPublication, delta_chain
from .lanes import BroadcastContext, Lane, Lanes, PendingBroadcast, Subscriber, enter
from .recovery import Held, Recovery
from .variant_lanes import VariantLanes
from .write_marks import WriteMarks

__all__ = ["HELD", "Channel"]

#: How many publications are buffered for one subscriber; one more is too many.
HELD = 4096
#: How many frames of one channel may wait behind a fan-out.
BEHIND = 32


@define(eq=False)
class Channel:
    """The subscribers of one channel on this node, and its position in the stream.

    The position belongs to the channel: all subscribers here see one ordered
    stream, so a gap is found once.  It is learned from deliveries alone.  A
    subscriber's publications are *buffered* while history is read; then it is
    *activated*, and enters its lane as soon as its position is that of the channel.
    Until then it is *leading* (architecture, "How a subscriber joins").
    """

    name: str
    _context: BroadcastContext
    offset: int = field(default=0, init=False)
    epoch: str = field(default="", init=False)
    known: bool = field(default=False, init=False)
    #: When the position was last confirmed, by a delivery or by storage.
    confirmed: float = field(default=0.0, init=False)
    #: Changes with every delivery from the stream, and whenever one may have been lost.
    revision: int = field(default=0, init=False)
    #: Whether the broker delivers here; kept by `BrokerSubscriptions`.
    subscribed: bool = field(default=False, init=False)
    #: All subscribers on this node, watchers included.
    subscribers: dict[Subscriber, None] = field(factory=dict, init=False)
    num_watchers: int = field(default=0, init=False)
    lanes: Lanes = field(factory=dict, init=False)
    _positioned: dict[Subscriber, None] = field(factory=dict, init=False)
    _buffers: dict[Subscriber, list[Held]] | None = field(default=None, init=False)
    _leading: dict[Subscriber, StreamPosition] | None = field(default=None, init=False)
    _variants: VariantLanes | None = field(default=None, init=False)
    _observers: Lanes | None = field(default=None, init=False)
    _pending: deque[PendingBroadcast] | None = field(default=None, init=False)
    #: Kept if subscribers prove what they have received.
    marks: WriteMarks | None = field(default=None, init=False)
    #: Observes the seconds from a publication to its receipt.
    receipts: Histogram | None = field(default=None, init=False)
    #: Whether every publication asks for receipts; otherwise those that lie between.
    always_asks: bool = field(default=False, init=False)
    _asked_from: int = field(default=0, init=False)
    _asked_upto: int = field(default=0, init=False)

    @property
    def num_subscribers(self) -> int:
        """How many subscribers are here; watchers are none."""
        return len(self.subscribers) - self.num_watchers

    # --- Coming and going ------------------------------------------------------

    def buffer(self, subscriber: Subscriber) -> None:
        """Buffer every publication for *subscriber* from now on."""
        if self._buffers is None:
            self._buffers = {}
        self._buffers[subscriber] = []
        self.subscribers[subscriber] = None

    def held(self, subscriber: Subscriber) -> list[Held]:
        """Return the publications buffered for *subscriber*."""
        return self._buffers[subscriber] if self._buffers else []

    def activate(
        self, subscriber: Subscriber, recovery: Recovery | None
    ) -> tuple[bool, list[Subscriber]]:
        """Give *subscriber* its position; call it in the turn that writes the reply.

        :param recovery: where it stands; None if it does not care.
        :return: whether it has a place now, and which subscribers lost theirs because
            storage has begun a new epoch.
        """
        assert self._buffers is not None
        lost: list[Subscriber] = []
        if recovery is not None:
            if recovery.broken:
                return False, lost
            if self.known and recovery.epoch != self.epoch and self.epoch:
                lost = self.forget_position()
            if self.known and self.offset > recovery.upto:
                return False, lost
        del self._buffers[subscriber]
        if not self._buffers:
            self._buffers = None
        if recovery is None:
            self._enter(subscriber)
        elif self.known and self.offset == recovery.upto:
            self._positioned[subscriber] = None
            self._enter(subscriber)
        else:
            if self._leading is None:
                self._leading = {}
            self._leading[subscriber] = StreamPosition(recovery.upto, recovery.epoch)
        if subscriber.observes_presence:
            self._observe(subscriber)
        return True, lost

    def keep_marks(self, always_asks: bool, receipts: Histogram) -> None:
        """Note from now on when publications have been written to all subscribers.

        :param always_asks: whether every publication asks for receipts.
        :param receipts: observes how long publications take to be confirmed.
        """
        self.always_asks, self.receipts = always_asks, receipts
        if self.marks is None:
            self.marks = WriteMarks()

    def leave(self, subscriber: Subscriber) -> None:
        """Remove *subscriber*; no error if it is not here."""
        self.subscribers.pop(subscriber, None)
        self._positioned.pop(subscriber, None)
        if self._buffers is not None:
            self._buffers.pop(subscriber, None)
            self._buffers = self._buffers or None
        if self._leading is not None:
            self._leading.pop(subscriber, None)
            self._leading = self._leading or None
        lane = subscriber.lane
        if lane is not None:
            subscriber.lane = None
            del lane.members[subscriber]
            if not lane.members:
                self._drop(lane, subscriber)
        if self._observers is not None:
            self._unobserve(subscriber)
        if self._pending:
            self._pass_over(subscriber)

    def _enter(self, subscriber: Subscriber) -> None:
        if subscriber.variant is None:
            subscriber.lane = enter(self.lanes, subscriber)
            return
        if self._variants is None:
            self._variants = VariantLanes()
        subscriber.lane = self._variants.enter(subscriber, subscriber.variant)

    def _drop(self, lane: Lane, subscriber: Subscriber) -> None:
        if subscriber.variant is None:
            del self.lanes[lane.wire]
        elif self._variants and not self._variants.drop(lane, subscriber.variant):
            self._variants = None

    def _observe(self, subscriber: Subscriber) -> None:
        if self._observers is None:
            self._observers = {}
        enter(self._observers, subscriber)

    def _unobserve(self, subscriber: Subscriber) -> None:
        assert self._observers is not None
        lane = self._observers.get(subscriber.transport.wire)
        if lane is not None and lane.members.pop(subscriber, None) is not None:
            if not lane.members:
                del self._observers[lane.wire]
            self._observers = self._observers or None

    # --- Deliveries ------------------------------------------------------------

    def deliver(
        self,
        publication: Publication,
        position: StreamPosition,
        previous: Publication | None = None,
    ) -> list[Subscriber]:
        """Send to all subscribers; return those that lost their position.

        They have left when this returns, and got nothing of this publication.

        :param previous: its predecessor, if there may be a delta to that.
        """
        offset = position.offset
        if self._buffers is not None:
            for held in self._buffers.values():
                if len(held) <= HELD:
                    held.append((publication, position))
        encoded = None
        if self._variants is not None or self._leading is not None:
            base = previous if offset else None
            encoded = EncodedPublication(
                self.name, publication, base, self._context.deltas.between
            )
        if not offset:
            self._cast(publication, encoded, placed=False)
            for subscriber in list(self._leading or ()):
                assert encoded is not None
                subscriber.deliver(encoded)
            return []
        self.revision += 1
        lost: list[Subscriber] = []
        passed = False
        if self.known:
            renewed = self.epoch and position.epoch != self.epoch
            if renewed or offset > self.offset + 1:
                lost = list(self._positioned)
            elif offset <= self.offset:
                passed = True
            for subscriber in lost:
                self.leave(subscriber)
        if not passed:
            if self.marks is not None and position.epoch != self.epoch:
                self._begin_marks(self.marks)
            self.known, self.offset, self.epoch = True, offset, position.epoch
            self.confirmed = self._context.clock.seconds()
            self._cast(publication, encoded, placed=True)
        if encoded is not None and self._leading is not None:
            lost += self._catch_up(encoded, position)
        if self.marks is not None:
            self._mark(self.marks)
        return lost

    def recovered(
        self, publications: Sequence[Publication], wire: Wire
    ) -> list[Publication]:
        """Return part of the stream in the form for a subscriber with deltas.

        :raises EncodeError: *wire* cannot encode it.
        """
        return delta_chain(publications, wire, self._context.deltas.as_work_allows())

    def _catch_up(
        self, encoded: EncodedPublication, position: StreamPosition
    ) -> list[Subscriber]:
        """Advance the subscribers that were leading the channel."""
        lost, next_for = [], []
        assert self._leading is not None
        for subscriber, place in self._leading.items():
            if (
                place.epoch and position.epoch != place.epoch
            ) or position.offset > place.offset + 1:
                lost.append(subscriber)
            elif position.offset == place.offset + 1:
                next_for.append(subscriber)
                self._leading[subscriber] = position
        for subscriber in lost:
            self.leave(subscriber)
        for subscriber in next_for:
            subscriber.deliver(encoded)
        for subscriber, place in list((self._leading or {}).items()):
            if place.offset == self.offset:
                del self._leading[subscriber]
                self._positioned[subscriber] = None
                self._enter(subscriber)
        self._leading = self._leading or None
        return lost

    def forget_position(self) -> list[Subscriber]:
        """Forget the position; return the subscribers that lost theirs."""
        self.revision += 1
        lost = list(self._positioned)
        for subscriber in lost:
            self.leave(subscriber)
        self.known, self.offset, self.epoch = False, 0, ""
        if self.marks is not None:
            self._begin_marks(self.marks)
        return lost

    def compare(self, top: StreamPosition) -> list[Subscriber]:
        """Compare with storage; return the subscribers behind its top.

        They have left when this returns.
        """
        lost: list[Subscriber] = []
        if self.known and (self.offset, self.epoch) != (top.offset, top.epoch):
            lost = self.forget_position()
        for subscriber, place in list((self._leading or {}).items()):
            if place != top:
                self.leave(subscriber)
                lost.append(subscriber)
        self.confirmed = self._context.clock.seconds()
        return lost

    def stands_at(self, top: StreamPosition) -> bool:
        """Whether all positioned subscribers are at *top*."""
        here = not self.known or (self.offset, self.epoch) == (top.offset, top.epoch)
        return here and all(place == top for place in (self._leading or {}).values())

    def has_passed(self, top: StreamPosition) -> bool:
        """Whether deliveries have come without a hole as far as *top*."""
        return self.known and self.epoch == top.epoch and self.offset >= top.offset

    @property
    def has_positioned(self) -> bool:
        """Whether any subscriber relies on the position."""
        return bool(self._positioned or self._leading)

    def announce(self, push: Push) -> None:
        """Send a join or leave to the subscribers that observe presence."""
        if self._observers is not None:
            kind = "push_join" if push.join is not None else "push_leave"
            self._cast_push(push, self._observers, kind, placed=False)

    # --- What has been written -------------------------------------------------

    def want_receipts(self, offset: int) -> bool:
        """Want receipts as soon as all is written up to *offset*.

        :return: whether it is written already.
        """
        if self.marks is None:
            return False
        if self.marks.newest >= offset:
            return True
        self._asked_from = min(offset, self._asked_from or offset)
        self._asked_upto = max(offset, self._asked_upto)
        return False

    def _mark(self, marks: WriteMarks) -> None:
        """Note how far the stream has been written to all subscribers."""
        upto = self._pending[0].upto if self._pending else self.offset
        if not marks.add(upto, self._context.writes.now(), self.confirmed):
            return
        if self.always_asks or 0 < self._asked_from <= upto:
            self._asked_from = upto + 1 if upto < self._asked_upto else 0
            self._context.ask_for_receipts(self)

    def _begin_marks(self, marks: WriteMarks) -> None:
        """Begin anew; what is pending belongs to the stream before."""
        marks.clear()
        for pending in self._pending or ():
            pending.upto = 0

    # --- Fan-out ---------------------------------------------------------------

    def _cast(
        self, publication: Publication, encoded: EncodedPublication | None, placed: bool
    ) -> None:
        """Send to the lanes; *encoded* is given if there are variants."""
        if self._variants is None:
            if self.lanes:
                push = Push(channel=self.name, pub=publication)
                self._cast_push(push, self.lanes, "push_publication", placed)
            return
        assert encoded is not None
        room, unwanted = self._room(), self._context.unwanted
        for lane, form in self._variants.forms(encoded, self.lanes, unwanted):
            try:
                push = form(lane.wire)
            except EncodeError:
                self._refuse(list(lane.members))
            else:
                room = self._cast_to(lane, push, "push_publication", room, placed)
        if self._variants is not None:
            self._variants.sent(placed)

    def _cast_push(self, push: Push, lanes: Lanes, kind: str, placed: bool) -> None:
        """Send *push*: at once to a slice, in later turns to the rest."""
        room = self._room()
        for lane in list(lanes.values()):
            room = self._cast_to(lane, push, kind, room, placed)

    def _room(self) -> int:
        """Return how many writes may be done at once."""
        return 0 if self._pending else self._context.limit

    def _cast_to(
        self, lane: Lane, push: Push, kind: str, room: int, placed: bool
    ) -> int:
        """Send *push* to one lane; return how much room is left."""
        try:
            frame = lane.wire.push(push)
        except EncodeError:
            self._refuse(list(lane.members))
            return room
        members = lane.members
        counters = self._context.transport_counters.sent[lane.wire.transport, kind]
        counters.messages += len(members)
        counters.size += len(members) * len(frame)
        if len(members) > room:
            self._queue(lane, frame, kind, room, placed)
            return 0
        room -= len(members)
        # A copy, because a write may close a client, which then leaves.
        for transport in list(members.values()):
            transport.write(frame)
        return room

    def _refuse(self, subscribers: Sequence[Subscriber]) -> None:
        for subscriber in subscribers:
            subscriber.undeliverable()

    def _queue(
        self, lane: Lane, frame: bytes, kind: str, room: int, placed: bool
    ) -> None:
        """Write to *room* members now, and to the others in later turns."""
        announces = kind != "push_publication"
        if self._pending is None:
            self._pending = deque()
            self._context.clock.callLater(0, self._continue)
        elif self._gathered(lane, frame, announces):
            return
        upto = self.offset - 1 if placed else self.offset
        broadcast = PendingBroadcast(lane, announces, [frame], upto)
        if room:
            broadcast.next(room)
        self._pending.append(broadcast)
        if len(self._pending) > BEHIND:
            # Publishers are ahead of the fan-out: now they pay for it themselves.
            self._advance(len(self._pending[0].members))

    def _gathered(self, lane: Lane, frame: bytes, announces: bool) -> bool:
        """Whether the last broadcast to *lane* takes *frame* along.

        A member visited once then gets all that waits for it.  Nothing overtakes what
        may be for the same member: an announcement, since an observer of presence is
        also in a lane for publications, or a broadcast to lanes that were joined.
        """
        for pending in reversed(self._pending or ()):
            if pending.announces != announces or pending.lane.joined:
                return False
            if pending.lane is lane:
                return pending.gather(frame, self._context.gathered)
        return False

    def _continue(self) -> None:
        """Send the next slice of the pending broadcasts."""
        self._advance(self._context.limit)
        if self.marks is not None:
            self._mark(self.marks)
        if self._pending:
            self._context.clock.callLater(0, self._continue)
        else:
            self._pending = None

    def _advance(self, room: int) -> None:
        """Do the next *room* writes of the pending broadcasts."""
        while self._pending and room:
            broadcast = self._pending[0]
            if len(broadcast.members) - broadcast.done <= room:
                self._pending.popleft()
            room -= broadcast.next(room)

    def _pass_over(self, subscriber: Subscriber) -> None:
        """Drop *subscriber* from the broadcasts that are still pending."""
        for cast in self._pending or ():
            cast.gone.add(subscriber)

"""Subscribers who do not get what everybody gets: filters and deltas."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import msgspec
from attrs import define, field

from ...errors import ReplyError
from ...metrics import Counter
from ...options import SubscribeOptions
from ...protocol.codes import BAD_REQUEST
from ...protocol.messages import Push, SubscribeRequest
from ...protocol.wire import Wire
from .editions import Edition
from .filters import Filter, compile_filter
from .lanes import Lane, Lanes, enter

if TYPE_CHECKING:
    from ..subscription import Subscription

__all__ = ["Special", "Specials", "special"]

#: How an edition becomes what a wire sends.
Form = Callable[[Wire], Push]


@define(eq=False)
class Special:
    """What is special about one subscription: a filter, or else deltas.

    ``linked``: it has the newest publication of those it was sent, and the next may
    be a delta to that.  Kept up until it stands in a lane; then the lane tells.
    """

    passes: Filter | None = None
    #: The filter as bytes, by which those with the same one find together.
    filter: bytes = b""
    delta: bool = False
    linked: bool = False

    def push(self, edition: Edition, wire: Wire) -> Push | None:
        """Return what this subscriber is sent; None: nothing.

        :raises EncodeError: *wire* cannot say it.
        """
        if self.passes is not None:
            wanted = self.passes(edition.publication.tags)
            return edition.plain(wire) if wanted else None
        linked = self.linked
        self.linked = edition.publication.offset > 0
        return edition.change(wire) if linked else edition.whole(wire)


def special(options: SubscribeOptions, request: SubscribeRequest) -> Special | None:
    """Return what is special about a subscription, None if nothing is.

    Deltas and a filter exclude each other: a delta needs the publication before.

    :raises ReplyError: 107, there may be no filter, or it means nothing.
    """
    if request.tf is not None:
        if not options.tags_filter:
            raise ReplyError(BAD_REQUEST)
        passes = compile_filter(request.tf)
        return Special(passes, msgspec.json.encode(request.tf))
    if request.delta and request.delta in options.delta_types:
        return Special(delta=True)
    return None


@define(eq=False)
class _Filtered:
    """Those with the same filter."""

    passes: Filter
    lanes: Lanes = field(factory=dict, init=False)


@define(eq=False)
class Specials:
    """The special subscribers of one channel, in lanes of their own.

    ``filtered`` is found by the filter's bytes.  Of those with deltas, who has no
    place in the stream is always sent everything in full (``unplaced``); the others
    are ``fresh`` until they have the newest publication, which makes them
    ``linked``, and again when something without a place came between.
    """

    filtered: dict[bytes, _Filtered] = field(factory=dict, init=False)
    unplaced: Lanes = field(factory=dict, init=False)
    fresh: Lanes = field(factory=dict, init=False)
    linked: Lanes = field(factory=dict, init=False)

    def enter(self, subscription: "Subscription", special: Special) -> Lane:
        """Put *subscription* into a lane; return that."""
        if special.passes is not None:
            found = self.filtered.get(special.filter)
            if found is None:
                found = self.filtered[special.filter] = _Filtered(special.passes)
            lanes = found.lanes
        elif not subscription.positioned:
            lanes = self.unplaced
        else:
            lanes = self.linked if special.linked else self.fresh
        return enter(lanes, subscription)

    def drop(self, lane: Lane, special: Special) -> bool:
        """Forget a lane that has become empty; return whether any is left."""
        if special.passes is not None:
            same = self.filtered[special.filter]
            del same.lanes[lane.wire]
            if not same.lanes:
                del self.filtered[special.filter]
        else:
            for lanes in (self.unplaced, self.fresh, self.linked):
                if lanes.get(lane.wire) is lane:
                    del lanes[lane.wire]
        return bool(self.filtered or self.unplaced or self.fresh or self.linked)

    def deal(
        self, edition: Edition, ordinary: Lanes, unwanted: Counter
    ) -> list[tuple[Lane, Form]]:
        """Say in which form *edition* goes to whom, ordinary lanes included.

        Each form of each wire comes once.  What filters keep back is counted.
        """
        groups: list[tuple[Lanes, Form]] = [(ordinary, edition.plain)]
        for each in self.filtered.values():
            if each.passes(edition.publication.tags):
                groups.append((each.lanes, edition.plain))
            else:
                unwanted.value += sum(len(lane.members) for lane in each.lanes.values())
        linked = edition.change if self.linked and edition.changes else edition.whole
        groups += (
            (self.unplaced, edition.whole),
            (self.fresh, edition.whole),
            (self.linked, linked),
        )
        return _joined(groups, edition)

    def sent(self, placed: bool) -> None:
        """Take note that all have got a publication, with a place or without."""
        if placed:
            _move(self.fresh, self.linked)
        else:
            _move(self.linked, self.fresh)


def _joined(
    groups: Iterable[tuple[Lanes, Form]], edition: Edition
) -> list[tuple[Lane, Form]]:
    """Join those who get the same bytes."""
    alike: dict[tuple[Wire, Form], list[Lane]] = {}
    for lanes, form in groups:
        for wire, lane in lanes.items():
            # Where nothing has to be quoted, whole ones are the same bytes.
            same = form == edition.whole and wire.protocol != "json"
            key = wire, edition.plain if same else form
            alike.setdefault(key, []).append(lane)
    return [(_one(lanes), form) for (_, form), lanes in alike.items()]


def _one(lanes: list[Lane]) -> Lane:
    """Return one lane with the members of all."""
    if len(lanes) == 1:
        return lanes[0]
    joined = Lane(lanes[0].wire)
    for lane in lanes:
        joined.members.update(lane.members)
    return joined


def _move(source: Lanes, target: Lanes) -> None:
    """Move everybody; of two lanes of one wire the larger one takes the other in."""
    for wire, lane in source.items():
        other = target.get(wire)
        if other is not None:
            if len(other.members) > len(lane.members):
                lane, other = other, lane
            for subscription in other.members:
                subscription.lane = lane
            lane.members.update(other.members)
        target[wire] = lane
    source.clear()

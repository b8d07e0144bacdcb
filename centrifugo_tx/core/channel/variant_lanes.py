"""The lanes of a channel's subscribers that have a tag filter, or deltas."""

from collections.abc import Callable, Iterable

from attrs import define, field

from ...metrics import Counter
from ...protocol.messages import Push
from ...protocol.wire import Wire
from .encoded_publication import EncodedPublication
from .filters import Filter
from .lanes import Lane, Lanes, Subscriber, enter
from .variants import Variant

__all__ = ["VariantLanes"]

#: How an edition becomes what a wire sends.
Form = Callable[[Wire], Push]


@define(eq=False)
class _Filtered:
    """Those with the same filter."""

    passes: Filter
    lanes: Lanes = field(factory=dict, init=False)


@define(eq=False)
class VariantLanes:
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

    def enter(self, subscriber: Subscriber, variant: Variant) -> Lane:
        """Put *subscriber* into a lane; return that."""
        if variant.passes is not None:
            found = self.filtered.get(variant.filter)
            if found is None:
                found = self.filtered[variant.filter] = _Filtered(variant.passes)
            lanes = found.lanes
        elif not subscriber.positioned:
            lanes = self.unplaced
        else:
            lanes = self.linked if variant.linked else self.fresh
        return enter(lanes, subscriber)

    def drop(self, lane: Lane, variant: Variant) -> bool:
        """Forget a lane that has become empty; return whether any is left."""
        if variant.passes is not None:
            same = self.filtered[variant.filter]
            del same.lanes[lane.wire]
            if not same.lanes:
                del self.filtered[variant.filter]
        else:
            for lanes in (self.unplaced, self.fresh, self.linked):
                if lanes.get(lane.wire) is lane:
                    del lanes[lane.wire]
        return bool(self.filtered or self.unplaced or self.fresh or self.linked)

    def deal(
        self, encoded: EncodedPublication, ordinary: Lanes, unwanted: Counter
    ) -> list[tuple[Lane, Form]]:
        """Say in which form *edition* goes to whom, ordinary lanes included.

        Each form of each wire comes once.  What filters keep back is counted.
        """
        groups: list[tuple[Lanes, Form]] = [(ordinary, encoded.raw)]
        for each in self.filtered.values():
            if each.passes(encoded.publication.tags):
                groups.append((each.lanes, encoded.raw))
            else:
                unwanted.value += sum(len(lane.members) for lane in each.lanes.values())
        linked = encoded.delta if self.linked and encoded.has_delta else encoded.full
        groups += (
            (self.unplaced, encoded.full),
            (self.fresh, encoded.full),
            (self.linked, linked),
        )
        return _joined(groups, encoded)

    def sent(self, placed: bool) -> None:
        """Take note that all have got a publication, with a place or without."""
        if placed:
            _move(self.fresh, self.linked)
        else:
            _move(self.linked, self.fresh)


def _joined(
    groups: Iterable[tuple[Lanes, Form]], encoded: EncodedPublication
) -> list[tuple[Lane, Form]]:
    """Join those who get the same bytes."""
    alike: dict[tuple[Wire, Form], list[Lane]] = {}
    for lanes, form in groups:
        for wire, lane in lanes.items():
            # Where nothing has to be quoted, whole ones are the same bytes.
            same = form == encoded.full and wire.protocol != "json"
            key = wire, encoded.raw if same else form
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
            for subscriber in other.members:
                subscriber.lane = lane
            lane.members.update(other.members)
        target[wire] = lane
    source.clear()

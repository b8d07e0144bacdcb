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

#: Makes the push of an encoded publication for one wire.
Form = Callable[[Wire], Push]


@define(eq=False)
class _Filtered:
    """The lanes of subscribers with one filter."""

    passes: Filter
    lanes: Lanes = field(factory=dict, init=False)


@define(eq=False)
class VariantLanes:
    """The lanes of one channel's subscribers with filters or deltas.

    ``filtered`` lanes are found by the filter's bytes.  Subscribers with deltas but no
    position are always sent full publications (``unpositioned``).  The others are
    ``fresh`` until they have the newest publication; then they are ``current``, until
    a publication without a position comes between.
    """

    filtered: dict[bytes, _Filtered] = field(factory=dict, init=False)
    unpositioned: Lanes = field(factory=dict, init=False)
    fresh: Lanes = field(factory=dict, init=False)
    current: Lanes = field(factory=dict, init=False)

    def enter(self, subscriber: Subscriber, variant: Variant) -> Lane:
        """Put *subscriber* into a lane; return the lane."""
        if variant.passes is not None:
            found = self.filtered.get(variant.filter)
            if found is None:
                found = self.filtered[variant.filter] = _Filtered(variant.passes)
            lanes = found.lanes
        elif not subscriber.positioned:
            lanes = self.unpositioned
        else:
            lanes = self.current if variant.holds_previous else self.fresh
        return enter(lanes, subscriber)

    def drop(self, lane: Lane, variant: Variant) -> bool:
        """Remove an empty lane; return whether any lane is left."""
        if variant.passes is not None:
            same = self.filtered[variant.filter]
            del same.lanes[lane.wire]
            if not same.lanes:
                del self.filtered[variant.filter]
        else:
            for lanes in (self.unpositioned, self.fresh, self.current):
                if lanes.get(lane.wire) is lane:
                    del lanes[lane.wire]
        return bool(self.filtered or self.unpositioned or self.fresh or self.current)

    def forms(
        self, encoded: EncodedPublication, ordinary: Lanes, unwanted: Counter
    ) -> list[tuple[Lane, Form]]:
        """Return each lane with the form that it receives, ordinary lanes included.

        Each form of each wire occurs once.  Publications that filters drop are counted.
        """
        groups: list[tuple[Lanes, Form]] = [(ordinary, encoded.raw)]
        for each in self.filtered.values():
            if each.passes(encoded.publication.tags):
                groups.append((each.lanes, encoded.raw))
            else:
                unwanted.value += sum(len(lane.members) for lane in each.lanes.values())
        newest = encoded.delta if self.current and encoded.has_delta else encoded.full
        groups += (
            (self.unpositioned, encoded.full),
            (self.fresh, encoded.full),
            (self.current, newest),
        )
        return _joined(groups, encoded)

    def sent(self, placed: bool) -> None:
        """Update the lanes after a publication with a position, or without one."""
        if placed:
            _move(self.fresh, self.current)
        else:
            _move(self.current, self.fresh)


def _joined(
    groups: Iterable[tuple[Lanes, Form]], encoded: EncodedPublication
) -> list[tuple[Lane, Form]]:
    """Merge the lanes that receive the same bytes."""
    alike: dict[tuple[Wire, Form], list[Lane]] = {}
    for lanes, form in groups:
        for wire, lane in lanes.items():
            # Without quoting, the full form and the raw one are the same bytes.
            same = form == encoded.full and wire.protocol != "json"
            key = wire, encoded.raw if same else form
            alike.setdefault(key, []).append(lane)
    return [(_one(lanes), form) for (_, form), lanes in alike.items()]


def _one(lanes: list[Lane]) -> Lane:
    """Return one lane with the members of all."""
    if len(lanes) == 1:
        return lanes[0]
    joined = Lane(lanes[0].wire, joined=True)
    for lane in lanes:
        joined.members.update(lane.members)
    return joined


def _move(source: Lanes, target: Lanes) -> None:
    """Move all members; of two lanes with one wire the larger absorbs the other."""
    for wire, lane in source.items():
        other = target.get(wire)
        if other is not None:
            if len(other.members) > len(lane.members):
                lane, other = other, lane
            for subscriber in other.members:
                subscriber.lane = lane
            lane.members.update(other.members)
            lane.entries += 1
        target[wire] = lane
    source.clear()

"""Maps in memory: keyed entries and the stream of their changes."""

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from ..core.timer_wheel import TimerWheel
from ..interfaces import IMapBroker, IMapEventHandler
from ..options import (
    History,
    HistoryQuery,
    MapChange,
    MapChanged,
    MapPage,
    MapQuery,
    MapRules,
    Suppression,
)
from ..protocol.messages import Payload, Publication
from .event_queue import EventQueue
from .memory_map import MemoryMap
from .recent_results import RecentResults

__all__ = ["MemoryMapBroker"]

#: Expiry checks per second.
WHEEL_RESOLUTION = 1
#: Seconds for which a change with an idempotency key is remembered by default.
RESULT_TTL = 300.0


@implementer(IMapBroker)
@define(eq=False)
class MemoryMapBroker:
    """Maps within one process.

    A key is removed up to a second after its TTL; the removal is an ordinary change.
    """

    _clock: IReactorTime
    _receiver: IMapEventHandler = field(init=False)
    _maps: dict[str, MemoryMap] = field(factory=dict, init=False)
    _results: RecentResults = field(init=False)
    _events: EventQueue = field(factory=EventQueue, init=False)
    _wheel: TimerWheel = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._wheel = TimerWheel(self._clock, WHEEL_RESOLUTION)
        self._results = RecentResults(self._wheel)

    def listen(self, receiver: IMapEventHandler) -> None:
        """Set the receiver of events."""
        self._receiver = receiver

    def subscribe(self, channel: str) -> "Deferred[None]":
        """Do nothing: the only node receives everything."""
        return succeed(None)

    def unsubscribe(self, channel: str) -> "Deferred[None]":
        """Do nothing."""
        return succeed(None)

    def publish(
        self, channel: str, key: str, data: Payload, change: MapChange
    ) -> "Deferred[MapChanged]":
        """Set a key, append the change to the stream, and deliver it."""
        known = self._remembered_result(channel, change)
        if known is not None:
            return succeed(known)
        found, now = self._find_or_create(channel), self._clock.seconds()
        reason = found.suppression(key, change)
        if reason:
            self._renew_suppressed(found, key, change, reason, now)
            return succeed(self._suppressed(found, key, reason))
        replaced = found.entries.get(key)
        previous = (
            replaced.publication if change.delta and replaced is not None else None
        )
        publication = Publication(
            data=data,
            info=change.info,
            tags=change.tags,
            time=int(now * 1000),
            key=key,
        )
        publication = found.record(publication, change.rules, now)
        found.set(publication, change, now)
        return succeed(self._finish_change(found, publication, change, previous))

    def remove(
        self, channel: str, key: str, change: MapChange
    ) -> "Deferred[MapChanged]":
        """Remove a key, append the change to the stream, and deliver it."""
        known = self._remembered_result(channel, change)
        if known is not None:
            return succeed(known)
        found = self._maps.get(channel)
        if found is None:
            wrong = change.expected is not None
            why: Suppression = "position_mismatch" if wrong else "key_not_found"
            return succeed(MapChanged(suppressed=why))
        entry = found.entries.get(key)
        reason = found.position_mismatch(entry, change)
        if reason or entry is None:
            reason = reason or "key_not_found"
            return succeed(self._suppressed(found, key, reason))
        publication = self._remove_key(
            found, change.rules, key, change.tags or entry.publication.tags
        )
        return succeed(self._finish_change(found, publication, change, None))

    def state(self, channel: str, query: MapQuery) -> "Deferred[MapPage]":
        """Read entries; create the map if there is none."""
        found = self._find_or_create(channel)
        found.renew(self._clock.seconds(), 0.0, query.meta_ttl)
        return succeed(found.page(query))

    def stream(self, channel: str, query: HistoryQuery) -> "Deferred[History]":
        """Read changes and the top; create the map if there is none."""
        found = self._find_or_create(channel)
        found.renew(self._clock.seconds(), 0.0, query.meta_ttl)
        return succeed(History(found.stream.read(query), found.position))

    def size(self, channel: str) -> "Deferred[int]":
        """Return the number of keys."""
        found = self._maps.get(channel)
        return succeed(0 if found is None else len(found.entries))

    def clear(self, channel: str) -> "Deferred[None]":
        """Remove all data, and announce the removal."""
        self._results.forget(channel)
        if channel in self._maps:
            self._forget_map(channel)
            self._events.run(self._receiver.handle_clear, channel)
        return succeed(None)

    def stop(self) -> None:
        """Cancel all timers."""
        self._wheel.stop()

    # --- Details ---------------------------------------------------------------

    def _find_or_create(self, channel: str) -> MemoryMap:
        found = self._maps.get(channel)
        if found is None:
            found = MemoryMap(channel, self._wheel, self._forget_map, self._expire_key)
            self._maps[channel] = found
        return found

    def _forget_map(self, channel: str) -> None:
        """Remove the map; the next one of this name has another epoch."""
        self._maps.pop(channel).cancel_timers()

    def _remove_key(
        self, found: MemoryMap, rules: MapRules, key: str, tags: dict[str, str]
    ) -> Publication:
        """Remove a key of a map, and record the change."""
        now = self._clock.seconds()
        found.remove_key(key)
        removal = Publication(tags=tags, time=int(now * 1000), key=key, removed=True)
        return found.record(removal, rules, now)

    def _expire_key(self, found: MemoryMap, publication: Publication) -> None:
        """Remove a key that has expired, unless it was renewed meanwhile."""
        entry = found.entries[publication.key]
        if entry.due > self._clock.seconds() or not entry.due:
            found.set_expiry(entry, entry.due)
            return
        removal = self._remove_key(
            found, found.rules, publication.key, publication.tags
        )
        self._deliver(found, removal, None)

    def _renew_suppressed(
        self, found: MemoryMap, key: str, change: MapChange, reason: str, now: float
    ) -> None:
        if reason == "key_exists" and change.renew and change.rules.key_ttl:
            found.set_expiry(found.entries[key], now + change.rules.key_ttl)
            found.renew(now, 0.0, change.rules.meta_ttl)

    def _suppressed(
        self, found: MemoryMap, key: str, reason: Suppression
    ) -> MapChanged:
        entry = found.entries.get(key)
        current = None
        if reason == "position_mismatch" and entry is not None:
            current = entry.publication
        return MapChanged(found.position, reason, current)

    def _remembered_result(self, channel: str, change: MapChange) -> MapChanged | None:
        """Return the result of an earlier change with this idempotency key."""
        now = self._clock.seconds()
        position = self._results.get(channel, change.idempotency_key, now)
        return None if position is None else MapChanged(position, "idempotency")

    def _finish_change(
        self,
        found: MemoryMap,
        publication: Publication,
        change: MapChange,
        previous: Publication | None,
    ) -> MapChanged:
        """Remember the result of a change, and deliver the change."""
        position = found.position
        if change.idempotency_key:
            key, now = change.idempotency_key, self._clock.seconds()
            ttl = change.idempotent_result_ttl or RESULT_TTL
            self._results.put(found.channel, key, position, now, ttl)
        self._deliver(found, publication, previous)
        return MapChanged(position)

    def _deliver(
        self,
        found: MemoryMap,
        publication: Publication,
        previous: Publication | None,
    ) -> None:
        channel, position = found.channel, found.position
        self._events.run(
            self._receiver.handle_change, channel, publication, position, previous
        )

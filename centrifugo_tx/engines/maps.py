"""Maps, in memory: keyed entries and the stream of their changes."""

from bisect import bisect_right
from collections.abc import Callable

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from ..core.timers import TimerWheel
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
from ..protocol.messages import Publication, Raw, StreamPosition
from .streams import MemoryStream
from .turns import Turns

__all__ = ["MemoryMapBroker"]

#: Looks per second at what has expired.
COARSE = 1


@define(eq=False)
class _Entry:
    """What one key holds, and until when; 0: for good."""

    publication: Publication
    version: int
    version_epoch: str
    due: float
    expire: Callable[[str], None]
    tick: int = 0
    wakes: float = 0.0

    def wake(self, now: float) -> None:
        """Take note that the time of the key may be over."""
        self.wakes = 0.0
        self.expire(self.publication.key)


@define(eq=False)
class _Map:
    """One channel's entries, the stream of their changes, and how long all stays."""

    channel: str
    wheel: TimerWheel
    forget: Callable[[str], None]
    expired: Callable[["_Map", Publication], None]
    stream: MemoryStream = field(factory=MemoryStream, init=False)
    entries: dict[str, _Entry] = field(factory=dict, init=False)
    #: How the last change wanted the map to be kept.
    rules: MapRules = field(factory=MapRules, init=False)
    #: When the stream is emptied; 0: it is empty.
    clears: float = field(default=0.0, init=False)
    #: When the map goes; 0: never.
    ends: float = field(default=0.0, init=False)
    tick: int = field(default=0, init=False)
    _wakes: float = field(default=0.0, init=False)
    _order: list[str] | None = field(default=None, init=False)

    @property
    def position(self) -> StreamPosition:
        """Where the newest change stands."""
        return self.stream.position

    # --- Time ------------------------------------------------------------------

    def renew(self, now: float, stream_ttl: float, meta_ttl: float) -> None:
        """Stay this much longer; 0 changes nothing."""
        if stream_ttl > 0:
            self.clears = now + stream_ttl
        if meta_ttl > 0:
            self.ends = now + meta_ttl
        self._sleep()

    def wake(self, now: float) -> None:
        """Let go of what is over."""
        self._wakes = 0.0
        if self.ends and self.ends <= now:
            self.forget(self.channel)
            return
        if self.clears and self.clears <= now:
            self.clears = 0.0
            self.stream.clear()
        self._sleep()

    def _sleep(self) -> None:
        due = min(self.clears or self.ends, self.ends or self.clears)
        if due and (not self._wakes or due < self._wakes):
            self._wakes = due
            self.wheel.set(self, due)

    def end(self) -> None:
        """Leave nothing in the wheel."""
        self.wheel.forget(self)
        for entry in self.entries.values():
            self.wheel.forget(entry)

    def keep(self, entry: _Entry, due: float) -> None:
        """Let *entry* stay until *due*; the wheel knows the first time only."""
        entry.due = due
        if due and not entry.wakes:
            entry.wakes = due
            self.wheel.set(entry, due)

    # --- Changes ---------------------------------------------------------------

    def refuses(self, key: str, change: MapChange) -> Suppression:
        """Say why a key is not to be published; nothing if it is."""
        entry = self.entries.get(key)
        if (
            entry is not None
            and 0 < change.version <= entry.version
            and change.version_epoch in ("", entry.version_epoch)
        ):
            return "version"
        if change.key_mode == "if_new" and entry is not None:
            return "key_exists"
        if change.key_mode == "if_exists" and entry is None:
            return "key_not_found"
        return self.mismatches(entry, change)

    def mismatches(self, entry: _Entry | None, change: MapChange) -> Suppression:
        """Say whether a key stands elsewhere than expected."""
        expected = change.expected
        if expected is None or (
            entry is not None
            and entry.publication.offset == expected.offset
            and self.stream.epoch == expected.epoch
        ):
            return ""
        return "position_mismatch"

    def set(self, publication: Publication, change: MapChange, now: float) -> None:
        """Let a key hold *publication*."""
        key, rules = publication.key, change.rules
        entry = self.entries.get(key)
        if entry is None:
            entry = _Entry(publication, 0, "", 0.0, self._expire)
            self.entries[key] = entry
            self._order = None
        entry.publication = publication
        if change.version:
            entry.version, entry.version_epoch = change.version, change.version_epoch
        self.keep(entry, now + rules.key_ttl if rules.key_ttl else 0.0)

    def take(self, key: str) -> None:
        """Take a key out."""
        self.wheel.forget(self.entries.pop(key))
        self._order = None

    def record(
        self, publication: Publication, rules: MapRules, now: float
    ) -> Publication:
        """Append a change to the stream, if there is one; return it as it stands."""
        self.rules = rules
        self.renew(now, rules.stream_ttl if rules.stream_size else 0.0, rules.meta_ttl)
        if not rules.stream_size:
            return publication
        offset = self.stream.top + 1
        placed = Publication(
            data=publication.data,
            info=publication.info,
            offset=offset,
            tags=publication.tags,
            time=publication.time,
            key=publication.key,
            removed=publication.removed,
            epoch=self.stream.epoch if offset == 1 else "",
        )
        self.stream.push(placed, rules.stream_size)
        return placed

    def _expire(self, key: str) -> None:
        entry = self.entries[key]
        self.expired(self, entry.publication)

    # --- Reading ---------------------------------------------------------------

    def page(self, query: MapQuery) -> MapPage:
        """Return the entries that *query* asks for."""
        if query.key:
            entry = self.entries.get(query.key)
            found = [] if entry is None else [entry.publication]
            return MapPage(found, self.position)
        if not query.limit:
            return MapPage([], self.position)
        order = self._order
        if order is None:
            order = self._order = sorted(self.entries)
        start = bisect_right(order, query.cursor) if query.cursor else 0
        stop = len(order) if query.limit < 0 else start + query.limit
        keys = order[start:stop]
        found = [self.entries[key].publication for key in keys]
        cursor = keys[-1] if keys and stop < len(order) else ""
        return MapPage(found, self.position, cursor)


@define(eq=False)
class _Result:
    """What a change with an idempotency key came to."""

    position: StreamPosition
    key: tuple[str, str]
    home: dict[tuple[str, str], "_Result"]
    tick: int = 0

    def wake(self, now: float) -> None:
        """Forget it."""
        self.home.pop(self.key, None)


@implementer(IMapBroker)
@define(eq=False)
class MemoryMapBroker:
    """Maps within one process.

    Keys go up to a second later than their TTL says, which is a change like any.
    """

    _clock: IReactorTime
    _receiver: IMapEventHandler = field(init=False)
    _maps: dict[str, _Map] = field(factory=dict, init=False)
    _results: dict[tuple[str, str], _Result] = field(factory=dict, init=False)
    _turns: Turns = field(factory=Turns, init=False)
    _wheel: TimerWheel = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._wheel = TimerWheel(self._clock, COARSE)

    def listen(self, receiver: IMapEventHandler) -> None:
        """Name the one who gets the events."""
        self._receiver = receiver

    def subscribe(self, channel: str) -> "Deferred[None]":
        """Do nothing: the only node gets everything."""
        return succeed(None)

    def unsubscribe(self, channel: str) -> "Deferred[None]":
        """Do nothing."""
        return succeed(None)

    def publish(
        self, channel: str, key: str, data: Raw, change: MapChange
    ) -> "Deferred[MapChanged]":
        """Set a key, append that to the stream, and deliver it."""
        known = self._known(channel, change)
        if known is not None:
            return succeed(known)
        found, now = self._map(channel), self._clock.seconds()
        reason = found.refuses(key, change)
        if reason:
            self._renew_instead(found, key, change, reason, now)
            return succeed(self._suppressed(found, key, reason))
        before = found.entries.get(key)
        previous = before.publication if change.delta and before is not None else None
        publication = Publication(
            data=data,
            info=change.info,
            tags=change.tags,
            time=int(now * 1000),
            key=key,
        )
        publication = found.record(publication, change.rules, now)
        found.set(publication, change, now)
        return succeed(self._done(found, publication, change, previous))

    def remove(
        self, channel: str, key: str, change: MapChange
    ) -> "Deferred[MapChanged]":
        """Take a key out, append that to the stream, and deliver it."""
        known = self._known(channel, change)
        if known is not None:
            return succeed(known)
        found = self._map(channel)
        entry = found.entries.get(key)
        reason = found.mismatches(entry, change)
        if reason or entry is None:
            reason = reason or "key_not_found"
            return succeed(self._suppressed(found, key, reason))
        publication = self._take(
            found, change.rules, key, change.tags or entry.publication.tags
        )
        return succeed(self._done(found, publication, change, None))

    def state(self, channel: str, query: MapQuery) -> "Deferred[MapPage]":
        """Read entries; create the map if there is none."""
        found = self._map(channel)
        found.renew(self._clock.seconds(), 0.0, query.meta_ttl)
        return succeed(found.page(query))

    def stream(self, channel: str, query: HistoryQuery) -> "Deferred[History]":
        """Read changes and the top; create the map if there is none."""
        found = self._map(channel)
        found.renew(self._clock.seconds(), 0.0, query.meta_ttl)
        return succeed(History(found.stream.read(query), found.position))

    def size(self, channel: str) -> "Deferred[int]":
        """Return how many keys there are."""
        found = self._maps.get(channel)
        return succeed(0 if found is None else len(found.entries))

    def clear(self, channel: str) -> "Deferred[None]":
        """Forget everything, and tell so."""
        for key in [key for key in self._results if key[0] == channel]:
            self._wheel.forget(self._results.pop(key))
        if channel in self._maps:
            self._forget(channel)
        return succeed(None)

    def stop(self) -> None:
        """Leave nothing behind in the reactor."""
        self._wheel.stop()

    # --- Details ---------------------------------------------------------------

    def _map(self, channel: str) -> _Map:
        found = self._maps.get(channel)
        if found is None:
            found = _Map(channel, self._wheel, self._forget, self._expired)
            self._maps[channel] = found
        return found

    def _forget(self, channel: str) -> None:
        """Let the next map of this name have another epoch."""
        self._maps.pop(channel).end()
        self._turns.take(lambda: self._receiver.handle_clear(channel))

    def _take(
        self, found: _Map, rules: MapRules, key: str, tags: dict[str, str]
    ) -> Publication:
        """Take a key out of a map, and write that down."""
        now = self._clock.seconds()
        found.take(key)
        removal = Publication(tags=tags, time=int(now * 1000), key=key, removed=True)
        return found.record(removal, rules, now)

    def _expired(self, found: _Map, publication: Publication) -> None:
        """Take a key out whose time is over, unless it was renewed meanwhile."""
        entry = found.entries[publication.key]
        if entry.due > self._clock.seconds() or not entry.due:
            found.keep(entry, entry.due)
            return
        removal = self._take(found, found.rules, publication.key, publication.tags)
        self._deliver(found, removal, False, None)

    def _renew_instead(
        self, found: _Map, key: str, change: MapChange, reason: str, now: float
    ) -> None:
        if reason == "key_exists" and change.renew and change.rules.key_ttl:
            found.keep(found.entries[key], now + change.rules.key_ttl)
            found.renew(now, 0.0, change.rules.meta_ttl)

    def _suppressed(self, found: _Map, key: str, reason: Suppression) -> MapChanged:
        entry = found.entries.get(key)
        current = None
        if reason == "position_mismatch" and entry is not None:
            current = entry.publication
        return MapChanged(found.position, reason, current)

    def _known(self, channel: str, change: MapChange) -> MapChanged | None:
        """Return what an earlier change with this idempotency key came to."""
        result = self._results.get((channel, change.idempotency_key))
        return None if result is None else MapChanged(result.position, "idempotency")

    def _done(
        self,
        found: _Map,
        publication: Publication,
        change: MapChange,
        previous: Publication | None,
    ) -> MapChanged:
        """Remember what was done, and tell it."""
        position = found.position
        if change.idempotency_key:
            key = found.channel, change.idempotency_key
            result = self._results[key] = _Result(position, key, self._results)
            due = self._clock.seconds() + change.idempotent_result_ttl
            self._wheel.set(result, due)
        self._deliver(found, publication, change.delta, previous)
        return MapChanged(position)

    def _deliver(
        self,
        found: _Map,
        publication: Publication,
        delta: bool,
        previous: Publication | None,
    ) -> None:
        channel, position = found.channel, found.position
        self._turns.take(
            lambda: self._receiver.handle_change(
                channel, publication, position, delta, previous
            )
        )

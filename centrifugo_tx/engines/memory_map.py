"""A map in memory: its entries and the stream of their changes."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable

from attrs import define, field
from msgspec.structs import replace

from ..core.timer_wheel import TimerWheel
from ..options import MapChange, MapPage, MapQuery, MapRules, Suppression
from ..protocol.messages import Publication, StreamPosition
from .memory_stream import MemoryStream

__all__ = ["Entry", "MemoryMap"]


@define(eq=False)
class Entry:
    """The value of one key and its expiry time; 0: never."""

    publication: Publication
    version: int
    version_epoch: str
    due: float
    expire: Callable[[str], None]
    tick: int = 0
    scheduled: float = 0.0

    def wake(self, now: float) -> None:
        """Report that the key may have expired."""
        self.scheduled = 0.0
        self.expire(self.publication.key)


@define(eq=False)
class MemoryMap:
    """The entries of one channel, the stream of their changes, and the expiry times."""

    channel: str
    wheel: TimerWheel
    forget: Callable[[str], None]
    expired: Callable[["MemoryMap", Publication], None]
    stream: MemoryStream = field(factory=MemoryStream, init=False)
    entries: dict[str, Entry] = field(factory=dict, init=False)
    #: The rules of the latest change.
    rules: MapRules = field(factory=MapRules, init=False)
    #: When the stream expires; 0: it is empty.
    stream_ends: float = field(default=0.0, init=False)
    #: When the map expires; 0: never.
    ends: float = field(default=0.0, init=False)
    tick: int = field(default=0, init=False)
    _scheduled: float = field(default=0.0, init=False)
    #: The keys in sorted order.
    _sorted_keys: list[str] = field(factory=list, init=False)

    @property
    def position(self) -> StreamPosition:
        """The position of the newest change."""
        return self.stream.position

    # --- Time ------------------------------------------------------------------

    def renew(self, now: float, stream_ttl: float, meta_ttl: float) -> None:
        """Extend the life of the stream and the map by these seconds; 0 changes
        nothing.
        """
        if stream_ttl > 0:
            self.stream_ends = now + stream_ttl
        if meta_ttl > 0:
            self.ends = now + meta_ttl
        self._schedule()

    def wake(self, now: float) -> None:
        """Remove expired changes, or the expired map."""
        self._scheduled = 0.0
        if self.ends and self.ends <= now:
            self.forget(self.channel)
            return
        if self.stream_ends and self.stream_ends <= now:
            self.stream_ends = 0.0
            self.stream.clear()
        self._schedule()

    def _schedule(self) -> None:
        due = min(self.stream_ends or self.ends, self.ends or self.stream_ends)
        if due and (not self._scheduled or due < self._scheduled):
            self._scheduled = due
            self.wheel.set(self, due)

    def cancel_timers(self) -> None:
        """Cancel the timers of the map and its entries."""
        self.wheel.forget(self)
        for entry in self.entries.values():
            self.wheel.forget(entry)

    def set_expiry(self, entry: Entry, due: float) -> None:
        """Set when *entry* expires; the wheel holds the first deadline only."""
        entry.due = due
        if due and not entry.scheduled:
            entry.scheduled = due
            self.wheel.set(entry, due)

    # --- Changes ---------------------------------------------------------------

    def suppression(self, key: str, change: MapChange) -> Suppression:
        """Return why a publication of the key is suppressed; empty: it is accepted."""
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
        return self.position_mismatch(entry, change)

    def position_mismatch(self, entry: Entry | None, change: MapChange) -> Suppression:
        """Return ``position_mismatch`` unless the entry is at the expected position."""
        expected = change.expected
        if expected is None or (
            entry is not None
            and entry.publication.offset == expected.offset
            and self.stream.epoch == expected.epoch
        ):
            return ""
        return "position_mismatch"

    def set(self, publication: Publication, change: MapChange, now: float) -> None:
        """Set the value of a key."""
        key, rules = publication.key, change.rules
        entry = self.entries.get(key)
        if entry is None:
            entry = Entry(publication, 0, "", 0.0, self._expire)
            self.entries[key] = entry
            insort(self._sorted_keys, key)
        entry.publication = publication
        if change.version:
            entry.version, entry.version_epoch = change.version, change.version_epoch
        self.set_expiry(entry, now + rules.key_ttl if rules.key_ttl else 0.0)

    def remove_key(self, key: str) -> None:
        """Remove a key."""
        self.wheel.forget(self.entries.pop(key))
        del self._sorted_keys[bisect_left(self._sorted_keys, key)]

    def record(
        self, publication: Publication, rules: MapRules, now: float
    ) -> Publication:
        """Append a change to the stream, if any; return it with its offset."""
        self.rules = rules
        self.renew(now, rules.stream_ttl if rules.stream_size else 0.0, rules.meta_ttl)
        if not rules.stream_size:
            return publication
        offset = self.stream.top + 1
        epoch = self.stream.epoch if offset == 1 else ""
        placed = replace(publication, offset=offset, epoch=epoch)
        self.stream.push(placed, rules.stream_size)
        return placed

    def _expire(self, key: str) -> None:
        entry = self.entries[key]
        self.expired(self, entry.publication)

    # --- Reading ---------------------------------------------------------------

    def page(self, query: MapQuery) -> MapPage:
        """Return the page of entries that *query* selects."""
        if query.key:
            entry = self.entries.get(query.key)
            found = [] if entry is None else [entry.publication]
            return MapPage(found, self.position)
        if not query.limit:
            return MapPage([], self.position)
        order = self._sorted_keys
        start = bisect_right(order, query.cursor) if query.cursor else 0
        stop = len(order) if query.limit < 0 else start + query.limit
        keys = order[start:stop]
        found = [self.entries[key].publication for key in keys]
        cursor = keys[-1] if keys and stop < len(order) else ""
        return MapPage(found, self.position, cursor)

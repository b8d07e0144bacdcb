"""One polled channel: what its keys hold, who tracks them, and when to ask."""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol
from uuid import uuid4

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from ...errors import EncodeError
from ...interfaces import ITransport
from ...options import Polled, PollRules
from ...protocol.messages import KeyedItem, Publication
from ...protocol.wire import Wire
from ..channel.encoded_publication import EncodedPublication
from ..runtime import Runtime

__all__ = ["PolledChannel", "Tracker"]

#: Who gets the same bytes: those of one wire, and of one form of the publication.
_Group = tuple[Wire, str]


class Tracker(Protocol):
    """A subscriber that is told of the keys it tracks."""

    @property
    def transport(self) -> ITransport:
        """Where its frames go."""

    def form(self, key: str, before: int, version: int) -> str | None:
        """Return the form in which the client is sent a value; None: it is not.

        Called when the value is sent at once: the form is remembered.

        :param before: the version that a delta would build on.
        """

    def deliver(self, encoded: EncodedPublication) -> None:
        """Send *edition* to this subscriber alone."""

    def forget(self, key: str) -> None:
        """Track a key no more that is gone."""

    def lose_position(self) -> None:
        """Have the client begin anew."""

    def undeliverable(self) -> None:
        """End the connection: its encoding cannot say a value."""


@define(eq=False)
class _Key:
    """What a key holds, and who tracks it; version 0: nothing is known of it yet."""

    version: int = 0
    newest: Publication | None = None
    #: Published since the last poll, so the next one need not ask.
    fresh: bool = False
    trackers: dict[Tracker, None] = field(factory=dict)


@define(eq=False)
class PolledChannel:
    """Asks the application for what is tracked, and tells what is new.

    Versions are the application's or, in a channel without, counted here when a
    value changes.  They hold within an epoch: with another one, which is the
    application's as well, everybody has to begin anew.
    """

    _runtime: Runtime
    name: str
    rules: PollRules
    _forget: "Callable[[PolledChannel], None]"
    epoch: str = field(init=False)
    keys: dict[str, _Key] = field(factory=dict, init=False)
    _subscribers: dict[Tracker, None] = field(factory=dict, init=False)
    _counter: int = field(default=0, init=False)
    _wanted: dict[str, None] = field(factory=dict, init=False)
    _soon: IDelayedCall | None = field(default=None, init=False)
    _next: IDelayedCall | None = field(default=None, init=False)
    _ending: IDelayedCall | None = field(default=None, init=False)
    _parts: list[IDelayedCall] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self.epoch = "" if self.rules.versioned else uuid4().hex[:8]

    # --- Coming and going ------------------------------------------------------

    def join(self, tracker: Tracker) -> None:
        """Take note of a subscriber; it tracks nothing yet."""
        self._subscribers[tracker] = None
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None

    def leave(self, tracker: Tracker) -> None:
        """Forget a subscriber that tracks nothing any more."""
        self._subscribers.pop(tracker, None)
        if not self._subscribers and self._ending is None:
            delay = max(0.0, self.rules.linger)
            self._ending = self._runtime.clock.callLater(delay, self._end)

    def track(self, key: str, tracker: Tracker) -> _Key:
        """Tell *tracker* of *key* from now on; return what it holds."""
        found = self.keys.get(key)
        if found is None:
            found = self.keys[key] = _Key()
            if self._next is None:
                self._sleep()
        found.trackers[tracker] = None
        return found

    def untrack(self, key: str, tracker: Tracker) -> None:
        """Tell it no more; a key that nobody tracks is forgotten."""
        found = self.keys.get(key)
        if found is not None:
            found.trackers.pop(tracker, None)
            if not found.trackers:
                del self.keys[key]

    def stop(self) -> None:
        """Leave nothing behind in the reactor."""
        for call in (self._soon, self._next, self._ending, *self._parts):
            if call is not None and call.active():
                call.cancel()
        self._soon = self._next = self._ending = None

    def _end(self) -> None:
        self._ending = None
        self.stop()
        self._forget(self)

    # --- Asking ----------------------------------------------------------------

    def want(self, keys: Iterable[str]) -> None:
        """Ask for *keys*, with all that is wanted in this turn of the reactor."""
        self._wanted.update(dict.fromkeys(keys))
        if self._wanted and self._soon is None:
            self._soon = self._runtime.clock.callLater(0, self._ask_wanted)

    def _ask_wanted(self) -> None:
        self._soon = None
        wanted = [key for key in self._wanted if key in self.keys]
        self._wanted.clear()
        for part in self._batches(wanted):
            self._ask(part)

    def _sleep(self) -> None:
        self._next = self._runtime.clock.callLater(self.rules.interval, self._ask_all)

    def _ask_all(self) -> None:
        """Ask for everything, spread over the time until the next turn."""
        self._next = None
        if not self.keys:
            return
        self._sleep()
        due = sorted(key for key, found in self.keys.items() if not found.fresh)
        for found in self.keys.values():
            found.fresh = False
        batches = self._batches(due)
        self._parts.clear()
        for number, part in enumerate(batches):
            delay = self.rules.interval * number / len(batches)
            call = self._runtime.clock.callLater(delay, self._ask, part)
            self._parts.append(call)

    def _batches(self, keys: Sequence[str]) -> list[Sequence[str]]:
        size = self.rules.batch
        return [keys[start : start + size] for start in range(0, len(keys), size)]

    def _ask(self, keys: Sequence[str]) -> None:
        known = ((key, self.keys[key].version) for key in keys if key in self.keys)
        versioned = self.rules.versioned
        items = [KeyedItem(key, version if versioned else 0) for key, version in known]
        if items:
            asked = self._runtime.policy.poll(self.name, items)
            asked.addCallback(self._answered).addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        self._runtime.log_failure(failure, "poll", self.name)

    def _answered(self, polled: Polled) -> None:
        if self.rules.versioned:
            self._begin(polled.epoch)
        for item in polled.items:
            found = self.keys.get(item.key)
            if found is None:
                continue
            if item.removed:
                self._remove(item.key, found)
            elif self.rules.versioned or item.version:
                self._set(item.key, found, item)
            elif found.newest is None or found.newest.data != item.data:
                self._counter += 1
                counted = Publication(data=item.data, version=self._counter)
                self._set(item.key, found, counted)

    # --- Telling ---------------------------------------------------------------

    def publish(self, publication: Publication, epoch: str) -> None:
        """Take a value that nobody asked for."""
        self._begin(epoch)
        found = self.keys.get(publication.key)
        if found is not None and self._set(publication.key, found, publication):
            found.fresh = True

    def _begin(self, epoch: str) -> None:
        """Send everybody back if this is another epoch than before."""
        if epoch == self.epoch:
            return
        self.epoch = epoch
        for found in self.keys.values():
            found.version, found.newest, found.fresh = 0, None, False
        for tracker in list(self._subscribers):
            tracker.lose_position()

    def _set(self, key: str, found: _Key, item: Publication) -> bool:
        """Let a key hold *item*, if it is newer, and tell so."""
        if item.version <= found.version:
            return False
        publication = Publication(
            data=item.data, key=key, version=item.version, epoch=item.epoch
        )
        before = found.version
        encoded = EncodedPublication(self.name, publication, found.newest)
        found.version, found.newest = item.version, publication
        self._tell(found, encoded, before)
        return True

    def _tell(self, found: _Key, encoded: EncodedPublication, before: int) -> None:
        """Send a value to all who track it and have an older one.

        :param before: the version that a delta builds on.
        """
        frames: dict[_Group, bytes] = {}
        version = encoded.publication.version
        counters = self._runtime.metrics.transport_counters
        for tracker in list(found.trackers):
            form = tracker.form(encoded.publication.key, before, version)
            transport = tracker.transport
            if form is None:
                continue
            group = transport.wire, form
            frame = frames.get(group)
            if frame is None:
                try:
                    push = getattr(encoded, form)(transport.wire)
                    frame = frames[group] = transport.wire.push(push)
                except EncodeError:
                    tracker.undeliverable()
                    continue
            counters.sent(transport.wire, "push_publication").add(1, len(frame))
            transport.write(frame)

    def _remove(self, key: str, found: _Key) -> None:
        """Tell that a key is gone, and forget it."""
        del self.keys[key]
        encoded = EncodedPublication(self.name, Publication(key=key, removed=True))
        for tracker in list(found.trackers):
            tracker.forget(key)
            tracker.deliver(encoded)

"""One polled channel: the values and trackers of its keys, and the polling."""

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
from ...protocol.payloads import checked
from ...protocol.wire import Wire
from ..channel.encoded_publication import EncodedPublication
from ..runtime import Runtime

__all__ = ["PolledChannel", "Tracker"]

#: Trackers that receive the same bytes: those with the same wire and form.
_Group = tuple[Wire, str]


class Tracker(Protocol):
    """A subscriber that receives the values of the keys it tracks."""

    @property
    def transport(self) -> ITransport:
        """The transport of its client."""

    def form(self, key: str, before: int, version: int) -> str | None:
        """Return the form in which to send a value to the client; None: do not send it.

        The caller sends the value at once; the tracker records it as sent.

        :param before: the version that a delta would apply to.
        """

    def deliver(self, encoded: EncodedPublication) -> None:
        """Send *encoded* to this subscriber."""

    def forget(self, key: str) -> None:
        """Untrack a key that was removed."""

    def lose_position(self) -> None:
        """Tell the client to subscribe again."""

    def undeliverable(self) -> None:
        """Close the connection: its encoding cannot carry a value."""


@define(eq=False)
class _Key:
    """The value and the trackers of a key; version 0: the value is unknown."""

    version: int = 0
    newest: Publication | None = None
    #: Published since the last poll, so the next poll leaves the key out.
    fresh: bool = False
    trackers: dict[Tracker, None] = field(factory=dict)


@define(eq=False)
class PolledChannel:
    """Polls the application for tracked keys, and sends new values to their trackers.

    Versions are the application's; in a channel without versions the node counts the
    changes of values.  Versions are valid within an epoch of the application: when the
    epoch changes, all trackers subscribe again.
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
    _poll_soon: IDelayedCall | None = field(default=None, init=False)
    _poll_next: IDelayedCall | None = field(default=None, init=False)
    _ending: IDelayedCall | None = field(default=None, init=False)
    _poll_batches: list[IDelayedCall] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self.epoch = "" if self.rules.versioned else uuid4().hex[:8]

    # --- Trackers --------------------------------------------------------------

    def join(self, tracker: Tracker) -> None:
        """Add a subscriber, which tracks no keys yet."""
        self._subscribers[tracker] = None
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None

    def leave(self, tracker: Tracker) -> None:
        """Remove a subscriber that has untracked its keys."""
        self._subscribers.pop(tracker, None)
        if not self._subscribers and self._ending is None:
            delay = max(0.0, self.rules.linger)
            self._ending = self._runtime.clock.callLater(delay, self._close)

    def track(self, key: str, tracker: Tracker) -> _Key:
        """Send values of *key* to *tracker* from now on; return the key."""
        found = self.keys.get(key)
        if found is None:
            found = self.keys[key] = _Key()
            if self._poll_next is None:
                self._schedule_poll()
        found.trackers[tracker] = None
        return found

    def untrack(self, key: str, tracker: Tracker) -> None:
        """Stop sending values of *key*; remove a key without trackers."""
        found = self.keys.get(key)
        if found is not None:
            found.trackers.pop(tracker, None)
            if not found.trackers:
                del self.keys[key]

    def stop(self) -> None:
        """Cancel all delayed calls."""
        for call in (
            self._poll_soon,
            self._poll_next,
            self._ending,
            *self._poll_batches,
        ):
            if call is not None and call.active():
                call.cancel()
        self._poll_soon = self._poll_next = self._ending = None

    def _close(self) -> None:
        self._ending = None
        self.stop()
        self._forget(self)

    # --- Polling ---------------------------------------------------------------

    def request_poll(self, keys: Iterable[str]) -> None:
        """Poll *keys*, together with all keys wanted in this turn of the reactor."""
        self._wanted.update(dict.fromkeys(keys))
        if self._wanted and self._poll_soon is None:
            self._poll_soon = self._runtime.clock.callLater(0, self._poll_wanted)

    def _poll_wanted(self) -> None:
        self._poll_soon = None
        wanted = [key for key in self._wanted if key in self.keys]
        self._wanted.clear()
        for part in self._batches(wanted):
            self._poll(part)

    def _schedule_poll(self) -> None:
        self._poll_next = self._runtime.clock.callLater(
            self.rules.interval, self._poll_all
        )

    def _poll_all(self) -> None:
        """Poll all keys, spread over the interval."""
        self._poll_next = None
        if not self.keys:
            return
        self._schedule_poll()
        due = sorted(key for key, found in self.keys.items() if not found.fresh)
        for found in self.keys.values():
            found.fresh = False
        batches = self._batches(due)
        self._poll_batches.clear()
        for number, part in enumerate(batches):
            delay = self.rules.interval * number / len(batches)
            call = self._runtime.clock.callLater(delay, self._poll, part)
            self._poll_batches.append(call)

    def _batches(self, keys: Sequence[str]) -> list[Sequence[str]]:
        size = self.rules.batch
        return [keys[start : start + size] for start in range(0, len(keys), size)]

    def _poll(self, keys: Sequence[str]) -> None:
        known = ((key, self.keys[key].version) for key in keys if key in self.keys)
        versioned = self.rules.versioned
        items = [KeyedItem(key, version if versioned else 0) for key, version in known]
        if items:
            asked = self._runtime.policy.poll(self.name, items)
            asked.addCallback(self._handle_polled).addErrback(self._log_failure)

    def _log_failure(self, failure: Failure) -> None:
        self._runtime.log_failure(failure, "poll", self.name)

    def _handle_polled(self, polled: Polled) -> None:
        if self.rules.versioned:
            self._enter_epoch(polled.epoch)
        for item in polled.items:
            found = self.keys.get(item.key)
            if found is None:
                continue
            data, version = checked(item.data), item.version
            if item.removed:
                self._remove(item.key, found)
            elif self.rules.versioned or version:
                value = Publication(data=data, version=version, epoch=item.epoch)
                self._set(item.key, found, value)
            elif found.newest is None or found.newest.data != data:
                self._counter += 1
                counted = Publication(data=data, version=self._counter)
                self._set(item.key, found, counted)

    # --- Values ----------------------------------------------------------------

    def publish(self, publication: Publication, epoch: str) -> None:
        """Handle a value that was published."""
        self._enter_epoch(epoch)
        found = self.keys.get(publication.key)
        if found is not None and self._set(publication.key, found, publication):
            found.fresh = True

    def _enter_epoch(self, epoch: str) -> None:
        """Make all trackers subscribe again if the epoch has changed."""
        if epoch == self.epoch:
            return
        self.epoch = epoch
        for found in self.keys.values():
            found.version, found.newest, found.fresh = 0, None, False
        for tracker in list(self._subscribers):
            tracker.lose_position()

    def _set(self, key: str, found: _Key, item: Publication) -> bool:
        """Store *item* if it is newer, and send it; return whether it is newer."""
        if item.version <= found.version:
            return False
        publication = Publication(
            data=item.data, key=key, version=item.version, epoch=item.epoch
        )
        before = found.version
        encoded = EncodedPublication(self.name, publication, found.newest)
        found.version, found.newest = item.version, publication
        self._send_value(found, encoded, before)
        return True

    def _send_value(
        self, found: _Key, encoded: EncodedPublication, before: int
    ) -> None:
        """Send a value to all trackers that have an older version.

        :param before: the version that a delta applies to.
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
            counters.sent[transport.wire.transport, "push_publication"].add(
                1, len(frame)
            )
            transport.write(frame)

    def _remove(self, key: str, found: _Key) -> None:
        """Remove a key and send its removal."""
        del self.keys[key]
        encoded = EncodedPublication(self.name, Publication(key=key, removed=True))
        for tracker in list(found.trackers):
            tracker.forget(key)
            tracker.deliver(encoded)

"""Reads of history that subscribers of a channel share.

Clients that come back together ask for the same part of a stream.
"""

from collections.abc import Callable

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from ...options import History, HistoryQuery
from .channel import Channel

__all__ = ["SharedReads"]

#: Seconds for which the result of a read is kept for further subscribers.
KEPT_SECONDS = 0.2
#: Bytes that all kept results may take, and those that count for each publication.
KEPT_BYTES = 16 * 1024 * 1024
OVERHEAD = 512

_Key = tuple[Channel, HistoryQuery]


@define(eq=False)
class _SharedRead:
    """A read that has begun, or its result.

    ``revision`` is that of the channel when the read began.
    """

    revision: int
    waiting: "list[Deferred[History]]"
    result: History | None = None
    kept_until: float = 0.0
    size: int = 0


@define(eq=False)
class SharedReads:
    """Reads history for subscribers, once for all that ask in the same situation.

    A subscriber may use a read that began earlier, provided that the channel has
    delivered nothing to this node since: all that was delivered before is in the
    result, and the subscriber buffers all that comes later.  Results are kept for 0.2
    s.  Reads that are answered at once, as by the memory engine, are not shared.
    """

    _clock: IReactorTime
    _read: "Callable[[str, HistoryQuery], Deferred[History]]"
    _reads: dict[_Key, _SharedRead] = field(factory=dict, init=False)
    _kept_bytes: int = field(default=0, init=False)
    _sweep: IDelayedCall | None = field(default=None, init=False)

    def read(self, channel: Channel, query: HistoryQuery) -> "Deferred[History]":
        """Read history for a subscriber that *channel* is buffering for."""
        key = channel, query
        known = self._reads.get(key)
        if known is not None and known.revision == channel.revision:
            if known.result is None:
                joined: Deferred[History] = Deferred()
                known.waiting.append(joined)
                return joined
            if self._clock.seconds() < known.kept_until:
                return succeed(known.result)
        begun = self._read(channel.name, query)
        if begun.called:
            return begun
        first: Deferred[History] = Deferred()
        self._forget(key)
        read = self._reads[key] = _SharedRead(channel.revision, [first])
        begun.addCallbacks(
            self._answered,
            self._failed,
            callbackArgs=(key, read),
            errbackArgs=(key, read),
        )
        return first

    def stop(self) -> None:
        """Cancel the delayed call."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        self._reads.clear()

    def _answered(self, history: History, key: _Key, read: _SharedRead) -> None:
        if self._reads.get(key) is read:
            self._keep(history, key, read)
        waiting, read.waiting = read.waiting, []
        for each in waiting:
            each.callback(history)

    def _failed(self, failure: Failure, key: _Key, read: _SharedRead) -> None:
        if self._reads.get(key) is read:
            del self._reads[key]
        for each in read.waiting:
            each.errback(failure.value)

    def _keep(self, history: History, key: _Key, read: _SharedRead) -> None:
        """Keep a result, and drop the oldest ones if they take too much memory."""
        found = history.publications
        read.size = OVERHEAD + sum(OVERHEAD + len(bytes(each.data)) for each in found)
        read.result = history
        read.kept_until = self._clock.seconds() + KEPT_SECONDS
        # The order of the dictionary is the order in which results expire.
        del self._reads[key]
        self._reads[key] = read
        self._kept_bytes += read.size
        if self._kept_bytes > KEPT_BYTES:
            self._drop(lambda each: self._kept_bytes > KEPT_BYTES)
        if self._sweep is None:
            self._sweep = self._clock.callLater(KEPT_SECONDS, self._drop_expired)

    def _drop_expired(self) -> None:
        self._sweep = None
        now = self._clock.seconds()
        self._drop(lambda each: each.kept_until <= now)
        kept = [each for each in self._reads.values() if each.result is not None]
        if kept:
            delay = kept[0].kept_until - now
            self._sweep = self._clock.callLater(delay, self._drop_expired)

    def _drop(self, expired: Callable[[_SharedRead], bool]) -> None:
        """Forget the oldest results, as long as they are *expired*."""
        for key, read in list(self._reads.items()):
            if read.result is not None:
                if not expired(read):
                    return
                self._forget(key)

    def _forget(self, key: _Key) -> None:
        read = self._reads.pop(key, None)
        if read is not None:
            self._kept_bytes -= read.size

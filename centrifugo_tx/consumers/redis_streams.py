"""Streams of Redis, read by a consumer group.

See consumers, "Redis Streams".
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..bounded_log import BoundedLog
from ..errors import BrokerUnavailable
from .delivery import GRACE, Dispatch, Pause, Record, SourceUnavailable, within
from .publications import Messages, PublicationNames

__all__ = ["IRedis", "RedisStreamConsumer", "StreamSettings"]

#: Seconds that a read waits for entries, unless connections time out before.
BLOCK = 5.0
#: Seconds between two looks for entries that others left behind.
RECLAIM = 5.0
#: How many pages of pending entries one such look goes through.
PAGES = 64
#: Seconds to wait after an error.
AFTER_ERROR = 0.2
#: Seconds that Redis has to answer at the start.
PATIENCE = 5.0


class IRedis(Protocol):
    """Connections to one Redis, Sentinel's master, or Cluster.

    Every Deferred may fail with `BrokerUnavailable`; when Redis refuses a command,
    the message begins with the word by which it says why.
    """

    def start(self) -> "Deferred[None]":
        """Connect, and keep connected."""

    def stop(self) -> "Deferred[None]":
        """Close; commands that wait for replies fail."""

    def send(self, key: bytes, *command: bytes) -> "Deferred[Any]":
        """Send a command to the server of *key*; return its reply."""


@frozen
class StreamSettings:
    """The shared settings of the streams of one consumer.

    ``workers`` entries of each stream are processed at a time.  Entries that are not
    acknowledged after ``visibility_timeout`` seconds are claimed again; 0: never.
    ``names`` is None unless entries are publications.
    """

    group: str
    consumer: str
    visibility_timeout: float = 30.0
    workers: int = 1
    payload_field: str = "payload"
    method_field: str = "method"
    names: PublicationNames | None = None
    block: float = BLOCK


@frozen
class _Entry:
    id: bytes
    fields: dict[str, str]
    payload: bytes | None


@define(eq=False)
class RedisStreamConsumer:
    """Reads streams, each by a connection that waits for entries."""

    _clock: IReactorTime
    _redis: IRedis
    #: Makes the connection of one stream.
    _connect: Callable[[], IRedis]
    _dispatch: Dispatch
    _record: Record
    _settings: StreamSettings
    _names: Sequence[str]
    _streams: "list[_Stream]" = field(factory=list, init=False)

    def start(self) -> "Deferred[None]":
        """Reach Redis, create the groups, and begin to read."""
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        self._streams = [
            _Stream(
                *(self._clock, self._redis, self._connect(), self._dispatch),
                *(self._record, self._settings, name),
            )
            for name in self._names
        ]
        ready = Deferred.fromCoroutine(self._prepare())
        call = self._clock.callLater(PATIENCE, ready.cancel)
        try:
            await ready
        except Exception as error:
            await self._close()
            if isinstance(error, BrokerUnavailable):
                raise SourceUnavailable(str(error)) from None
            if not call.active():
                raise SourceUnavailable(f"no answer within {PATIENCE:g} s") from None
            raise
        finally:
            if call.active():
                call.cancel()
        for stream in self._streams:
            stream.start()

    async def _prepare(self) -> None:
        await self._redis.start()
        for stream in self._streams:
            await stream.create_group()
            await stream.reads.start()

    def stop(self) -> "Deferred[None]":
        """Read no more entries, finish those that were read, and close.

        Entries that are not acknowledged after `GRACE` seconds are delivered again
        later.
        """
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        stopping = [stream.stop() for stream in self._streams]
        await within(self._clock, GRACE, DeferredList(stopping))
        await self._close()

    async def _close(self) -> None:
        every = [self._redis, *(stream.reads for stream in self._streams)]
        await DeferredList([each.stop() for each in every])


@define(eq=False)
class _Stream:
    """One stream: its entries wait here, and at most ``workers`` are processed at a
    time.
    """

    _clock: IReactorTime
    _redis: IRedis
    reads: IRedis
    _dispatch: Dispatch
    _record: Record
    _settings: StreamSettings
    name: str
    _key: bytes = field(init=False)
    _group: bytes = field(init=False)
    _me: bytes = field(init=False)
    _queue: deque[_Entry] = field(factory=deque, init=False)
    _working: int = field(default=0, init=False)
    _running: bool = field(default=False, init=False)
    _room: "list[Deferred[None]]" = field(factory=list, init=False)
    _loops: "list[Deferred[None]]" = field(factory=list, init=False)
    _error: Pause = field(init=False)
    _tick: Pause = field(init=False)
    _cursor: bytes = field(default=b"-", init=False)
    _messages: Messages = field(init=False)
    _log: BoundedLog = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._key, self._group = self.name.encode(), self._settings.group.encode()
        self._me = self._settings.consumer.encode()
        self._error, self._tick = Pause(self._clock), Pause(self._clock)
        self._log = BoundedLog(Logger(), self._clock)
        self._messages = Messages(
            self._dispatch,
            self._log,
            self._record.consumer,
            self._settings.method_field,
            self._settings.names,
            empty_is_bad=True,
            retry_malformed=True,
        )

    def start(self) -> None:
        """Start reading, and claiming the pending entries of other consumers."""
        self._running = True
        loops = [self._read()]
        if self._settings.visibility_timeout > 0:
            loops.append(self._reclaim())
        self._loops = [Deferred.fromCoroutine(loop) for loop in loops]

    def stop(self) -> "Deferred[None]":
        """Read no more; fires when everything that was read is dealt with."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._running = False
        for pause in (self._error, self._tick):
            pause.end()
        self._make_room()
        await self.reads.stop()
        await DeferredList(self._loops)
        while self._working:
            await self._until_room()
        self._log.flush()

    async def create_group(self) -> None:
        """Create the group at the end of the stream, and the stream if need be."""
        try:
            await self._redis.send(
                *(self._key, b"XGROUP", b"CREATE", self._key, self._group),
                *(b"$", b"MKSTREAM"),
            )
        except BrokerUnavailable as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    # --- Reading ---------------------------------------------------------------

    @property
    def _free(self) -> int:
        return self._settings.workers - self._working - len(self._queue)

    async def _read(self) -> None:
        block = str(max(1, int(self._settings.block * 1000))).encode()
        while self._running:
            if self._free <= 0:
                await self._until_room()
                continue
            try:
                reply = await self.reads.send(
                    *(self._key, b"XREADGROUP", b"GROUP", self._group, self._me),
                    *(b"COUNT", str(self._free).encode(), b"BLOCK", block),
                    *(b"STREAMS", self._key, b">"),
                )
            except BrokerUnavailable as error:
                await self._failed("reading", error)
                continue
            self._record.works((self.name, "reading"))
            for _, entries in reply or ():
                self._put(entries)

    async def _failed(self, doing: str, error: BrokerUnavailable) -> None:
        """Create a missing group again, or wait a moment."""
        if not self._running:
            return
        if str(error).startswith("NOGROUP"):
            try:
                await self.create_group()
            except BrokerUnavailable as another:
                error = another
            else:
                return
        self._record.failed((self.name, doing), str(error), stream=self.name)
        if self._running:
            await self._error.wait(AFTER_ERROR)

    async def _reclaim(self) -> None:
        idle = str(int(self._settings.visibility_timeout * 1000)).encode()
        while self._running:
            await self._tick.wait(RECLAIM)
            try:
                await self._claim(idle)
            except BrokerUnavailable as error:
                if self._running and not str(error).startswith("NOGROUP"):
                    self._record.failed(
                        (self.name, "reclaiming"), str(error), stream=self.name
                    )

    async def _claim(self, idle: bytes) -> None:
        """Go on through the pending entries of all consumers, up to `PAGES` pages."""
        for _ in range(PAGES):
            while self._running and self._free <= 0:
                await self._until_room()
            if not self._running:
                return
            reply = await self._redis.send(
                *(self._key, b"XAUTOCLAIM", self._key, self._group, self._me),
                *(idle, self._cursor, b"COUNT", str(self._free).encode()),
            )
            self._record.works((self.name, "reclaiming"))
            self._cursor = reply[0]
            self._put(reply[1])
            if self._cursor == b"0-0":
                break
        else:
            return
        self._cursor = b"-"

    def _put(self, entries: Sequence[Any]) -> None:
        """Queue entries; those that were deleted meanwhile have no fields."""
        for entry in entries:
            if entry is not None and entry[1] is not None:
                self._queue.append(_entry(entry, self._settings.payload_field))
        while self._queue and self._working < self._settings.workers:
            self._working += 1
            Deferred.fromCoroutine(self._work())

    # --- Working ---------------------------------------------------------------

    async def _work(self) -> None:
        slices = self._dispatch.slices()
        try:
            while self._queue:
                if slices.over():
                    await slices.next()
                await self._process(self._queue.popleft())
                self._make_room()
        finally:
            self._working -= 1
            self._make_room()

    async def _process(self, entry: _Entry) -> None:
        """Dispatch an entry; one that fails stays pending, and is claimed later."""
        try:
            outcome: Any = self._outcome(entry)
            if isinstance(outcome, Deferred):
                outcome = await outcome
        except Exception:
            self._log.failure("consumer failed unexpectedly", Failure())
            outcome = "internal error"
        if outcome:
            self._record.errors.value += 1
            self._record.failed((self.name, ""), outcome, stream=self.name)
            return
        if entry.payload is not None:
            self._record.processed.value += 1
            self._record.works((self.name, ""))
        try:
            await self._redis.send(self._key, b"XACK", self._key, self._group, entry.id)
        except BrokerUnavailable as error:
            self._record.failed(
                (self.name, "acknowledging"), str(error), stream=self.name
            )
        else:
            self._record.works((self.name, "acknowledging"))

    def _outcome(self, entry: _Entry) -> "str | Deferred[str]":
        if entry.payload is None:
            self._log.error(
                "payload value not found in redis stream message",
                consumer=self._record.consumer,
                stream=self.name,
                expected_value=self._settings.payload_field,
            )
            return ""
        return self._messages.dispatch(entry.fields, entry.payload)

    # --- Room ------------------------------------------------------------------

    def _until_room(self) -> "Deferred[None]":
        """Return a Deferred that fires when an entry is processed, or at a stop."""
        room: Deferred[None] = Deferred()
        self._room.append(room)
        return room

    def _make_room(self) -> None:
        waiting, self._room = self._room, []
        for each in waiting:
            each.callback(None)


def _entry(entry: Any, payload_field: str) -> _Entry:
    """Return an entry; its payload stays bytes."""
    id, flat = entry
    pairs = dict(zip(flat[::2], flat[1::2], strict=False))
    payload = pairs.pop(payload_field.encode(), None)
    fields = {
        name.decode(errors="replace"): value.decode(errors="replace")
        for name, value in pairs.items()
    }
    return _Entry(id, fields, payload)

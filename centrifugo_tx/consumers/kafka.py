"""Topics of Kafka, read by a consumer group: partitions at a time, each in order.

What is decided here runs in the reactor; ``kafka_client`` talks to Kafka.  See
consumers, "Kafka".
"""

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..bounded_log import BoundedLog
from .delivery import GRACE, BackOff, Pause, Record, SourceUnavailable, within
from .publications import Messages

__all__ = [
    "BrokersAway",
    "IKafkaGroup",
    "KafkaConsumer",
    "KafkaRecord",
    "Partition",
    "Polled",
]

#: A topic, and the number of a partition.
Partition = tuple[str, int]

#: Seconds between two commits of offsets.
COMMIT_INTERVAL = 1.0
#: Seconds that a commit may take when the connection is given up.
LAST_COMMIT = 1.0


class BrokersAway(SourceUnavailable):
    """No broker answers; the client library goes on trying to reach one."""


@frozen
class KafkaRecord:
    """One record of a partition."""

    offset: int
    body: bytes
    headers: dict[str, str]


@frozen
class Polled:
    """Records by partition, and the generation of the assignment they belong to."""

    generation: int
    batches: Mapping[Partition, Sequence[KafkaRecord]]


class IKafkaGroup(Protocol):
    """A member of a consumer group; Deferreds may fail with `SourceUnavailable`."""

    def open(
        self, revoked: Callable[[int, Collection[Partition]], "Deferred[None]"]
    ) -> "Deferred[None]":
        """Connect and join the group; again after a failure, with a new connection.

        *revoked* is called with a new generation and the partitions that go to other
        members; what it commits until its Deferred fires still counts.
        """

    def poll(self) -> "Deferred[Polled]":
        """Wait for records; none come when there are none for some seconds.

        After `BrokersAway` poll again, after another failure open first.
        """

    def pause(self, partition: Partition) -> None:
        """Fetch no more of a partition."""

    def resume(self, partition: Partition) -> None:
        """Fetch a partition again."""

    def commit(self, offsets: Mapping[Partition, int]) -> "Deferred[None]":
        """Store where each partition is read from next."""

    def interrupt(self) -> None:
        """Let a poll that is under way fail."""

    def close(self) -> "Deferred[None]":
        """Leave the group, and disconnect."""


@define(eq=False)
class _Worker:
    """Works off one partition."""

    pause: Pause
    batches: "deque[Sequence[KafkaRecord]]" = field(factory=deque)
    #: Records in all batches.
    queued: int = 0
    #: Whether fetching is paused.
    paused: bool = False
    active: bool = True
    #: Fires when no batch is left, or after the record under way once inactive.
    drained: "Deferred[None]" = field(factory=lambda: succeed(None))


@define(eq=False)
class KafkaConsumer:
    """Takes records, dispatches them, and commits the offsets of those that succeed.

    A record that fails is tried again, and holds its partition.

    :param queue_size: fetching a partition pauses while as many records wait, or after
        each batch if 0.
    """

    _clock: IReactorTime
    _group: IKafkaGroup
    _messages: Messages
    _record: Record
    queue_size: int = 1000
    _running: bool = field(default=False, init=False)
    _generation: int = field(default=0, init=False)
    _workers: dict[Partition, _Worker] = field(factory=dict, init=False)
    #: Offsets to commit.
    _marks: dict[Partition, int] = field(factory=dict, init=False)
    _commit_call: IDelayedCall | None = field(default=None, init=False)
    _committed: "Deferred[None]" = field(factory=lambda: succeed(None), init=False)
    _pause: Pause = field(init=False)
    _loop: "Deferred[None]" = field(factory=lambda: succeed(None), init=False)
    _log: BoundedLog = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._pause = Pause(self._clock)
        self._log = BoundedLog(Logger(), self._clock)

    # --- Life ------------------------------------------------------------------

    def start(self) -> "Deferred[None]":
        """Connect, join the group, and begin."""
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        try:
            await self._group.open(self._revoked)
        except SourceUnavailable:
            await self._group.close()
            raise
        self._running = True
        self._loop = Deferred.fromCoroutine(self._work())

    def stop(self) -> "Deferred[None]":
        """Finish the record under way in each partition, and leave the group."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._running = False
        self._pause.end()
        self._group.interrupt()
        await self._give_up(tuple(self._workers), GRACE)
        await within(self._clock, GRACE, self._group.close())
        await within(self._clock, 1.0, self._loop)
        self._log.flush()

    async def _work(self) -> None:
        back_off, lost = BackOff(), False
        while self._running:
            try:
                if lost:
                    await self._group.open(self._revoked)
                    lost = False
                polled = await self._group.poll()
            except SourceUnavailable as error:
                if not self._running:
                    return
                self._record.failed("brokers", str(error))
                if isinstance(error, BrokersAway):
                    continue
                if not lost:
                    lost = True
                    await self._give_up(tuple(self._workers), LAST_COMMIT)
                await self._pause.wait(back_off.next())
                continue
            self._record.works("brokers")
            back_off.reset()
            if polled.generation == self._generation and self._running:
                for partition, records in polled.batches.items():
                    self._accept(partition, records)

    def _accept(self, partition: Partition, records: Sequence[KafkaRecord]) -> None:
        worker = self._workers.get(partition)
        if worker is None:
            worker = self._workers[partition] = _Worker(Pause(self._clock))
        worker.batches.append(records)
        worker.queued += len(records)
        if worker.queued >= self.queue_size and not worker.paused:
            worker.paused = True
            self._group.pause(partition)
        if worker.drained.called:
            worker.drained = Deferred.fromCoroutine(self._drain(partition, worker))

    # --- One partition ---------------------------------------------------------

    async def _drain(self, partition: Partition, worker: _Worker) -> None:
        slices = self._messages.slices()
        while worker.batches and worker.active:
            for record in worker.batches[0]:
                if slices.over():
                    await slices.next()
                if not worker.active:
                    return
                await self._one(partition, worker, record)
            worker.queued -= len(worker.batches.popleft())
            if worker.paused and worker.active:
                worker.paused = False
                self._group.resume(partition)

    async def _one(
        self, partition: Partition, worker: _Worker, record: KafkaRecord
    ) -> None:
        """Dispatch a record until it succeeds, or until the partition is given up."""
        back_off = BackOff()
        while True:
            try:
                outcome = self._messages.dispatch(record.headers, record.body)
                if isinstance(outcome, Deferred):
                    outcome = await outcome
            except Exception:
                self._log.failure("consumer failed unexpectedly", Failure())
                outcome = "internal error"
            if not outcome:
                break
            self._record.errors.value += 1
            topic, number = partition
            self._record.failed(partition, outcome, topic=topic, partition=number)
            if worker.active:
                await worker.pause.wait(back_off.next())
            if not worker.active:
                return
        self._record.processed.value += 1
        self._record.works(partition)
        if self._workers.get(partition) is worker:
            self._marks[partition] = record.offset + 1
            self._commit_soon()

    # --- Offsets ---------------------------------------------------------------

    def _commit_soon(self) -> None:
        if self._commit_call is None and self._committed.called:
            self._commit_call = self._clock.callLater(COMMIT_INTERVAL, self._commit)

    def _commit(self) -> None:
        self._commit_call = None
        self._committed = Deferred.fromCoroutine(self._commit_marks())

    async def _commit_marks(self) -> None:
        """Commit all marks; those that could not be committed remain."""
        marks, self._marks = self._marks, {}
        if not marks:
            return
        try:
            await self._group.commit(marks)
        except SourceUnavailable as error:
            for partition, offset in marks.items():
                if partition in self._workers:
                    self._marks.setdefault(partition, offset)
            if self._running:
                self._record.failed("committing", str(error))
        else:
            self._record.works("committing")
        if self._marks and self._running:
            self._commit_call = self._clock.callLater(COMMIT_INTERVAL, self._commit)

    def _revoked(
        self, generation: int, partitions: Collection[Partition]
    ) -> "Deferred[None]":
        self._generation = generation
        return Deferred.fromCoroutine(self._give_up(partitions, GRACE))

    async def _give_up(self, partitions: Collection[Partition], wait: float) -> None:
        """Let the records under way end, commit, and forget what is queued."""
        workers = {
            partition: self._workers[partition]
            for partition in partitions
            if partition in self._workers
        }
        for worker in workers.values():
            worker.active = False
            worker.pause.end()
        if not workers:
            return
        ended = DeferredList([worker.drained for worker in workers.values()])
        await within(self._clock, wait, ended)
        if self._commit_call is not None:
            self._commit_call.cancel()
            self._commit_call = None
        await within(self._clock, wait, self._committed)
        await within(self._clock, wait, Deferred.fromCoroutine(self._commit_marks()))
        for partition, worker in workers.items():
            if self._workers.get(partition) is worker:
                del self._workers[partition]
                self._marks.pop(partition, None)
                self._record.forget(partition)

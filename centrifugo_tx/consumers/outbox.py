"""The outbox: rows of a table, processed partition by partition, in order.

The decisions here run in the reactor and know no database; see ``postgresql`` for the
table itself, and consumers, "PostgreSQL outbox" for the rules.
"""

import re
from collections.abc import Callable, Sequence
from typing import Protocol

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..bounded_log import BoundedLog
from .delivery import (
    GRACE,
    BackOff,
    Dispatch,
    Pause,
    Record,
    SourceUnavailable,
    within,
)

__all__ = ["IOutboxTable", "OutboxConsumer", "Row"]

#: Seconds between two attempts to listen to notifications.
LISTEN_AGAIN = 1.0
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")


@frozen
class Row:
    """One message of the table."""

    id: int
    method: str
    payload: bytes


class IOutboxTable(Protocol):
    """A table of messages; every Deferred may fail with `SourceUnavailable`."""

    def open(self) -> "Deferred[None]":
        """Find out whether the database answers."""

    def take(self, partition: int) -> "Deferred[Sequence[Row] | None]":
        """Lock a partition, and return its first rows in order.

        Waits for the lock, or returns None when another node has it.  If there are
        rows it stays held until `finish`.
        """

    def finish(self, partition: int, ids: Sequence[int]) -> "Deferred[None]":
        """Delete rows that were dispatched, and unlock the partition."""

    def interrupt(self, partition: int) -> None:
        """Let a `take` that is under way fail."""

    def listen(
        self, listening: Callable[[], None], notified: Callable[[str], None]
    ) -> "Deferred[None]":
        """Report that notifications come, and their payloads, until that fails."""

    def close(self) -> "Deferred[None]":
        """Cancel all running work; its locks are released."""


@define(eq=False)
class OutboxConsumer:
    """Takes rows, dispatches them one after another, and deletes what succeeded.

    A partition has one owner at a time, on whatever node, by the lock that the table
    holds from `take` to `finish`; an owner that dies loses it with its connection.

    :param limit: rows per batch; so many are in memory for each partition.
    :param notifications: whether to listen for new rows between polls.
    """

    _clock: IReactorTime
    _table: IOutboxTable
    _dispatch: Dispatch
    _record: Record
    partitions: int = 1
    limit: int = 100
    poll_interval: float = 0.3
    notifications: bool = False
    _pauses: list[Pause] = field(init=False)
    _listening: Pause = field(init=False)
    _loops: "list[Deferred[None]]" = field(factory=list, init=False)
    _taking: set[int] = field(factory=set, init=False)
    _running: bool = field(default=False, init=False)
    _log: BoundedLog = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._pauses = [Pause(self._clock) for _ in range(self.partitions)]
        self._listening = Pause(self._clock)
        self._log = BoundedLog(Logger(), self._clock)

    # --- Life ------------------------------------------------------------------

    def start(self) -> "Deferred[None]":
        """Reach the database, and begin to work off all partitions."""
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        try:
            await self._table.open()
        except SourceUnavailable:
            await self._table.close()
            raise
        self._running = True
        loops = [self._work(partition) for partition in range(self.partitions)]
        if self.notifications:
            loops.append(self._listen())
        self._loops = [Deferred.fromCoroutine(loop) for loop in loops]

    def stop(self) -> "Deferred[None]":
        """Finish the row under way in each partition, and close the connections.

        After `GRACE` seconds they are closed regardless; rows that were dispatched
        by then and not yet deleted come again.
        """
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._running = False
        for partition in tuple(self._taking):
            self._table.interrupt(partition)
        for pause in (*self._pauses, self._listening):
            pause.end()
        workers = DeferredList(self._loops[: self.partitions])
        await within(self._clock, GRACE, workers)
        await self._table.close()
        await within(self._clock, 1.0, DeferredList(self._loops))
        self._log.flush()

    # --- One partition ---------------------------------------------------------

    async def _work(self, partition: int) -> None:
        back_off, pause = BackOff(), self._pauses[partition]
        while self._running:
            reason, rows, dispatched = "", None, 0
            try:
                rows = await self._take(partition)
                if rows:
                    dispatched, method, reason = await self._dispatch_all(rows)
                    ids = [row.id for row in rows[:dispatched]]
                    await self._table.finish(partition, ids)
            except SourceUnavailable as error:
                method, reason = "", str(error)
            except Exception:
                self._log.failure("consumer failed unexpectedly", Failure())
                method, reason = "", "internal error"
            if not reason:
                self._record.processed.value += dispatched
            if not self._running:
                return
            if reason:
                self._record.errors.value += 1
                fields = {"partition": partition}
                self._record.failed(
                    partition,
                    reason,
                    **({**fields, "method": method} if method else fields),
                )
                await self._uninterrupted(pause, back_off.next())
                continue
            self._record.works(partition)
            back_off.reset()
            if rows is None or dispatched < self.limit:
                await pause.wait(self.poll_interval)

    async def _take(self, partition: int) -> Sequence[Row] | None:
        # What was notified until now is seen; what is notified from here on may not be.
        self._pauses[partition].forget()
        self._taking.add(partition)
        try:
            return await self._table.take(partition)
        finally:
            self._taking.discard(partition)

    async def _dispatch_all(self, rows: Sequence[Row]) -> tuple[int, str, str]:
        """Dispatch *rows* up to the first failure, or up to a stop.

        :return: how many succeeded, and the method of the one that failed, and why.
        """
        slices = self._dispatch.slices()
        for index, row in enumerate(rows):
            if slices.over():
                await slices.next()
            if not self._running:
                return index, "", ""
            outcome = self._dispatch.command(row.method, row.payload)
            if isinstance(outcome, Deferred):
                outcome = await outcome
            if outcome:
                return index, row.method, outcome
        return len(rows), "", ""

    async def _uninterrupted(self, pause: Pause, seconds: float) -> None:
        """Wait for *seconds*, ignoring notifications; not after a stop."""
        until = self._clock.seconds() + seconds
        while self._running and (left := until - self._clock.seconds()) > 1e-6:
            pause.forget()
            await pause.wait(left)

    # --- Notifications ---------------------------------------------------------

    async def _listen(self) -> None:
        while self._running:
            try:
                await self._table.listen(self._listens, self._notified)
            except SourceUnavailable as error:
                if self._running:
                    self._record.failed("notifications", str(error))
            if self._running:
                await self._listening.wait(LISTEN_AGAIN)

    def _listens(self) -> None:
        self._record.works("notifications")

    def _notified(self, payload: str) -> None:
        """Look at the partition that a notification names."""
        partition = int(payload) if _INTEGER.fullmatch(payload) else -1
        if 0 <= partition < self.partitions:
            self._pauses[partition].end()
            return
        self._log.error(
            "outbox notification names no partition",
            consumer=self._record.consumer,
            payload=payload,
        )

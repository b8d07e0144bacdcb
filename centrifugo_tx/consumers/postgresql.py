"""The table of the outbox, by psycopg (extra ``postgresql``).

All connections live on one asyncio loop beside the reactor, not in a thread each: a
partition whose lock another node has keeps its connection waiting for hours, which
costs a task and no thread, and a stop can cancel it.
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import psycopg
from attrs import define, field
from psycopg import AsyncConnection, IsolationLevel
from psycopg.adapt import Loader
from psycopg.pq import TransactionStatus
from psycopg.sql import SQL, Identifier
from twisted.internet.defer import Deferred

from ..grpc.asyncio_bridge import AsyncioBridge
from .delivery import SourceUnavailable
from .outbox import Row
from .postgresql_address import Database

__all__ = ["PostgreSQLTable"]

T = TypeVar("T")

#: Seconds that the database has to answer at the start.
PATIENCE = 10.0
#: Seconds that the database has to confirm that a query is cancelled.
CANCELLED = 2.0
#: Different notifications that may wait for the reactor; polling makes up for others.
NOTIFICATIONS = 4096

_LOCK = "SELECT pg_advisory_xact_lock(hashtext(%s::text))"
_TRY_LOCK = "SELECT pg_try_advisory_xact_lock(hashtext(%s::text))"


class _Bytes(Loader):
    """Leaves JSON as it is."""

    def load(self, data: Any) -> bytes:
        """Return the text of a value."""
        return bytes(data)


@define(eq=False)
class PostgreSQLTable:
    """One connection for each partition, and one that listens.

    :param table: the name of the table as SQL has it, maybe with a schema.
    :param lock_prefix: what the names of the locks begin with; the same on all nodes.
    """

    _bridge: AsyncioBridge
    _database: Database
    table: str
    lock_prefix: str
    limit: int = 100
    try_lock: bool = False
    #: Where to listen, if not at the same address.
    _listener: Database | None = None
    channel: str = ""
    _connections: "dict[object, AsyncConnection[Any]]" = field(factory=dict, init=False)
    _tasks: "dict[object, asyncio.Task[Any]]" = field(factory=dict, init=False)
    _interrupted: set[object] = field(factory=set, init=False)
    _closed: bool = field(default=False, init=False)
    _waiting: set[str] = field(factory=set, init=False)
    _select: str = field(init=False)
    _delete: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        table = self.table.replace("%", "%%")
        self._select = (
            f"SELECT id, method, payload FROM {table}"
            " WHERE partition = %s ORDER BY id ASC LIMIT %s"
        )
        self._delete = f"DELETE FROM {table} WHERE id = ANY(%s::bigint[])"

    # --- In the reactor --------------------------------------------------------

    def open(self) -> "Deferred[None]":
        """Find out whether the database answers."""
        return self._run(0, self._open)

    def take(self, partition: int) -> "Deferred[Sequence[Row] | None]":
        """Lock a partition, and return its first rows in order."""
        return self._run(partition, self._take, partition)

    def finish(self, partition: int, ids: Sequence[int]) -> "Deferred[None]":
        """Delete rows that were dispatched, and unlock the partition."""
        return self._run(partition, self._finish, partition, [*ids])

    def interrupt(self, partition: int) -> None:
        """Let a `take` that is under way fail."""
        self._bridge.to_loop(lambda: self._interrupt(partition))

    def listen(
        self, listening: Callable[[], None], notified: Callable[[str], None]
    ) -> "Deferred[None]":
        """Report that notifications come, and their payloads, until that fails."""
        return self._run("notifications", self._listen, listening, notified)

    def close(self) -> "Deferred[None]":
        """Cancel all running work; its locks are released."""
        return self._bridge.run(self._close)

    def _run(
        self, where: object, work: Callable[..., Awaitable[T]], *arguments: object
    ) -> "Deferred[T]":
        return self._bridge.run(self._guarded, where, work, *arguments)

    # --- On the loop -----------------------------------------------------------

    async def _guarded(
        self, where: object, work: Callable[..., Awaitable[T]], *arguments: object
    ) -> T:
        """Run *work*; after an error its connection is not used again."""
        if self._closed or where in self._interrupted:
            raise SourceUnavailable("stopped")
        task = asyncio.current_task()
        assert task is not None
        self._tasks[where] = task
        try:
            return await work(*arguments)
        except (psycopg.Error, OSError, asyncio.CancelledError) as error:
            connection = self._connections.pop(where, None)
            if connection is not None:
                await connection.close()
            raise SourceUnavailable(_reason(error)) from None
        finally:
            self._tasks.pop(where, None)

    async def _connection(self, partition: int) -> "AsyncConnection[Any]":
        connection = self._connections.get(partition)
        if connection is None:
            connection = await self._database.connect()
            self._connections[partition] = connection
            await connection.set_isolation_level(IsolationLevel.READ_COMMITTED)
            for kind in ("json", "jsonb"):
                connection.adapters.register_loader(kind, _Bytes)
        elif connection.pgconn.transaction_status != TransactionStatus.IDLE:
            await connection.rollback()
        return connection

    async def _open(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                connection = await self._connection(0)
                await connection.execute("SELECT 1")
                await connection.rollback()
        except TimeoutError:
            raise SourceUnavailable(f"no answer within {PATIENCE:g} s") from None

    async def _take(self, partition: int) -> list[Row] | None:
        connection = await self._connection(partition)
        lock = [f"{self.lock_prefix}{partition}"]
        if self.try_lock:
            tried = await (await connection.execute(_TRY_LOCK, lock)).fetchone()
            if tried is None or not tried[0]:
                await connection.rollback()
                return None
        else:
            await connection.execute(_LOCK, lock)
        found = await connection.execute(self._select, [partition, self.limit])
        rows = [
            Row(id, method or "", _as_bytes(payload))
            for id, method, payload in await found.fetchall()
        ]
        if not rows:
            await connection.rollback()
        return rows

    async def _finish(self, partition: int, ids: list[int]) -> None:
        connection = self._connections.get(partition)
        if connection is None:
            raise SourceUnavailable("the connection is gone")
        if ids:
            await connection.execute(self._delete, [ids])
        await connection.commit()

    async def _listen(
        self, listening: Callable[[], None], notified: Callable[[str], None]
    ) -> None:
        database = self._listener or self._database
        connection = await database.connect(autocommit=True)
        self._connections["notifications"] = connection
        await connection.execute(SQL("LISTEN {}").format(Identifier(self.channel)))
        self._bridge.to_reactor(listening)

        def arrived(payload: str) -> None:
            self._waiting.discard(payload)
            notified(payload)

        async for notification in connection.notifies():
            payload = notification.payload
            if payload not in self._waiting and len(self._waiting) < NOTIFICATIONS:
                self._waiting.add(payload)
                self._bridge.to_reactor(arrived, payload)

    def _interrupt(self, where: object) -> None:
        self._interrupted.add(where)
        if task := self._tasks.get(where):
            task.cancel()

    async def _close(self) -> None:
        self._closed = True
        tasks = [*self._tasks.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=CANCELLED)
            if left:
                for connection in self._connections.values():
                    _shut_down(connection)
                await asyncio.wait(left, timeout=CANCELLED)
        connections, self._connections = self._connections, {}
        for connection in connections.values():
            await connection.close()
        for database in filter(None, (self._database, self._listener)):
            database.forget()


def _shut_down(connection: "AsyncConnection[Any]") -> None:
    """Let whatever waits for a database that hangs find its connection lost."""
    try:
        with socket.socket(fileno=os.dup(connection.fileno())) as wire:
            wire.shutdown(socket.SHUT_RDWR)
    except (OSError, psycopg.Error):
        pass


def _as_bytes(payload: object) -> bytes:
    if isinstance(payload, str):
        return payload.encode()
    return payload if isinstance(payload, bytes) else b""


def _reason(error: BaseException) -> str:
    """Return the first line of an error's message; the others are hints."""
    if isinstance(error, asyncio.CancelledError):
        return "stopped"
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__

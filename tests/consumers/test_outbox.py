"""The processing of rows of the outbox."""

from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.consumers.delivery import SourceUnavailable
from centrifugo_tx.consumers.outbox import IOutboxTable, OutboxConsumer, Row

from .doubles import FAILED_AND_BACK, Calls, record_of


@define(eq=False)
class Table:
    """A table in memory."""

    rows: dict[int, list[Row]] = field(factory=dict)
    limit: int = 100
    #: Partitions that another node has.
    locked: set[int] = field(factory=set)
    broken: str = ""
    taken: list[int] = field(factory=list)
    held: set[int] = field(factory=set)
    closed: bool = False
    waiting: "dict[int, Deferred[Any]]" = field(factory=dict)
    listening: "list[Deferred[None]]" = field(factory=list)
    notified: Callable[[str], None] = lambda payload: None

    def _answer(self, value: Any) -> "Deferred[Any]":
        return fail(SourceUnavailable(self.broken)) if self.broken else succeed(value)

    def open(self) -> "Deferred[None]":
        """Answer."""
        return self._answer(None)

    def take(self, partition: int) -> "Deferred[Sequence[Row] | None]":
        """Return the first rows."""
        self.taken.append(partition)
        if partition in self.waiting:
            return self.waiting[partition]
        if partition in self.locked:
            return self._answer(None)
        rows = self.rows.get(partition, [])[: self.limit]
        if rows and not self.broken:
            self.held.add(partition)
        return self._answer(rows)

    def finish(self, partition: int, ids: Sequence[int]) -> "Deferred[None]":
        """Delete rows."""
        self.held.discard(partition)
        if not self.broken:
            rows = self.rows[partition]
            self.rows[partition] = [row for row in rows if row.id not in ids]
        return self._answer(None)

    def interrupt(self, partition: int) -> None:
        """End a wait for a lock."""
        self.waiting.pop(partition).errback(SourceUnavailable("interrupted"))

    def listen(
        self, listening: Callable[[], None], notified: Callable[[str], None]
    ) -> "Deferred[None]":
        """Keep what wants to know."""
        self.notified = notified
        self.listening.append(Deferred())
        listening()
        return self.listening[-1]

    def close(self) -> "Deferred[None]":
        """Fail the running call."""
        self.closed = True
        if self.listening and not self.listening[-1].called:
            self.listening[-1].errback(SourceUnavailable("closed"))
        return succeed(None)


def rows(*bodies: str) -> list[Row]:
    """Return rows with these payloads."""
    return [Row(n, "publish", body.encode()) for n, body in enumerate(bodies, 1)]


class OutboxCase(SynchronousTestCase):
    """A consumer of a table in memory."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.table = Table()
        self.calls = Calls(self.clock)
        self.record = record_of()

    def start(self, **options: Any) -> OutboxConsumer:
        """Return a consumer that works."""
        table: IOutboxTable = self.table
        consumer = OutboxConsumer(
            self.clock,
            table,
            self.calls,
            self.record,
            **{"limit": self.table.limit, **options},
        )
        self.successResultOf(consumer.start())
        return consumer

    def bodies(self) -> list[str]:
        """Return the dispatched commands."""
        return [body.decode() for _, body in self.calls.made]


class OutboxTests(OutboxCase):
    """Rows, locks and failures (consumers, "PostgreSQL outbox")."""

    def test_batches(self) -> None:
        """Full batches follow at once, others after the poll interval."""
        self.table.limit = 2
        self.table.rows = {0: rows("a", "b", "c")}
        self.start(poll_interval=0.3)
        self.assertEqual(self.bodies(), ["a", "b", "c"])
        self.assertEqual(self.table.rows, {0: []})
        self.assertEqual(self.record.processed.value, 3)
        taken = len(self.table.taken)
        self.clock.advance(0.29)
        self.assertEqual(len(self.table.taken), taken)
        self.table.rows = {0: rows("d")}
        self.clock.advance(0.02)
        self.assertEqual(self.bodies()[3:], ["d"])

    def test_failure(self) -> None:
        """Rows before a failure are deleted; the failed row is read again."""
        self.table.rows = {0: rows("a", "bad", "c"), 1: rows("x")}
        self.calls.answer = lambda body: "internal" if body == b"bad" else ""
        with capturedLogs() as lines:
            self.start(partitions=2)
            self.assertEqual([r.payload for r in self.table.rows[0]], [b"bad", b"c"])
            self.assertEqual(self.table.held, set())
            self.assertEqual(self.bodies(), ["a", "bad", "x"])
            for _ in range(20):
                self.clock.advance(5)
            self.assertNotIn("c", self.bodies())
            self.assertGreater(self.record.errors.value, 10)
            self.assertEqual(self.record.processed.value, 1)
            self.calls.answer = lambda body: ""
            self.clock.advance(5.1)
        self.assertEqual(self.bodies()[-2:], ["bad", "c"])
        self.assertEqual([each["log_format"] for each in lines], FAILED_AND_BACK)
        self.assertEqual(
            (lines[0]["error"], lines[0]["partition"], lines[0]["method"]),
            ("internal", 0, "publish"),
        )

    def test_back_off_is_not_cut(self) -> None:
        """Notifications do not hurry what fails."""
        self.table.rows = {0: rows("bad")}
        self.calls.answer = lambda body: "internal"
        self.start(notifications=True)
        self.table.notified("0")
        self.clock.advance(0.019)
        self.table.notified("0")
        self.assertEqual(self.bodies(), ["bad"])
        self.clock.advance(0.02)
        self.assertEqual(self.bodies(), ["bad", "bad"])

    def test_waits_for_a_call(self) -> None:
        """The next row waits for the call, and the lock is held meanwhile."""
        calls: list[Deferred[str]] = []

        def answer(body: bytes) -> "Deferred[str]":
            calls.append(Deferred())
            return calls[-1]

        self.calls.answer = answer
        self.table.rows = {0: rows("a", "b")}
        self.start()
        self.assertEqual(self.bodies(), ["a"])
        self.assertEqual(self.table.held, {0})
        calls[0].callback("")
        self.assertEqual(self.bodies(), ["a", "b"])
        self.assertEqual(len(self.table.rows[0]), 2)
        calls[1].callback("")
        self.assertEqual(self.table.rows[0], [])

    def test_locked(self) -> None:
        """A partition of another node is looked at again after the poll interval."""
        self.table.locked = {0}
        self.start()
        self.assertEqual(self.table.taken, [0])
        self.table.locked, self.table.rows = set(), {0: rows("a")}
        self.clock.advance(0.3)
        self.assertEqual(self.bodies(), ["a"])
        self.assertEqual(self.record.errors.value, 0)

    def test_notified(self) -> None:
        """A notification ends the wait of its partition, also one during a batch."""
        self.start(partitions=2, notifications=True, poll_interval=100)
        self.table.rows = {1: rows("a")}
        self.table.notified("1")
        self.assertEqual(self.table.taken, [0, 1, 1])
        # While rows are dispatched, another comes.
        call: Deferred[str] = Deferred()
        self.calls.answer = lambda body: call
        self.table.rows = {1: rows("b")}
        self.table.notified("+1")
        self.table.notified("1")
        self.calls.answer = lambda body: ""
        self.table.rows[1].append(Row(7, "publish", b"c"))
        call.callback("")
        self.assertEqual(self.bodies(), ["a", "b", "c"])

    def test_wrong_notification(self) -> None:
        """One that names no partition is logged."""
        consumer = self.start(notifications=True)
        with capturedLogs() as lines:
            for payload in ("1", "-1", "x", " 0", "9" * 5000):
                self.table.notified(payload)
        self.assertEqual(len(lines), 5)
        self.assertEqual(lines[2]["payload"], "x")
        self.assertLess(len(lines[4]["payload"]), 300)
        self.successResultOf(consumer.stop())

    def test_listens_again(self) -> None:
        """A lost listener is replaced after a second."""
        self.start(notifications=True)
        with capturedLogs() as lines:
            self.table.listening[0].errback(SourceUnavailable("gone"))
            self.clock.advance(0.9)
            self.assertEqual(len(self.table.listening), 1)
            self.clock.advance(0.2)
        self.assertEqual(len(self.table.listening), 2)
        self.assertEqual([each["log_format"] for each in lines], FAILED_AND_BACK)

    def test_outage(self) -> None:
        """A database that is away costs one line, however often it is tried."""
        self.table.rows = {0: rows("a"), 1: rows("b")}
        consumer = self.start(partitions=2)
        self.table.rows = {0: rows("c"), 1: rows("d")}
        self.table.broken = "connection refused"
        with capturedLogs() as lines:
            for _ in range(50):
                self.clock.advance(5)
            self.table.broken = ""
            self.clock.advance(5.1)
        self.assertEqual([each["log_format"] for each in lines], FAILED_AND_BACK)
        self.assertEqual(sorted(self.bodies()), ["a", "b", "c", "d"])
        self.assertGreater(self.record.errors.value, 50)
        self.successResultOf(consumer.stop())

    def test_finish_fails(self) -> None:
        """Rows whose deletion failed are dispatched again."""
        self.table.rows = {0: rows("a")}

        def answer(body: bytes) -> str:
            self.table.broken = "" if len(self.calls.made) > 1 else "gone"
            return ""

        self.calls.answer = answer
        self.start()
        self.table.broken = ""
        self.clock.advance(1)
        self.assertEqual(self.bodies(), ["a", "a"])
        self.assertEqual(self.record.processed.value, 1)

    def test_unexpected(self) -> None:
        """A bug is logged with its traceback, and the partition continues."""
        self.table.rows = {0: rows("a")}

        def answer(body: bytes) -> str:
            self.calls.answer = lambda body: ""
            raise ZeroDivisionError

        self.calls.answer = answer
        self.start()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.clock.advance(1)
        self.assertEqual(self.table.rows[0], [])

    def test_no_start(self) -> None:
        """A database that is away at the start is an error."""
        self.table.broken = "connection refused"
        consumer = OutboxConsumer(self.clock, self.table, self.calls, self.record)
        self.failureResultOf(consumer.start(), SourceUnavailable)
        self.assertTrue(self.table.closed)

    def test_slices(self) -> None:
        """A long batch is cut into turns of the reactor."""
        self.table.limit = 1000
        self.table.rows = {0: rows(*(str(n) for n in range(1000)))}
        self.start()
        self.assertLess(len(self.bodies()), 300)
        for _ in range(10):
            self.clock.advance(0)
        self.assertEqual(len(self.bodies()), 1000)


class StopTests(OutboxCase):
    """How a consumer stops."""

    def test_idle(self) -> None:
        """Nothing is under way, or a lock is waited for: it stops at once."""
        self.table.waiting = {1: Deferred()}
        consumer = self.start(partitions=3, notifications=True)
        self.successResultOf(consumer.stop())
        self.assertTrue(self.table.closed)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.record.errors.value, 0)

    def test_under_way(self) -> None:
        """The running row completes, later ones remain; processed rows are deleted."""
        call: Deferred[str] = Deferred()
        self.calls.answer = lambda body: call
        self.table.rows = {0: rows("a", "b")}
        consumer = self.start()
        stopped = consumer.stop()
        self.assertNoResult(stopped)
        self.assertFalse(self.table.closed)
        call.callback("")
        self.successResultOf(stopped)
        self.assertEqual([row.payload for row in self.table.rows[0]], [b"b"])
        self.assertEqual(self.record.processed.value, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_bounded(self) -> None:
        """A call that does not end does not keep the consumer from stopping."""
        self.calls.answer = lambda body: Deferred()
        self.table.rows = {0: rows("a")}
        stopped = self.start().stop()
        self.clock.advance(4.9)
        self.assertFalse(self.table.closed)
        self.clock.advance(0.2)
        self.assertTrue(self.table.closed)
        self.clock.advance(1)
        self.successResultOf(stopped)

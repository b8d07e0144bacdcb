"""The processing of records of Kafka."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import Logger, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.bounded_log import BoundedLog
from centrifugo_tx.consumers.delivery import GRACE, SourceUnavailable
from centrifugo_tx.consumers.kafka import (
    COMMIT_INTERVAL,
    BrokersAway,
    IKafkaGroup,
    KafkaConsumer,
    KafkaRecord,
    Partition,
    Polled,
)
from centrifugo_tx.consumers.publications import Messages

from .doubles import FAILED_AND_BACK, Calls, record_of

A: Partition = ("topic", 0)
B: Partition = ("topic", 1)


@define(eq=False)
class Group:
    """A group whose polls wait until they are answered."""

    polls: "list[Deferred[Polled]]" = field(factory=list)
    opened: int = 0
    #: The actions, in order: pauses, resumes and commits.
    done: list[Any] = field(factory=list)
    broken: str = ""
    closed: bool = False
    revoked: "Callable[[int, Collection[Partition]], Deferred[None]] | None" = None
    generation: int = 0
    #: Commits that are not answered, if there are to be any.
    held: "list[Deferred[None]] | None" = None

    def _answer(self) -> "Deferred[None]":
        return fail(SourceUnavailable(self.broken)) if self.broken else succeed(None)

    def open(
        self, revoked: Callable[[int, Collection[Partition]], "Deferred[None]"]
    ) -> "Deferred[None]":
        """Count."""
        self.opened += 1
        self.revoked = revoked
        return self._answer()

    def poll(self) -> "Deferred[Polled]":
        """Wait."""
        self.polls.append(Deferred())
        return self.polls[-1]

    def pause(self, partition: Partition) -> None:
        """Take note."""
        self.done.append(("pause", partition))

    def resume(self, partition: Partition) -> None:
        """Take note."""
        self.done.append(("resume", partition))

    def commit(self, offsets: Mapping[Partition, int]) -> "Deferred[None]":
        """Take note."""
        self.done.append(dict(offsets))
        if self.held is not None:
            self.held.append(Deferred())
            return self.held[-1]
        return self._answer()

    def interrupt(self) -> None:
        """Let the poll fail."""
        if not self.polls[-1].called:
            self.polls[-1].errback(SourceUnavailable("stopped"))

    def close(self) -> "Deferred[None]":
        """Close."""
        self.closed = True
        return succeed(None)


class KafkaTests(SynchronousTestCase):
    """Records, offsets, failures and rebalances (consumers, "Kafka")."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.group = Group()
        self.calls = Calls(self.clock)
        self.record = record_of()

    def consumer(self, queue_size: int = 1000) -> KafkaConsumer:
        """Return a consumer that is not started."""
        log = BoundedLog(Logger(), self.clock)
        messages = Messages(self.calls, log, "source", "method")
        group: IKafkaGroup = self.group
        return KafkaConsumer(self.clock, group, messages, self.record, queue_size)

    def start(self, queue_size: int = 1000) -> KafkaConsumer:
        """Return a consumer that polls."""
        consumer = self.consumer(queue_size)
        self.successResultOf(consumer.start())
        return consumer

    def deliver(self, partition: Partition, *bodies: str, first: int = 0) -> None:
        """Answer the poll that waits."""
        records = [
            KafkaRecord(first + index, body.encode(), {})
            for index, body in enumerate(bodies)
        ]
        polled = Polled(self.group.generation, {partition: records})
        self.group.polls[-1].callback(polled)

    def bodies(self) -> list[str]:
        """Return the dispatched records."""
        return [body.decode() for _, body in self.calls.made]

    def test_commit(self) -> None:
        """Records are dispatched in order; then their offsets are committed."""
        self.start()
        self.deliver(A, "a", "b", first=7)
        self.assertEqual(self.bodies(), ["a", "b"])
        self.assertEqual(self.group.done, [])
        self.clock.advance(COMMIT_INTERVAL)
        self.assertEqual(self.group.done, [{A: 9}])
        self.assertEqual(self.record.processed.value, 2)
        self.clock.advance(10)
        self.assertEqual(self.group.done, [{A: 9}])
        self.assertEqual(len(self.group.polls), 2)

    def test_header(self) -> None:
        """A header may name the method."""
        self.start()
        records = [KafkaRecord(0, b"{}", {"method": "publish"})]
        self.group.polls[-1].callback(Polled(0, {A: records}))
        self.assertEqual(self.calls.made, [("publish", b"{}")])

    def test_failing_record(self) -> None:
        """A failed record is retried, and blocks only its partition."""
        answers = {b"a": ["no", "no", ""]}
        self.calls.answer = lambda body: (answers.get(body) or [""]).pop(0)
        self.start()
        with capturedLogs() as logs:
            self.deliver(A, "a", "b")
            self.deliver(B, "x")
            self.assertEqual(self.bodies(), ["a", "x"])
            self.clock.advance(COMMIT_INTERVAL)
            self.assertEqual(self.group.done, [{B: 1}])
            self.clock.advance(1)
        self.assertEqual(self.bodies(), ["a", "x", "a", "a", "b"])
        self.assertEqual(self.record.errors.value, 2)
        self.clock.advance(COMMIT_INTERVAL)
        self.assertEqual(self.group.done, [{B: 1}, {A: 2}])
        self.assertEqual([log["log_format"] for log in logs], FAILED_AND_BACK)
        self.assertEqual((logs[0]["topic"], logs[0]["partition"]), A)

    def test_exception(self) -> None:
        """An unexpected failure is logged, and the record tried again."""
        failures = [ZeroDivisionError()]

        def answer(body: bytes) -> str:
            if failures:
                raise failures.pop()
            return ""

        self.calls.answer = answer
        self.start()
        self.deliver(A, "a")
        self.clock.advance(1)
        self.assertEqual(self.bodies(), ["a", "a"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_queue(self) -> None:
        """Fetching pauses while a queue is full; the queue is worked off in order."""
        waiting: list[Deferred[str]] = []

        def answer(body: bytes) -> "Deferred[str]":
            waiting.append(Deferred())
            return waiting[-1]

        self.calls.answer = answer
        self.start(queue_size=3)
        self.deliver(A, "a", "b")
        self.assertEqual(self.group.done, [])
        self.deliver(A, "c", first=2)
        self.assertEqual(self.group.done, [("pause", A)])
        waiting.pop().callback("")
        self.assertEqual(self.group.done, [("pause", A)])
        waiting.pop().callback("")
        self.assertEqual(self.group.done, [("pause", A), ("resume", A)])
        waiting.pop().callback("")
        self.assertEqual(self.bodies(), ["a", "b", "c"])

    def test_no_queue(self) -> None:
        """Without a queue, fetching pauses for each batch."""
        self.start(queue_size=0)
        self.deliver(A, "a")
        self.assertEqual(self.group.done, [("pause", A), ("resume", A)])

    def test_slices(self) -> None:
        """A long batch leaves the reactor turns for others."""
        self.start()
        self.deliver(A, *map(str, range(1000)))
        self.assertEqual(len(self.calls.made), 256)
        for _ in range(3):
            self.clock.advance(0)
        self.assertEqual(self.bodies(), [*map(str, range(1000))])

    def test_commit_fails(self) -> None:
        """A failed commit is repeated later."""
        self.start()
        self.deliver(A, "a")
        self.group.broken = "away"
        with capturedLogs() as logs:
            self.clock.advance(COMMIT_INTERVAL)
            self.clock.advance(COMMIT_INTERVAL)
            self.group.broken = ""
            self.clock.advance(COMMIT_INTERVAL)
        self.assertEqual(self.group.done, [{A: 1}] * 3)
        self.assertEqual([log["log_format"] for log in logs], FAILED_AND_BACK)

    def test_commit_overtaken(self) -> None:
        """A commit that fails late takes no later offset back."""
        self.start()
        self.group.held = []
        self.deliver(A, "a")
        self.clock.advance(COMMIT_INTERVAL)
        self.deliver(A, "b", first=1)
        self.clock.advance(COMMIT_INTERVAL)
        self.assertEqual(self.group.done, [{A: 1}])  # one at a time
        self.group.held[0].errback(SourceUnavailable("late"))
        self.clock.advance(COMMIT_INTERVAL)
        self.assertEqual(self.group.done, [{A: 1}, {A: 2}])

    def test_revoked(self) -> None:
        """A partition is given up when its record has ended and is committed."""
        under_way: Deferred[str] = Deferred()
        self.calls.answer = lambda body: under_way if body == b"b" else ""
        self.start()
        self.deliver(A, "a", "b", "c")
        self.deliver(B, "x")
        assert self.group.revoked is not None
        done = self.group.revoked(1, [A])
        self.assertNoResult(done)
        under_way.callback("")
        self.successResultOf(done)
        self.assertEqual(self.bodies(), ["a", "b", "x"])
        self.assertEqual(self.group.done, [{A: 2, B: 1}])
        # Records that were fetched before are discarded.
        self.deliver(A, "c", first=2)
        self.assertEqual(self.bodies(), ["a", "b", "x"])
        self.group.generation = 1
        self.deliver(A, "c", first=2)
        self.assertEqual(self.bodies(), ["a", "b", "x", "c"])

    def test_revoked_late(self) -> None:
        """A record that does not end in time is not waited for, nor committed."""
        under_way: Deferred[str] = Deferred()
        self.calls.answer = lambda body: under_way
        self.start()
        self.deliver(A, "a")
        assert self.group.revoked is not None
        done = self.group.revoked(1, [A])
        self.clock.advance(GRACE)
        self.successResultOf(done)
        under_way.callback("")
        self.clock.advance(COMMIT_INTERVAL)
        self.assertEqual(self.group.done, [])

    def test_revoked_while_failing(self) -> None:
        """A record that fails is left to the next owner."""
        self.calls.answer = lambda body: "no"
        self.start()
        self.deliver(A, "a")
        assert self.group.revoked is not None
        self.successResultOf(self.group.revoked(1, [A]))
        self.clock.pump([1.0] * 20)
        self.assertEqual(self.bodies(), ["a"])
        self.assertEqual(self.group.done, [])

    def test_lost(self) -> None:
        """After a failure the queue is dropped, and the group joined again."""
        self.calls.answer = lambda body: "no" if body == b"b" else ""
        self.start()
        with capturedLogs() as logs:
            self.deliver(A, "a", "b", "c")
            self.group.polls[-1].errback(SourceUnavailable("away"))
            self.assertEqual(self.group.done, [{A: 1}])
            self.assertEqual(self.group.opened, 1)
            self.group.broken = "away"
            self.clock.pump([1.0] * 12)
            self.assertEqual(self.bodies(), ["a", "b"])
            opened = self.group.opened
            self.assertIn(opened, range(3, 12))
            self.group.broken = ""
            self.clock.advance(5)
            self.assertEqual(self.group.opened, opened + 1)
            self.deliver(B, "x")
        formats = [log["log_format"] for log in logs]
        self.assertEqual(formats.count("consumer works again"), 1)
        self.assertEqual(self.bodies(), ["a", "b", "x"])

    def test_brokers_away(self) -> None:
        """While no broker answers, the queue stays, and polls go on."""
        under_way: Deferred[str] = Deferred()
        self.calls.answer = lambda body: under_way if body == b"a" else ""
        self.start()
        with capturedLogs() as logs:
            self.deliver(A, "a", "b")
            for _ in range(3):
                self.group.polls[-1].errback(BrokersAway("away"))
            under_way.callback("")
            self.deliver(A, "c", first=2)
        self.assertEqual(self.bodies(), ["a", "b", "c"])
        self.assertEqual(self.group.opened, 1)
        self.assertEqual([log["log_format"] for log in logs], FAILED_AND_BACK)

    def test_no_source(self) -> None:
        """It does not start without its source."""
        self.group.broken = "refused"
        failure = self.failureResultOf(self.consumer().start(), SourceUnavailable)
        self.assertEqual(str(failure.value), "refused")
        self.assertTrue(self.group.closed)

    def test_stop(self) -> None:
        """A stop waits for the record under way, commits it, and leaves."""
        under_way: Deferred[str] = Deferred()
        self.calls.answer = lambda body: under_way
        consumer = self.start()
        self.deliver(A, "a", "b")
        stopped = consumer.stop()
        self.assertNoResult(stopped)
        self.assertFalse(self.group.closed)
        under_way.callback("")
        self.successResultOf(stopped)
        self.assertEqual(self.group.done, [{A: 1}])
        self.assertTrue(self.group.closed)
        self.assertEqual(self.bodies(), ["a"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_in_time(self) -> None:
        """A record that hangs does not keep it from stopping."""
        self.calls.answer = lambda body: Deferred()
        consumer = self.start()
        self.deliver(A, "a")
        stopped = consumer.stop()
        self.clock.advance(GRACE)
        self.successResultOf(stopped)
        self.assertEqual(self.group.done, [])

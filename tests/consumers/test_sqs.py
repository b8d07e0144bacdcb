"""The processing of messages of SQS."""

from collections.abc import Sequence
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import Logger, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.bounded_log import BoundedLog
from centrifugo_tx.consumers.delivery import SourceUnavailable
from centrifugo_tx.consumers.publications import Messages, PublicationNames
from centrifugo_tx.consumers.sqs import IQueue, QueueMessage, SQSConsumer

from .doubles import FAILED_AND_BACK, Calls, record_of


@define(eq=False)
class Queue:
    """A queue whose receives wait until they are answered."""

    url: str = "q"
    receives: "list[Deferred[Sequence[QueueMessage]]]" = field(factory=list)
    deleted: list[list[str]] = field(factory=list)
    failures: list[str] = field(factory=list)
    broken: str = ""

    def receive(self) -> "Deferred[Sequence[QueueMessage]]":
        """Wait."""
        self.receives.append(Deferred())
        return self.receives[-1]

    def delete(self, messages: Sequence[QueueMessage]) -> "Deferred[Sequence[str]]":
        """Record the deletions."""
        if self.broken:
            return fail(SourceUnavailable(self.broken))
        self.deleted.append([each.id for each in messages])
        return succeed(self.failures)

    def close(self) -> "Deferred[None]":
        """Let the receive fail."""
        if self.receives and not self.receives[-1].called:
            self.receives[-1].errback(SourceUnavailable("stopped"))
        return succeed(None)


def message(id: str, group: str = "", body: str | None = "", **more: str) -> Any:
    """Return a message; its body is its id unless it says another."""
    given = id if body == "" else body
    return QueueMessage(id, f"receipt {id}", given, more, group)


class SQSTests(SynchronousTestCase):
    """Batches, groups, retries and stops (consumers, "Cloud queues")."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.queue = Queue()
        self.calls = Calls(self.clock)
        self.record = record_of()

    def start(
        self, names: PublicationNames | None = None, **options: Any
    ) -> SQSConsumer:
        """Return a consumer that receives."""
        log = BoundedLog(Logger(), self.clock)
        messages = Messages(self.calls, log, "source", "method", names, True)
        queue: IQueue = self.queue
        consumer = SQSConsumer(self.clock, [queue], messages, self.record, **options)
        self.successResultOf(consumer.start())
        return consumer

    def deliver(self, *messages: QueueMessage) -> None:
        """Answer the receive that waits."""
        self.queue.receives[-1].callback(messages)

    def bodies(self) -> list[str]:
        """Return the dispatched messages."""
        return [body.decode() for _, body in self.calls.made]

    def test_batch(self) -> None:
        """Processed messages are deleted, up to ten at a time; then the next batch is
        read.
        """
        self.start()
        self.deliver()
        self.deliver(*(message(str(n), method="publish") for n in range(12)))
        self.assertEqual(self.calls.made[0], ("publish", b"0"))
        self.assertEqual([len(each) for each in self.queue.deleted], [10, 2])
        self.assertEqual(len(self.queue.receives), 3)
        self.assertEqual(self.record.processed.value, 12)

    def test_retries(self) -> None:
        """After four attempts a message is left to the queue."""
        self.calls.answer = lambda body: "internal" if body == b"bad" else ""
        with capturedLogs() as lines:
            self.start()
            self.deliver(message("bad"), message("good"))
            for _ in range(4):
                self.clock.advance(1)
            self.deliver(message("other"))
        self.assertEqual(self.bodies(), ["bad"] * 4 + ["good", "other"])
        self.assertEqual(self.queue.deleted, [["good"], ["other"]])
        self.assertEqual(self.record.errors.value, 4)
        self.assertEqual([each["log_format"] for each in lines], FAILED_AND_BACK)

    def test_groups(self) -> None:
        """A group stops at its first failure; other groups go on beside it."""
        self.calls.answer = lambda body: "internal" if body == b"a2" else ""
        self.start(concurrency=2)
        self.deliver(
            *(message("a1", "a"), message("b1", "b"), message("a2", "a")),
            *(message("b2", "b"), message("a3", "a")),
        )
        self.assertEqual(self.bodies(), ["a1", "a2", "b1", "b2"])
        for _ in range(4):
            self.clock.advance(1)
        self.assertEqual(self.queue.deleted, [["a1", "b1", "b2"]])
        self.assertNotIn("a3", self.bodies())

    def test_concurrency(self) -> None:
        """No more than that many are in work."""
        calls: list[Deferred[str]] = []

        def answer(body: bytes) -> "Deferred[str]":
            calls.append(Deferred())
            return calls[-1]

        self.calls.answer = answer
        self.start(concurrency=2)
        self.deliver(message("a"), message("b"), message("c"))
        self.assertEqual(self.bodies(), ["a", "b"])
        calls[1].callback("")
        self.assertEqual(self.bodies(), ["a", "b", "c"])
        self.assertEqual(self.queue.deleted, [])

    def test_poison(self) -> None:
        """Messages without a body, or a broken envelope, are deleted."""
        with capturedLogs() as lines:
            self.start(sns=True)
            self.deliver(
                message("1", body=None),
                message("2", body="{"),
                message("3", body='{"Message": "x"}'),
            )
        self.assertEqual(self.queue.deleted, [["1", "2", "3"]])
        self.assertEqual(self.bodies(), ["x"])
        self.assertEqual(len(lines), 2)

    def test_publications(self) -> None:
        """A malformed header, or none, leaves a message behind."""
        channels = {"centrifugo-channels": "a,b"}
        with capturedLogs() as lines:
            self.start(PublicationNames())
            self.deliver(
                message("1", **channels),
                message("2", **channels, **{"centrifugo-delta": ""}),
                message("3"),
            )
        self.assertEqual(self.calls.made, [(("a", "b"), b"1", ("", False, {}, 0, ""))])
        self.assertEqual(self.queue.deleted, [["1", "2", "3"]])
        self.assertEqual(
            [each["log_format"] for each in lines],
            [
                "malformed header, skipping message",
                "no channels found, skipping message",
            ],
        )

    def test_away(self) -> None:
        """A queue that is away is tried again after a second, and logged once."""
        with capturedLogs() as lines:
            self.start()
            for _ in range(10):
                self.queue.receives[-1].errback(SourceUnavailable("no queue"))
                self.clock.advance(1)
            self.deliver(message("a"))
        self.assertEqual(len(self.queue.receives), 12)
        self.assertEqual([each["log_format"] for each in lines], FAILED_AND_BACK)
        self.assertEqual(lines[0]["queue"], "q")

    def test_not_deleted(self) -> None:
        """A failed deletion is logged."""
        with capturedLogs() as lines:
            self.start()
            self.queue.broken = "gone"
            self.deliver(message("a"))
            self.queue.broken, self.queue.failures = "", ["Code: reason"]
            self.deliver(message("b"))
        self.assertEqual([each["error"] for each in lines], ["gone", "Code: reason"])

    def test_unexpected(self) -> None:
        """A bug is logged with its traceback, and tried again like a failure."""

        def answer(body: bytes) -> str:
            self.calls.answer = lambda body: ""
            raise ZeroDivisionError

        self.calls.answer = answer
        self.start()
        self.deliver(message("a"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.clock.advance(1)
        self.assertEqual(self.queue.deleted, [["a"]])

    def test_stop(self) -> None:
        """A receive ends at once; a message under way ends, and is deleted."""
        self.successResultOf(self.start().stop())
        call: Deferred[str] = Deferred()
        self.calls.answer = lambda body: call
        consumer = self.start()
        self.deliver(message("a"), message("b"))
        stopped = consumer.stop()
        self.assertNoResult(stopped)
        call.callback("")
        self.successResultOf(stopped)
        self.assertEqual(self.queue.deleted, [["a"]])
        self.assertEqual(self.bodies(), ["a"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_while_retrying(self) -> None:
        """A retry is not waited for."""
        self.calls.answer = lambda body: "internal"
        consumer = self.start()
        self.deliver(message("a"))
        self.successResultOf(consumer.stop())
        self.assertEqual(self.queue.deleted, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

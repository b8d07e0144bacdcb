"""The processing of messages of JetStream."""

from collections.abc import Sequence
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import Logger, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.bounded_log import BoundedLog
from centrifugo_tx.consumers.delivery import SourceUnavailable
from centrifugo_tx.consumers.jetstream import (
    IJetStream,
    JetStreamConsumer,
    JetStreamMessage,
)
from centrifugo_tx.consumers.publications import Messages

from .doubles import FAILED_AND_BACK, Calls, record_of


@define(eq=False)
class Stream:
    """A stream whose fetches wait until they are answered."""

    fetches: "list[Deferred[Sequence[JetStreamMessage]]]" = field(factory=list)
    opened: int = 0
    settled: list[Any] = field(factory=list)
    broken: str = ""
    closed: bool = False

    def _answer(self) -> "Deferred[None]":
        return fail(SourceUnavailable(self.broken)) if self.broken else succeed(None)

    def open(self) -> "Deferred[None]":
        """Count."""
        self.opened += 1
        return self._answer()

    def fetch(self) -> "Deferred[Sequence[JetStreamMessage]]":
        """Wait."""
        self.fetches.append(Deferred())
        return self.fetches[-1]

    def acknowledge(self, message: JetStreamMessage) -> "Deferred[None]":
        """Record an acknowledgement."""
        self.settled.append(message.body.decode())
        return self._answer()

    def reject(self, message: JetStreamMessage, delay: float) -> "Deferred[None]":
        """Record a returned message."""
        self.settled.append((message.body.decode(), delay))
        return self._answer()

    def interrupt(self) -> None:
        """Let the fetch fail."""
        if not self.fetches[-1].called:
            self.fetches[-1].errback(SourceUnavailable("stopped"))

    def close(self) -> "Deferred[None]":
        """Close."""
        self.closed = True
        return succeed(None)


def message(body: str, deliveries: int = 1, **headers: str) -> JetStreamMessage:
    """Return a message."""
    return JetStreamMessage(body.encode(), headers, deliveries)


class JetStreamTests(SynchronousTestCase):
    """Messages, failures and stops (consumers, "NATS JetStream")."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.stream = Stream()
        self.calls = Calls(self.clock)
        self.record = record_of()

    def consumer(self) -> JetStreamConsumer:
        """Return a consumer that is not started."""
        log = BoundedLog(Logger(), self.clock)
        messages = Messages(self.calls, log, "source", "method")
        stream: IJetStream = self.stream
        return JetStreamConsumer(
            self.clock, stream, messages, self.record, lambda limit: 0
        )

    def start(self) -> JetStreamConsumer:
        """Return a consumer that fetches."""
        consumer = self.consumer()
        self.successResultOf(consumer.start())
        return consumer

    def deliver(self, *messages: JetStreamMessage) -> None:
        """Answer the fetch that waits."""
        self.stream.fetches[-1].callback(messages)

    def test_messages(self) -> None:
        """Messages are dispatched in order, and each is acknowledged."""
        self.start()
        self.deliver()
        self.deliver(message("a", method="publish"), message("b"))
        self.assertEqual(self.calls.made, [("publish", b"a"), ("", b"b")])
        self.assertEqual(self.stream.settled, ["a", "b"])
        self.assertEqual(self.record.processed.value, 2)
        self.assertEqual(len(self.stream.fetches), 3)

    def test_failures(self) -> None:
        """A failed message is returned, with growing delays; others continue."""
        self.calls.answer = lambda body: "internal" if body == b"bad" else ""
        self.start()
        for deliveries in (1, 2, 8, 9, 1000):
            self.deliver(message("bad", deliveries), message("good"))
        delays = [each[1] for each in self.stream.settled if each != "good"]
        self.assertEqual(delays, [0.02, 0.04, 2.56, 5.0, 5.0])
        self.assertEqual(self.stream.settled.count("good"), 5)
        self.assertEqual(self.record.errors.value, 0)

    def test_lost(self) -> None:
        """A deleted consumer is created again, with growing delays."""
        with capturedLogs() as lines:
            self.start()
            self.stream.broken = "away"
            self.stream.fetches[-1].errback(SourceUnavailable("away"))
            for _ in range(20):
                self.clock.advance(5)
            self.assertEqual(self.stream.opened, 21)
            self.stream.broken = ""
            self.clock.advance(5)
            self.deliver(message("a"))
        self.assertEqual(self.stream.settled, ["a"])
        self.assertEqual([each["log_format"] for each in lines], FAILED_AND_BACK)
        # It was not healthy for long enough to begin with short delays again.
        self.stream.fetches[-1].errback(SourceUnavailable("away"))
        self.clock.advance(4.9)
        self.assertEqual(self.stream.opened, 22)
        self.clock.advance(0.1)
        self.assertEqual(self.stream.opened, 23)
        self.clock.advance(31)
        self.stream.fetches[-1].errback(SourceUnavailable("away"))
        self.clock.advance(0.02)
        self.assertEqual(self.stream.opened, 24)

    def test_not_acknowledged(self) -> None:
        """A failed acknowledgement is an error, and the message is delivered again."""
        self.start()
        self.stream.broken = "away"
        with capturedLogs() as lines:
            self.deliver(message("a"))
            self.stream.broken = ""
            self.deliver(message("a", 2))
        self.assertEqual(self.record.errors.value, 1)
        self.assertEqual(self.record.processed.value, 1)
        self.assertEqual([each["log_format"] for each in lines], FAILED_AND_BACK)

    def test_unexpected(self) -> None:
        """A bug is logged with its traceback; the message comes again."""

        def answer(body: bytes) -> str:
            raise ZeroDivisionError

        self.calls.answer = answer
        self.start()
        self.deliver(message("a"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.stream.settled, [("a", 0.02)])

    def test_no_start(self) -> None:
        """A stream that is away at the start is an error."""
        self.stream.broken = "stream not found"
        self.failureResultOf(self.consumer().start(), SourceUnavailable)
        self.assertTrue(self.stream.closed)

    def test_stop(self) -> None:
        """The message under way ends; those behind it are given back at once."""
        call: Deferred[str] = Deferred()
        self.calls.answer = lambda body: call
        consumer = self.start()
        self.deliver(message("a"), message("b"))
        stopped = consumer.stop()
        self.assertNoResult(stopped)
        call.callback("")
        self.successResultOf(stopped)
        self.assertEqual(self.stream.settled, ["a", ("b", 0)])
        self.assertTrue(self.stream.closed)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_idle(self) -> None:
        """A fetch is not waited for."""
        self.successResultOf(self.start().stop())
        self.assertEqual(self.clock.getDelayedCalls(), [])

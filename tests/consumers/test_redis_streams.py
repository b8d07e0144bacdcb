"""The processing of entries of Redis Streams."""

from collections.abc import Iterator
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.consumers.delivery import SourceUnavailable
from centrifugo_tx.consumers.publications import PublicationNames
from centrifugo_tx.consumers.redis_streams import (
    IRedis,
    RedisStreamConsumer,
    StreamSettings,
)
from centrifugo_tx.errors import BrokerUnavailable

from .doubles import FAILED_AND_BACK, Calls, record_of


def entry(number: int, **fields: str) -> list[Any]:
    """Return an entry as Redis writes it."""
    flat = [part.encode() for pair in fields.items() for part in pair]
    return [f"{number}-0".encode(), flat]


@define(eq=False)
class Connection:
    """A connection to Redis; reads wait until they are answered."""

    sent: list[tuple[bytes, ...]] = field(factory=list)
    replies: dict[bytes, Any] = field(factory=dict)
    waiting: "list[Deferred[Any]]" = field(factory=list)
    hangs: bool = False
    stopped: bool = False

    def start(self) -> "Deferred[None]":
        """Connect."""
        return Deferred() if self.hangs else succeed(None)

    def stop(self) -> "Deferred[None]":
        """Fail the pending calls."""
        self.stopped = True
        for each in self.waiting:
            if not each.called:
                each.errback(BrokerUnavailable("stopped"))
        return succeed(None)

    def send(self, key: bytes, *command: bytes) -> "Deferred[Any]":
        """Keep a command; answer it unless it is a read."""
        self.sent.append(command)
        if command[0] == b"XREADGROUP":
            self.waiting.append(Deferred())
            return self.waiting[-1]
        reply = self.replies.get(command[0])
        if isinstance(reply, Iterator):
            reply = next(reply)
        return fail(reply) if isinstance(reply, Exception) else succeed(reply)

    def named(self, name: bytes) -> list[tuple[bytes, ...]]:
        """Return the commands of this name."""
        return [command for command in self.sent if command[0] == name]


class StreamTests(SynchronousTestCase):
    """One stream and its entries (consumers, "Redis Streams")."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.commands, self.reads = Connection(), Connection()
        self.commands.replies[b"XAUTOCLAIM"] = [b"0-0", []]
        self.calls = Calls(self.clock)
        self.record = record_of()

    def consumer(self, **settings: Any) -> RedisStreamConsumer:
        """Return a consumer that is not started."""
        commands: IRedis = self.commands
        return RedisStreamConsumer(
            self.clock,
            commands,
            lambda: self.reads,
            self.calls,
            self.record,
            StreamSettings("group", "me", **settings),
            ("s",),
        )

    def start(self, **settings: Any) -> RedisStreamConsumer:
        """Return a consumer that reads."""
        consumer = self.consumer(**settings)
        self.successResultOf(consumer.start())
        return consumer

    def deliver(self, *entries: Any) -> None:
        """Answer the read that waits."""
        waiting = self.reads.waiting[-1]
        waiting.callback([[b"s", list(entries)]] if entries else None)

    def acknowledged(self) -> list[bytes]:
        """Return the ids that were acknowledged."""
        return [command[-1] for command in self.commands.named(b"XACK")]

    def test_read(self) -> None:
        """Entries are dispatched, acknowledged, and counted."""
        self.start()
        create = (b"XGROUP", b"CREATE", b"s", b"group", b"$", b"MKSTREAM")
        self.assertEqual(self.commands.sent, [create])
        read = (
            *(b"XREADGROUP", b"GROUP", b"group", b"me", b"COUNT", b"1"),
            *(b"BLOCK", b"5000", b"STREAMS", b"s", b">"),
        )
        self.assertEqual(self.reads.sent, [read])
        self.deliver(entry(1, method="publish", payload="{}"))
        self.deliver()
        self.deliver(entry(2, payload="x"))
        self.assertEqual(self.calls.made, [("publish", b"{}"), ("", b"x")])
        self.assertEqual(self.acknowledged(), [b"1-0", b"2-0"])
        self.assertEqual(self.record.processed.value, 2)
        self.assertEqual(len(self.reads.sent), 4)

    def test_workers(self) -> None:
        """As many entries are asked for as there are free workers."""
        calls: list[Deferred[str]] = []

        def answer(body: bytes) -> "Deferred[str]":
            calls.append(Deferred())
            return calls[-1]

        self.calls.answer = answer
        self.start(workers=2)
        self.deliver(entry(1, payload="a"))
        self.assertEqual([each[5] for each in self.reads.sent], [b"2", b"1"])
        self.deliver(entry(2, payload="b"))
        self.assertEqual(len(self.reads.sent), 2)
        calls[1].callback("")
        self.assertEqual(self.reads.sent[2][5], b"1")
        self.assertEqual(self.acknowledged(), [b"2-0"])

    def test_failure(self) -> None:
        """A failed entry stays pending, and is dispatched again when claimed."""
        self.calls.answer = lambda body: "internal"
        with capturedLogs() as lines:
            self.start()
            self.deliver(entry(1, payload="a"))
            self.deliver(entry(2, payload="b"))
            self.assertEqual(self.acknowledged(), [])
            self.assertEqual(self.record.errors.value, 2)
            self.calls.answer = lambda body: ""
            self.commands.replies[b"XAUTOCLAIM"] = [b"0-0", [entry(1, payload="a")]]
            self.clock.advance(5)
        claim = (
            *(b"XAUTOCLAIM", b"s", b"group", b"me", b"30000", b"-", b"COUNT", b"1"),
        )
        self.assertEqual(self.commands.named(b"XAUTOCLAIM"), [claim])
        self.assertEqual(self.acknowledged(), [b"1-0"])
        self.assertEqual([each["log_format"] for each in lines], FAILED_AND_BACK)

    def test_claims_everything(self) -> None:
        """Pending entries are gone through to their end; deleted ones are skipped."""
        self.commands.replies[b"XAUTOCLAIM"] = iter(
            [
                [b"3-0", [None, entry(2, payload="a")]],
                [b"9-0", []],
                [b"0-0", [[b"9-0", None]], []],
            ]
        )
        self.start()
        self.clock.advance(5)
        cursors = [each[5] for each in self.commands.named(b"XAUTOCLAIM")]
        self.assertEqual(cursors, [b"-", b"3-0", b"9-0"])
        self.assertEqual(self.calls.made, [("", b"a")])

    def test_never_claims(self) -> None:
        """Without a visibility timeout no entry is claimed."""
        self.start(visibility_timeout=0)
        self.clock.advance(60)
        self.assertEqual(self.commands.named(b"XAUTOCLAIM"), [])

    def test_no_payload(self) -> None:
        """An entry without payload is logged, acknowledged, and not counted."""
        with capturedLogs() as lines:
            self.start()
            self.deliver(entry(1, other="x"))
        self.assertEqual(lines[0]["expected_value"], "payload")
        self.assertEqual(self.acknowledged(), [b"1-0"])
        self.assertEqual(self.record.processed.value, 0)

    def test_publications(self) -> None:
        """Fields say where a publication goes; a bad one is an error."""
        self.start(names=PublicationNames(), payload_field="p")
        names = {"centrifugo-channels": "a,b", "centrifugo-tag-x": "1"}
        self.deliver(entry(1, p="1", **names))
        self.deliver(entry(2, p="2", **{**names, "centrifugo-delta": ""}))
        self.deliver(entry(3, p="3"))
        rest = ("", False, {"x": "1"}, 0, "")
        self.assertEqual(self.calls.made, [(("a", "b"), b"1", rest)])
        self.assertEqual(self.acknowledged(), [b"1-0", b"3-0"])
        self.assertEqual(self.record.errors.value, 1)

    def test_binary(self) -> None:
        """Payloads and fields may be any bytes."""
        self.start(names=PublicationNames())
        channels = b"centrifugo-channels"
        raw = [b"payload", b"\xff", channels, b"a", b"\xff", b"\xff"]
        self.deliver([b"1-0", raw])
        self.assertEqual(self.calls.made[0][:2], (("a",), b"\xff"))

    def test_group_gone(self) -> None:
        """A group that is gone is made again, at once."""
        self.start()
        self.reads.waiting[-1].errback(BrokerUnavailable("NOGROUP No such key"))
        self.assertEqual(len(self.commands.named(b"XGROUP")), 2)
        self.assertEqual(len(self.reads.sent), 2)

    def test_outage(self) -> None:
        """An unreachable Redis is logged once; reading continues after a delay."""
        with capturedLogs() as lines:
            self.start()
            for _ in range(20):
                self.reads.waiting[-1].errback(BrokerUnavailable("gone"))
                self.clock.advance(0.2)
            self.deliver(entry(1, payload="a"))
        self.assertEqual([each["log_format"] for each in lines], FAILED_AND_BACK)
        self.assertEqual(self.calls.made, [("", b"a")])

    def test_acknowledging_fails(self) -> None:
        """A failed acknowledgement is logged, and the entry is delivered again."""
        self.commands.replies[b"XACK"] = BrokerUnavailable("gone")
        with capturedLogs() as lines:
            self.start()
            self.deliver(entry(1, payload="a"))
            self.commands.replies[b"XACK"] = 1
            self.deliver(entry(2, payload="b"))
        self.assertEqual([each["log_format"] for each in lines], FAILED_AND_BACK)

    def test_unexpected(self) -> None:
        """A bug is logged with its traceback; the entry stays pending."""

        def answer(body: bytes) -> str:
            raise ZeroDivisionError

        self.calls.answer = answer
        self.start()
        self.deliver(entry(1, payload="a"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.acknowledged(), [])
        self.assertEqual(len(self.reads.sent), 2)

    def test_start(self) -> None:
        """An existing group is used; a refusal or silence is an error."""
        self.commands.replies[b"XGROUP"] = BrokerUnavailable("BUSYGROUP exists")
        self.successResultOf(self.start().stop())
        self.commands.replies[b"XGROUP"] = BrokerUnavailable("WRONGTYPE no stream")
        error = self.failureResultOf(self.consumer().start(), SourceUnavailable)
        self.assertIn("WRONGTYPE", str(error.value))
        self.commands.hangs = True
        starting = self.consumer().start()
        self.clock.advance(5)
        self.failureResultOf(starting, SourceUnavailable)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop(self) -> None:
        """The entries that were read are processed; then the connections close."""
        calls: list[Deferred[str]] = []

        def answer(body: bytes) -> "Deferred[str]":
            calls.append(Deferred())
            return calls[-1]

        self.calls.answer = answer
        consumer = self.start()
        self.deliver(entry(1, payload="a"), entry(2, payload="b"))
        stopped = consumer.stop()
        self.assertTrue(self.reads.stopped)
        calls[0].callback("")
        self.assertNoResult(stopped)
        self.assertFalse(self.commands.stopped)
        calls[1].callback("")
        self.successResultOf(stopped)
        self.assertTrue(self.commands.stopped)
        self.assertEqual(self.acknowledged(), [b"1-0", b"2-0"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_is_bounded(self) -> None:
        """A call that does not end does not keep the consumer from stopping."""
        self.calls.answer = lambda body: Deferred()
        consumer = self.start()
        self.deliver(entry(1, payload="a"))
        stopped = consumer.stop()
        self.clock.advance(5)
        self.successResultOf(stopped)
        self.assertTrue(self.commands.stopped)

"""Queues of AWS SQS: long polls, retries in place, and groups in order.

The decisions here run in the reactor; ``sqs_client`` talks to AWS.  See consumers,
"Cloud queues".
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec
from attrs import define, field, frozen
from twisted.internet.defer import Deferred, DeferredList, DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..bounded_log import BoundedLog
from .delivery import GRACE, BackOff, Pause, Record, SourceUnavailable, within
from .publications import Messages

__all__ = ["IQueue", "QueueMessage", "SQSConsumer"]

#: Attempts at one message, before it is left to the queue.
ATTEMPTS = 4
#: Messages that SQS deletes at a time.
BATCH = 10
#: Seconds to wait after a failed receive.
AFTER_ERROR = 1.0


@frozen
class QueueMessage:
    """One message; those of a ``group`` have an order."""

    id: str
    receipt: str
    body: str | None
    attributes: dict[str, str]
    group: str = ""


class IQueue(Protocol):
    """One queue; every Deferred may fail with `SourceUnavailable`."""

    url: str

    def receive(self) -> "Deferred[Sequence[QueueMessage]]":
        """Wait for messages, which others do not see for a while."""

    def delete(self, messages: Sequence[QueueMessage]) -> "Deferred[Sequence[str]]":
        """Delete up to `BATCH` messages; return the errors."""

    def close(self) -> "Deferred[None]":
        """Cancel all running work."""


class _SNS(msgspec.Struct):
    """The envelope in which SNS wraps a message."""

    message: str = msgspec.field(name="Message", default="")


@define(eq=False)
class SQSConsumer:
    """Takes messages, dispatches them, and deletes those that are dealt with.

    :param concurrency: messages, or groups of them, in work at a time, per queue.
    :param sns: whether SNS has wrapped the messages.
    """

    _clock: IReactorTime
    _queues: Sequence[IQueue]
    _messages: Messages
    _record: Record
    concurrency: int = 1
    sns: bool = False
    _running: bool = field(default=False, init=False)
    _pauses: set[Pause] = field(factory=set, init=False)
    #: The queues whose messages are under way.
    _busy: set[str] = field(factory=set, init=False)
    _loops: "list[Deferred[None]]" = field(factory=list, init=False)
    _log: BoundedLog = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._log = BoundedLog(Logger(), self._clock)

    def start(self) -> "Deferred[None]":
        """Begin to receive; a queue that is away is tried again."""
        self._running = True
        self._loops = [
            Deferred.fromCoroutine(self._receive(queue)) for queue in self._queues
        ]
        done: Deferred[None] = Deferred()
        done.callback(None)
        return done

    def stop(self) -> "Deferred[None]":
        """Receive no more, and finish the messages in progress.

        Received messages that were not started return to the queue after their timeout.
        """
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._running = False
        for pause in tuple(self._pauses):
            pause.end()
        # A receive waits for messages, and must not be waited for.
        idle = [queue for queue in self._queues if queue.url not in self._busy]
        await DeferredList([queue.close() for queue in idle])
        await within(self._clock, GRACE, DeferredList(self._loops))
        await DeferredList([queue.close() for queue in self._queues])
        await within(self._clock, 1.0, DeferredList(self._loops))
        self._log.flush()

    async def _receive(self, queue: IQueue) -> None:
        while self._running:
            try:
                messages = await queue.receive()
            except SourceUnavailable as error:
                if self._running:
                    self._record.failed(queue.url, str(error), queue=queue.url)
                    await self._wait(AFTER_ERROR)
                continue
            self._record.works(queue.url)
            if not messages or not self._running:
                continue
            self._busy.add(queue.url)
            try:
                await self._delete(queue, await self._process(messages))
            finally:
                self._busy.discard(queue.url)

    async def _wait(self, seconds: float) -> None:
        pause = Pause(self._clock)
        self._pauses.add(pause)
        try:
            await pause.wait(seconds)
        finally:
            self._pauses.discard(pause)

    # --- One batch -------------------------------------------------------------

    async def _process(self, messages: Sequence[QueueMessage]) -> list[QueueMessage]:
        """Return the messages that are dealt with."""
        groups: dict[str, list[QueueMessage]] = {}
        for message in messages:
            # Without a group each is one of its own.
            groups.setdefault(message.group or f"/{message.id}", []).append(message)
        turns = DeferredSemaphore(max(1, self.concurrency))
        done: list[QueueMessage] = []

        def begin(group: list[QueueMessage]) -> "Deferred[None]":
            return Deferred.fromCoroutine(self._group(group, done))

        await DeferredList([turns.run(begin, group) for group in groups.values()])
        return done

    async def _group(
        self, messages: list[QueueMessage], done: list[QueueMessage]
    ) -> None:
        """Process messages one after another, up to the first that fails."""
        for message in messages:
            if not self._running or not await self._one(message):
                return
            done.append(message)

    async def _one(self, message: QueueMessage) -> bool:
        """Return whether a message is dealt with, after some attempts."""
        try:
            body = self._body(message)
        except ValueError as error:
            self._log.error(
                "failed to extract message data",
                consumer=self._record.consumer,
                error=str(error),
            )
            return True
        back_off = BackOff()
        for attempt in range(ATTEMPTS):
            if attempt:
                await self._wait(back_off.next())
                if not self._running:
                    return False
            try:
                outcome = self._messages.dispatch(message.attributes, body)
                if isinstance(outcome, Deferred):
                    outcome = await outcome
            except Exception:
                self._log.failure("consumer failed unexpectedly", Failure())
                outcome = "internal error"
            if not outcome:
                self._record.processed.value += 1
                self._record.works("messages")
                return True
            self._record.errors.value += 1
            self._record.failed("messages", outcome)
        return False

    def _body(self, message: QueueMessage) -> bytes:
        """Return the data of a message.

        :raises ValueError: the message has none.
        """
        if message.body is None:
            raise ValueError("empty message body")
        body = message.body.encode()
        return (
            msgspec.json.decode(body, type=_SNS).message.encode() if self.sns else body
        )

    async def _delete(self, queue: IQueue, done: list[QueueMessage]) -> None:
        for start in range(0, len(done), BATCH):
            try:
                failures = await queue.delete(done[start : start + BATCH])
            except SourceUnavailable as error:
                failures = [str(error)]
            where = (queue.url, "deleting")
            for reason in failures:
                self._record.failed(where, reason, queue=queue.url)
            if not failures:
                self._record.works(where)

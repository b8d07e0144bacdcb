"""A stream of NATS JetStream, read by a durable pull consumer, in order.

What is decided here runs in the reactor; ``jetstream_client`` talks to NATS.  See
consumers, "NATS JetStream".
"""

from collections.abc import Callable, Sequence
from random import randrange
from typing import Any, Protocol

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..bounded_log import BoundedLog
from .delivery import (
    GRACE,
    LONGEST,
    BackOff,
    Pause,
    Record,
    SourceUnavailable,
    within,
)
from .publications import Messages

__all__ = ["IJetStream", "JetStreamConsumer", "JetStreamMessage"]

#: Seconds of work after which a consumer that had to be made anew counts as healthy.
HEALTHY = 30.0


@frozen
class JetStreamMessage:
    """One message, and the client library's handle of it."""

    body: bytes
    headers: dict[str, str]
    deliveries: int
    handle: Any = None


class IJetStream(Protocol):
    """A consumer of a stream; every Deferred may fail with `SourceUnavailable`."""

    def open(self) -> "Deferred[None]":
        """Connect, and create the consumer or find it; again after it was lost."""

    def fetch(self) -> "Deferred[Sequence[JetStreamMessage]]":
        """Wait for messages; none come when there are none for some seconds."""

    def acknowledge(self, message: JetStreamMessage) -> "Deferred[None]":
        """Report that a message is dealt with."""

    def reject(self, message: JetStreamMessage, delay: float) -> "Deferred[None]":
        """Ask for a message again, after *delay* seconds."""

    def interrupt(self) -> None:
        """Let a fetch that is under way fail."""

    def close(self) -> "Deferred[None]":
        """Disconnect."""


@define(eq=False)
class JetStreamConsumer:
    """Takes messages, dispatches them one after another, and acknowledges each."""

    _clock: IReactorTime
    _stream: IJetStream
    _messages: Messages
    _record: Record
    #: Returns a whole number below its argument.
    _random: Callable[[int], int] = randrange
    _running: bool = field(default=False, init=False)
    _pause: Pause = field(init=False)
    _loop: "Deferred[None] | None" = field(default=None, init=False)
    _log: BoundedLog = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._pause = Pause(self._clock)
        self._log = BoundedLog(Logger(), self._clock)

    def start(self) -> "Deferred[None]":
        """Connect, create the consumer, and begin."""
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        try:
            await self._stream.open()
        except SourceUnavailable:
            await self._stream.close()
            raise
        self._running = True
        self._loop = Deferred.fromCoroutine(self._work())

    def stop(self) -> "Deferred[None]":
        """Finish the message under way, and give those behind it back."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._running = False
        self._pause.end()
        self._stream.interrupt()
        if self._loop is not None:
            await within(self._clock, GRACE, DeferredList([self._loop]))
        await self._stream.close()
        self._log.flush()

    async def _work(self) -> None:
        back_off, since, lost = BackOff(self._random), self._clock.seconds(), False
        while self._running:
            try:
                if lost:
                    await self._stream.open()
                    since, lost = self._clock.seconds(), False
                messages = await self._stream.fetch()
            except SourceUnavailable as error:
                if not self._running:
                    return
                if not lost and self._clock.seconds() - since > HEALTHY:
                    back_off.reset()
                lost = True
                self._record.failed("stream", str(error))
                await self._pause.wait(back_off.next())
                continue
            self._record.works("stream")
            for message in messages:
                await self._one(message)

    async def _one(self, message: JetStreamMessage) -> None:
        if not self._running:
            await self._settle(self._stream.reject(message, 0))
            return
        try:
            outcome = self._messages.dispatch(message.headers, message.body)
            if isinstance(outcome, Deferred):
                outcome = await outcome
        except Exception:
            self._log.failure("consumer failed unexpectedly", Failure())
            outcome = "internal error"
        if outcome:
            self._record.failed("messages", outcome)
            delay = self._delay(message.deliveries)
            await self._settle(self._stream.reject(message, delay))
        elif await self._settle(self._stream.acknowledge(message)):
            self._record.processed.value += 1
            self._record.works("messages")
        else:
            self._record.errors.value += 1

    def _delay(self, deliveries: int) -> float:
        """Return how long a message stays away that was delivered so often."""
        exponent = min(max(deliveries, 1), 10)
        return min((10 + self._random(10)) / 1000 * 2.0**exponent, LONGEST)

    async def _settle(self, settled: "Deferred[None]") -> bool:
        try:
            await settled
        except SourceUnavailable as error:
            self._record.failed("acknowledging", str(error))
            return False
        self._record.works("acknowledging")
        return True

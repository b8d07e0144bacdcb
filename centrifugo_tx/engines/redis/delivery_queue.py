"""A queue of messages that wait for delivery."""

from collections import deque
from collections.abc import Callable, Sequence

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from ...metrics import Counter

__all__ = ["DeliveryQueue"]

#: Seconds of delivery in one turn of the reactor.
TIME_SLICE = 0.005
#: Maximum number of queued messages.
MAX_WAITING = 16384

#: A PUB/SUB channel and a payload.
Message = tuple[bytes, bytes]


@define(eq=False)
class DeliveryQueue:
    """Delivers messages in order, in slices of time.

    Usually the queue is empty and messages are delivered when they arrive.  If they
    arrive faster than they can be delivered, the connection is still read, because
    Redis disconnects slow readers; messages beyond the limit are dropped.

    :param deliver: takes a message.
    :param missed: takes the PUB/SUB channels that lost messages, once the queue is
        empty again.
    """

    _clock: IReactorTime
    _deliver: Callable[[bytes, bytes], None]
    _missed: Callable[[Sequence[bytes]], None]
    _dropped: Counter
    #: Shows how many messages wait, together with other queues.
    _buffered: Counter = field(factory=Counter)
    limit: int = MAX_WAITING
    _waiting: deque[Message] = field(factory=deque, init=False)
    _lossy_channels: dict[bytes, None] = field(factory=dict, init=False)
    _call: IDelayedCall | None = field(default=None, init=False)
    _log = Logger()

    def add(self, messages: list[Message]) -> None:
        """Queue *messages*, and deliver them now if the current slice has time left."""
        room = self.limit - len(self._waiting)
        if len(messages) > room:
            self._lossy_channels.update(
                dict.fromkeys(name for name, _ in messages[room:])
            )
            self._dropped.value += len(messages) - room
            del messages[room:]
        self._waiting.extend(messages)
        self._buffered.value += len(messages)
        if self._call is None:
            self._deliver_slice()

    def stop(self) -> None:
        """Stop delivering."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
        self._buffered.value -= len(self._waiting)
        self._waiting.clear()

    def _deliver_slice(self) -> None:
        self._call = None
        self._deliver_until(self._clock.seconds() + TIME_SLICE)
        if self._waiting:
            self._call = self._clock.callLater(0, self._deliver_slice)
        elif self._lossy_channels:
            channels, self._lossy_channels = list(self._lossy_channels), {}
            self._log.warn("{count} channels lost messages", count=len(channels))
            self._missed(channels)

    def _deliver_until(self, until: float) -> None:
        while self._waiting:
            message = self._waiting.popleft()
            self._buffered.value -= 1
            try:
                self._deliver(*message)
            except Exception:
                self._log.failure("a message could not be delivered")
            if self._clock.seconds() >= until:
                return

"""Messages that wait to be delivered."""

from collections import deque
from collections.abc import Callable, Sequence

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from ...metrics import Counter

__all__ = ["Inbox"]

#: Seconds to deliver in one turn of the reactor.
SLICE = 0.005
#: Messages that may wait.
LIMIT = 16384

#: A PUB/SUB channel and a payload.
Message = tuple[bytes, bytes]


@define(eq=False)
class Inbox:
    """Delivers messages in their order, in slices of time.

    Usually nothing waits: messages are delivered when they arrive.  When deliveries
    take longer than messages take to come the connection is still read, because
    Redis cuts off who does not; what is then too much is dropped.

    :param deliver: takes a message.
    :param missed: takes the PUB/SUB channels that lost messages, once the inbox is
        empty again.
    """

    _clock: IReactorTime
    _deliver: Callable[[bytes, bytes], None]
    _missed: Callable[[Sequence[bytes]], None]
    _dropped: Counter
    limit: int = LIMIT
    _waiting: deque[Message] = field(factory=deque, init=False)
    _holes: dict[bytes, None] = field(factory=dict, init=False)
    _call: IDelayedCall | None = field(default=None, init=False)
    _log = Logger()

    def take(self, messages: list[Message]) -> None:
        """Deliver *messages*, in this turn if its time is not used up."""
        room = self.limit - len(self._waiting)
        if len(messages) > room:
            self._holes.update(dict.fromkeys(name for name, _ in messages[room:]))
            self._dropped.value += len(messages) - room
            del messages[room:]
        self._waiting.extend(messages)
        if self._call is None:
            self._work()

    def stop(self) -> None:
        """Deliver nothing more."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
        self._waiting.clear()

    def _work(self) -> None:
        self._call = None
        until = self._clock.seconds() + SLICE
        while self._waiting:
            try:
                self._deliver(*self._waiting.popleft())
            except Exception:
                self._log.failure("a message could not be delivered")
            if self._clock.seconds() >= until and self._waiting:
                self._call = self._clock.callLater(0, self._work)
                return
        if self._holes:
            holes, self._holes = list(self._holes), {}
            self._log.warn("{count} channels lost messages", count=len(holes))
            self._missed(holes)

"""What all consumers have in common: delays, counts, log lines, and how they stop.

See consumers, "Consumer delivery".
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from random import randrange
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from ..core.time_slices import Slices
from ..errors import CentrifugoError
from ..metrics import Counter, Metrics

__all__ = [
    "GRACE",
    "BackOff",
    "Dispatch",
    "IConsumer",
    "Pause",
    "Record",
    "SourceUnavailable",
    "within",
]

#: Seconds that messages under way have to end when a consumer stops.
GRACE = 5.0
#: Seconds that no delay of a retry exceeds.
LONGEST = 5.0
#: Different reasons that are logged for one place while it is in trouble.
REASONS = 8


class SourceUnavailable(CentrifugoError):
    """The queue or database did not answer, or answered with an error."""


class IConsumer(Protocol):
    """Takes messages from one source and dispatches them, from start to stop."""

    def start(self) -> "Deferred[None]":
        """Connect and begin; fails with `SourceUnavailable` when that is impossible."""

    def stop(self) -> "Deferred[None]":
        """Take nothing new, let what is under way end, and leave the source."""


class Dispatch(Protocol):
    """Where messages go; see ``Dispatcher`` of the server API."""

    def slices(self) -> Slices:
        """Return what cuts a batch into slices, one for a turn of the reactor."""

    def command(self, method: str, body: bytes) -> "str | Deferred[str]":
        """Run a command; return why it must be tried again, or ``""``."""

    def publication(
        self,
        channels: Sequence[str],
        data: bytes,
        *,
        idempotency_key: str = "",
        delta: bool = False,
        tags: Mapping[str, str] | None = None,
        version: int = 0,
        version_epoch: str = "",
    ) -> "str | Deferred[str]":
        """Publish; return why that must be tried again, or ``""``."""


@define(eq=False)
class BackOff:
    """The delays between attempts: doubled each time, at random, at most 5 seconds."""

    #: Returns a whole number below its argument.
    _random: Callable[[int], int] = randrange
    _failures: int = field(default=0, init=False)
    _longest: bool = field(default=False, init=False)

    def next(self) -> float:
        """Return how long to wait after another failure."""
        if not self._longest:
            self._failures += 1
            delay = (10 + self._random(10)) / 1000 * 2.0**self._failures
            self._longest = delay >= LONGEST
            if not self._longest:
                return delay
        return LONGEST

    def reset(self) -> None:
        """Begin anew after a success."""
        self._failures, self._longest = 0, False


@define(eq=False)
class Record:
    """What one consumer has processed and what fails, in metrics and log lines.

    A failure is logged once until whatever failed works again, however often it is
    tried; a source that is away would fill the log otherwise.
    """

    consumer: str
    processed: Counter
    errors: Counter
    #: Reasons that were logged, by what they kept from working.
    _reasons: dict[Hashable, set[str]] = field(factory=dict, init=False)
    _log = Logger()

    @classmethod
    def of(cls, consumer: str, metrics: Metrics) -> "Record":
        """Return the record of a consumer; its counters begin at 0."""
        counter = metrics.counter
        return cls(
            consumer,
            counter("consumers_messages_processed_total", consumer_name=consumer),
            counter("consumers_errors_total", consumer_name=consumer),
        )

    def failed(self, where: Hashable, reason: str, **fields: object) -> None:
        """Take note that *where*, such as a partition, an attempt failed."""
        told = any(reason in reasons for reasons in self._reasons.values())
        mine = self._reasons.setdefault(where, set())
        if len(mine) >= REASONS:
            return
        mine.add(reason)
        if not told:
            self._log.error(
                "consumer failed, trying again",
                consumer=self.consumer,
                error=reason,
                **fields,
            )

    def works(self, where: Hashable) -> None:
        """Take note that *where* an attempt succeeded."""
        if where not in self._reasons:
            return
        del self._reasons[where]
        if not self._reasons:
            self._log.info("consumer works again", consumer=self.consumer)

    def forget(self, where: Hashable) -> None:
        """Say no more of what failed *where*: somebody else has taken it over."""
        self._reasons.pop(where, None)


@define(eq=False)
class Pause:
    """A wait that somebody may end before its time."""

    _clock: IReactorTime
    _call: IDelayedCall | None = field(default=None, init=False)
    _over: "Deferred[None] | None" = field(default=None, init=False)
    #: Whether the next wait is over before it begins.
    _ended: bool = field(default=False, init=False)

    def wait(self, seconds: float) -> "Deferred[None]":
        """Return what fires after *seconds*, or when somebody calls `end`."""
        over: Deferred[None] = Deferred()
        if self._ended:
            self._ended = False
            over.callback(None)
            return over
        self._over = over
        self._call = self._clock.callLater(seconds, self.end)
        return over

    def end(self) -> None:
        """End the wait, or the next one when nobody waits."""
        call, self._call = self._call, None
        over, self._over = self._over, None
        if call is not None and call.active():
            call.cancel()
        if over is None:
            self._ended = True
        else:
            over.callback(None)

    def forget(self) -> None:
        """Let the next wait take its time, whatever was said before."""
        self._ended = False


def within(
    clock: IReactorTime, seconds: float, work: "Deferred[Any]"
) -> "Deferred[None]":
    """Return what fires when *work* has ended, or after *seconds* at the latest."""
    over: Deferred[None] = Deferred()

    def end(_: object = None) -> None:
        if not over.called:
            over.callback(None)
        if call.active():
            call.cancel()

    call = clock.callLater(seconds, end)
    work.addBoth(end)
    return over

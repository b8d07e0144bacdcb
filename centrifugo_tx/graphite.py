"""Metrics pushed to Graphite, in its plaintext protocol (operations, "Metrics")."""

import re
from collections import deque
from typing import Any

from attrs import define, field
from prometheus_client import CollectorRegistry
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from .web.metric_growth import MetricGrowth, Value

__all__ = ["GraphiteExporter", "graphite_prefix", "lines"]

#: Bytes of intervals that wait while Graphite cannot be reached; the oldest go first.
BUFFER = 1024 * 1024
#: Seconds that Graphite has to take the lines of one push.
TIMEOUT = 10.0
#: The longest pause between two attempts to reach it, in seconds.
LONGEST_PAUSE = 60.0

#: Characters that would end or split a path.
_UNSAFE = re.compile(r"[^!-~]|[.;]")
_UNSAFE_TAG = re.compile(r"[^!-~]|[;~]")


def graphite_prefix(prefix: str, node: str) -> str:
    """Return the common prefix of all paths of a node."""
    return ".".join(filter(None, (prefix.rstrip("."), _UNSAFE.sub("_", node))))


def lines(values: list[Value], prefix: str, tags: bool, now: int) -> bytes:
    """Return *values* as lines of the plaintext protocol.

    :param tags: whether labels become tags; else they are parts of the path.
    :param now: seconds since the epoch.
    """
    written = []
    for value in values:
        words = [prefix, *value.name.split("_", 2)]
        if value.part:
            words.append(value.part)
        if not tags:
            words += [_UNSAFE.sub("_", word) for pair in value.labels for word in pair]
        path = ".".join(words)
        if tags:
            path += "".join(
                f";{name}={_UNSAFE_TAG.sub('_', text)}" for name, text in value.labels
            )
        number = f"{value.number:.0f}" if value.counted else f"{value.number:.6f}"
        written.append(f"{path} {number} {now}\n")
    return "".join(written).encode()


class _Push(Protocol):
    """Writes one push and closes; ``done`` fails unless the peer has taken it all."""

    def __init__(self, clock: IReactorTime, data: bytes) -> None:
        self._clock, self._data = clock, data
        self.done: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        """Write, and close when everything is sent."""
        transport: Any = self.transport
        self._deadline = self._clock.callLater(TIMEOUT, transport.abortConnection)
        transport.write(self._data)
        transport.loseConnection()

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Report how it ended."""
        if self._deadline.active():
            self._deadline.cancel()
        if reason is None or reason.check(ConnectionDone):
            self.done.callback(None)
        else:
            self.done.errback(reason)


@define(eq=False, slots=False)
class GraphiteExporter(Service):
    """Pushes the metrics of a node every ``interval`` seconds, by a connection each.

    While Graphite is away, intervals wait in `BUFFER` bytes, and the pause between
    attempts doubles up to `LONGEST_PAUSE`.  The log has one line at the start of an
    outage and one at its end.
    """

    _clock: IReactorTime
    _growth: MetricGrowth
    _endpoint: IStreamClientEndpoint
    _prefix: str
    interval: float = 10.0
    tags: bool = False
    _process: CollectorRegistry | None = None
    _waiting: "deque[bytes]" = field(factory=deque, init=False)
    _size: int = field(default=0, init=False)
    _dropped: int = field(default=0, init=False)
    _pushing: "Deferred[Any] | None" = field(default=None, init=False)
    _pause: float = field(default=0.0, init=False)
    _not_before: float = field(default=0.0, init=False)
    _failing_since: float | None = field(default=None, init=False)
    _loop: LoopingCall | None = field(default=None, init=False)
    _log = Logger()

    def startService(self) -> None:
        """Begin to push, the first time after one interval."""
        Service.startService(self)
        self._growth.take(self._process)
        self._loop = LoopingCall(self._tick)
        self._loop.clock = self._clock
        self._loop.start(self.interval, now=False)

    def stopService(self) -> None:
        """Push no more; a push under way is given up."""
        Service.stopService(self)
        if self._loop is not None and self._loop.running:
            self._loop.stop()
        if self._pushing is not None:
            self._pushing.cancel()

    def _tick(self) -> None:
        now = self._clock.seconds()
        values = self._growth.take(self._process)
        self._keep(lines(values, self._prefix, self.tags, int(now)))
        if self._pushing is None and now >= self._not_before:
            self._push()

    def _keep(self, text: bytes) -> None:
        self._waiting.append(text)
        self._size += len(text)
        while self._size > BUFFER and len(self._waiting) > 1:
            self._size -= len(self._waiting.popleft())
            self._dropped += 1

    def _push(self) -> None:
        protocol = _Push(self._clock, b"".join(self._waiting))
        # While they are on their way, nothing may be dropped from the queue.
        pushed, self._waiting, self._size = self._waiting, deque(), 0
        pushing: Deferred[Any] = self._endpoint.connect(_OneProtocol(protocol))
        self._pushing = pushing
        pushing.addCallback(lambda _: protocol.done)
        pushing.addCallbacks(
            lambda _: self._succeeded(),
            lambda failure: self._failed(failure, pushed),
        )
        pushing.addErrback(
            lambda failure: self._log.failure("push to Graphite failed", failure)
        )

    def _succeeded(self) -> None:
        self._pushing, self._pause, self._not_before = None, 0.0, 0.0
        if self._failing_since is not None:
            seconds = self._clock.seconds() - self._failing_since
            self._failing_since = None
            self._log.info(
                "Graphite takes metrics again",
                seconds=round(seconds, 1),
                dropped=self._dropped,
            )
        self._dropped = 0

    def _failed(self, failure: Failure, pushed: "deque[bytes]") -> None:
        self._pushing = None
        later, self._waiting, self._size = self._waiting, deque(), 0
        for text in (*pushed, *later):
            self._keep(text)
        if not self.running:
            return
        now = self._clock.seconds()
        self._pause = min(LONGEST_PAUSE, max(self.interval, 2 * self._pause))
        # Half an interval less, because ticks may come a little early.
        self._not_before = now + self._pause - self.interval / 2
        if self._failing_since is None:
            self._failing_since = now
            self._log.warn(
                "Graphite does not take metrics", error=failure.getErrorMessage()
            )


class _OneProtocol(Factory):
    noisy = False

    def __init__(self, protocol: Protocol) -> None:
        self._one = protocol

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """Return the protocol."""
        return self._one

"""Cuts long work into slices of time, so that other work runs in between."""

from collections import deque
from collections.abc import Callable

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

__all__ = ["SLICE_SECONDS", "RoundRobin", "Slices"]

#: Seconds that one slice of work may take.
SLICE_SECONDS = 0.005
#: Seconds for the slices of one turn of the reactor, all of them together.
TURN_SECONDS = 0.01


@define(eq=False)
class RoundRobin:
    """Calls waiting pieces of work in order, over the coming turns of the reactor.

    It starts new pieces until 10 ms of a turn are used; the others keep their places.
    The commands of clients are shared out by number instead: see `CommandScheduler`.
    """

    _clock: IReactorTime
    _waiting: deque[Callable[[], object]] = field(factory=deque, init=False)
    _scheduled: bool = field(default=False, init=False)
    _log = Logger()

    def add(self, work: Callable[[], object]) -> None:
        """Call *work* in a later turn of the reactor."""
        self._waiting.append(work)
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._clock.callLater(0, self._run)

    def _run(self) -> None:
        self._scheduled = False
        end = self._clock.seconds() + TURN_SECONDS
        for _ in range(len(self._waiting)):
            try:
                self._waiting.popleft()()
            except Exception:  # must not stop the other work
                self._log.failure("a slice of work failed")
            if self._clock.seconds() >= end:
                break
        if self._waiting:
            self._schedule()


@define(eq=False)
class Slices:
    """Cuts one piece of work into slices of 5 ms and at most ``limit`` steps.

    ::

        for each in many:
            if slices.over():
                await slices.next()
    """

    _robin: RoundRobin
    _clock: IReactorTime
    limit: int = 256
    _steps: int = field(default=0, init=False)
    _end: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._end = self._clock.seconds() + SLICE_SECONDS

    def over(self) -> bool:
        """Count a step; return whether it must wait for the next slice."""
        self._steps += 1
        return self._steps > self.limit or self._clock.seconds() >= self._end

    def next(self) -> "Deferred[None]":
        """Return a Deferred that fires when the next slice begins."""
        begins: Deferred[None] = Deferred()

        def begin() -> None:
            self._steps = 1
            self._end = self._clock.seconds() + SLICE_SECONDS
            begins.callback(None)

        self._robin.add(begin)
        return begins

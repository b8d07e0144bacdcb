"""An asyncio loop beside the reactor, and calls in either direction.

gRPC runs on such a loop: the reactor's own loop if it has one, else a loop in a
thread.  No other module deals with threads.  Calls passed to ``to_loop`` and
``to_reactor`` run there one after another, in order.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from threading import Thread
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

__all__ = ["AsyncioBridge"]

T = TypeVar("T")


@define(eq=False)
class AsyncioBridge:
    """Runs calls on the loop; only `to_reactor` may be called from the loop."""

    _reactor: Any
    #: What the thread is called.
    name: str = "grpc"
    _log = Logger()
    loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    _thread: Thread | None = field(default=None, init=False)
    _loop_closed: "Deferred[None]" = field(factory=Deferred, init=False)
    _calls: deque[Callable[[], object]] = field(factory=deque, init=False)
    #: Whether the loop has been woken for the pending calls and has not run yet.
    _wake_scheduled: bool = field(default=False, init=False)
    #: The same for calls into the reactor.
    _reactor_calls: deque[tuple[Callable[..., object], tuple[object, ...]]] = field(
        factory=deque, init=False
    )
    _reactor_wake_scheduled: bool = field(default=False, init=False)
    _tasks: "set[asyncio.Task[Any]]" = field(factory=set, init=False)

    def start(self) -> None:
        """Find or create the loop, with a thread if necessary, unless it is there."""
        if self.loop is not None:
            return
        self.loop = getattr(self._reactor, "_asyncioEventloop", None)
        if self.loop is None:
            self.loop = asyncio.new_event_loop()
            self._thread = Thread(target=self._run, name=self.name, daemon=True)
            self._thread.start()

    def _run(self) -> None:
        assert self.loop is not None
        try:
            self.loop.run_forever()
        finally:
            self.loop.close()
            self.to_reactor(self._loop_closed.callback, None)

    def stop(self) -> "Deferred[None]":
        """Stop the thread; the Deferred fires when it has ended."""
        if self._thread is None:
            return succeed(None)
        assert self.loop is not None
        self.to_loop(self.loop.stop)
        return self._loop_closed

    def to_loop(self, call: Callable[[], object]) -> None:
        """Run *call* on the loop; several calls wake the loop once."""
        assert self.loop is not None
        self._calls.append(call)
        if not self._wake_scheduled:
            self._wake_scheduled = True
            self.loop.call_soon_threadsafe(self._run_pending_calls)

    def _run_pending_calls(self) -> None:
        self._wake_scheduled = False
        calls = self._calls
        while calls:
            call = calls.popleft()
            try:
                call()
            except Exception:  # the other calls must still run
                self._log.failure("call on the asyncio loop failed")

    def to_reactor(self, call: Callable[..., object], *arguments: object) -> None:
        """Run *call* in the reactor; many calls wake it once."""
        self._reactor_calls.append((call, arguments))
        if not self._reactor_wake_scheduled:
            self._reactor_wake_scheduled = True
            self._reactor.callFromThread(self._run_reactor_calls)

    def _run_reactor_calls(self) -> None:
        # First, so that a call that comes meanwhile is either seen below or wakes anew.
        self._reactor_wake_scheduled = False
        calls = self._reactor_calls
        while calls:
            call, arguments = calls.popleft()
            try:
                call(*arguments)
            except Exception:  # the others must run
                self._log.failure("call from the asyncio loop failed")

    async def ask_reactor(
        self, function: Callable[..., "T | Deferred[T]"], *arguments: object
    ) -> T:
        """Run *function* in the reactor; return its result, as Deferred or at once.

        Call this on the loop.  Cancelling the caller cancels the Deferred; a call that
        has not begun by then never begins.
        """
        assert self.loop is not None
        question = _Question(self, self.loop.create_future(), function, arguments)
        self.to_reactor(question.begin)
        try:
            answer: T = await question.answer
        except asyncio.CancelledError:
            question.cancelled = True
            self.to_reactor(question.cancel)
            raise
        return answer

    def run(
        self, function: Callable[..., Coroutine[Any, Any, T]], *arguments: object
    ) -> "Deferred[T]":
        """Run a coroutine function on the loop; return its result.

        Cancelling the Deferred cancels the task, or keeps it from starting.
        """
        task: asyncio.Task[T] | None = None
        result: Deferred[T] = Deferred(lambda _: self.to_loop(abandon))
        assert self.loop is not None
        loop = self.loop

        def begin() -> None:
            nonlocal task
            if result.called:  # cancelled
                return
            task = loop.create_task(function(*arguments))
            self._tasks.add(task)
            task.add_done_callback(end)

        def abandon() -> None:
            if task is not None:
                task.cancel()

        def end(task: "asyncio.Task[T]") -> None:
            self._tasks.discard(task)
            try:
                self.to_reactor(settle, task.result())
            except BaseException:
                self.to_reactor(settle, Failure())

        def settle(outcome: "T | Failure") -> None:
            if not result.called:
                result.callback(outcome)

        self.to_loop(begin)
        return result


@define(eq=False)
class _Question:
    """A call from the loop into the reactor, whose result returns to the loop."""

    _bridge: AsyncioBridge
    answer: "asyncio.Future[Any]"
    _function: Callable[..., Any]
    _arguments: tuple[object, ...]
    #: Set on the loop, read in the reactor.
    cancelled: bool = field(default=False, init=False)
    _waited: "Deferred[Any] | None" = field(default=None, init=False)

    def begin(self) -> None:
        """Call the function, in the reactor."""
        if self.cancelled:
            return
        try:
            outcome = self._function(*self._arguments)
        except Exception:
            self._return(Failure())
            return
        if isinstance(outcome, Deferred):
            self._waited = outcome
            outcome.addBoth(self._return)
        else:
            self._return(outcome)

    def cancel(self) -> None:
        """Cancel the pending Deferred, in the reactor."""
        waited, self._waited = self._waited, None
        if waited is not None:
            waited.cancel()

    def _return(self, outcome: Any) -> None:
        self._waited = None
        self._bridge.to_loop(partial(self._settle, outcome))

    def _settle(self, outcome: Any) -> None:
        """Store the outcome, on the loop."""
        if self.answer.done():  # cancelled
            return
        if isinstance(outcome, Failure):
            assert outcome.value is not None
            self.answer.set_exception(outcome.value)
        else:
            self.answer.set_result(outcome)

"""An asyncio loop beside the reactor, and the ways there and back.

gRPC lives on such a loop.  That is the reactor's own one where it has one, else that
of a thread.  Nothing else knows of threads: what is called ``to_loop`` and
``to_reactor`` runs there, one after the other, in the order of the calls.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
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
    """Runs things on the loop; `to_reactor` alone is called from there."""

    _reactor: Any
    _log = Logger()
    loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    _thread: Thread | None = field(default=None, init=False)
    _loop_closed: "Deferred[None]" = field(factory=Deferred, init=False)
    _calls: deque[Callable[[], object]] = field(factory=deque, init=False)
    #: Whether the loop has been asked to look at the calls and has not yet.
    _wake_scheduled: bool = field(default=False, init=False)
    _tasks: "set[asyncio.Task[Any]]" = field(factory=set, init=False)

    def start(self) -> None:
        """Get a loop, and a thread for it if need be."""
        self.loop = getattr(self._reactor, "_asyncioEventloop", None)
        if self.loop is None:
            self.loop = asyncio.new_event_loop()
            self._thread = Thread(target=self._run, name="grpc", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        assert self.loop is not None
        try:
            self.loop.run_forever()
        finally:
            self.loop.close()
            self.to_reactor(self._loop_closed.callback, None)

    def stop(self) -> "Deferred[None]":
        """End the thread; fires when it has ended."""
        if self._thread is None:
            return succeed(None)
        assert self.loop is not None
        self.to_loop(self.loop.stop)
        return self._loop_closed

    def to_loop(self, call: Callable[[], object]) -> None:
        """Run *call* on the loop; many calls wake it once."""
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
            except Exception:  # the others must not wait for ever
                self._log.failure("call on the asyncio loop failed")

    def to_reactor(self, call: Callable[..., object], *arguments: object) -> None:
        """Run *call* in the reactor."""
        self._reactor.callFromThread(call, *arguments)

    def run(
        self, function: Callable[..., Coroutine[Any, Any, T]], *arguments: object
    ) -> "Deferred[T]":
        """Run a coroutine function on the loop; return its result."""
        result: Deferred[T] = Deferred()
        assert self.loop is not None
        loop = self.loop

        def begin() -> None:
            task = loop.create_task(function(*arguments))
            self._tasks.add(task)
            task.add_done_callback(end)

        def end(task: "asyncio.Task[T]") -> None:
            self._tasks.discard(task)
            try:
                self.to_reactor(result.callback, task.result())
            except BaseException:
                self.to_reactor(result.errback, Failure())

        self.to_loop(begin)
        return result

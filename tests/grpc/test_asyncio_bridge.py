"""The loop beside the reactor: where calls run, and in which order."""

import asyncio
import inspect
import threading
from collections.abc import Callable
from functools import partial
from queue import Queue
from typing import Any

from attrs import define, field
from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.grpc.asyncio_bridge import AsyncioBridge

#: Seconds that something may take on another thread.
PATIENCE = 60.0


@define(eq=False)
class Threadless:
    """A reactor that runs only calls from threads, on request."""

    _asked: "Queue[Callable[[], object]]" = field(factory=Queue)

    def callFromThread(self, call: Callable[..., object], *arguments: Any) -> None:
        """Keep a call."""
        self._asked.put(lambda: call(*arguments))

    def turn(self) -> None:
        """Wait for a call, and do it."""
        self._asked.get(timeout=PATIENCE)()


class CrossingCase(SynchronousTestCase):
    """Has a bridge with a thread of its own."""

    def setUp(self) -> None:
        self.reactor = Threadless()
        self.bridge = AsyncioBridge(self.reactor)
        self.bridge.start()
        self.addCleanup(self.stop)

    def stop(self) -> None:
        """End the thread, if it still runs."""
        loop = self.bridge.loop
        if loop is not None and not loop.is_closed():
            self.wait(self.bridge.stop())

    def wait(self, deferred: "Deferred[Any]") -> Any:
        """Turn the reactor until *deferred* has a result."""
        while not deferred.called:
            self.reactor.turn()
        return self.successResultOf(deferred)


async def where() -> str:
    """Return the name of the thread."""
    return threading.current_thread().name


async def failing(error: BaseException) -> None:
    """Fail."""
    raise error


class ThreadTests(CrossingCase):
    """A reactor without a loop."""

    def test_run(self) -> None:
        """Coroutines run on a thread; their results return to the reactor."""
        self.assertEqual(self.wait(self.bridge.run(where)), "grpc")

    def test_started_again(self) -> None:
        """A bridge that runs keeps its loop."""
        loop = self.bridge.loop
        self.bridge.start()
        self.assertIs(self.bridge.loop, loop)

    def test_failure(self) -> None:
        """So do their failures."""
        result = self.bridge.run(failing, ValueError("x"))
        self.reactor.turn()
        self.assertEqual(self.failureResultOf(result, ValueError).value.args, ("x",))

    def test_cancel(self) -> None:
        """Cancelling the result cancels the task, even if the task ignores it."""
        loop = self.bridge.loop
        assert loop is not None
        steps: Queue[str] = Queue()

        async def patient() -> str:
            steps.put("began")
            try:
                await asyncio.sleep(PATIENCE)
            except asyncio.CancelledError:
                steps.put("cancelled")
            return "too late"

        result = self.bridge.run(patient)
        self.assertEqual(steps.get(timeout=PATIENCE), "began")
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.assertEqual(steps.get(timeout=PATIENCE), "cancelled")
        self.assertEqual(self.wait(self.bridge.run(where)), "grpc")

    def test_cancel_early(self) -> None:
        """A call that is cancelled before it starts never starts."""
        go = threading.Event()
        self.bridge.to_loop(lambda: go.wait(PATIENCE))
        began: list[object] = []

        async def begin() -> None:
            began.append(None)

        result = self.bridge.run(begin)
        result.cancel()
        self.failureResultOf(result, CancelledError)
        go.set()
        self.wait(self.bridge.run(where))
        self.assertEqual(began, [])

    def test_order(self) -> None:
        """Calls happen in the order in which they were made, in both directions."""
        there: list[int] = []
        back: list[int] = []
        for number in range(100):
            self.bridge.to_loop(partial(there.append, number))
            answer = partial(self.bridge.to_reactor, back.append, number)
            self.bridge.to_loop(answer)
        self.wait(self.bridge.run(where))
        self.assertEqual(there, list(range(100)))
        self.assertEqual(back, list(range(100)))

    def test_woken_once(self) -> None:
        """Calls made while the loop is busy wake it once."""
        loop = self.bridge.loop
        assert loop is not None
        woken: list[object] = []
        wake, go = loop.call_soon_threadsafe, threading.Event()

        def count(*arguments: Any) -> Any:
            woken.append(None)
            return wake(*arguments)

        self.patch(loop, "call_soon_threadsafe", count)
        self.bridge.to_loop(lambda: go.wait(PATIENCE))
        busy = len(woken)
        for _ in range(100):
            self.bridge.to_loop(lambda: None)
        self.assertLessEqual(len(woken), busy + 1)
        go.set()
        self.wait(self.bridge.run(where))

    def test_failing_call(self) -> None:
        """A call that fails is logged; those after it happen."""
        self.bridge.to_loop(lambda: 1 / 0)
        self.wait(self.bridge.run(where))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_stop(self) -> None:
        """After the stop the thread has ended."""
        self.wait(self.bridge.stop())
        thread = next((t for t in threading.enumerate() if t.name == "grpc"), None)
        if thread is not None:
            thread.join(PATIENCE)
        self.assertNotIn("grpc", [t.name for t in threading.enumerate()])


class ReactorCallTests(CrossingCase):
    """Calls from the loop into the reactor."""

    def test_woken_once(self) -> None:
        """Those made while the reactor is busy wake it once, and all run."""
        done: list[int] = []

        def ask() -> None:
            self.bridge.to_reactor(lambda: 1 / 0)
            for number in range(100):
                self.bridge.to_reactor(done.append, number)

        asked = threading.Event()
        self.bridge.to_loop(ask)
        self.bridge.to_loop(asked.set)
        self.assertTrue(asked.wait(PATIENCE))
        self.reactor.turn()
        self.assertEqual(done, list(range(100)))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class QuestionTests(CrossingCase):
    """Calls from the loop to the reactor."""

    def ask(self, function: Callable[..., Any]) -> "Deferred[Any]":
        """Ask from the loop; return the answer as it gets there."""

        async def asking() -> Any:
            return await self.bridge.ask_reactor(function, 20)

        return self.bridge.run(asking)

    def test_result(self) -> None:
        """A result returns at once, or when its Deferred fires."""
        self.assertEqual(self.wait(self.ask(lambda n: n + 1)), 21)
        later: Deferred[int] = Deferred()
        answer = self.ask(lambda n: later)
        self.reactor.turn()  # the question
        self.assertNoResult(answer)
        later.callback(22)
        self.assertEqual(self.wait(answer), 22)

    def test_failure(self) -> None:
        """So does a failure."""
        answer = self.ask(lambda n: n / 0)
        self.reactor.turn()
        self.reactor.turn()
        self.failureResultOf(answer, ZeroDivisionError)

    def test_cancelled(self) -> None:
        """A task that is cancelled cancels the Deferred that it waits for."""
        cancelled: list[object] = []
        later: Deferred[None] = Deferred(cancelled.append)
        waiting: list[Deferred[None]] = []
        tasks: list[asyncio.Task[Any]] = []

        def begin() -> "Deferred[None]":
            waiting.append(later)
            return later

        async def asking() -> None:
            tasks.append(asyncio.ensure_future(self.bridge.ask_reactor(begin)))

        self.wait(self.bridge.run(asking))
        while not waiting:
            self.reactor.turn()
        self.bridge.to_loop(tasks[0].cancel)
        while not later.called:
            self.reactor.turn()
        self.assertEqual(cancelled, [later])

    def test_cancelled_early(self) -> None:
        """A call that has not begun by then never begins."""
        begun: list[None] = []
        cancelled = threading.Event()

        async def asking() -> None:
            question = self.bridge.ask_reactor(begun.append, None)
            task = asyncio.ensure_future(question)
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            cancelled.set()

        answer = self.bridge.run(asking)
        cancelled.wait(PATIENCE)
        self.wait(answer)
        self.assertEqual(begun, [])


class OwnLoopTests(SynchronousTestCase):
    """A reactor that runs on a loop."""

    def test_shared(self) -> None:
        """Its loop is taken; no thread is started, and none has to end."""
        loop = asyncio.new_event_loop()
        self.addCleanup(loop.close)
        before = threading.active_count()

        class WithLoop(Threadless):
            _asyncioEventloop = loop

        bridge = AsyncioBridge(WithLoop())
        bridge.start()
        self.assertIs(bridge.loop, loop)
        self.assertEqual(threading.active_count(), before)
        self.successResultOf(bridge.stop())

    def test_private_name(self) -> None:
        """Twisted's asyncio reactor keeps its loop under this name."""
        source = inspect.getsource(AsyncioSelectorReactor.__init__)
        self.assertIn("self._asyncioEventloop", source)

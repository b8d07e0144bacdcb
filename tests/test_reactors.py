"""The reactor that an application uses without naming it."""

import asyncio
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.reactors import clock_or_reactor, reactor_of

running: Any = global_reactor


class ReactorTests(SynchronousTestCase):
    """The global reactor, and the reactor of a loop."""

    def test_given(self) -> None:
        """A given clock is used; otherwise the global reactor."""
        clock = Clock()
        self.assertIs(clock_or_reactor(clock), clock)
        self.assertIs(clock_or_reactor(None), global_reactor)

    def test_one_of_a_loop(self) -> None:
        """A loop has one reactor, whose calls the loop makes."""

        async def main() -> None:
            loop = asyncio.get_running_loop()
            found, called = reactor_of(loop), asyncio.Event()
            self.assertIs(reactor_of(loop), found)
            self.assertIsNot(found, global_reactor)
            found.callLater(0, called.set)
            await called.wait()
            answer = asyncio.Event()
            found.callInThread(found.callFromThread, answer.set)
            await answer.wait()

        asyncio.run(asyncio.wait_for(main(), 60))

    def test_another_runs(self) -> None:
        """Where another kind of reactor runs, the error says what to install."""
        self.patch(running, "running", True)

        async def main() -> None:
            with self.assertRaises(RuntimeError) as refused:
                reactor_of(asyncio.get_running_loop())
            self.assertIn("asyncioreactor", str(refused.exception))

        asyncio.run(main())

"""Functions that seldom wait run at once, without a Deferred."""

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.core.run_or_defer import (
    as_deferred,
    run_or_defer,
    waits,
    when_known,
)


def doubled(number: int, *more: int) -> int:
    return 2 * number + sum(more)


class WhenKnownTests(SynchronousTestCase):
    """A function is called with a result, now or later."""

    def test_now(self) -> None:
        """A result, and a Deferred that has fired, need no Deferred."""
        self.assertEqual(when_known(3, doubled), 6)
        self.assertEqual(when_known(succeed(3), doubled, 1, 1), 8)

    def test_later(self) -> None:
        """Of a Deferred that has not fired, a Deferred comes."""
        waiting: Deferred[int] = Deferred()
        found: Any = when_known(waiting, doubled, 1)
        self.assertNoResult(found)
        waiting.callback(3)
        self.assertEqual(self.successResultOf(found), 7)

    def test_chained(self) -> None:
        """A Deferred that has fired with one that has not is waited for."""
        inner: Deferred[int] = Deferred()
        outer: Deferred[int] = succeed(0)
        outer.addCallback(lambda _: inner)
        found: Any = when_known(outer, doubled)
        self.assertNoResult(found)
        inner.callback(3)
        self.assertEqual(self.successResultOf(found), 6)

    def test_failed(self) -> None:
        """A failure is raised if it is known, and nothing is logged."""
        self.assertRaises(KeyError, when_known, fail(KeyError()), doubled)
        waiting: Deferred[int] = Deferred()
        found: Any = when_known(waiting, doubled)
        waiting.errback(KeyError())
        self.failureResultOf(found, KeyError)

    def test_raises(self) -> None:
        """An exception of the function is raised, or fails the Deferred."""

        def broken(number: int) -> int:
            raise LookupError

        self.assertRaises(LookupError, when_known, 1, broken)
        waiting: Deferred[int] = Deferred()
        found: Any = when_known(waiting, broken)
        waiting.callback(1)
        self.failureResultOf(found, LookupError)


class WaitsTests(SynchronousTestCase):
    """Results, and Deferreds of results."""

    def test_waits(self) -> None:
        """Only a Deferred waits, even if it has fired."""
        self.assertTrue(waits(Deferred()) and waits(succeed(1)))
        self.assertFalse(waits(1) or waits(None) or waits("addCallback"))

    def test_as_deferred(self) -> None:
        """A Deferred stays itself; a result becomes one that has fired."""
        waiting: Deferred[int] = Deferred()
        self.assertIs(as_deferred(waiting), waiting)
        self.assertEqual(self.successResultOf(as_deferred(3)), 3)


class RunTests(SynchronousTestCase):
    """Coroutines."""

    def test_result(self) -> None:
        """One that never waits returns its result or raises."""

        async def known() -> int:
            return await succeed(3)

        async def broken() -> int:
            raise LookupError

        self.assertEqual(run_or_defer(known()), 3)
        self.assertRaises(LookupError, run_or_defer, broken())

    def test_waiting(self) -> None:
        """One that waits returns a Deferred."""
        waiting: Deferred[int] = Deferred()

        async def late() -> int:
            return 1 + await waiting

        found: Any = run_or_defer(late())
        self.assertNoResult(found)
        waiting.callback(3)
        self.assertEqual(self.successResultOf(found), 4)

"""Run coroutines that seldom wait, and create a Deferred only if they do."""

from collections.abc import Coroutine
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

__all__ = ["run_or_defer"]

T = TypeVar("T")


def run_or_defer(coroutine: Coroutine["Deferred[Any]", Any, T]) -> "T | Deferred[T]":
    """Run *coroutine* until it waits for a Deferred that has not fired.

    :return: its result if it never waited, else a Deferred of the result; cancelling
        this Deferred cancels the one that the coroutine waits for.
    :raises: any exception that the coroutine raised before it waited.
    """
    try:
        waited = coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    return _Waiting(coroutine, waited).result


@define(eq=False)
class _Waiting:
    """A coroutine that waits for a Deferred."""

    _coroutine: Coroutine["Deferred[Any]", Any, Any]
    _waited: "Deferred[Any]"
    result: "Deferred[Any]" = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.result = Deferred(self._cancel)
        self._waited.addBoth(self._resume)

    def _cancel(self, result: "Deferred[Any]") -> None:
        self._waited.cancel()

    def _resume(self, outcome: object) -> None:
        try:
            if isinstance(outcome, Failure):
                self._waited = outcome.throwExceptionIntoGenerator(self._coroutine)
            else:
                self._waited = self._coroutine.send(outcome)
        except StopIteration as done:
            self.result.callback(done.value)
        except Exception:
            self.result.errback(Failure())
        else:
            self._waited.addBoth(self._resume)

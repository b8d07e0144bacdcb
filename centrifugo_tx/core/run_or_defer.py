"""Run a coroutine that seldom waits, without paying for a Deferred when it does not."""

from collections.abc import Coroutine
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

__all__ = ["run_or_defer"]

T = TypeVar("T")


def run_or_defer(coroutine: Coroutine["Deferred[Any]", Any, T]) -> "T | Deferred[T]":
    """Run *coroutine* up to its first real wait.

    :return: its result if it never waited, else a Deferred of it; cancelling
        that one cancels what the coroutine waits for.
    :raises: what the coroutine raised before it waited.
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

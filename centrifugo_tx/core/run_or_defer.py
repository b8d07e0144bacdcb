"""Run what seldom waits, and create a Deferred only if it does."""

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from typing_extensions import TypeIs

__all__ = ["as_deferred", "run_or_defer", "waits", "when_known"]

T = TypeVar("T")
R = TypeVar("R")
Ts = TypeVarTuple("Ts")


def waits(value: object) -> "TypeIs[Deferred[Any]]":
    """Whether *value* is a Deferred.

    Deferred is an abstract class, and asking whether an object is of one takes longer.
    """
    return hasattr(value, "addCallback")


def as_deferred(value: "T | Deferred[T]") -> "Deferred[T]":
    """Return *value* if it is a Deferred, else a Deferred that has fired with it."""
    return value if isinstance(value, Deferred) else succeed(value)


def when_known(
    value: "T | Deferred[T]",
    function: "Callable[[T, *Ts], R | Deferred[R]]",
    *arguments: *Ts,
) -> "R | Deferred[R]":
    """Call ``function(result, *arguments)`` once *value* is known: mostly at once.

    It does for plain functions what ``await`` does in coroutines, without creating
    anything if *value* is a result, or a Deferred that has fired.

    :return: what *function* returns, or a Deferred of it.
    :raises: the exception of *value* if it has failed already, or that of *function*.
    """
    # To ask whether a result is of the abstract class Deferred would take longer.
    if not hasattr(value, "addCallback"):
        return function(value, *arguments)
    waited: Deferred[T] = value  # type: ignore[assignment]  # not T
    if not waited.called or waited.paused:
        return waited.addCallback(function, *arguments)
    result: Any = waited.result
    if isinstance(result, Failure):
        waited.addErrback(_handled)
        result.raiseException()
    return function(result, *arguments)


def _handled(failure: Failure) -> None:
    """Mark a failure as handled: the caller gets its exception."""


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

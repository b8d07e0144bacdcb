"""Many calls, one after another or at the same time, with a bound."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from ..core import waits
from ..core.time_slices import Slices

__all__ = ["in_parallel", "in_sequence"]

#: Channels of a broadcast, or commands of a batch, that run at the same time.
PARALLEL = 1024

T = TypeVar("T")


async def in_parallel(
    call: Callable[[T], Any], arguments: Sequence[T], slices: Slices
) -> list[Any]:
    """Call *call* with each of *arguments*, with at most `PARALLEL` calls pending.

    A call returns a result, or a Deferred that fires with one and does not fail.

    :return: the results, in the order of the arguments.
    """
    results: list[Any] = [None] * len(arguments)
    pending, enough = 0, PARALLEL - 1
    ended: Deferred[None] | None = None

    def store_result(result: Any, index: int) -> None:
        """Store a result, and continue if so few calls are pending."""
        nonlocal pending, ended
        results[index] = result
        pending -= 1
        if ended is not None and pending <= enough:
            waiting, ended = ended, None
            waiting.callback(None)

    for index, argument in enumerate(arguments):
        if slices.over():
            await slices.next()
        result = call(argument)
        if not waits(result):
            results[index] = result
            continue
        pending += 1
        result.addCallback(store_result, index)
        if pending > enough:
            ended = Deferred()
            await ended
    enough = 0
    if pending:
        ended = Deferred()
        await ended
    return results


async def in_sequence(
    call: Callable[[T], Any], arguments: Sequence[T], slices: Slices
) -> list[Any]:
    """Likewise, but call only after the previous call has ended."""
    results: list[Any] = []
    for argument in arguments:
        if slices.over():
            await slices.next()
        result = call(argument)
        if waits(result):
            result = await _shielded(result)
        results.append(result)
    return results


def _shielded(deferred: "Deferred[Any]") -> "Deferred[Any]":
    """Return a Deferred with the result of *deferred* that does not cancel it.

    A call that has begun finishes, because the effect of a cancelled command would be
    unknown.
    """
    result: Deferred[Any] = Deferred()
    deferred.chainDeferred(result)
    return result

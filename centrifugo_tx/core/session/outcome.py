"""The outcome of a command's handler."""

from collections.abc import Callable, Coroutine
from typing import Any, TypeGuard

from attrs import frozen
from twisted.internet.defer import Deferred

from ...protocol.messages import Part, Result

__all__ = ["KNOWN", "Answer", "Outcome", "ReplyThen", "waits"]


@frozen
class ReplyThen:
    """A reply, and a function to call after it in the same turn of the reactor."""

    result: Result
    then: Callable[[], None]


#: The outcome of a command; None: it has no reply.
Outcome = Result | ReplyThen | None

#: The return value of a handler: an outcome, or what an outcome is awaited from.
Answer = Outcome | Deferred[Any] | Coroutine[Deferred[Any], Any, Outcome]

#: The types of answers that are outcomes already.
KNOWN = (Part, ReplyThen)


def waits(answer: object) -> TypeGuard[Deferred[Any]]:
    """Whether *answer* is a Deferred.

    Results are recognized first, because to ask an object whether it is of an abstract
    class, which Deferred is, takes longer.
    """
    return not isinstance(answer, KNOWN) and isinstance(answer, Deferred)

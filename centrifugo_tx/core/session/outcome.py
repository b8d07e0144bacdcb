"""The outcome of a command's handler."""

from collections.abc import Callable, Coroutine
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred

from ...protocol.messages import Result

__all__ = ["Answer", "Outcome", "ReplyThen"]


@define(eq=False)
class ReplyThen:
    """A reply, and a function to call after it in the same turn of the reactor."""

    result: Result
    then: Callable[[], None]


#: The outcome of a command; None: it has no reply.
Outcome = Result | ReplyThen | None

#: The return value of a handler: an outcome, or what an outcome is awaited from.
Answer = Outcome | Deferred[Any] | Coroutine[Deferred[Any], Any, Outcome]

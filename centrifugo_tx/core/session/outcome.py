"""The outcome of a command's handler."""

from collections.abc import Callable

from attrs import frozen

from ...protocol.messages import Result

__all__ = ["Outcome", "ReplyThen"]


@frozen
class ReplyThen:
    """A reply, and a function to call after it in the same turn of the reactor."""

    result: Result
    then: Callable[[], None]


#: The return value of a handler; None: the command has no reply.
Outcome = Result | ReplyThen | None

"""The outcome of a command's handler."""

from collections.abc import Callable
from typing import Protocol

from attrs import frozen

from ...errors import DisconnectClient
from ...protocol.codes import CONNECTION_CLOSED
from ...protocol.messages import Result

__all__ = ["Outcome", "ReplyThen", "ensure_open"]


@frozen
class ReplyThen:
    """A reply, and a function to call after it in the same turn of the reactor."""

    result: Result
    then: Callable[[], None]


#: The return value of a handler; None: the command has no reply.
Outcome = Result | ReplyThen | None


class Closable(Protocol):
    """A connection that can be closed."""

    @property
    def closed(self) -> bool:
        """Whether it is closed."""


def ensure_open(client: Closable) -> None:
    """Stop a handler if its client was closed while it waited.

    :raises DisconnectClient: 3000, the client is closed.
    """
    if client.closed:
        raise DisconnectClient(CONNECTION_CLOSED)

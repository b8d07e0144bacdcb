"""What the handler of a command returns, when it is more than a result."""

from collections.abc import Callable
from typing import Protocol

from attrs import frozen

from ...errors import DisconnectClient
from ...protocol.codes import CONNECTION_CLOSED
from ...protocol.messages import Result

__all__ = ["Outcome", "ReplyThen", "ensure_open"]


@frozen
class ReplyThen:
    """A reply, and what must follow it in the same turn of the reactor."""

    result: Result
    then: Callable[[], None]


#: What a handler returns; None: the command gets no reply.
Outcome = Result | ReplyThen | None


class Closable(Protocol):
    """A connection that may have been closed."""

    @property
    def closed(self) -> bool:
        """Whether it is closed."""


def ensure_open(client: Closable) -> None:
    """Stop a handler whose client was closed while it waited.

    :raises DisconnectClient: 3000.
    """
    if client.closed:
        raise DisconnectClient(CONNECTION_CLOSED)

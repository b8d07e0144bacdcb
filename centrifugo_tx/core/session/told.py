"""What a command's handler says, when it says more than a result."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import frozen

from ...errors import DisconnectClient
from ...protocol.codes import CONNECTION_CLOSED
from ...protocol.messages import Result

if TYPE_CHECKING:
    from .client import Client

__all__ = ["Told", "still_there"]


@frozen
class Told:
    """An answer, and what must follow it."""

    result: Result
    then: Callable[[], None]


def still_there(client: "Client") -> None:
    """Stop here if the client went away meanwhile."""
    if client.closed:
        raise DisconnectClient(CONNECTION_CLOSED)

"""What a client has sent that was not begun yet."""

from collections import deque
from collections.abc import Sequence

from attrs import define, field

from ...protocol.messages import Command

__all__ = ["Backlog"]

#: How many commands or messages may wait before the client is not read any more.
CROWD = 64
#: The same in bytes.
LIMIT = 65536


@define(eq=False)
class Backlog:
    """Commands in order, each with its size in bytes, and messages not decoded yet.

    None stands for a command that cannot be decoded.
    """

    _items: "deque[tuple[Command | None, int] | bytes]" = field(
        factory=deque, init=False
    )
    _size: int = field(default=0, init=False)
    #: Whether somebody is busy with it, further down the stack.
    draining: bool = field(default=False, init=False)

    def __bool__(self) -> bool:
        return bool(self._items)

    @property
    def full(self) -> bool:
        """Whether the client should not be read for now."""
        return len(self._items) > CROWD or self._size > LIMIT

    def add(self, message: bytes) -> None:
        """Append a whole message."""
        self._items.append(message)
        self._size += len(message)

    def add_commands(self, commands: Sequence[Command | None], size: int) -> None:
        """Append commands of *size* bytes each."""
        self._items.extend((command, size) for command in commands)
        self._size += size * len(commands)

    def put_back(self, commands: Sequence[Command | None], size: int) -> None:
        """Put the commands of the message that was taken last in its place."""
        self._items.extendleft((command, size) for command in reversed(commands))
        self._size += size * len(commands)

    def take(self) -> "tuple[Command | None, int] | bytes":
        """Remove the first and return it."""
        item = self._items.popleft()
        self._size -= len(item) if isinstance(item, bytes) else item[1]
        return item

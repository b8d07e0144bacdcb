"""Commands of one client that wait to be executed."""

from collections import deque
from collections.abc import Sequence

from attrs import define, field

from ...protocol.messages import Command

__all__ = ["Backlog"]

#: Above this number of waiting commands and messages, the client is not read.
MAX_ITEMS = 64
#: The same limit in bytes.
MAX_BYTES = 65536


@define(eq=False)
class Backlog:
    """A queue of decoded commands with their sizes, and of undecoded messages.

    None stands for a command that cannot be decoded.  Sizes are in bytes.
    """

    _items: "deque[tuple[Command | None, int] | bytes]" = field(
        factory=deque, init=False
    )
    _size: int = field(default=0, init=False)
    #: Whether a caller further up the stack is already executing it.
    draining: bool = field(default=False, init=False)

    def __bool__(self) -> bool:
        return bool(self._items)

    @property
    def full(self) -> bool:
        """Whether reading from the client should pause."""
        return len(self._items) > MAX_ITEMS or self._size > MAX_BYTES

    def add(self, message: bytes) -> None:
        """Append a whole message."""
        self._items.append(message)
        self._size += len(message)

    def add_commands(self, commands: Sequence[Command | None], size: int) -> None:
        """Append commands of *size* bytes each."""
        self._items.extend((command, size) for command in commands)
        self._size += size * len(commands)

    def put_back(self, commands: Sequence[Command | None], size: int) -> None:
        """Put the commands of the message that was taken last back at the front."""
        self._items.extendleft((command, size) for command in reversed(commands))
        self._size += size * len(commands)

    def take(self) -> "tuple[Command | None, int] | bytes":
        """Remove and return the first item."""
        item = self._items.popleft()
        self._size -= len(item) if isinstance(item, bytes) else item[1]
        return item

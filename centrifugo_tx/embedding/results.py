"""The results of the node's verbs; their payloads are decoded when they are read."""

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import field, frozen

from ..protocol import messages
from ..protocol.messages import StreamPosition
from .json_values import from_json

__all__ = [
    "ClientInfo",
    "History",
    "MapChanges",
    "MapEntry",
    "MapState",
    "MapUpdate",
    "Publication",
    "PublishResult",
]


@frozen
class ClientInfo:
    """A connection, as other subscribers may see it.

    ``raw_conn_info`` and ``raw_chan_info`` are the bytes of the two infos, empty if
    there are none.
    """

    user: str
    client: str
    raw_conn_info: bytes = field(default=b"", repr=False)
    raw_chan_info: bytes = field(default=b"", repr=False)

    @property
    def conn_info(self) -> Any:
        """The info of the connection, decoded from JSON; None without any."""
        return from_json(self.raw_conn_info)

    @property
    def chan_info(self) -> Any:
        """The info of the subscription, decoded from JSON; None without any."""
        return from_json(self.raw_chan_info)

    @classmethod
    def of(cls, info: messages.ClientInfo) -> "ClientInfo":
        """Return the info that a message of the protocol carries."""
        conn_info, chan_info = bytes(info.conn_info), bytes(info.chan_info)
        return cls(info.user, info.client, conn_info, chan_info)


@frozen
class Publication:
    """One message of a channel.

    ``raw`` is its payload, in the bytes in which it was published; ``offset`` its place
    in the stream, 0 if the channel keeps none; ``info`` the client that published it,
    None for a publication of the server.
    """

    raw: bytes
    offset: int = 0
    tags: Mapping[str, str] = field(factory=dict)
    info: ClientInfo | None = None

    @property
    def data(self) -> Any:
        """The payload, decoded from JSON.

        :raises ValueError: the payload is not JSON; read ``raw``.
        """
        return from_json(self.raw)


@frozen
class PublishResult:
    """Where a publication is in the stream; offset 0 if the channel keeps no history.

    A publication that was suppressed, by its idempotency key or version, has the
    position of the earlier one.
    """

    offset: int = 0
    epoch: str = ""

    @property
    def position(self) -> StreamPosition:
        """Offset and epoch as one value."""
        return StreamPosition(self.offset, self.epoch)


@frozen
class History:
    """Part of a stream, and the position of its newest publication."""

    publications: Sequence[Publication] = ()
    offset: int = 0
    epoch: str = ""

    @property
    def position(self) -> StreamPosition:
        """Offset and epoch as one value."""
        return StreamPosition(self.offset, self.epoch)


@frozen
class MapEntry:
    """A key of a map with its value, or a change of one.

    ``raw`` is the value in bytes; ``time`` is when it was set, in seconds since 1970;
    ``offset`` is its place in the stream of changes; ``removed``: the change removed
    the key.
    """

    key: str
    raw: bytes = b""
    tags: Mapping[str, str] = field(factory=dict)
    offset: int = 0
    removed: bool = False
    time: float = 0.0

    @property
    def data(self) -> Any:
        """The value, decoded from JSON; None for a removed key.

        :raises ValueError: the value is not JSON; read ``raw``.
        """
        return from_json(self.raw)


@frozen
class MapUpdate:
    """The position of a change of a map.

    ``suppressed`` says why nothing changed: ``idempotency``, ``version``,
    ``key_exists``, ``key_not_found`` or ``position_mismatch``; empty if it did.
    """

    offset: int = 0
    epoch: str = ""
    suppressed: str = ""


@frozen
class MapState:
    """A page of a map's entries, and the map's position.

    ``cursor`` selects the next page; it is empty on the last one.
    """

    entries: Sequence[MapEntry] = ()
    offset: int = 0
    epoch: str = ""
    cursor: str = ""


@frozen
class MapChanges:
    """Changes of a map, oldest first unless asked in reverse, and its position."""

    entries: Sequence[MapEntry] = ()
    offset: int = 0
    epoch: str = ""

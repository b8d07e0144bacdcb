"""The names of a map's keys and PUB/SUB channel (engines, "Other keys in Redis")."""

from typing import NamedTuple

from attrs import define, field

from .sharding import shard_index

__all__ = ["PARTITIONS", "MapKeys", "MapLayout"]

#: Partitions of the channels of a Cluster.  Each has its own slot, and so its own list
#: of maps with expiring keys.  All nodes must use the same number.
PARTITIONS = 16


class MapKeys(NamedTuple):
    """The names that belong to one map."""

    stream: bytes
    meta: bytes
    state: bytes
    expire: bytes
    state_meta: bytes
    order: bytes
    #: The maps of the same server, or slot, sorted by the expiry of their next key.
    due: bytes
    #: The PUB/SUB channel.
    messages: bytes


@define(eq=False)
class MapLayout:
    """Forms the names of one shard.

    In a Cluster all maps of one partition are in one slot, because the scripts write to
    a map and to the list of maps with expiring keys.
    """

    prefix: str
    cluster: bool = False
    _client: bytes = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._client = self.prefix.encode() + b".client."

    def keys(self, channel: str) -> MapKeys:
        """Return the names that belong to *channel*."""
        prefix, name, tag = self.prefix.encode(), channel.encode(), b""
        if self.cluster:
            tag = b"{%d}" % shard_index(channel, PARTITIONS)
            name = tag + b"." + name
        return MapKeys(
            prefix + b":stream:" + name,
            prefix + b":meta:" + name,
            prefix + b":state:" + name,
            prefix + b":state:expire:" + name,
            prefix + b":state:meta:" + name,
            prefix + b":state:order:" + name,
            self._due(tag),
            self._client + name,
        )

    def result(self, channel: str, key: str) -> bytes:
        """Return the key of the result of a change with an idempotency key."""
        tag = f"{{{shard_index(channel, PARTITIONS)}}}." if self.cluster else ""
        return f"{self.prefix}.result.{tag}{channel}.{key}".encode()

    def _due(self, tag: bytes) -> bytes:
        start = self.prefix.encode() + b":cleanup:channels"
        return start + b":" + tag if tag else start

    @property
    def due(self) -> list[bytes]:
        """Return the keys of all lists of maps with expiring keys."""
        if not self.cluster:
            return [self._due(b"")]
        return [self._due(b"{%d}" % number) for number in range(PARTITIONS)]

    @property
    def cleared(self) -> bytes:
        """The PUB/SUB channel on which nodes of this server announce cleared maps."""
        return self.prefix.encode() + b".map.cleared"

    def channel(self, messages: bytes) -> str | None:
        """Return the channel of a PUB/SUB channel; None if it belongs to no channel."""
        if not messages.startswith(self._client):
            return None
        name = messages[len(self._client) :]
        if self.cluster:
            tag, dot, name = name.partition(b".")
            if not dot or not tag.startswith(b"{"):
                return None
        try:
            return name.decode()
        except UnicodeDecodeError:
            return None

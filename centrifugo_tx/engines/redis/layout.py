"""The names of keys and PUB/SUB channels, which all nodes must form alike.

See engines, "Redis keys".
"""

from attrs import define, field

from ...errors import ReplyError
from ...protocol.codes import BAD_REQUEST

__all__ = ["Layout"]


@define(eq=False)
class Layout:
    """Forms the names of one shard.

    In a Cluster the channel is in braces, so that all its keys are in one slot.
    """

    prefix: str
    cluster: bool = False
    lists: bool = False
    _history: bytes = field(init=False)
    _meta: bytes = field(init=False)
    _result: bytes = field(init=False)
    _client: bytes = field(init=False)
    _presence: bytes = field(init=False)
    _left: bytes = field(init=False)
    _right: bytes = field(init=False)

    def __attrs_post_init__(self) -> None:
        prefix = self.prefix.encode()
        self._left, self._right = (b"{", b"}") if self.cluster else (b"", b"")
        kind = b".list." if self.lists else b".stream."
        self._history = prefix + kind + self._left
        self._meta = prefix + kind + b"meta." + self._left
        self._result = prefix + b".result." + self._left
        self._client = prefix + b".client." + self._left
        self._presence = prefix + b".presence."

    def encode(self, channel: str) -> bytes:
        """Return a channel's name in bytes.

        :raises ReplyError: 107, because the keys of such a channel would be in several
            slots of a Cluster.
        """
        if self.cluster and channel[:1] == "}":
            raise ReplyError(BAD_REQUEST)
        return channel.encode()

    def history(self, channel: bytes) -> bytes:
        """Return the key of the stream, or of the list."""
        return self._history + channel + self._right

    def meta(self, channel: bytes) -> bytes:
        """Return the key of the stream's position and version."""
        return self._meta + channel + self._right

    def result(self, channel: bytes, key: str) -> bytes:
        """Return the key of the result of a publish with an idempotency key."""
        return self._result + channel + self._right + b"." + key.encode()

    def messages(self, channel: bytes) -> bytes:
        """Return the PUB/SUB channel."""
        return self._client + channel + self._right

    def channel(self, messages: bytes) -> str | None:
        """Return the channel of a PUB/SUB channel; None if it belongs to no channel."""
        start, end = len(self._client), len(messages) - len(self._right)
        if not messages.startswith(self._client) or end < start:
            return None
        if messages[end:] != self._right:
            return None
        try:
            return messages[start:end].decode()
        except UnicodeDecodeError:
            return None

    def presence(self, channel: bytes) -> tuple[bytes, bytes, bytes, bytes]:
        """Return the keys of presence: expiries, data, user expiries, user counts."""
        name = self._left + channel + self._right
        return (
            self._presence + b"expire." + name,
            self._presence + b"data." + name,
            self._presence + b"user.expire." + name,
            self._presence + b"user.clients." + name,
        )

    def receipts(self, channel: bytes) -> bytes:
        """Return the key of what users had received when they left."""
        name = self._left + channel + self._right
        return self.prefix.encode() + b".receipts." + name

    @property
    def service(self) -> bytes:
        """The PUB/SUB channel on which the subscriber's connection is probed."""
        return self.prefix.encode() + b".shard.0"

    @property
    def control(self) -> bytes:
        """The PUB/SUB channel of all nodes."""
        return self.prefix.encode() + b".control"

    def node(self, uid: str) -> bytes:
        """Return the PUB/SUB channel of one node."""
        return f"{self.prefix}.node.{uid}".encode()

    def probe(self, uid: str) -> bytes:
        """Return the PUB/SUB channel on which a node's control connection is probed."""
        return f"{self.prefix}.node.{uid}.probe".encode()

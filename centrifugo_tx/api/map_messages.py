"""Requests and results of the server API's methods for keys.

See server API, "Maps and keys".
"""

from ..protocol.messages import EMPTY, Payload, StreamPosition
from .api_messages import Int32, Request, Result, UInt64, fit

__all__ = [
    "MapClearRequest",
    "MapEntry",
    "MapPublishRequest",
    "MapReadStateRequest",
    "MapReadStateResult",
    "MapReadStreamRequest",
    "MapReadStreamResult",
    "MapRemoveRequest",
    "MapResult",
    "MapStatsRequest",
    "MapStatsResult",
    "SharedPollPublishRequest",
]


class MapPublishRequest(Request, frozen=True):
    """Set a key; ``key_mode`` is empty, ``if_new`` or ``if_exists``."""

    channel: str = ""
    key: str = ""
    data: Payload = EMPTY
    b64data: str = ""
    tags: dict[str, str] | None = None
    idempotency_key: str = ""
    delta: bool = False
    version: UInt64 = 0
    version_epoch: str = ""
    key_mode: str = ""

    def __post_init__(self) -> None:
        fit(self.version)


class MapRemoveRequest(Request, frozen=True):
    """Remove a key."""

    channel: str = ""
    key: str = ""
    idempotency_key: str = ""


class MapReadStateRequest(Request, frozen=True):
    """Read entries.  ``limit`` 0: the position alone, -1: all; ``key``: one entry.

    The revision is the position of an earlier page; only its epoch is compared.
    """

    channel: str = ""
    cursor: str = ""
    limit: Int32 = 0
    key: str = ""
    revision_offset: UInt64 = 0
    revision_epoch: str = ""

    def __post_init__(self) -> None:
        fit(self.revision_offset)


class MapReadStreamRequest(Request, frozen=True):
    """Read changes.  ``limit`` 0: the position alone, -1: all."""

    channel: str = ""
    since_offset: UInt64 = 0
    since_epoch: str = ""
    limit: Int32 = 0
    reverse: bool = False

    def __post_init__(self) -> None:
        fit(self.since_offset)

    @property
    def since(self) -> StreamPosition | None:
        """The position to start from, if given."""
        if not self.since_offset and not self.since_epoch:
            return None
        return StreamPosition(self.since_offset, self.since_epoch)


class MapStatsRequest(Request, frozen=True):
    """Ask for the number of keys."""

    channel: str = ""


class MapClearRequest(Request, frozen=True):
    """Remove all keys."""

    channel: str = ""


class SharedPollPublishRequest(Request, frozen=True):
    """Set a shared poll key to a newer version."""

    channel: str = ""
    key: str = ""
    data: Payload = EMPTY
    b64data: str = ""
    version: UInt64 = 0
    epoch: str = ""

    def __post_init__(self) -> None:
        fit(self.version)


class MapResult(Result, frozen=True):
    """The position of the change; or the top of the map, and why nothing changed."""

    offset: int = 0
    epoch: str = ""
    suppressed: bool = False
    suppress_reason: str = ""


class MapEntry(Result, frozen=True):
    """An entry, or a change of one; ``time`` is in milliseconds since 1970."""

    key: str = ""
    data: Payload = EMPTY
    tags: dict[str, str] | None = None
    offset: int = 0
    removed: bool = False
    time: int = 0


class MapReadStateResult(Result, frozen=True):
    """Entries, the top of the map, and the cursor of the next page."""

    entries: tuple[MapEntry, ...] = ()
    offset: int = 0
    epoch: str = ""
    cursor: str = ""


class MapReadStreamResult(Result, frozen=True):
    """Changes, and the top of the map."""

    entries: tuple[MapEntry, ...] = ()
    offset: int = 0
    epoch: str = ""


class MapStatsResult(Result, frozen=True):
    """The number of keys."""

    num_keys: int = 0

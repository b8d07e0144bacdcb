"""Requests and results of the server API (server API, "API messages").

Names and defaults are those of the JSON form.  Empty fields of results are omitted; a
field without a default is always written.
"""

from typing import Annotated

import msgspec

from ..options import SubscribeOverride
from ..protocol.messages import EMPTY, ClientInfo, Payload, Raw, StreamPosition

__all__ = [
    "BatchResult",
    "BroadcastRequest",
    "BroadcastResult",
    "ChannelInfo",
    "ChannelsRequest",
    "ChannelsResult",
    "DisconnectRequest",
    "Empty",
    "Error",
    "HistoryRemoveRequest",
    "HistoryRequest",
    "HistoryResult",
    "InfoRequest",
    "InfoResult",
    "Metrics",
    "NodeResult",
    "Position",
    "PresenceRequest",
    "PresenceResult",
    "PresenceStatsRequest",
    "PresenceStatsResult",
    "Publication",
    "PublishRequest",
    "PublishResponse",
    "PublishResult",
    "RPCRequest",
    "RPCResult",
    "ReceiptCounts",
    "ReceiptsRequest",
    "ReceiptsResult",
    "RefreshRequest",
    "Request",
    "Result",
    "SubscribeRequest",
    "UnsubscribeRequest",
    "UserReceipt",
]

UInt32 = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
UInt64 = Annotated[int, msgspec.Meta(ge=0)]


class Request(msgspec.Struct, frozen=True, gc=False):
    """A request of a backend; unknown fields are ignored."""


class Result(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A result for the backend."""


class Empty(Result, frozen=True):
    """The result of a method that returns nothing."""


class Error(Result, frozen=True):
    """The error of a failed command (server API, "API errors")."""

    code: int = 0
    message: str = ""


def fit(number: int) -> None:
    """Refuse a number of more than 64 bits, which msgspec does not check."""
    if number >= 2**64:
        raise ValueError("number exceeds 64 bits")


class Position(StreamPosition, frozen=True):
    """A position in a channel's stream, as given by a backend."""

    def __post_init__(self) -> None:
        fit(self.offset)


class PublishRequest(Request, frozen=True):
    """Publish into one channel; ``b64data`` overrides ``data``."""

    channel: str = ""
    data: Payload = EMPTY
    b64data: str = ""
    skip_history: bool = False
    tags: dict[str, str] | None = None
    idempotency_key: str = ""
    delta: bool = False
    version: UInt64 = 0
    version_epoch: str = ""
    confirm: bool = False

    def __post_init__(self) -> None:
        fit(self.version)


class BroadcastRequest(Request, frozen=True):
    """Publish the same into several channels."""

    channels: list[str] | None = None
    data: Payload = EMPTY
    b64data: str = ""
    skip_history: bool = False
    tags: dict[str, str] | None = None
    idempotency_key: str = ""
    delta: bool = False
    version: UInt64 = 0
    version_epoch: str = ""
    confirm: bool = False

    def __post_init__(self) -> None:
        fit(self.version)


class SubscribeRequest(Request, frozen=True):
    """Subscribe the connections of ``user``; ``expire_at`` is in Unix seconds."""

    channel: str = ""
    user: str = ""
    expire_at: Int64 = 0
    info: Payload = EMPTY
    b64info: str = ""
    client: str = ""
    data: Payload = EMPTY
    b64data: str = ""
    recover_since: Position | None = None
    override: SubscribeOverride | None = None
    session: str = ""


class UnsubscribeRequest(Request, frozen=True):
    """Unsubscribe the connections of ``user`` from a channel."""

    channel: str = ""
    user: str = ""
    client: str = ""
    session: str = ""


class DisconnectObject(Request, frozen=True):
    """The code and reason of a disconnect; code 0 means the default."""

    code: UInt32 = 0
    reason: str = ""


class DisconnectRequest(Request, frozen=True):
    """Close the connections of ``user``, except the client ids in ``whitelist``."""

    user: str = ""
    disconnect: DisconnectObject | None = None
    client: str = ""
    whitelist: list[str] | None = None
    session: str = ""


class RefreshRequest(Request, frozen=True):
    """Change the expiry of the connections of ``user``."""

    user: str = ""
    client: str = ""
    expired: bool = False
    expire_at: Int64 = 0
    info: Payload = EMPTY
    session: str = ""


class PresenceRequest(Request, frozen=True):
    """Ask for the subscribers of a channel."""

    channel: str = ""


class PresenceStatsRequest(Request, frozen=True):
    """Ask for the number of subscribers of a channel."""

    channel: str = ""


class HistoryRequest(Request, frozen=True):
    """Read a stream.  ``limit`` 0: only the position, below 0: all publications."""

    channel: str = ""
    limit: Int32 = 0
    since: Position | None = None
    reverse: bool = False


class HistoryRemoveRequest(Request, frozen=True):
    """Remove the publications of a channel."""

    channel: str = ""


class ReceiptsRequest(Request, frozen=True):
    """Read which users have received the publication at ``offset``.

    ``users`` are the users of interest, none: all; ``limit`` is how many to list.
    """

    channel: str = ""
    offset: UInt64 = 0
    epoch: str = ""
    users: list[str] | None = None
    limit: Int32 = 0
    cursor: str = ""

    def __post_init__(self) -> None:
        fit(self.offset)


class ReceiptCounts(Result, frozen=True):
    """How many users are in each state (receipts)."""

    received: int
    pending: int
    away: int
    unknown: int
    missed: int


class UserReceipt(Result, frozen=True):
    """The receipt of one user; ``at`` is when the proof came, 0 without one."""

    user: str
    state: str
    offset: int
    at: float


class ReceiptsResult(Result, frozen=True):
    """The receipts of a publication; ``cursor`` continues the list of users."""

    counts: ReceiptCounts
    users: list[UserReceipt] = []
    cursor: str = ""


class ChannelsRequest(Request, frozen=True):
    """Ask for the channels with subscribers; ``pattern`` is a glob."""

    pattern: str = ""


class InfoRequest(Request, frozen=True):
    """Ask for the nodes."""


class RPCRequest(Request, frozen=True):
    """Call an extension."""

    method: str = ""
    params: Raw = EMPTY


class PublishResult(Result, frozen=True):
    """The position of the publication, if the channel keeps history."""

    offset: int = 0
    epoch: str = ""


class PublishResponse(Result, frozen=True):
    """The outcome for one of the channels of a broadcast."""

    error: Error | None = None
    result: PublishResult | None = None


class BroadcastResult(Result, frozen=True):
    """The outcomes, in the order of the channels."""

    responses: list[PublishResponse] = []


class PresenceResult(Result, frozen=True):
    """The subscribers, by client id."""

    presence: dict[str, ClientInfo]


class PresenceStatsResult(Result, frozen=True):
    """The number of subscribers and of their users."""

    num_clients: int
    num_users: int


class Publication(Result, frozen=True):
    """A publication in a result of the API."""

    data: Payload = EMPTY
    info: ClientInfo | None = None
    offset: int = 0
    tags: dict[str, str] = {}


class HistoryResult(Result, frozen=True):
    """Publications, and the top of the stream."""

    publications: list[Publication]
    epoch: str
    offset: int


class ChannelInfo(Result, frozen=True):
    """The number of subscribers of one channel, on all nodes."""

    num_clients: int = 0


class ChannelsResult(Result, frozen=True):
    """The channels with subscribers."""

    channels: dict[str, ChannelInfo]


class Metrics(Result, frozen=True):
    """The metrics of a node over ``interval`` seconds."""

    interval: float = 0.0
    items: dict[str, float] = {}


class NodeResult(Result, frozen=True, kw_only=True):
    """One node; ``uptime`` is in seconds."""

    uid: str
    name: str
    version: str
    num_clients: int
    num_users: int
    num_channels: int
    uptime: int = 0
    metrics: Metrics | None = None
    num_subs: int


class InfoResult(Result, frozen=True):
    """The nodes that this node knows, itself included."""

    nodes: list[NodeResult] = []


class RPCResult(Result, frozen=True):
    """The result of the extension."""

    data: Payload = EMPTY


class BatchResult(Result, frozen=True):
    """The replies, in the order of the commands."""

    replies: list[dict[str, Result]] = []

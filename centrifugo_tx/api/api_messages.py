"""Requests and results of the server API (server API, "API messages").

Names and defaults are those of the JSON form.  Empty fields of results are left
out; a field without a default is always written.
"""

from typing import Annotated

import msgspec

from ..protocol.messages import EMPTY, ClientInfo, Raw, StreamPosition

__all__ = [
    "BatchResult",
    "BoolValue",
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
    "RefreshRequest",
    "Request",
    "Result",
    "SubscribeOptionOverride",
    "SubscribeRequest",
    "UnsubscribeRequest",
]

UInt32 = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
UInt64 = Annotated[int, msgspec.Meta(ge=0)]


class Request(msgspec.Struct, frozen=True, gc=False):
    """What a backend asks; unknown fields are ignored."""


class Result(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What it gets."""


class Empty(Result, frozen=True):
    """Done."""


class Error(Result, frozen=True):
    """Why a command failed (server API, "API errors")."""

    code: int = 0
    message: str = ""


def fit(number: int) -> None:
    """Refuse a number of more than 64 bits, which msgspec does not check."""
    if number >= 2**64:
        raise ValueError("number exceeds 64 bits")


class Position(StreamPosition, frozen=True):
    """A place in a channel's stream, as a backend says it."""

    def __post_init__(self) -> None:
        fit(self.offset)


class BoolValue(Request, frozen=True):
    """A boolean that may be absent."""

    value: bool = False


class PublicationRequest(Request, frozen=True):
    """The publication of a publish or broadcast; ``b64data`` wins over ``data``."""

    data: Raw = EMPTY
    b64data: str = ""
    skip_history: bool = False
    tags: dict[str, str] | None = None
    idempotency_key: str = ""
    delta: bool = False
    version: UInt64 = 0
    version_epoch: str = ""

    def __post_init__(self) -> None:
        fit(self.version)


class PublishRequest(PublicationRequest, frozen=True):
    """Publish into one channel."""

    channel: str = ""


class BroadcastRequest(PublicationRequest, frozen=True):
    """Publish the same into several channels."""

    channels: list[str] | None = None


class SubscribeOptionOverride(Request, frozen=True):
    """Channel options that hold for this subscription alone."""

    presence: BoolValue | None = None
    join_leave: BoolValue | None = None
    force_recovery: BoolValue | None = None
    force_positioning: BoolValue | None = None
    force_push_join_leave: BoolValue | None = None


class SubscribeRequest(Request, frozen=True):
    """Subscribe the connections of ``user``; ``expire_at`` is Unix seconds."""

    channel: str = ""
    user: str = ""
    expire_at: Int64 = 0
    info: Raw = EMPTY
    b64info: str = ""
    client: str = ""
    data: Raw = EMPTY
    b64data: str = ""
    recover_since: Position | None = None
    override: SubscribeOptionOverride | None = None
    session: str = ""


class UnsubscribeRequest(Request, frozen=True):
    """Take the connections of ``user`` out of a channel."""

    channel: str = ""
    user: str = ""
    client: str = ""
    session: str = ""


class DisconnectObject(Request, frozen=True):
    """With what a connection is closed; code 0 means the usual."""

    code: UInt32 = 0
    reason: str = ""


class DisconnectRequest(Request, frozen=True):
    """Close the connections of ``user``, but for the client ids in ``whitelist``."""

    user: str = ""
    disconnect: DisconnectObject | None = None
    client: str = ""
    whitelist: list[str] | None = None
    session: str = ""


class RefreshRequest(Request, frozen=True):
    """Move the expiry of the connections of ``user``."""

    user: str = ""
    client: str = ""
    expired: bool = False
    expire_at: Int64 = 0
    info: Raw = EMPTY
    session: str = ""


class PresenceRequest(Request, frozen=True):
    """Who is in a channel?"""

    channel: str = ""


class PresenceStatsRequest(Request, frozen=True):
    """How many are in a channel?"""

    channel: str = ""


class HistoryRequest(Request, frozen=True):
    """What was published?  ``limit`` 0: the position alone, < 0: everything."""

    channel: str = ""
    limit: Int32 = 0
    since: Position | None = None
    reverse: bool = False


class HistoryRemoveRequest(Request, frozen=True):
    """Forget what was published."""

    channel: str = ""


class ChannelsRequest(Request, frozen=True):
    """Which channels have subscribers?  ``pattern`` is a glob."""

    pattern: str = ""


class InfoRequest(Request, frozen=True):
    """Which nodes are there?"""


class RPCRequest(Request, frozen=True):
    """Call an extension."""

    method: str = ""
    params: Raw = EMPTY


class PublishResult(Result, frozen=True):
    """Where the publication stands, if the channel keeps history."""

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
    """Who is there, by client id."""

    presence: dict[str, ClientInfo]


class PresenceStatsResult(Result, frozen=True):
    """How many are there."""

    num_clients: int
    num_users: int


class Publication(Result, frozen=True):
    """A publication as the API shows it."""

    data: Raw = EMPTY
    info: ClientInfo | None = None
    offset: int = 0
    tags: dict[str, str] = {}


class HistoryResult(Result, frozen=True):
    """Publications, and the top of the stream."""

    publications: list[Publication]
    epoch: str
    offset: int


class ChannelInfo(Result, frozen=True):
    """Subscribers of one channel, over all nodes."""

    num_clients: int = 0


class ChannelsResult(Result, frozen=True):
    """The channels that have subscribers."""

    channels: dict[str, ChannelInfo]


class Metrics(Result, frozen=True):
    """What a node measured during ``interval`` seconds."""

    interval: float = 0.0
    items: dict[str, float] = {}


class NodeResult(Result, frozen=True, kw_only=True):
    """One node; ``uptime`` is seconds."""

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
    """The nodes that are known here."""

    nodes: list[NodeResult] = []


class RPCResult(Result, frozen=True):
    """What the extension answered."""

    data: Raw = EMPTY


class BatchResult(Result, frozen=True):
    """The answers, in the order of the commands."""

    replies: list[dict[str, Result]] = []

"""The client protocol's messages: one model for v1 and v2, JSON and Protobuf.

Field names are those of the JSON form and of ``proto/client.proto``.  Defaults are the
protocol's zero values and are not written (client protocol, "JSON" and "Requests"); a
field without a default is always written.  Payloads keep the bytes in which they
arrived.
"""

from typing import Annotated

import msgspec

from .codes import Disconnect, Error, Unsubscribe
from .payloads import EMPTY, Payload, Raw, checked

__all__ = [
    "EMPTY",
    "ClientInfo",
    "Command",
    "Connect",
    "ConnectRequest",
    "ConnectResult",
    "Disconnect",
    "EmulationRequest",
    "Error",
    "FilterNode",
    "HistoryRequest",
    "HistoryResult",
    "Join",
    "KeyedItem",
    "Leave",
    "Message",
    "Part",
    "Payload",
    "PingRequest",
    "PingResult",
    "PresenceRequest",
    "PresenceResult",
    "PresenceStatsRequest",
    "PresenceStatsResult",
    "Publication",
    "PublishRequest",
    "PublishResult",
    "Push",
    "RPCRequest",
    "RPCResult",
    "Raw",
    "Refresh",
    "RefreshRequest",
    "RefreshResult",
    "Reply",
    "Result",
    "SendRequest",
    "StreamPosition",
    "SubRefreshRequest",
    "SubRefreshResult",
    "Subscribe",
    "SubscribeRequest",
    "SubscribeResult",
    "TrackBatch",
    "Unsubscribe",
    "UnsubscribeRequest",
    "UnsubscribeResult",
    "checked_info",
]

UInt32 = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
#: The upper bound, 2**64 - 1, is more than msgspec can check.
UInt64 = Annotated[int, msgspec.Meta(ge=0)]


class Part(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Base class of all messages, which are values; zero values are not written."""


class RequestPart(Part, frozen=True, forbid_unknown_fields=True):
    """A part of a command.

    An unknown field name is not an error.  It makes the decoder run again, because the
    name may be a known one in another case (client protocol, "Batches").
    """


# --- Shared parts (client protocol, "Pushes") -----------------------------------------


class StreamPosition(Part, frozen=True):
    """A position in a channel's stream: ``offset`` within one ``epoch``."""

    offset: UInt64 = 0
    epoch: str = ""


class ClientInfo(Part, frozen=True):
    """The user of a connection, as other subscribers may see it."""

    user: str
    client: str
    conn_info: Payload = EMPTY
    chan_info: Payload = EMPTY


def checked_info(info: ClientInfo) -> ClientInfo:
    """Return *info* with its payloads checked; it may come from an application."""
    conn_info, chan_info = checked(info.conn_info), checked(info.chan_info)
    if conn_info is info.conn_info and chan_info is info.chan_info:
        return info
    return ClientInfo(info.user, info.client, conn_info, chan_info)


class Publication(Part, frozen=True):
    """One message published into a channel.

    ``offset`` counts from 1 within a stream; 0 means the channel keeps none.
    ``time`` is milliseconds since 1970; ``delta`` marks ``data`` as a delta.
    ``prev_data`` never leaves the brokers.
    """

    data: Payload = EMPTY
    info: ClientInfo | None = None
    offset: int = 0
    tags: dict[str, str] = {}
    delta: bool = False
    time: int = 0
    channel: str = ""
    key: str = ""
    removed: bool = False
    score: int = 0
    epoch: str = ""
    prev_data: Payload = EMPTY
    version: int = 0


class FilterNode(RequestPart, frozen=True):
    """A publication filter by tags: a leaf, or ``and``/``or``/``not`` of nodes.

    See client protocol, "Tag filters".
    """

    op: str = ""
    key: str = ""
    cmp: str = ""
    val: str = ""
    vals: list[str] = []
    nodes: list["FilterNode"] = []


class KeyedItem(RequestPart, frozen=True):
    """A key that a shared poll subscriber tracks, with the subscriber's version."""

    key: str = ""
    version: UInt64 = 0


class TrackBatch(RequestPart, frozen=True):
    """Keys that are tracked with one signature (client protocol, "Shared poll")."""

    signature: str = ""
    items: list[KeyedItem] = []


# --- Requests (client protocol, "Requests") -------------------------------------------


class SubscribeRequest(RequestPart, frozen=True):
    """Subscribe to a channel; ``recover`` requests publications since a position."""

    channel: str = ""
    token: str = ""
    recover: bool = False
    epoch: str = ""
    offset: UInt64 = 0
    data: Payload = EMPTY
    positioned: bool = False
    recoverable: bool = False
    join_leave: bool = False
    delta: str = ""
    tf: FilterNode | None = None
    flag: Int64 = 0
    type: Int32 = 0
    phase: Int32 = 0
    cursor: str = ""
    limit: Int32 = 0
    asc: bool = False


class ConnectRequest(RequestPart, frozen=True):
    """The first command: credentials, and the known server-side subscriptions."""

    token: str = ""
    data: Payload = EMPTY
    subs: dict[str, SubscribeRequest | None] = {}
    name: str = ""
    version: str = ""
    headers: dict[str, str] = {}
    flag: Int64 = 0


class UnsubscribeRequest(RequestPart, frozen=True):
    """Unsubscribe from a channel."""

    channel: str = ""


class PublishRequest(RequestPart, frozen=True):
    """Publish into a channel (``type`` 1: into a map, under ``key``)."""

    channel: str = ""
    data: Payload = EMPTY
    type: Int32 = 0
    key: str = ""
    removed: bool = False


class PresenceRequest(RequestPart, frozen=True):
    """Request the clients in a channel."""

    channel: str = ""


class PresenceStatsRequest(RequestPart, frozen=True):
    """Request the numbers of clients and users in a channel."""

    channel: str = ""


class HistoryRequest(RequestPart, frozen=True):
    """Read a channel's stream; ``limit`` 0 requests only the position."""

    channel: str = ""
    limit: Int32 = 0
    since: StreamPosition | None = None
    reverse: bool = False


class PingRequest(RequestPart, frozen=True):
    """A ping command, which the protocol defines and no SDK sends."""


class SendRequest(RequestPart, frozen=True):
    """A message to the server that gets no reply."""

    data: Payload = EMPTY


class RPCRequest(RequestPart, frozen=True):
    """Call a method of the application."""

    data: Payload = EMPTY
    method: str = ""


class RefreshRequest(RequestPart, frozen=True):
    """A new connection token."""

    token: str = ""


class SubRefreshRequest(RequestPart, frozen=True):
    """A new subscription token; also tracking of shared poll keys."""

    channel: str = ""
    token: str = ""
    type: Int32 = 0
    track: list[TrackBatch] = []
    untrack: list[str] = []


class Command(RequestPart, frozen=True):
    """One command: an ``id`` and exactly one request.

    See client protocol, "Commands, replies and pushes".

    The order of the fields is the order in which the reference looks for them.
    """

    id: UInt32 = 0
    connect: ConnectRequest | None = None
    ping: PingRequest | None = None
    subscribe: SubscribeRequest | None = None
    unsubscribe: UnsubscribeRequest | None = None
    publish: PublishRequest | None = None
    presence: PresenceRequest | None = None
    presence_stats: PresenceStatsRequest | None = None
    history: HistoryRequest | None = None
    rpc: RPCRequest | None = None
    send: SendRequest | None = None
    refresh: RefreshRequest | None = None
    sub_refresh: SubRefreshRequest | None = None


class EmulationRequest(Part, frozen=True):
    """Commands for a session that another request keeps open.

    See client protocol, "Emulation".
    """

    node: str = ""
    session: str = ""
    data: Raw = EMPTY


# --- Results (client protocol, "Results") ---------------------------------------------


class SubscribeResult(Part, frozen=True):
    """The result of a subscribe (client protocol, "Results" and "Recovery")."""

    expires: bool = False
    ttl: int = 0
    recoverable: bool = False
    epoch: str = ""
    publications: list[Publication] = []
    recovered: bool = False
    offset: int = 0
    positioned: bool = False
    data: Payload = EMPTY
    was_recovering: bool = False
    delta: bool = False
    id: int = 0
    type: int = 0
    phase: int = 0
    cursor: str = ""
    state: list[Publication] = []
    publish_debounce: int = 0


class ConnectResult(Part, frozen=True):
    """The result of connect; ``ping`` and ``ttl`` are seconds, ``time`` is
    milliseconds.
    """

    client: str = ""
    version: str = ""
    expires: bool = False
    ttl: int = 0
    data: Payload = EMPTY
    subs: dict[str, SubscribeResult] = {}
    ping: int = 0
    pong: bool = False
    session: str = ""
    node: str = ""
    time: int = 0


class UnsubscribeResult(Part, frozen=True):
    """The result of an unsubscribe."""


class PublishResult(Part, frozen=True):
    """The result of a publish."""


class PresenceResult(Part, frozen=True):
    """The clients in the channel, by client id."""

    presence: dict[str, ClientInfo]


class PresenceStatsResult(Part, frozen=True):
    """The numbers of connections and of distinct users in the channel."""

    num_clients: int
    num_users: int


class HistoryResult(Part, frozen=True):
    """Publications, and the top of the stream."""

    publications: list[Publication]
    epoch: str
    offset: int


class PingResult(Part, frozen=True):
    """The result of a ping command, which no SDK sends."""


class RPCResult(Part, frozen=True):
    """The application's result of a call."""

    data: Payload = EMPTY


class RefreshResult(Part, frozen=True):
    """The connection continues; for ``ttl`` seconds more if ``expires``."""

    client: str = ""
    version: str = ""
    expires: bool = False
    ttl: int = 0


class SubRefreshResult(Part, frozen=True):
    """The subscription continues; for ``ttl`` seconds more if ``expires``."""

    expires: bool = False
    ttl: int = 0
    items: list[Publication] = []


Result = (
    ConnectResult
    | SubscribeResult
    | UnsubscribeResult
    | PublishResult
    | PresenceResult
    | PresenceStatsResult
    | HistoryResult
    | PingResult
    | RPCResult
    | RefreshResult
    | SubRefreshResult
)


# --- Pushes (client protocol, "Pushes") -----------------------------------------------


class Join(Part, frozen=True):
    """A client subscribed."""

    info: ClientInfo


class Leave(Part, frozen=True):
    """A client left."""

    info: ClientInfo


class Message(Part, frozen=True):
    """A message that belongs to no channel."""

    data: Payload = EMPTY


class Subscribe(Part, frozen=True):
    """The server subscribed the client to a channel."""

    recoverable: bool = False
    epoch: str = ""
    offset: int = 0
    positioned: bool = False
    data: Payload = EMPTY


class Connect(Part, frozen=True):
    """The push that a unidirectional client gets in place of a connect reply."""

    client: str = ""
    version: str = ""
    data: Payload = EMPTY
    subs: dict[str, SubscribeResult] = {}
    expires: bool = False
    ttl: int = 0
    ping: int = 0
    pong: bool = False
    session: str = ""
    node: str = ""
    time: int = 0


class Refresh(Part, frozen=True):
    """The server changed the connection's expiry."""

    expires: bool = False
    ttl: int = 0


class Push(Part, frozen=True):
    """A message about ``channel`` that answers no command: exactly one of the parts."""

    channel: str = ""
    pub: Publication | None = None
    join: Join | None = None
    leave: Leave | None = None
    unsubscribe: Unsubscribe | None = None
    message: Message | None = None
    subscribe: Subscribe | None = None
    connect: Connect | None = None
    disconnect: Disconnect | None = None
    refresh: Refresh | None = None


class Reply(Part, frozen=True):
    """The reply to the command with the same ``id``, a push, or (empty) a ping."""

    id: int = 0
    error: Error | None = None
    push: Push | None = None
    connect: ConnectResult | None = None
    subscribe: SubscribeResult | None = None
    unsubscribe: UnsubscribeResult | None = None
    publish: PublishResult | None = None
    presence: PresenceResult | None = None
    presence_stats: PresenceStatsResult | None = None
    history: HistoryResult | None = None
    ping: PingResult | None = None
    rpc: RPCResult | None = None
    refresh: RefreshResult | None = None
    sub_refresh: SubRefreshResult | None = None

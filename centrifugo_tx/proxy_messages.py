"""The messages of event proxies: the server's requests to the application's backend.

Names are those of the JSON form and of the Protobuf schema of the reference (event
proxies, "gRPC form").  Requests omit empty values; a field without a default is always
written.  Payloads are ``Raw``: JSON keeps the bytes in which it arrived.
"""

from typing import Any, Generic, TypeVar

import msgspec

from .options import SubscribeOverride, SubscriptionStream
from .protocol.codes import Disconnect, Error
from .protocol.messages import EMPTY, Int64, KeyedItem, Raw, UInt64

__all__ = [
    "CONNECT",
    "EVENTS",
    "MAP_PUBLISH",
    "MAP_REMOVE",
    "PUBLISH",
    "REFRESH",
    "RPC",
    "SHARED_POLL_REFRESH",
    "SUBSCRIBE",
    "SUBSCRIBE_STREAM",
    "SUB_REFRESH",
    "ClientEvent",
    "ConnectAnswer",
    "ConnectEvent",
    "MapPublishAnswer",
    "MapPublishEvent",
    "MapRemoveAnswer",
    "MapRemoveEvent",
    "PolledItem",
    "ProxyEvent",
    "ProxyResponse",
    "PublishAnswer",
    "PublishEvent",
    "RPCAnswer",
    "RPCEvent",
    "RefreshAnswer",
    "RefreshEvent",
    "SharedPollRefreshAnswer",
    "SharedPollRefreshEvent",
    "StreamResponse",
    "StreamSubscribeEvent",
    "SubRefreshAnswer",
    "SubRefreshEvent",
    "SubscribeAnswer",
    "SubscribeEvent",
    "Subscription",
]

# --- Requests -------------------------------------------------------------------------


class ClientEvent(
    msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False
):
    """The common fields of requests about a client.

    ``transport`` is the field's name for it (``websocket``, ``uni_sse``, …),
    ``protocol`` ``json`` or ``protobuf``, ``encoding`` ``json`` or ``binary``.  The
    proxy fills in these fields, ``meta``, and ``b64data`` in place of ``data``.
    """

    client: str = ""
    transport: str = ""
    protocol: str = ""
    encoding: str = ""


class ConnectEvent(ClientEvent, frozen=True, kw_only=True):
    """A client connects without a token."""

    data: Raw = EMPTY
    b64data: str = ""
    name: str = ""
    version: str = ""
    channels: list[str] = []


class RefreshEvent(ClientEvent, frozen=True, kw_only=True):
    """A connection has reached its expiry."""

    user: str
    meta: Raw = EMPTY


class SubscribeEvent(ClientEvent, frozen=True, kw_only=True):
    """A client subscribes to a channel."""

    user: str
    channel: str
    token: str = ""
    meta: Raw = EMPTY
    data: Raw = EMPTY
    b64data: str = ""


class StreamSubscribeEvent(SubscribeEvent, frozen=True, kw_only=True):
    """A client subscribes to a channel with a stream.

    ``bidirectional`` is not sent: it says which method is called.
    """

    bidirectional: bool = False


class PublishEvent(ClientEvent, frozen=True, kw_only=True):
    """A client publishes into a channel."""

    user: str
    channel: str
    data: Raw = EMPTY
    b64data: str = ""
    meta: Raw = EMPTY


class RPCEvent(ClientEvent, frozen=True, kw_only=True):
    """A client calls a method."""

    user: str
    method: str = ""
    data: Raw = EMPTY
    b64data: str = ""
    meta: Raw = EMPTY


class SubRefreshEvent(ClientEvent, frozen=True, kw_only=True):
    """A subscription has reached its expiry."""

    user: str
    channel: str
    meta: Raw = EMPTY


class MapPublishEvent(ClientEvent, frozen=True, kw_only=True):
    """A client sets a key of a map."""

    user: str = ""
    channel: str
    key: str = ""
    data: Raw = EMPTY
    b64data: str = ""
    meta: Raw = EMPTY


class MapRemoveEvent(ClientEvent, frozen=True, kw_only=True):
    """A client removes a key of a map."""

    user: str = ""
    channel: str
    key: str = ""
    meta: Raw = EMPTY


class SharedPollRefreshEvent(msgspec.Struct, frozen=True, gc=False):
    """The node polls keys of a channel; ``version`` is the newest it knows."""

    channel: str
    items: list[KeyedItem]


# --- Results --------------------------------------------------------------------------


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A part of a response; an unknown name leads to lenient decoding.

    Of a pair ``x`` and ``b64x`` the latter wins when it is not empty, except in
    `PublishAnswer` and `MapPublishAnswer`, where ``data`` wins.
    """


class Subscription(_Part, frozen=True):
    """How one server-side subscription is to be."""

    expire_at: Int64 = 0
    info: Raw = EMPTY
    b64info: str = ""
    data: Raw = EMPTY
    b64data: str = ""
    override: SubscribeOverride | None = None
    cache_recover: bool = False


class ConnectAnswer(_Part, frozen=True):
    """The identity of the client, and its server-side subscriptions.

    ``expire_at`` is in seconds since 1970, 0: never.  ``subs`` override ``channels``.
    """

    user: str = ""
    expire_at: Int64 = 0
    info: Raw = EMPTY
    b64info: str = ""
    data: Raw = EMPTY
    b64data: str = ""
    channels: list[str] = []
    subs: dict[str, Subscription | None] = {}
    meta: Raw = EMPTY


class RefreshAnswer(_Part, frozen=True):
    """Whether, and until when, a connection may continue."""

    expired: bool = False
    expire_at: Int64 = 0
    info: Raw = EMPTY
    b64info: str = ""
    meta: Raw = EMPTY


class SubscribeAnswer(_Part, frozen=True):
    """How a permitted subscription is to be."""

    expire_at: Int64 = 0
    info: Raw = EMPTY
    b64info: str = ""
    data: Raw = EMPTY
    b64data: str = ""
    override: SubscribeOverride | None = None


class PublishAnswer(_Part, frozen=True):
    """How to publish; ``data`` replaces the client's, even if it is ``null``."""

    data: Raw = EMPTY
    b64data: str = ""
    skip_history: bool = False
    tags: dict[str, str] = {}
    idempotency_key: str = ""
    delta: bool = False
    version: UInt64 = 0
    version_epoch: str = ""


class RPCAnswer(_Part, frozen=True):
    """The result of a call."""

    data: Raw = EMPTY
    b64data: str = ""


class SubRefreshAnswer(_Part, frozen=True):
    """Whether, and until when, a subscription may continue."""

    expired: bool = False
    expire_at: Int64 = 0
    info: Raw = EMPTY
    b64info: str = ""


class MapPublishAnswer(_Part, frozen=True):
    """How to set a key; ``score`` and ``stream_data`` have no effect."""

    key: str = ""
    data: Raw = EMPTY
    b64data: str = ""
    tags: dict[str, str] = {}
    score: Int64 = 0
    key_mode: str = ""
    stream_data: Raw = EMPTY
    b64stream_data: str = ""
    idempotency_key: str = ""
    delta: bool = False
    version: UInt64 = 0
    version_epoch: str = ""


class MapRemoveAnswer(_Part, frozen=True):
    """How to remove a key."""

    key: str = ""
    tags: dict[str, str] = {}
    idempotency_key: str = ""


class PolledItem(_Part, frozen=True):
    """A key with a new value, or a removed one."""

    key: str = ""
    data: Raw = EMPTY
    version: UInt64 = 0
    removed: bool = False
    prev_data: Raw = EMPTY


class SharedPollRefreshAnswer(_Part, frozen=True):
    """The keys that have changed."""

    items: list[PolledItem] = []
    epoch: str = ""


A = TypeVar("A", bound=msgspec.Struct)


class ProxyResponse(_Part, Generic[A], frozen=True):
    """A backend's response; disconnect comes before error, error before result."""

    result: A | None = None
    error: Error | None = None
    disconnect: Disconnect | None = None


class StreamResponse(ProxyResponse[SubscribeAnswer], frozen=True):
    """The first message of a stream, and the stream if it goes on."""

    stream: SubscriptionStream | None = None


# --- Events ---------------------------------------------------------------------------


class ProxyEvent(msgspec.Struct, frozen=True, gc=False):
    """One kind of event.

    ``name`` is that of configuration and metrics, ``method`` that of the gRPC service.
    """

    name: str
    method: str
    request: type[Any]
    answer: type[Any]


CONNECT = ProxyEvent("connect", "Connect", ConnectEvent, ConnectAnswer)
REFRESH = ProxyEvent("refresh", "Refresh", RefreshEvent, RefreshAnswer)
SUBSCRIBE = ProxyEvent("subscribe", "Subscribe", SubscribeEvent, SubscribeAnswer)
SUB_REFRESH = ProxyEvent("sub_refresh", "SubRefresh", SubRefreshEvent, SubRefreshAnswer)
SUBSCRIBE_STREAM = ProxyEvent(
    "subscribe_stream", "Subscribe", StreamSubscribeEvent, SubscribeAnswer
)
PUBLISH = ProxyEvent("publish", "Publish", PublishEvent, PublishAnswer)
RPC = ProxyEvent("rpc", "RPC", RPCEvent, RPCAnswer)
MAP_PUBLISH = ProxyEvent("map_publish", "MapPublish", MapPublishEvent, MapPublishAnswer)
MAP_REMOVE = ProxyEvent("map_remove", "MapRemove", MapRemoveEvent, MapRemoveAnswer)
SHARED_POLL_REFRESH = ProxyEvent(
    "shared_poll_refresh",
    "SharedPollRefresh",
    SharedPollRefreshEvent,
    SharedPollRefreshAnswer,
)

EVENTS = (
    *(CONNECT, REFRESH, SUBSCRIBE, SUB_REFRESH, PUBLISH, RPC),
    *(MAP_PUBLISH, MAP_REMOVE, SHARED_POLL_REFRESH),
)

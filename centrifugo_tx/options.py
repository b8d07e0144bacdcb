"""The values that the core, engines, policies and APIs exchange.

Seconds are ``float`` (points in time: seconds since 1970), sizes are bytes,
payloads are ``Raw``.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from .protocol.codes import Disconnect
from .protocol.messages import EMPTY, ClientInfo, Publication, Raw, StreamPosition

__all__ = [
    "NOWHERE",
    "Admission",
    "Answer",
    "BoolValue",
    "ChannelOptions",
    "Duration",
    "Expiry",
    "History",
    "HistoryQuery",
    "MapChange",
    "MapChanged",
    "MapPage",
    "MapQuery",
    "MapRules",
    "NodeOptions",
    "Pem",
    "PollRules",
    "Polled",
    "PresenceMaps",
    "PresenceStats",
    "PublishOptions",
    "Published",
    "Source",
    "SubscribeOptions",
    "SubscribeOverride",
    "TLSOptions",
    "TransportInfo",
]

#: An option in seconds, written in configuration as ``"1m30s"``.
Duration = Annotated[float, msgspec.Meta(extra={"kind": "duration"})]
#: An option that holds PEM text, written as PEM, its base64, or a file's path.
Pem = Annotated[str, msgspec.Meta(extra={"kind": "pem"})]

#: The position of a channel that keeps no history.
NOWHERE = StreamPosition()


class Value(msgspec.Struct, frozen=True, gc=False):
    """Base class of the values in this module."""


class TLSOptions(msgspec.Struct, frozen=True):
    """TLS of a server or of a client connection."""

    # See configuration rules, "Ports and endpoints".

    enabled: bool = False
    """Use TLS, version 1.2 or newer."""
    cert_pem: Pem = ""
    """Certificate, with its chain."""
    key_pem: Pem = ""
    """Private key of the certificate."""
    server_ca_pem: Pem = ""
    """Authorities that a client trusts; empty: those of the system."""
    client_ca_pem: Pem = ""
    """Authorities that a server trusts; clients must then present a certificate."""
    insecure_skip_verify: bool = False
    """Accept any certificate of the server, as a client."""
    server_name: str = ""
    """Name that a client expects in the server's certificate; empty: the host name."""


class TransportInfo(Value, frozen=True):
    """Facts about the transport of a client.

    ``name`` is the field's name for it (``websocket``, ``uni_sse``, …), ``headers``
    the request headers that the configuration keeps, in lower case.  ``emulated``:
    commands arrive by other requests, so the client needs a session.  ``pings``:
    the protocol's own pings are wanted.  ``version``: that of the client protocol,
    0 while it is not known.
    """

    name: str = "websocket"
    protocol: Literal["json", "protobuf"] = "json"
    unidirectional: bool = False
    emulated: bool = False
    pings: bool = True
    headers: Mapping[str, tuple[str, ...]] = {}
    version: int = 0


class Answer(Value, frozen=True):
    """The answer of an HTTP endpoint."""

    status: int = 200
    body: bytes = b""
    content_type: str = ""
    headers: tuple[tuple[bytes, bytes], ...] = ()


class MapRules(Value, frozen=True):
    """How a channel keeps a map (client protocol, "Maps").

    ``stream_size`` 0: changes are not kept, so nothing can be recovered; ``key_ttl``
    0: keys stay for good; ``meta_ttl`` 0: so does the map's position.  Those who
    subscribe get the state in pages, and at most ``live_limit`` changes at once when
    they go live, which must not take longer than ``catch_up`` seconds (negative: any
    time).  ``own_keys``: the key that is a client's id goes when it leaves.
    """

    stream_size: int = 100
    stream_ttl: float = 60.0
    meta_ttl: float = 0.0
    key_ttl: float = 0.0
    page_size: int = 100
    min_page_size: int = 100
    max_page_size: int = 1000
    live_limit: int = 1000
    catch_up: float = 5.0
    own_keys: bool = False

    def page(self, wanted: int) -> int:
        """Return the page size for a client that requests *wanted* entries."""
        size = wanted if wanted > 0 else self.page_size
        return min(max(size, self.min_page_size), self.max_page_size)


class PollRules(Value, frozen=True):
    """How a channel's keys are polled (client protocol, "Shared poll").

    ``interval`` is the time between two polls of a key, ``batch`` how many keys one
    poll asks for, ``max_keys`` how many one client may track.  ``versioned``: the
    application says versions.  The channel lives ``linger`` seconds longer than its
    last subscriber, a key's signature ``grace`` seconds longer than it says.
    ``publish``: the server API may set keys.
    """

    interval: float = 10.0
    batch: int = 1000
    max_keys: int = 5000
    versioned: bool = False
    linger: float = 1.0
    grace: float = 25.0
    publish: bool = False


class Polled(Value, frozen=True):
    """The application's answer to a poll: keys with data and version, or removed.

    Keys of which nothing new is known may be left out.
    """

    items: list[Publication] = []
    epoch: str = ""


class PresenceMaps(Value, frozen=True):
    """The maps that mirror the presence of a channel.

    Their names are these prefixes and the channel's name; an empty one: no such map.
    In ``clients`` the keys are client ids, in ``users`` user ids.
    """

    clients: str = ""
    users: str = ""


class ChannelOptions(Value, frozen=True):
    """The options of a channel, taken from its namespace.

    ``map`` is there if the channel is a map, ``poll`` if its keys are polled.
    """

    subscription_type: str = ""
    presence: bool = False
    join_leave: bool = False
    force_push_join_leave: bool = False
    history_size: int = 0
    history_ttl: float = 0.0
    history_meta_ttl: float = 0.0
    force_positioning: bool = False
    force_recovery: bool = False
    delta_publish: bool = False
    publication_data_format: str = ""
    map: MapRules | None = None
    poll: PollRules | None = None
    presence_maps: PresenceMaps | None = None

    @property
    def history(self) -> bool:
        """Whether the channel keeps history (engines, "Publish options")."""
        return self.history_size > 0 and self.history_ttl > 0


class PublishOptions(Value, frozen=True):
    """How to publish (engines, "Publish options").

    History needs both ``history_size`` and ``history_ttl``; ``history_meta_ttl`` 0
    takes the engine's default.  ``version`` > 0 drops what is not newer.  ``data``
    is a payload that replaces the publisher's own.  ``key`` and ``epoch`` are those
    of a polled key.
    """

    history_size: int = 0
    history_ttl: float = 0.0
    history_meta_ttl: float = 0.0
    info: ClientInfo | None = None
    tags: dict[str, str] = {}
    idempotency_key: str = ""
    idempotent_result_ttl: float = 300.0
    delta: bool = False
    version: int = 0
    version_epoch: str = ""
    data: Raw | None = None
    key: str = ""
    epoch: str = ""


class Published(Value, frozen=True):
    """The position of a publication.

    When ``suppressed`` is ``"idempotency"`` or ``"version"`` nothing was published
    and ``position`` is the earlier result, or the top.
    """

    position: StreamPosition = NOWHERE
    suppressed: Literal["", "idempotency", "version"] = ""


class HistoryQuery(Value, frozen=True):
    """The part of a stream to read (engines, "Reading history").

    ``limit`` 0: the position alone; -1: everything.  ``since`` excludes itself.
    """

    limit: int = 0
    since: StreamPosition | None = None
    reverse: bool = False
    meta_ttl: float = 0.0


class History(Value, frozen=True):
    """Part of a stream, and the newest position."""

    publications: list[Publication] = []
    position: StreamPosition = NOWHERE


class MapChange(Value, frozen=True):
    """How to publish a key, or to remove it.

    ``version`` > 0 drops what is not newer for this key; ``key_mode`` drops what
    finds the key there (``if_new``) or not there (``if_exists``); ``expected`` drops
    what does not find the key's last change at this position.  ``renew``: a change
    that ``if_new`` drops lets the key stay as long as if it had been published.
    ``idempotent_result_ttl`` 0: as long as the broker is set to.  ``data`` is a value
    that replaces the publisher's own.
    """

    rules: MapRules
    info: ClientInfo | None = None
    tags: dict[str, str] = {}
    idempotency_key: str = ""
    idempotent_result_ttl: float = 0.0
    delta: bool = False
    version: int = 0
    version_epoch: str = ""
    key_mode: Literal["", "if_new", "if_exists"] = ""
    renew: bool = False
    expected: StreamPosition | None = None
    data: Raw | None = None


#: Why a change was suppressed.
Suppression = Literal[
    "", "idempotency", "version", "key_exists", "key_not_found", "position_mismatch"
]


class MapChanged(Value, frozen=True):
    """The position of a change; or why it was suppressed, with the newest position.

    ``current`` is what the key holds, if it was expected to stand elsewhere.
    """

    position: StreamPosition = NOWHERE
    suppressed: Suppression = ""
    current: Publication | None = None


class MapQuery(Value, frozen=True):
    """The part of a map's state to read.

    ``limit`` 0: the position alone; -1: everything.  ``cursor`` is what the page
    before gave; ``key`` asks for one entry, whatever else is said.  ``streamless``:
    the map keeps no changes, and so has no position.
    """

    limit: int = 0
    cursor: str = ""
    key: str = ""
    meta_ttl: float = 0.0
    streamless: bool = False


class MapPage(Value, frozen=True):
    """Entries of a map, its newest position, and the cursor; empty: the last page."""

    entries: list[Publication] = []
    position: StreamPosition = NOWHERE
    cursor: str = ""


class PresenceStats(Value, frozen=True):
    """The numbers of connections and of distinct users."""

    num_clients: int = 0
    num_users: int = 0


class Source:
    """Why a subscription was allowed (permissions, "Subscribing")."""

    UNKNOWN = 0
    CONNECTION_TOKEN = 1
    CONNECT_PROXY = 2
    SUBSCRIPTION_TOKEN = 3
    SUBSCRIBE_PROXY = 4
    USER_LIMITED = 5
    CLIENT_ALLOWED = 6
    CLIENT_INSECURE = 7
    UNI_CONNECT = 8
    USER_PERSONAL = 9
    SERVER_API = 10
    STREAM_PROXY = 13


class SubscribeOptions(Value, frozen=True):
    """The permissions and settings of one subscription, after all decisions.

    ``expire_at`` 0 never expires.  ``info`` becomes ``chan_info``, ``data`` goes
    into the subscribe reply.  ``presence`` and ``join_leave``: this subscriber is
    seen by others; ``push_join_leave``: it sees them.  ``auto_recover``: treat
    every subscribe as if it asked to recover (cache mode).
    """

    expire_at: int = 0
    info: Raw = EMPTY
    data: Raw = EMPTY
    presence: bool = False
    join_leave: bool = False
    push_join_leave: bool = False
    positioned: bool = False
    recoverable: bool = False
    recovery_mode: Literal["stream", "cache"] = "stream"
    auto_recover: bool = False
    history_meta_ttl: float = 0.0
    delta_types: tuple[str, ...] = ()
    tags_filter: bool = False
    server_side_refresh: bool = False
    source: int = Source.UNKNOWN
    presence_maps: PresenceMaps | None = None


class BoolValue(Value, frozen=True):
    """A boolean that may be absent."""

    value: bool = False


class SubscribeOverride(Value, frozen=True):
    """Options that a token or a backend sets for one subscription.

    None keeps what the namespace says.
    """

    presence: BoolValue | None = None
    join_leave: BoolValue | None = None
    force_push_join_leave: BoolValue | None = None
    force_positioning: BoolValue | None = None
    force_recovery: BoolValue | None = None

    def apply(self, options: SubscribeOptions) -> SubscribeOptions:
        """Return *options* with the values that are set here."""
        given = {
            "presence": self.presence,
            "join_leave": self.join_leave,
            "push_join_leave": self.force_push_join_leave,
            "positioned": self.force_positioning,
            "recoverable": self.force_recovery,
        }
        changes = {name: each.value for name, each in given.items() if each is not None}
        return msgspec.structs.replace(options, **changes) if changes else options


class Admission(Value, frozen=True):
    """The identity of a connection, and its initial subscriptions.

    ``meta`` stays on the server.  ``exclusive`` names a channel: if it has
    present clients, the user's other connections are closed first.
    ``emulated_headers`` are kept for later calls to the backend.
    """

    user: str = ""
    expire_at: int = 0
    info: Raw = EMPTY
    data: Raw = EMPTY
    meta: Raw = EMPTY
    subs: dict[str, SubscribeOptions] = {}
    server_side_refresh: bool = False
    exclusive: str = ""
    emulated_headers: Mapping[str, str] = {}


class Expiry(Value, frozen=True):
    """The result of refreshing a connection or subscription.

    ``expire_at`` 0: never.  ``info`` and ``meta`` replace what was there, unless
    absent.  ``channels``, if given, are those the client's new token subscribes
    it to.
    """

    expired: bool = False
    expire_at: int = 0
    info: Raw = EMPTY
    meta: Raw = EMPTY
    channels: frozenset[str] | None = None


class NodeOptions(Value, frozen=True):
    """The settings of a node (configuration rules, "Client options").

    A negative ``pong_timeout`` waits for no pong, a negative ``ping_interval``
    sends no ping, a negative ``position_check_delay`` checks no position.
    ``disconnects`` says by code what connect errors become for clients that get no
    replies, where it is not what the protocol says.
    """

    name: str = ""
    version: str = ""
    ping_interval: Duration = 25.0
    pong_timeout: Duration = 8.0
    stale_close_delay: Duration = 10.0
    expired_close_delay: Duration = 25.0
    expired_sub_close_delay: Duration = 25.0
    presence_update_interval: Duration = 27.0
    position_check_delay: Duration = 40.0
    position_max_time_lag: Duration = 0.0
    channel_limit: int = 128
    channel_max_length: int = 255
    user_connection_limit: int = 0
    concurrency: int = 1
    queue_max_size: int = 1048576
    recovery_limit: int = 300
    include_server_time: bool = False
    metrics_interval: Duration = 60.0
    recovered_publications_histogram: bool = False
    broadcast_slice: int = 1000
    disconnects: Mapping[int, Disconnect] = {}

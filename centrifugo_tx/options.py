"""The values that the core, engines, policies and APIs exchange.

Seconds are ``float`` (points in time: seconds since 1970), sizes are bytes,
payloads are ``Raw``.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Literal, Protocol

import msgspec
from twisted.internet.defer import Deferred

from .protocol.codes import Disconnect
from .protocol.messages import EMPTY, ClientInfo, Publication, Raw, StreamPosition

__all__ = [
    "NOWHERE",
    "Admission",
    "Answer",
    "BoolValue",
    "ChannelOptions",
    "Departures",
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
    "Proof",
    "PublishOptions",
    "Published",
    "ReceiptQuery",
    "ReceiptState",
    "Receipts",
    "Source",
    "SubscribeOptions",
    "SubscribeOverride",
    "SubscriptionStream",
    "TLSOptions",
    "TransportInfo",
    "UserReceipt",
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
    """Authorities that a server trusts; if set, clients must present a certificate."""
    insecure_skip_verify: bool = False
    """Accept any certificate of the server, as a client."""
    server_name: str = ""
    """Name that a client expects in the server's certificate; empty: the host name."""


class TransportInfo(Value, frozen=True):
    """Facts about the transport of a client.

    ``name`` is the name of the transport (``websocket``, ``uni_sse``, …), and
    ``headers`` are the request headers that the configuration keeps, in lower case.
    ``emulated``: commands arrive in separate requests, so the client needs a session.
    ``pings``: the server sends pings of the client protocol.  ``version`` is that of
    the client protocol; 0 while it is unknown.
    """

    name: str = "websocket"
    protocol: Literal["json", "protobuf"] = "json"
    unidirectional: bool = False
    emulated: bool = False
    pings: bool = True
    headers: Mapping[str, tuple[str, ...]] = {}
    version: int = 0


class Answer(Value, frozen=True):
    """The response of an HTTP endpoint."""

    status: int = 200
    body: bytes = b""
    content_type: str = ""
    headers: tuple[tuple[bytes, bytes], ...] = ()


class MapRules(Value, frozen=True):
    """The rules of a map (client protocol, "Maps").

    ``stream_size`` 0: changes are not kept, so nothing can be recovered.  ``key_ttl``
    0: keys never expire; ``meta_ttl`` 0: the map's position never expires. Subscribers
    read the state in pages.  When they go live they get at most ``live_limit`` changes,
    and must do so within ``catch_up`` seconds (negative: no limit). ``own_keys``: a key
    that is a client's id is removed when that client leaves.
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
    """The rules for polling a channel's keys (client protocol, "Shared poll").

    ``interval`` is the time between two polls of a key, ``batch`` the number of keys in
    one poll, ``max_keys`` the number of keys that one client may track. ``versioned``:
    the application supplies versions.  The channel is kept for ``linger`` seconds after
    its last subscriber has left, and a key's signature is accepted for ``grace``
    seconds after it has expired.  ``publish``: the server API may set keys.
    """

    interval: float = 10.0
    batch: int = 1000
    max_keys: int = 5000
    versioned: bool = False
    linger: float = 1.0
    grace: float = 25.0
    publish: bool = False


class Polled(Value, frozen=True):
    """The application's response to a poll: keys with data and version, or removed.

    Unchanged keys may be omitted.
    """

    items: list[Publication] = []
    epoch: str = ""


class PresenceMaps(Value, frozen=True):
    """The maps that mirror the presence of a channel.

    The name of each map is one of these prefixes followed by the channel's name; an
    empty prefix means no map.  The keys of ``clients`` are client ids, those of
    ``users`` user ids.
    """

    clients: str = ""
    users: str = ""


class ChannelOptions(Value, frozen=True):
    """The options of a channel, taken from its namespace.

    ``map`` is set if the channel is a map, ``poll`` if its keys are polled.
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
    receipts: bool = False
    receipts_ping: bool = False
    namespace: str = ""

    @property
    def receipts_ttl(self) -> float:
        """For how long the engine keeps what departed users had received; 0: not."""
        return self.history_ttl if self.receipts else 0.0

    @property
    def history(self) -> bool:
        """Whether the channel keeps history (engines, "Publish options")."""
        return self.history_size > 0 and self.history_ttl > 0


class PublishOptions(Value, frozen=True):
    """The options of a publish (engines, "Publish options").

    History requires both ``history_size`` and ``history_ttl``; ``history_meta_ttl`` 0
    selects the engine's default.  A positive ``version`` drops publications that are
    not newer.  ``data`` replaces the publisher's payload.  ``key`` and ``epoch`` are
    those of a polled key.
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

    If ``suppressed`` is ``"idempotency"`` or ``"version"``, nothing was published, and
    ``position`` is the earlier result or the top.
    """

    position: StreamPosition = NOWHERE
    suppressed: Literal["", "idempotency", "version"] = ""


class HistoryQuery(Value, frozen=True):
    """The part of a stream to read (engines, "Reading history").

    ``limit`` 0: only the position; -1: all publications.  The publication at ``since``
    is not included.
    """

    limit: int = 0
    since: StreamPosition | None = None
    reverse: bool = False
    meta_ttl: float = 0.0


class History(Value, frozen=True):
    """Part of a stream, and the newest position."""

    publications: list[Publication] = []
    position: StreamPosition = NOWHERE


class Proof(Value, frozen=True):
    """What a subscriber has received of a stream for sure.

    These are the publications after ``floor`` up to ``received``, in the stream of
    ``epoch``.  ``at`` is when the last pong came; 0: there was none.
    """

    epoch: str = ""
    floor: int = 0
    received: int = 0
    at: float = 0.0


class Departures(Value, frozen=True):
    """The proofs of users that have left; ``cursor`` continues, empty at the end."""

    users: Mapping[str, Proof] = {}
    cursor: str = ""


class ReceiptQuery(Value, frozen=True):
    """The publication whose receipts are requested, and the page of users.

    An empty ``epoch`` means any.  ``users`` are the users of interest; empty: all.
    ``limit`` 0: only the counts.
    """

    channel: str = ""
    offset: int = 0
    epoch: str = ""
    users: tuple[str, ...] = ()
    limit: int = 0
    cursor: str = ""


#: ``received``: it is proved.  ``pending``: connected, not proved yet.  ``away``: left
#: without having received it.  ``unknown``: its transport has no pongs.  ``missed``: it
#: subscribed after the publication, without recovering it.
ReceiptState = Literal["received", "pending", "away", "unknown", "missed"]


class UserReceipt(Value, frozen=True):
    """The receipt of one user; ``offset`` and ``at`` are those of its proof."""

    user: str
    state: ReceiptState
    offset: int = 0
    at: float = 0.0


class Receipts(Value, frozen=True):
    """How many users are in each state, and a page of users in order of their ids."""

    counts: Mapping[ReceiptState, int] = {}
    users: list[UserReceipt] = []
    cursor: str = ""


class MapChange(Value, frozen=True):
    """How to set or remove a key.

    A change has no effect in these cases: ``version`` is positive and not newer than
    that of the key; ``key_mode`` is ``if_new`` and the key exists, or ``if_exists`` and
    it does not; ``expected`` is set and the key's last change has another position.
    ``renew``: a change that ``if_new`` suppresses still renews the TTL of the key.
    ``idempotent_result_ttl`` 0 selects the broker's default.  ``data`` replaces the
    publisher's value.
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

    ``current`` is the value of the key if it was not at the expected position.
    """

    position: StreamPosition = NOWHERE
    suppressed: Suppression = ""
    current: Publication | None = None


class MapQuery(Value, frozen=True):
    """The part of a map's state to read.

    ``limit`` 0: only the position; -1: all entries.  ``cursor`` comes from the previous
    page.  ``key`` selects one entry and overrides the rest.  ``streamless``: the map
    keeps no changes, and so has no position.
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


class SubscriptionStream(Protocol):
    """A backend's stream for a subscriber (event proxies, "Subscription streams")."""

    def follow(
        self,
        deliver: Callable[[bytes, dict[str, str]], None],
        ended: Callable[[bool], None],
    ) -> None:
        """Call *deliver* with data and tags of each publication from now on.

        *ended* is called when the backend ends the stream: True if it has completed,
        False after an error.
        """

    def publish(self, data: Raw) -> "Deferred[None]":
        """Send a publication of the client; fails with `ReplyError`."""

    def close(self) -> None:
        """End the stream; may be called twice."""


class SubscribeOptions(Value, frozen=True):
    """The permissions and settings of one subscription, after all decisions.

    ``expire_at`` 0 never expires.  ``info`` becomes ``chan_info``, and ``data`` is sent
    in the subscribe reply.  ``presence`` and ``join_leave`` make this subscriber
    visible to others; ``push_join_leave`` lets it see others.  ``auto_recover`` treats
    every subscribe as if it requested recovery (cache mode).  ``stream`` brings further
    publications for this subscriber alone.  ``receipts_ttl`` is for how many seconds
    the engine remembers what a user had received when it left; 0: no receipts.
    With ``receipts_ping`` every publication asks for them.
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
    stream: SubscriptionStream | None = None
    receipts_ttl: float = 0.0
    receipts_ping: bool = False


class BoolValue(Value, frozen=True):
    """A boolean that may be absent."""

    value: bool = False


class SubscribeOverride(Value, frozen=True):
    """Options that a token or a backend sets for one subscription.

    None keeps the value of the namespace.
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

    ``expire_at`` 0: never.  ``info`` and ``meta`` replace the previous values unless
    they are absent.  ``channels``, if given, are the server-side subscriptions of the
    client's new token.
    """

    expired: bool = False
    expire_at: int = 0
    info: Raw = EMPTY
    meta: Raw = EMPTY
    channels: frozenset[str] | None = None


class NodeOptions(Value, frozen=True):
    """The settings of a node (configuration rules, "Client options").

    Negative values disable: ``pong_timeout`` the wait for pongs, ``ping_interval``
    pings, ``position_check_delay`` position checks.  ``disconnects`` maps codes of
    connect errors to the disconnects that clients without replies receive, where these
    differ from the protocol's.
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

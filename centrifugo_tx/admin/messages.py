"""The requests of the admin page, and the responses.

Pages have at most `LIMIT` rows, sorted by name; ``after`` is the last name of the
previous page, empty for the first page.  Points in time are seconds since 1970.
"""

from typing import Annotated

import msgspec

from ..protocol.messages import Raw

__all__ = [
    "LIMIT",
    "ChannelDetails",
    "ChannelRequest",
    "ChannelRow",
    "ChannelsPage",
    "ChannelsRequest",
    "ConnectionDetails",
    "ConnectionRequest",
    "ConnectionRow",
    "ConnectionsPage",
    "ConnectionsRequest",
    "Measures",
    "NodeSamples",
    "NodeState",
    "NodesRequest",
    "NodesResult",
    "PresencePage",
    "PresenceRequest",
    "PresenceRow",
    "Sample",
    "SamplesRequest",
    "SamplesResult",
    "SubscriptionRow",
]

#: Rows of the largest page.
LIMIT = 500

_Limit = Annotated[int, msgspec.Meta(ge=1, le=LIMIT)]
_Text = Annotated[str, msgspec.Meta(max_length=4096)]


class Request(msgspec.Struct, frozen=True):
    """A question of the page."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Base class of responses; nodes also answer each other with them."""


class NodesRequest(Request, frozen=True):
    """Which nodes are there, and how are they?"""


class Measures(Answer, frozen=True, kw_only=True):
    """The resources and messages of a node since its start; ``lag_seconds`` is
    current.
    """

    cpu_seconds: float
    memory_bytes: int
    lag_seconds: float
    sent: int
    sent_bytes: int
    received: int
    published: int


class NodeState(Answer, frozen=True, kw_only=True):
    """One node; ``measures`` is None if it does not answer such questions."""

    uid: str
    name: str
    version: str
    num_clients: int
    num_users: int
    num_channels: int
    num_subs: int
    uptime: int
    measures: Measures | None = None


class NodesResult(Answer, frozen=True, kw_only=True):
    """All nodes, and when this was true."""

    time: float
    answered_by: str
    nodes: list[NodeState]


class SamplesRequest(Request, frozen=True):
    """How were the nodes in the last quarter of an hour?"""


class Sample(Answer, frozen=True, kw_only=True):
    """A node at one time; times are multiples of five seconds."""

    time: float
    num_clients: int
    num_subs: int
    measures: Measures


class NodeSamples(Answer, frozen=True, kw_only=True):
    """The samples of one node, the oldest first."""

    samples: list[Sample]


class SamplesResult(Answer, frozen=True, kw_only=True):
    """The samples of all nodes that answer such questions, by the id of the node."""

    nodes: dict[str, NodeSamples]


class ChannelsRequest(Request, frozen=True):
    """Which channels have subscribers?  ``pattern`` is a glob, empty: any."""

    prefix: _Text = ""
    pattern: _Text = ""
    after: _Text = ""
    limit: _Limit = 50


class ChannelRow(Answer, frozen=True, kw_only=True):
    """A channel and its subscribers on all nodes."""

    name: str
    num_clients: int


class ChannelsPage(Answer, frozen=True, kw_only=True):
    """One page of channels.

    ``matched`` is how many match, on whichever page; with several nodes, of which two
    can have the same channel, it is the sum of all, and not ``exact``.  ``silent`` are
    the names of nodes that do not answer such questions.
    """

    channels: list[ChannelRow]
    matched: int
    more: bool
    exact: bool = True
    silent: list[str] = []


class ChannelRequest(Request, frozen=True):
    """Request the details of a channel."""

    channel: _Text


class ChannelDetails(Answer, frozen=True, kw_only=True):
    """The options of a channel, and its subscribers on all nodes."""

    channel: str
    num_clients: int
    kind: str
    presence: bool
    join_leave: bool
    history_size: int
    history_ttl: float
    recovery: bool


class PresenceRequest(Request, frozen=True):
    """Request the clients in a channel; ``user``: only connections of this user."""

    channel: _Text
    user: _Text = ""
    after: _Text = ""
    limit: _Limit = 50


class PresenceRow(Answer, frozen=True, kw_only=True):
    """One connection in a channel."""

    client: str
    user: str
    conn_info: Raw
    chan_info: Raw


class PresencePage(Answer, frozen=True, kw_only=True):
    """One page of the clients, the number that match, and the number of all."""

    rows: list[PresenceRow]
    matched: int
    total: int
    more: bool


class ConnectionsRequest(Request, frozen=True):
    """Which connections are there, by user and the beginning of their id?"""

    user: _Text = ""
    client: _Text = ""
    after: _Text = ""
    limit: _Limit = 50


class ConnectionRow(Answer, frozen=True, kw_only=True):
    """One connection; ``since`` is when it connected."""

    client: str
    user: str
    node: str
    transport: str
    since: float
    num_subs: int


class ConnectionsPage(Answer, frozen=True, kw_only=True):
    """One page of connections; ``matched`` counts those of all pages."""

    connections: list[ConnectionRow]
    matched: int
    more: bool
    silent: list[str] = []


class ConnectionRequest(Request, frozen=True):
    """Request the details of a connection."""

    client: _Text


class SubscriptionRow(Answer, frozen=True, kw_only=True):
    """One channel of a connection."""

    channel: str
    server_side: bool
    positioned: bool
    recoverable: bool
    presence: bool
    expire_at: int


class ConnectionDetails(Answer, frozen=True, kw_only=True):
    """One connection, with the first 1,000 of its subscriptions.

    ``address`` is that of the proxy behind which the server runs, if any; ``library``
    and ``library_version`` come from the client.
    """

    client: str
    user: str
    node: str
    session: str
    transport: str
    protocol: str
    protocol_version: int
    unidirectional: bool
    address: str = ""
    library: str = ""
    library_version: str = ""
    since: float
    expire_at: int
    info: Raw
    num_subs: int
    subscriptions: list[SubscriptionRow]

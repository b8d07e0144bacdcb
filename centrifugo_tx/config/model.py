"""The option tree, with the names, types and defaults of the reference.

The part of the server that owns a section defines it; the other sections are defined in
neighboring modules.  A new section is a class with a docstring below each field, and
one line in `Config`.  Options that have no effect here, or are refused, are listed in
`unsupported`.
"""

from ..access.namespaces import NamespaceOptions
from ..access.tokens import TokenOptions
from ..admin import AdminOptions
from ..api.http import HTTPAPIOptions
from ..options import Duration
from ..proxies import ProxyOptions
from ..transports.overload import OverloadOptions
from ..transports.uni_grpc import UniGRPCOptions
from ..transports.uni_http_stream import UniHTTPStreamOptions
from ..transports.uni_sse import UniSSEOptions
from ..transports.websocket import WebSocketOptions
from .backends import (
    BrokerOptions,
    ControllerOptions,
    EngineOptions,
    MapBrokerOptions,
    PresenceManagerOptions,
    SharedPollOptions,
)
from .consumers import Consumer
from .proxies import ChannelProxies, ClientProxies, NamedProxy
from .servers import (
    DebugOptions,
    GraphiteOptions,
    GRPCAPIOptions,
    HealthOptions,
    HTTPServerOptions,
    InitOptions,
    LogOptions,
    NodeSection,
    OpenTelemetryOptions,
    PrometheusOptions,
    Section,
    ShutdownOptions,
    SwaggerOptions,
    UsageStatsOptions,
)
from .transport_sections import (
    CodeToDisconnectTransforms,
    EmulationOptions,
    HTTPStreamOptions,
    SSEOptions,
    UniWebSocketSection,
    WebTransportOptions,
)

__all__ = [
    "ChannelSection",
    "ClientSection",
    "Config",
    "NamedNamespaceOptions",
    "PersonalChannelOptions",
    "RPCNamespace",
    "RPCOptions",
    "RPCPingOptions",
    "RPCSection",
    "SubscriptionTokenOptions",
    "WebSocketSection",
]


class SubscriptionTokenOptions(TokenOptions, frozen=True):
    """Verification of subscription tokens, when it differs from connection tokens."""

    enabled: bool = False
    """Use this section; no option of ``client.token`` applies then."""


class PersonalChannelOptions(Section, frozen=True):
    """A personal channel for every user."""

    enabled: bool = False
    """Subscribe each connection to the personal channel of its user."""
    personal_channel_namespace: str = ""
    """Namespace of personal channels."""
    single_connection: bool = False
    """Close the user's other connections on a new one; requires presence in the
    personal channel."""


class ClientSection(Section, frozen=True):
    """Client connections."""

    proxy: ClientProxies = ClientProxies()
    """Backends that decide about connections."""
    allowed_origins: tuple[str, ...] = ()
    """Patterns of allowed origins of browsers; ``*`` matches any run of characters.
    Empty: only clients without an ``Origin`` header may connect."""
    token: TokenOptions = TokenOptions()
    """Verification of connection tokens."""
    subscription_token: SubscriptionTokenOptions = SubscriptionTokenOptions()
    """Verification of subscription tokens, when it differs from connection tokens."""
    allow_anonymous_connect_without_token: bool = False
    """Treat a client without a token as the anonymous user."""
    disallow_anonymous_connection_tokens: bool = False
    """Refuse connection tokens without a user."""
    ping_interval: Duration = 25.0
    """Interval between pings; must be greater than ``pong_timeout``."""
    pong_timeout: Duration = 8.0
    """Timeout of a pong; negative: do not wait for pongs."""
    expired_close_delay: Duration = 25.0
    """How long an expired connection may still be refreshed before it is closed."""
    expired_sub_close_delay: Duration = 25.0
    """How long an expired subscription may still be refreshed before it ends."""
    stale_close_delay: Duration = 10.0
    """How long a connection may stay open without a connect command."""
    channel_limit: int = 128
    """Maximum number of channels per connection."""
    queue_max_size: int = 1048576
    """Bytes that may be queued for a slow client before its connection is closed."""
    presence_update_interval: Duration = 27.0
    """Interval between renewals of a presence entry."""
    concurrency: int = 0
    """Commands of one client that may wait for a backend concurrently; 0 and 1: one."""
    channel_position_check_delay: Duration = 40.0
    """Interval between checks of a channel's position against the broker."""
    channel_position_max_time_lag: Duration = 0.0
    """Maximum lag of a publication; beyond it, positioned subscribers must recover; 0:
    no limit."""
    connection_limit: int = 0
    """Maximum number of connections of this node; 0: no limit."""
    user_connection_limit: int = 0
    """Maximum number of connections of one user on this node; 0: no limit."""
    connection_rate_limit: int = 0
    """Maximum number of new connections per second; 0: no limit."""
    connect_include_server_time: bool = False
    """Include the server's time in the connect reply."""
    history_max_publication_limit: int = 300
    """Maximum number of publications in the result of a client's history call."""
    recovery_max_publication_limit: int = 300
    """Maximum number of publications that a recovery may return."""
    insecure_skip_token_signature_verify: bool = False
    """Accept tokens with any signature; for development only."""
    user_id_http_header: str = ""
    """Header that holds the user id, set by a trusted proxy in front of the server."""
    insecure: bool = False
    """Allow every client everything; for development only."""
    subscribe_to_user_personal_channel: PersonalChannelOptions = (
        PersonalChannelOptions()
    )
    """A personal channel for every user."""
    connect_code_to_unidirectional_disconnect: CodeToDisconnectTransforms = (
        CodeToDisconnectTransforms()
    )
    """Disconnects in place of connect errors, for unidirectional transports."""


class WebSocketSection(WebSocketOptions, frozen=True, kw_only=True):
    """The WebSocket transport."""

    read_buffer_size: int = 0
    """Accepted for compatibility; has no effect."""
    use_write_buffer_pool: bool = False
    """Accepted for compatibility; has no effect."""
    write_buffer_size: int = 0
    """Accepted for compatibility; has no effect."""


class NamedNamespaceOptions(NamespaceOptions, frozen=True):
    """The options of channels whose names begin with the namespace."""

    name: str = ""
    """Name of the namespace."""


class ChannelSection(Section, frozen=True):
    """Channels."""

    proxy: ChannelProxies = ChannelProxies()
    """The backends named ``default``, by event."""
    without_namespace: NamespaceOptions = NamespaceOptions()
    """The options of channels without a namespace."""
    namespaces: tuple[NamedNamespaceOptions, ...] = ()
    """The options of other channels, by namespace; namespaces inherit nothing."""
    history_meta_ttl: Duration = 2592000.0
    """How long an unused channel keeps its offset and epoch, in whole seconds.  Until
    then each channel takes about 420 bytes of the memory engine."""
    publication_data_format: str = ""
    """Format of publications, unless the namespace sets one: empty, ``json``,
    ``json_object`` or ``binary``."""
    max_length: int = 255
    """Maximum size of a channel name, in bytes."""
    private_prefix: str = "$"
    """Prefix of the channels that require a subscription token."""
    namespace_boundary: str = ":"
    """Separates the namespace from the rest of a channel name."""
    user_boundary: str = "#"
    """Starts the list of users in a channel name."""
    user_separator: str = ","
    """Separates the users in that list."""


class RPCOptions(Section, frozen=True):
    """RPC calls to the backend."""

    proxy_enabled: bool = False
    """Forward calls to the backend."""
    proxy_name: str = "default"
    """Name of the backend."""


class RPCNamespace(RPCOptions, frozen=True):
    """The options of methods whose names begin with the namespace."""

    name: str = ""
    """Name of the namespace."""


class RPCPingOptions(Section, frozen=True):
    """A method that the server itself answers with empty data."""

    enabled: bool = False
    """Enable the method."""
    method: str = "ping"
    """Name of the method."""


class RPCSection(Section, frozen=True):
    """RPC calls of clients."""

    proxy: ProxyOptions = ProxyOptions()
    """The backend named ``default``."""
    without_namespace: RPCOptions = RPCOptions()
    """The options of methods without a namespace."""
    namespaces: tuple[RPCNamespace, ...] = ()
    """The options of other methods, by namespace."""
    ping: RPCPingOptions = RPCPingOptions()
    """A method that the server itself answers."""
    namespace_boundary: str = ":"
    """Separates the namespace from the rest of a method name."""


class Config(Section, frozen=True):
    """All options of the server."""

    http_server: HTTPServerOptions = HTTPServerOptions()
    """Addresses and ports of the server."""
    log: LogOptions = LogOptions()
    """Level and destination of the log."""
    engine: EngineOptions = EngineOptions()
    """The engine: broker and presence manager in one."""
    broker: BrokerOptions = BrokerOptions()
    """A broker other than the engine's."""
    presence_manager: PresenceManagerOptions = PresenceManagerOptions()
    """A presence manager other than the engine's."""
    map_broker: MapBrokerOptions = MapBrokerOptions()
    """The broker of map channels."""
    controller: ControllerOptions = ControllerOptions()
    """A controller, which carries messages between nodes, other than the engine's."""
    shared_poll: SharedPollOptions = SharedPollOptions()
    """Shared polling."""
    client: ClientSection = ClientSection()
    """Client connections."""
    channel: ChannelSection = ChannelSection()
    """Channels."""
    rpc: RPCSection = RPCSection()
    """RPC calls of clients."""
    proxies: tuple[NamedProxy, ...] = ()
    """Backends that namespaces refer to by name."""
    http_api: HTTPAPIOptions = HTTPAPIOptions()
    """The server API over HTTP."""
    grpc_api: GRPCAPIOptions = GRPCAPIOptions()
    """The server API over gRPC."""
    consumers: tuple[Consumer, ...] = ()
    """Consumers: queues from which API commands are read."""
    websocket: WebSocketSection = WebSocketSection()
    """The WebSocket transport."""
    sse: SSEOptions = SSEOptions()
    """The SSE transport."""
    http_stream: HTTPStreamOptions = HTTPStreamOptions()
    """The HTTP streaming transport."""
    webtransport: WebTransportOptions = WebTransportOptions()
    """The WebTransport transport."""
    uni_sse: UniSSEOptions = UniSSEOptions()
    """The unidirectional SSE transport."""
    uni_http_stream: UniHTTPStreamOptions = UniHTTPStreamOptions()
    """The unidirectional HTTP streaming transport."""
    uni_websocket: UniWebSocketSection = UniWebSocketSection()
    """The unidirectional WebSocket transport."""
    uni_grpc: UniGRPCOptions = UniGRPCOptions()
    """The unidirectional gRPC transport."""
    emulation: EmulationOptions = EmulationOptions()
    """The endpoint that receives commands of SSE and HTTP streaming clients."""
    admin: AdminOptions = AdminOptions()
    """The admin web interface."""
    prometheus: PrometheusOptions = PrometheusOptions()
    """The metrics endpoint."""
    health: HealthOptions = HealthOptions()
    """The health endpoint."""
    swagger: SwaggerOptions = SwaggerOptions()
    """The description of the HTTP API."""
    debug: DebugOptions = DebugOptions()
    """Diagnostics of the process."""
    init: InitOptions = InitOptions()
    """An endpoint for external probes."""
    opentelemetry: OpenTelemetryOptions = OpenTelemetryOptions()
    """Export of traces."""
    graphite: GraphiteOptions = GraphiteOptions()
    """Metrics pushed to Graphite."""
    usage_stats: UsageStatsOptions = UsageStatsOptions()
    """Statistics sent to the makers of Centrifugo; this server never sends any."""
    node: NodeSection = NodeSection()
    """This process as a node of a cluster."""
    workers: str = "1"
    """Number of processes that serve together as nodes of one cluster; ``auto``: one
    for each CPU core."""
    overload: OverloadOptions = OverloadOptions()
    """Refusal of new connections while a process is overloaded."""
    shutdown: ShutdownOptions = ShutdownOptions()
    """Graceful shutdown."""
    pid_file: str = ""
    """File to which the process id is written while the server runs."""
    enable_unreleased_features: bool = False
    """Enable unfinished features."""

"""The option tree: names, types and defaults as the reference has them.

Sections that a part of the server owns come from there; the others are defined
beside this module.  A new section is a class with a docstring below each field,
and one line in `Config`; what is accepted but not built yet is listed in
`pending`.
"""

from ..access.namespaces import NamespaceOptions
from ..access.tokens import TokenOptions
from ..admin import AdminOptions
from ..api.http import HTTPAPIOptions
from ..options import Duration
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
from .endpoints import (
    CodeToDisconnectTransforms,
    EmulationOptions,
    HTTPStreamOptions,
    SSEOptions,
    UniWebSocketSection,
    WebTransportOptions,
)
from .proxies import ChannelProxies, ClientProxies, NamedProxy, ProxyOptions
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
    """How subscription tokens are verified, when not as connection tokens are."""

    enabled: bool = False
    """Use this section; nothing is taken over from ``client.token``."""


class PersonalChannelOptions(Section, frozen=True):
    """A channel of its own for every user."""

    enabled: bool = False
    """Subscribe each connection of a user to the user's channel."""
    personal_channel_namespace: str = ""
    """Namespace of these channels."""
    single_connection: bool = False
    """Let a new connection close the user's former ones; needs presence there."""


class ClientSection(Section, frozen=True):
    """Connections of clients."""

    proxy: ClientProxies = ClientProxies()
    """The backends asked about connections."""
    allowed_origins: tuple[str, ...] = ()
    """Patterns of the origins that browsers may come from; ``*`` matches any run.
    Empty: none, so only clients without an ``Origin`` header."""
    token: TokenOptions = TokenOptions()
    """How tokens are verified."""
    subscription_token: SubscriptionTokenOptions = SubscriptionTokenOptions()
    """How subscription tokens are verified, when not as connection tokens are."""
    allow_anonymous_connect_without_token: bool = False
    """A client without a token is the anonymous user."""
    disallow_anonymous_connection_tokens: bool = False
    """Refuse tokens without a user."""
    ping_interval: Duration = 25.0
    """Time between pings; longer than ``pong_timeout``."""
    pong_timeout: Duration = 8.0
    """How long to wait for a pong; negative: do not."""
    expired_close_delay: Duration = 25.0
    """How long an expired connection may still be refreshed."""
    expired_sub_close_delay: Duration = 25.0
    """How long an expired subscription may still be refreshed."""
    stale_close_delay: Duration = 10.0
    """How long a connection may stay without a connect command."""
    channel_limit: int = 128
    """Channels per connection."""
    queue_max_size: int = 1048576
    """Bytes that may wait for a slow client before it is closed."""
    presence_update_interval: Duration = 27.0
    """Time between renewals of a presence entry."""
    concurrency: int = 0
    """Commands of one client that may wait for a backend at a time; 0 and 1: one."""
    channel_position_check_delay: Duration = 40.0
    """Time between checks of a channel's position against the storage."""
    channel_position_max_time_lag: Duration = 0.0
    """Lag of a publication at which its subscribers lose their place; 0: none."""
    connection_limit: int = 0
    """Connections of this node; 0: no limit."""
    user_connection_limit: int = 0
    """Connections of one user on this node; 0: no limit."""
    connection_rate_limit: int = 0
    """New connections per second; 0: no limit."""
    connect_include_server_time: bool = False
    """Tell the time in the connect reply."""
    history_max_publication_limit: int = 300
    """Publications that a client gets by one history call."""
    recovery_max_publication_limit: int = 300
    """Publications that a recovery may bring."""
    insecure_skip_token_signature_verify: bool = False
    """Take tokens with any signature; for development only."""
    user_id_http_header: str = ""
    """Header that says who the user is; for a trusted proxy in front."""
    insecure: bool = False
    """Let everybody do everything; for development only."""
    subscribe_to_user_personal_channel: PersonalChannelOptions = (
        PersonalChannelOptions()
    )
    """A channel of its own for every user."""
    connect_code_to_unidirectional_disconnect: CodeToDisconnectTransforms = (
        CodeToDisconnectTransforms()
    )
    """Connect errors as disconnects, for unidirectional transports."""


class WebSocketSection(WebSocketOptions, frozen=True, kw_only=True):
    """Clients on WebSocket."""

    read_buffer_size: int = 0
    """Accepted for compatibility."""
    use_write_buffer_pool: bool = False
    """Accepted for compatibility."""
    write_buffer_size: int = 0
    """Accepted for compatibility."""


class NamedNamespaceOptions(NamespaceOptions, frozen=True):
    """The options of the channels whose names begin with a namespace."""

    name: str = ""
    """Name of the namespace."""


class ChannelSection(Section, frozen=True):
    """Channels."""

    proxy: ChannelProxies = ChannelProxies()
    """The backends of the name ``default``, by event."""
    without_namespace: NamespaceOptions = NamespaceOptions()
    """The options of the channels whose names have no namespace."""
    namespaces: tuple[NamedNamespaceOptions, ...] = ()
    """The options of the other channels, by namespace; nothing is inherited."""
    history_meta_ttl: Duration = 2592000.0
    """How long a channel's offset and epoch live without use; whole seconds.  Each
    channel name that was used takes some 420 bytes of the memory engine until then."""
    publication_data_format: str = ""
    """What clients may publish, where the namespace says nothing: empty, ``json``,
    ``json_object`` or ``binary``."""
    max_length: int = 255
    """Bytes that the name of a channel may have."""
    private_prefix: str = "$"
    """How the names of channels begin that need a subscription token."""
    namespace_boundary: str = ":"
    """What ends the namespace in the name of a channel."""
    user_boundary: str = "#"
    """What begins the list of users in the name of a channel."""
    user_separator: str = ","
    """What separates the users in this list."""


class RPCOptions(Section, frozen=True):
    """Calls of clients to the backend."""

    proxy_enabled: bool = False
    """Ask the backend."""
    proxy_name: str = "default"
    """Which one."""


class RPCNamespace(RPCOptions, frozen=True):
    """The options of the methods whose names begin with a namespace."""

    name: str = ""
    """Name of the namespace."""


class RPCPingOptions(Section, frozen=True):
    """A method that the server answers itself, with empty data."""

    enabled: bool = False
    """Answer it."""
    method: str = "ping"
    """Its name."""


class RPCSection(Section, frozen=True):
    """Calls of clients."""

    proxy: ProxyOptions = ProxyOptions()
    """The backend of the name ``default``."""
    without_namespace: RPCOptions = RPCOptions()
    """The options of the methods whose names have no namespace."""
    namespaces: tuple[RPCNamespace, ...] = ()
    """The options of the other methods, by namespace."""
    ping: RPCPingOptions = RPCPingOptions()
    """A method that the server answers itself."""
    namespace_boundary: str = ":"
    """What ends the namespace in the name of a method."""


class Config(Section, frozen=True):
    """All options of the server."""

    http_server: HTTPServerOptions = HTTPServerOptions()
    """Where the server listens."""
    log: LogOptions = LogOptions()
    """What is logged, and where to."""
    engine: EngineOptions = EngineOptions()
    """Broker and presence manager in one."""
    broker: BrokerOptions = BrokerOptions()
    """The broker, when it is not the engine's."""
    presence_manager: PresenceManagerOptions = PresenceManagerOptions()
    """The presence manager, when it is not the engine's."""
    map_broker: MapBrokerOptions = MapBrokerOptions()
    """The broker of channels that hold a map."""
    controller: ControllerOptions = ControllerOptions()
    """The bus between nodes, when it is not the engine's."""
    shared_poll: SharedPollOptions = SharedPollOptions()
    """Keys that clients poll together."""
    client: ClientSection = ClientSection()
    """Connections of clients."""
    channel: ChannelSection = ChannelSection()
    """Channels."""
    rpc: RPCSection = RPCSection()
    """Calls of clients."""
    proxies: tuple[NamedProxy, ...] = ()
    """Backends that namespaces refer to by name."""
    http_api: HTTPAPIOptions = HTTPAPIOptions()
    """The server API over HTTP."""
    grpc_api: GRPCAPIOptions = GRPCAPIOptions()
    """The server API over gRPC."""
    consumers: tuple[Consumer, ...] = ()
    """Queues from which API commands are taken."""
    websocket: WebSocketSection = WebSocketSection()
    """Clients on WebSocket."""
    sse: SSEOptions = SSEOptions()
    """Clients on event streams."""
    http_stream: HTTPStreamOptions = HTTPStreamOptions()
    """Clients on streaming responses."""
    webtransport: WebTransportOptions = WebTransportOptions()
    """Clients on WebTransport."""
    uni_sse: UniSSEOptions = UniSSEOptions()
    """Event streams on which only the server speaks."""
    uni_http_stream: UniHTTPStreamOptions = UniHTTPStreamOptions()
    """Streaming responses on which only the server speaks."""
    uni_websocket: UniWebSocketSection = UniWebSocketSection()
    """WebSocket on which only the server speaks."""
    uni_grpc: UniGRPCOptions = UniGRPCOptions()
    """gRPC streams on which only the server speaks."""
    emulation: EmulationOptions = EmulationOptions()
    """Commands of clients on event streams and streaming responses."""
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
    """An endpoint for probes from outside."""
    opentelemetry: OpenTelemetryOptions = OpenTelemetryOptions()
    """Export of traces."""
    graphite: GraphiteOptions = GraphiteOptions()
    """Metrics pushed to Graphite."""
    usage_stats: UsageStatsOptions = UsageStatsOptions()
    """Statistics sent to the makers of Centrifugo; this server never sends any."""
    node: NodeSection = NodeSection()
    """This process among the nodes of a cluster."""
    workers: str = "1"
    """Processes that serve together, each on a core, as nodes of one cluster;
    ``auto``: one for each core."""
    shutdown: ShutdownOptions = ShutdownOptions()
    """The graceful stop."""
    pid_file: str = ""
    """File that holds the process id while the server runs."""
    enable_unreleased_features: bool = False
    """Unlock features that are not finished."""

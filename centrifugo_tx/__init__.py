"""Centrifugo, the real-time messaging server, on Twisted.

``twistd centrifugo`` is the server; `Node` is the library under it, and `AsyncNode` its
form for asyncio.

Everything that a signature here mentions is exported here as well, or by one of these
modules: `centrifugo_tx.transports` has the resources for Twisted Web,
`centrifugo_tx.asgi` the ASGI application, `centrifugo_tx.testing` doubles for tests,
and `centrifugo_tx.messages` and `centrifugo_tx.options` the values that engines and
transports exchange.

Each name is imported when it is first used, so that a short command need not load the
server.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .core import (
        NodeInfo,
        SurveyFailed,
    )
    from .embedding import (
        AsyncNode,
        ClientInfo,
        History,
        MapChanges,
        MapEntry,
        MapState,
        MapUpdate,
        Node,
        Policy,
        Publication,
        PublishResult,
        SurveyHandler,
        from_json,
        to_json,
    )
    from .embedding.engines import redis_engine
    from .embedding.service import node_service
    from .engines import memory_engine
    from .engines.redis.options import (
        EngineRedisOptions,
        ReplicaClientOptions,
    )
    from .errors import (
        BrokerUnavailable,
        CentrifugoError,
        ConfigError,
        DisconnectClient,
        ReplyError,
    )
    from .interfaces import (
        Engine,
        IBroker,
        IBrokerEventHandler,
        IClient,
        IControlEventHandler,
        IController,
        IMapBroker,
        IMapEventHandler,
        IPolicy,
        IPresenceManager,
        IReceiptStore,
        ITransport,
    )
    from .options import (
        Admission,
        ChannelOptions,
        Departures,
        Expiry,
        HistoryQuery,
        MapChange,
        MapRules,
        NodeOptions,
        Polled,
        PollRules,
        PresenceMaps,
        PresenceStats,
        Proof,
        PublishOptions,
        Receipts,
        SubscribeOptions,
        SubscriptionStream,
        TLSOptions,
        TransportInfo,
        UserReceipt,
    )
    from .protocol.codes import (
        Disconnect,
        Error,
        Unsubscribe,
    )
    from .protocol.messages import (
        EMPTY,
        ConnectRequest,
        FilterNode,
        HistoryRequest,
        KeyedItem,
        Payload,
        PublishRequest,
        Raw,
        RefreshRequest,
        RPCRequest,
        StreamPosition,
        SubRefreshRequest,
        SubscribeRequest,
        TrackBatch,
    )
    from .typing import (
        Broker,
        BrokerEventHandler,
        Client,
        Clock,
        ControlEventHandler,
        Controller,
        Decision,
        DelayedCall,
        MapBroker,
        MapEventHandler,
        PolicyProtocol,
        PresenceManager,
        ReceiptStore,
        Transport,
    )

__all__ = [
    "EMPTY",
    "Admission",
    "AsyncNode",
    "Broker",
    "BrokerEventHandler",
    "BrokerUnavailable",
    "CentrifugoError",
    "ChannelOptions",
    "Client",
    "ClientInfo",
    "Clock",
    "ConfigError",
    "ConnectRequest",
    "ControlEventHandler",
    "Controller",
    "Decision",
    "DelayedCall",
    "Departures",
    "Disconnect",
    "DisconnectClient",
    "Engine",
    "EngineRedisOptions",
    "Error",
    "Expiry",
    "FilterNode",
    "History",
    "HistoryQuery",
    "HistoryRequest",
    "IBroker",
    "IBrokerEventHandler",
    "IClient",
    "IControlEventHandler",
    "IController",
    "IMapBroker",
    "IMapEventHandler",
    "IPolicy",
    "IPresenceManager",
    "IReceiptStore",
    "ITransport",
    "KeyedItem",
    "MapBroker",
    "MapChange",
    "MapChanges",
    "MapEntry",
    "MapEventHandler",
    "MapRules",
    "MapState",
    "MapUpdate",
    "Node",
    "NodeInfo",
    "NodeOptions",
    "Payload",
    "Policy",
    "PolicyProtocol",
    "PollRules",
    "Polled",
    "PresenceManager",
    "PresenceMaps",
    "PresenceStats",
    "Proof",
    "Publication",
    "PublishOptions",
    "PublishRequest",
    "PublishResult",
    "RPCRequest",
    "Raw",
    "ReceiptStore",
    "Receipts",
    "RefreshRequest",
    "ReplicaClientOptions",
    "ReplyError",
    "StreamPosition",
    "SubRefreshRequest",
    "SubscribeOptions",
    "SubscribeRequest",
    "SubscriptionStream",
    "SurveyFailed",
    "SurveyHandler",
    "TLSOptions",
    "TrackBatch",
    "Transport",
    "TransportInfo",
    "Unsubscribe",
    "UserReceipt",
    "from_json",
    "memory_engine",
    "node_service",
    "redis_engine",
    "to_json",
]

#: The public names, by the module that they come from.
_NAMES = {
    ".core": (
        "NodeInfo",
        "SurveyFailed",
    ),
    ".embedding": (
        "AsyncNode",
        "ClientInfo",
        "History",
        "MapChanges",
        "MapEntry",
        "MapState",
        "MapUpdate",
        "Node",
        "Policy",
        "Publication",
        "PublishResult",
        "SurveyHandler",
        "from_json",
        "to_json",
    ),
    ".embedding.engines": ("redis_engine",),
    ".embedding.service": ("node_service",),
    ".engines": ("memory_engine",),
    ".engines.redis.options": (
        "EngineRedisOptions",
        "ReplicaClientOptions",
    ),
    ".errors": (
        "BrokerUnavailable",
        "CentrifugoError",
        "ConfigError",
        "DisconnectClient",
        "ReplyError",
    ),
    ".interfaces": (
        "Engine",
        "IBroker",
        "IBrokerEventHandler",
        "IClient",
        "IControlEventHandler",
        "IController",
        "IMapBroker",
        "IMapEventHandler",
        "IPolicy",
        "IPresenceManager",
        "IReceiptStore",
        "ITransport",
    ),
    ".options": (
        "Admission",
        "ChannelOptions",
        "Departures",
        "Expiry",
        "HistoryQuery",
        "MapChange",
        "MapRules",
        "NodeOptions",
        "PollRules",
        "Polled",
        "PresenceMaps",
        "PresenceStats",
        "Proof",
        "PublishOptions",
        "Receipts",
        "SubscribeOptions",
        "SubscriptionStream",
        "TLSOptions",
        "TransportInfo",
        "UserReceipt",
    ),
    ".protocol.codes": (
        "Disconnect",
        "Error",
        "Unsubscribe",
    ),
    ".protocol.messages": (
        "EMPTY",
        "ConnectRequest",
        "FilterNode",
        "HistoryRequest",
        "KeyedItem",
        "Payload",
        "PublishRequest",
        "RPCRequest",
        "Raw",
        "RefreshRequest",
        "StreamPosition",
        "SubRefreshRequest",
        "SubscribeRequest",
        "TrackBatch",
    ),
    ".typing": (
        "Broker",
        "BrokerEventHandler",
        "Client",
        "Clock",
        "ControlEventHandler",
        "Controller",
        "Decision",
        "DelayedCall",
        "MapBroker",
        "MapEventHandler",
        "PolicyProtocol",
        "PresenceManager",
        "ReceiptStore",
        "Transport",
    ),
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import a public name from its module (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_HOMES[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""Centrifugo, the real-time messaging server, on Twisted.

``twistd centrifugo`` is the server; `Node` is the library under it.
"""

from .core import Client, Node, Policy
from .engines import memory_engine
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
    ITransport,
)
from .options import (
    Admission,
    ChannelOptions,
    Expiry,
    HistoryQuery,
    MapChange,
    MapRules,
    NodeOptions,
    Polled,
    PollRules,
    PublishOptions,
    SubscribeOptions,
)
from .protocol.codes import Disconnect, Error, Unsubscribe

__all__ = [
    "Admission",
    "BrokerUnavailable",
    "CentrifugoError",
    "ChannelOptions",
    "Client",
    "ConfigError",
    "Disconnect",
    "DisconnectClient",
    "Engine",
    "Error",
    "Expiry",
    "HistoryQuery",
    "IBroker",
    "IBrokerEventHandler",
    "IClient",
    "IControlEventHandler",
    "IController",
    "IMapBroker",
    "IMapEventHandler",
    "IPolicy",
    "IPresenceManager",
    "ITransport",
    "MapChange",
    "MapRules",
    "Node",
    "NodeOptions",
    "Policy",
    "PollRules",
    "Polled",
    "PublishOptions",
    "ReplyError",
    "SubscribeOptions",
    "Unsubscribe",
    "memory_engine",
]

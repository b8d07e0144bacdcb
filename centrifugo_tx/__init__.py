"""Centrifugo, the real-time messaging server, on Twisted.

``twistd centrifugo`` is the server; `Node` is the library under it.

Each name is imported when it is first used, so that a short command need not load the
server.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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

#: The module that each public name comes from.
_HOMES = {
    "Client": ".core",
    "Node": ".core",
    "Policy": ".core",
    "memory_engine": ".engines",
    "BrokerUnavailable": ".errors",
    "CentrifugoError": ".errors",
    "ConfigError": ".errors",
    "DisconnectClient": ".errors",
    "ReplyError": ".errors",
    "Engine": ".interfaces",
    "IBroker": ".interfaces",
    "IBrokerEventHandler": ".interfaces",
    "IClient": ".interfaces",
    "IControlEventHandler": ".interfaces",
    "IController": ".interfaces",
    "IMapBroker": ".interfaces",
    "IMapEventHandler": ".interfaces",
    "IPolicy": ".interfaces",
    "IPresenceManager": ".interfaces",
    "ITransport": ".interfaces",
    "Admission": ".options",
    "ChannelOptions": ".options",
    "Expiry": ".options",
    "HistoryQuery": ".options",
    "MapChange": ".options",
    "MapRules": ".options",
    "NodeOptions": ".options",
    "Polled": ".options",
    "PollRules": ".options",
    "PublishOptions": ".options",
    "SubscribeOptions": ".options",
    "Disconnect": ".protocol.codes",
    "Error": ".protocol.codes",
    "Unsubscribe": ".protocol.codes",
}


def __getattr__(name: str) -> object:
    """Import a public name from its module (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_HOMES[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""Calls to the application's backend about events (event proxies)."""

from .client import BackendFailed, ProxyClient
from .event_proxy import EventProxy
from .options import ProxyOptions
from .polling import Polling
from .registry import EventProxies

__all__ = [
    "BackendFailed",
    "EventProxies",
    "EventProxy",
    "Polling",
    "ProxyClient",
    "ProxyOptions",
]

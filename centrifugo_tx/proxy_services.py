"""Creates the proxies that a configuration uses."""

from typing import Any

from twisted.internet.defer import DeferredSemaphore

from .access.rpc_rules import RPCRules
from .config.model import Config
from .config.used_proxies import proxy_references
from .grpc.asyncio_bridge import AsyncioBridge
from .metrics import Metrics
from .proxies import EventProxies, Polling, ProxyOptions
from .proxy_messages import SHARED_POLL_REFRESH, ProxyEvent

__all__ = [
    "event_proxies",
    "forwarded_headers",
    "forwarded_metadata",
    "polling_backends",
    "rpc_rules",
    "used_proxies",
]

Used = dict[tuple[ProxyEvent, str], ProxyOptions]


def used_proxies(config: Config) -> Used:
    """Return the options of every proxy that is in use, by event and name."""
    return {
        (each.event, each.name): each.options
        for each in proxy_references(config)
        if each.enabled and each.options is not None
    }


def event_proxies(
    reactor: Any, config: Config, metrics: Metrics, bridge: AsyncioBridge
) -> EventProxies:
    """Return the proxies in use; calls over gRPC run on *bridge*.

    :raises ConfigError: an endpoint cannot be called.
    """
    proxies = EventProxies(reactor, metrics, bridge)
    proxies.add_all(
        (event, name, options)
        for (event, name), options in used_proxies(config).items()
    )
    return proxies


def polling_backends(
    config: Config, proxies: EventProxies, metrics: Metrics
) -> dict[str, Polling]:
    """Return the backends of shared poll keys, by the proxy name in namespaces."""
    turns = DeferredSemaphore(config.shared_poll.concurrency_limit or 64)
    found = {}
    for event, name in used_proxies(config):
        proxy = proxies.find(event, name)
        if event is SHARED_POLL_REFRESH and proxy is not None:
            found[name] = Polling(proxy, metrics, turns)
    return found


def forwarded_headers(config: Config) -> frozenset[str]:
    """Return the headers, in lower case, that transports keep for calls."""
    return frozenset(
        name.lower()
        for options in used_proxies(config).values()
        for name in options.http_headers
    )


def forwarded_metadata(config: Config) -> frozenset[str]:
    """Return the metadata keys that transports keep for calls."""
    return frozenset(
        name
        for options in used_proxies(config).values()
        for name in options.grpc_metadata
    )


def rpc_rules(config: Config) -> RPCRules:
    """Return which proxy answers which method."""
    rpc = config.rpc
    plain = rpc.without_namespace
    return RPCRules(
        rpc.namespace_boundary,
        plain.proxy_name if plain.proxy_enabled else None,
        {
            each.name: each.proxy_name if each.proxy_enabled else None
            for each in rpc.namespaces
        },
    )

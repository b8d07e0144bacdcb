"""Which proxies a configuration uses, and where."""

from collections.abc import Iterator

from attrs import frozen

from ..access.namespaces import NamespaceOptions
from ..proxies import ProxyOptions
from ..proxy_messages import (
    CONNECT,
    MAP_PUBLISH,
    MAP_REMOVE,
    PUBLISH,
    REFRESH,
    RPC,
    SHARED_POLL_REFRESH,
    SUB_REFRESH,
    SUBSCRIBE,
    SUBSCRIBE_STREAM,
    ProxyEvent,
)
from .model import Config

__all__ = ["ProxyReference", "channel_sections", "proxy_references"]

#: The proxy that belongs to an event, as namespaces name it.
DEFAULT = "default"


@frozen
class ProxyReference:
    """One place that names a proxy for an event.

    ``path`` is the option that holds the name.  ``where`` is the path of the proxy's
    own options, which are None if there is no proxy of this name.
    """

    path: str
    event: ProxyEvent
    enabled: bool
    name: str
    where: str
    options: ProxyOptions | None


def channel_sections(config: Config) -> Iterator[tuple[str, NamespaceOptions]]:
    """Yield every set of channel options, with its path."""
    yield "channel.without_namespace", config.channel.without_namespace
    for index, namespace in enumerate(config.channel.namespaces):
        yield f"channel.namespaces.[{index}]", namespace


def proxy_references(config: Config) -> Iterator[ProxyReference]:
    """Yield every place that names a proxy, whether or not it is enabled."""
    for event in (CONNECT, REFRESH):
        path = f"client.proxy.{event.name}"
        proxy = getattr(config.client.proxy, event.name)
        yield ProxyReference(path, event, proxy.enabled, DEFAULT, path, proxy)
    for path, event, enabled, name in (*_of_channels(config), *_of_methods(config)):
        yield ProxyReference(path, event, enabled, name, *_find(config, event, name))


def _find(
    config: Config, event: ProxyEvent, name: str
) -> tuple[str, ProxyOptions | None]:
    if name == DEFAULT:
        if event is RPC:
            return "rpc.proxy", config.rpc.proxy
        return f"channel.proxy.{event.name}", getattr(config.channel.proxy, event.name)
    for index, proxy in enumerate(config.proxies):
        if proxy.name == name:
            return f"proxies.[{index}]", proxy
    return "", None


_Place = tuple[str, ProxyEvent, bool, str]


def _of_channels(config: Config) -> Iterator[_Place]:
    for path, options in channel_sections(config):
        for event in (SUBSCRIBE, PUBLISH, SUB_REFRESH, SUBSCRIBE_STREAM):
            enabled = getattr(options, f"{event.name}_proxy_enabled")
            name = getattr(options, f"{event.name}_proxy_name")
            yield f"{path}.{event.name}_proxy_name", event, enabled, name
        own, poll = options.map, options.shared_poll
        name = own.publish_proxy_name
        yield (
            *(f"{path}.map.publish_proxy_name", MAP_PUBLISH),
            *(own.publish_proxy_enabled, name),
        )
        name = own.remove_proxy_name
        yield (
            *(f"{path}.map.remove_proxy_name", MAP_REMOVE),
            *(own.remove_proxy_enabled, name),
        )
        polled = options.subscription_type == "shared_poll"
        name = poll.proxy_name or DEFAULT
        yield f"{path}.shared_poll.proxy_name", SHARED_POLL_REFRESH, polled, name


def _of_methods(config: Config) -> Iterator[_Place]:
    rpc = config.rpc
    path = "rpc.without_namespace.proxy_name"
    yield (
        path,
        RPC,
        rpc.without_namespace.proxy_enabled,
        rpc.without_namespace.proxy_name,
    )
    for index, each in enumerate(rpc.namespaces):
        path = f"rpc.namespaces.[{index}].proxy_name"
        yield path, RPC, each.proxy_enabled, each.proxy_name

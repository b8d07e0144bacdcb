"""The sections of event proxies: calls to the application's backend."""

from ..proxies import ProxyOptions
from .servers import Section

__all__ = [
    "ChannelProxies",
    "ClientProxies",
    "EnabledProxy",
    "NamedProxy",
]


class EnabledProxy(ProxyOptions, frozen=True):
    """A backend that can be switched on."""

    enabled: bool = False
    """Call the backend."""


class NamedProxy(ProxyOptions, frozen=True):
    """A backend with a name."""

    name: str = ""
    """Name by which namespaces refer to the backend."""


class ClientProxies(Section, frozen=True):
    """Backends that decide about connections."""

    connect: EnabledProxy = EnabledProxy()
    """Authenticates a client that connects without a token."""
    refresh: EnabledProxy = EnabledProxy()
    """Decides whether an expiring connection may continue."""


class ChannelProxies(Section, frozen=True):
    """The backends named ``default``, by event."""

    subscribe: ProxyOptions = ProxyOptions()
    """Decides whether a client may subscribe."""
    publish: ProxyOptions = ProxyOptions()
    """Decides whether a client may publish."""
    sub_refresh: ProxyOptions = ProxyOptions()
    """Decides whether an expiring subscription may continue."""
    subscribe_stream: ProxyOptions = ProxyOptions()
    """Streams the publications of a channel."""
    map_publish: ProxyOptions = ProxyOptions()
    """Decides whether a client may set a key of a map."""
    map_remove: ProxyOptions = ProxyOptions()
    """Decides whether a client may remove a key of a map."""
    shared_poll_refresh: ProxyOptions = ProxyOptions()
    """Returns the polled keys that have changed."""

"""Which backend is asked about which event."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from attrs import define, field
from twisted.internet.defer import Deferred, gatherResults
from zope.interface import implementer

from ..errors import ConfigError
from ..grpc.asyncio_bridge import AsyncioBridge
from ..interfaces import IEventProxies
from ..metrics import Metrics
from ..proxy_messages import SHARED_POLL_REFRESH, SUBSCRIBE_STREAM, ProxyEvent
from .client import ProxyClient
from .event_proxy import EventProxy
from .headers import EmulatedHeaders
from .http import HTTPProxyClient
from .http_agent import HTTP_SCHEMES
from .options import ProxyOptions

__all__ = ["EventProxies", "make_client"]

#: The identity of a proxy: the name of its event, and its own name.
Key = tuple[str, str]


def make_client(
    reactor: Any, event: ProxyEvent, options: ProxyOptions, bridge: AsyncioBridge
) -> ProxyClient:
    """Return the client that an endpoint needs; those of gRPC run on *bridge*.

    :raises ConfigError: grpcio is not installed, and the endpoint needs it.
    """
    if options.endpoint.startswith(HTTP_SCHEMES):
        return HTTPProxyClient(reactor, options)
    try:
        from .grpc_channel import BridgedChannel
        from .grpc_client import GRPCProxyClient
        from .grpc_stream import GRPCStreamClient
    except ImportError as error:
        reason = f"endpoint: {options.endpoint!r} needs grpcio: {error}"
        raise ConfigError(reason) from None
    backend = BridgedChannel(bridge, options)
    if event is SUBSCRIBE_STREAM:
        return GRPCStreamClient(backend)
    return GRPCProxyClient(backend)


@implementer(IEventProxies)
@define(eq=False)
class EventProxies:
    """All proxies of a server, by event and name."""

    _reactor: Any
    _metrics: Metrics
    _bridge: AsyncioBridge
    _proxies: dict[Key, EventProxy] = field(factory=dict, init=False)
    _emulated: EmulatedHeaders = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._emulated = EmulatedHeaders(self._reactor, ())

    def add_all(self, wanted: Iterable[tuple[ProxyEvent, str, ProxyOptions]]) -> None:
        """Make a proxy for each event, name and options.

        :raises ConfigError: grpcio is not installed, and an endpoint needs it.
        """
        all_options = []
        for event, name, options in wanted:
            if event is SHARED_POLL_REFRESH:
                # A poll knows no meaning of statuses but success and failure.
                http = msgspec.structs.replace(
                    options.http, status_to_code_transforms=()
                )
                options = msgspec.structs.replace(options, http=http)
            all_options.append(options)
            self._proxies[event.name, name] = EventProxy(
                event,
                name,
                make_client(self._reactor, event, options, self._bridge),
                options,
                self._reactor,
                self._metrics,
            )
        self._emulated = EmulatedHeaders(self._reactor, all_options)

    def find(self, event: ProxyEvent, name: str = "default") -> EventProxy | None:
        """Return the proxy called *name* for an event; see `IEventProxies`."""
        return self._proxies.get((event.name, name))

    def keep_headers(self, given: Mapping[str, str]) -> Mapping[str, str]:
        """Return the emulated headers that any proxy forwards."""
        return self._emulated.keep(given)

    def stop(self) -> "Deferred[None]":
        """Close the connections to all backends."""
        self._emulated.stop()
        stopped = gatherResults([each.stop() for each in self._proxies.values()])
        return stopped.addCallback(lambda _: None)

"""Endpoints of Redis connections: TCP, TLS or Unix socket, direct or by Sentinel."""

from collections.abc import Callable
from random import choice, sample

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    UNIXClientEndpoint,
    wrapClientTLS,
)
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IReactorPluggableNameResolver,
    IReactorTCP,
    IReactorTime,
    IReactorUNIX,
    IStreamClientEndpoint,
)
from zope.interface import implementer

from ...client_tls import client_tls_creator
from ...errors import BrokerUnavailable
from .addresses import Login, ShardAddress, TCPAddress, UnixAddress
from .connection import CommandProtocol, PubSubProtocol, Refused
from .reconnecting import ReconnectingConnection

__all__ = [
    "ChoosingEndpoint",
    "IRedisReactor",
    "SentinelEndpoint",
    "endpoint",
    "require_master",
]


class IRedisReactor(
    IReactorTime, IReactorTCP, IReactorUNIX, IReactorPluggableNameResolver
):
    """The parts of a reactor that Redis connections need."""


def endpoint(
    reactor: IRedisReactor,
    address: TCPAddress | UnixAddress,
    login: Login,
    connect_timeout: float,
) -> IStreamClientEndpoint:
    """Return the endpoint of one server."""
    if isinstance(address, UnixAddress):
        return UNIXClientEndpoint(reactor, address.path, timeout=connect_timeout)
    plain = HostnameEndpoint(
        reactor, address.host, address.port, timeout=connect_timeout
    )
    if login.tls is None:
        return plain
    return wrapClientTLS(client_tls_creator(login.tls, address.host), plain)


@implementer(IStreamClientEndpoint)
@define(eq=False)
class ChoosingEndpoint:
    """Connects to one of several servers, chosen anew for each attempt.

    :param choose: returns the server to try next.
    """

    _choose: Callable[[], IStreamClientEndpoint]

    def connect(self, protocolFactory: IProtocolFactory) -> "Deferred[IProtocol]":
        """Connect to the next server."""
        return self._choose().connect(protocolFactory)


async def require_master(protocol: CommandProtocol) -> None:
    """Raise `BrokerUnavailable` if the server is not a master."""
    role = await protocol.send(b"ROLE")
    if role[0] != b"master":
        raise BrokerUnavailable(f"{protocol.name} is not a master")


@implementer(IStreamClientEndpoint)
@define(eq=False)
class SentinelEndpoint:
    """Asks the Sentinels for the address of the master, and connects to it.

    :param moved: called when the master has changed.
    """

    _reactor: IRedisReactor
    _address: ShardAddress
    _moved: Callable[[], None]
    _master: TCPAddress | None = field(default=None, init=False)

    def connect(self, protocolFactory: IProtocolFactory) -> "Deferred[IProtocol]":
        """Connect to the master."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        master, address = await self.find_master(), self._address
        found = endpoint(self._reactor, master, address.login, address.connect_timeout)
        return await found.connect(factory)

    async def find_master(self) -> TCPAddress:
        """Return the address of the master; call ``moved`` if it has changed.

        :raises BrokerUnavailable: no Sentinel knows the master.
        """
        master = await self._ask_sentinels()
        before, self._master = self._master, master
        if before not in (None, master):
            self._moved()
        return master

    async def _ask_sentinels(self) -> TCPAddress:
        reasons = []
        for node in sample(self._address.nodes, len(self._address.nodes)):
            try:
                return await self._ask_sentinel(node)
            except BrokerUnavailable as error:
                reasons.append(str(error))
        raise BrokerUnavailable("; ".join(reasons))

    async def _ask_sentinel(self, node: TCPAddress | UnixAddress) -> TCPAddress:
        connection = self._make_connection(node)
        try:
            await connection.start()
            name = self._address.master_name
            found = await connection.send(
                b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", name.encode()
            )
        finally:
            await connection.stop()
        if found is None:
            raise Refused(f"the Sentinel at {node} does not know the master {name!r}")
        return TCPAddress(found[0].decode(), int(found[1]))

    def _make_connection(
        self, node: TCPAddress | UnixAddress
    ) -> ReconnectingConnection[CommandProtocol]:
        reactor, io_timeout = self._reactor, self._address.io_timeout
        name = f"the Sentinel at {node}"
        return ReconnectingConnection(
            name,
            reactor,
            self._endpoint(node),
            self._address.sentinel_login,
            lambda lost: CommandProtocol(reactor, name, io_timeout, lost),
        )

    def events(
        self, receive: Callable[[list[tuple[bytes, bytes]]], None]
    ) -> ReconnectingConnection[PubSubProtocol]:
        """Return a connection on which a Sentinel announces new masters."""
        reactor, address = self._reactor, self._address
        name = f"a Sentinel of {address}"

        async def subscribe(protocol: PubSubProtocol) -> None:
            """Subscribe to announcements of new masters."""
            await protocol.subscribe([b"+switch-master"])

        return ReconnectingConnection(
            name,
            reactor,
            ChoosingEndpoint(lambda: self._endpoint(choice(address.nodes))),
            address.sentinel_login,
            lambda lost: PubSubProtocol(
                reactor, name, address.io_timeout, lost, receive
            ),
            subscribe,
        )

    def _endpoint(self, node: TCPAddress | UnixAddress) -> IStreamClientEndpoint:
        address = self._address
        return endpoint(
            self._reactor, node, address.sentinel_login, address.connect_timeout
        )

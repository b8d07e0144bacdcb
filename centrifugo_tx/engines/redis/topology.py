"""One shard: its connections for commands and for PUB/SUB."""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IDelayedCall, IStreamClientEndpoint
from twisted.logger import Logger

from ...errors import BrokerUnavailable
from .addresses import ShardAddress, TCPAddress
from .cluster import Cluster
from .connection import (
    CommandProtocol,
    PubSubProtocol,
    Refused,
    Reply,
    ReplyHandler,
    bulk,
    fire,
    fire_with,
    ignore_result,
    pack,
)
from .delivery_queue import Message
from .endpoints import IRedisReactor, SentinelEndpoint, endpoint, require_master
from .layout import Layout
from .pubsub import Subscriber
from .reconnecting import ReconnectingConnection
from .scripts import Script, load_scripts

__all__ = ["Shard"]

T = TypeVar("T")

#: Seconds between two polls of the Sentinels.
SENTINEL_POLL_INTERVAL = 5.0


class Route(Protocol):
    """The connections for the commands of one shard."""

    def call(self, key: bytes, command: bytes, handler: ReplyHandler) -> None:
        """Send an encoded command to the server of *key* (`CommandProtocol.call`)."""

    def can_reach(self, key: bytes) -> bool:
        """Whether the server of *key* is connected."""

    def start(self) -> "Deferred[None]":
        """Connect; fires when commands can be sent."""

    def stop(self) -> "Deferred[None]":
        """Close; fires when all connections and timers are gone."""

    def listeners(self) -> IStreamClientEndpoint:
        """Return an endpoint for PUB/SUB connections."""


@define(eq=False)
class SingleServer:
    """One server."""

    _reactor: IRedisReactor
    _address: ShardAddress
    _endpoint: IStreamClientEndpoint
    connection: ReconnectingConnection[CommandProtocol] = field(init=False)

    def __attrs_post_init__(self) -> None:
        address, reactor = self._address, self._reactor
        name = f"Redis at {address}"
        self.connection = ReconnectingConnection(
            name,
            reactor,
            self._endpoint,
            address.login,
            lambda lost: CommandProtocol(reactor, name, address.io_timeout, lost),
            load_scripts,
        )

    def call(self, key: bytes, command: bytes, handler: ReplyHandler) -> None:
        """Send an encoded command."""
        self.connection.call(command, handler)

    def can_reach(self, key: bytes) -> bool:
        """Whether the server is connected."""
        return self.connection.protocol is not None

    def start(self) -> "Deferred[None]":
        """Connect."""
        return self.connection.start()

    def stop(self) -> "Deferred[None]":
        """Close."""
        return self.connection.stop()

    def listeners(self) -> IStreamClientEndpoint:
        """Return the endpoint of the server."""
        return self._endpoint


@define(eq=False)
class SentinelMaster(SingleServer):
    """The master of servers that Sentinels monitor.

    A new master is detected by lost connections, by announcements of the Sentinels, and
    by polling them, because announcements can get lost.
    """

    _endpoint: SentinelEndpoint
    _events: ReconnectingConnection[PubSubProtocol] = field(init=False)
    _poll: IDelayedCall | None = field(default=None, init=False)
    _lookup: "Deferred[TCPAddress] | None" = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        SingleServer.__attrs_post_init__(self)
        self.connection.prepare = self._prepare
        self._events = self._endpoint.events(self._sentinel_message)

    def start(self) -> "Deferred[None]":
        """Connect to the master, and to a Sentinel."""
        self._events.start().addErrback(ignore_result)
        self._poll = self._reactor.callLater(
            SENTINEL_POLL_INTERVAL, self._poll_sentinels
        )
        return self.connection.start()

    def stop(self) -> "Deferred[None]":
        """Close."""
        if self._poll is not None:
            self._poll.cancel()
            self._poll = None
        ending: list[Deferred[Any]] = [self._events.stop(), self.connection.stop()]
        if self._lookup is not None:
            ending.append(self._lookup)
            self._lookup.cancel()
        return DeferredList(ending).addCallback(ignore_result)

    async def _prepare(self, protocol: CommandProtocol) -> None:
        await require_master(protocol)
        await load_scripts(protocol)

    def _sentinel_message(self, messages: list[Message]) -> None:
        """Decode an announcement: ``NAME OLD-HOST OLD-PORT NEW-HOST NEW-PORT``."""
        name = self._address.master_name.encode()
        if any(message.split(b" ")[0] == name for _, message in messages):
            self._look_up_master()

    def _poll_sentinels(self) -> None:
        self._poll = self._reactor.callLater(
            SENTINEL_POLL_INTERVAL, self._poll_sentinels
        )
        self._look_up_master()

    def _look_up_master(self) -> None:
        if self._lookup is None:
            self._lookup = Deferred.fromCoroutine(self._endpoint.find_master())
            self._lookup.addBoth(self._lookup_done)

    def _lookup_done(self, result: object) -> None:
        # A failure is reported if connecting requires a Sentinel.
        self._lookup = None


@define(eq=False)
class Shard:
    """One shard of the channels: its key names, commands and subscriptions."""

    _reactor: IRedisReactor
    _address: ShardAddress
    layout: Layout
    _route: Route | None = field(default=None, init=False)
    _listeners: list[ReconnectingConnection[PubSubProtocol]] = field(
        factory=list, init=False
    )
    _log = Logger()

    # --- Life ------------------------------------------------------------------

    def start(self) -> "Deferred[None]":
        """Connect, and detect whether the server is part of a Cluster.

        :return: fires when commands can be sent, and fails if the shard is unreachable.
        """
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        address, reactor = self._address, self._reactor
        if address.kind == "sentinel":
            master = SentinelEndpoint(reactor, address, self._master_moved)
            self._route = watched = SentinelMaster(reactor, address, master)
            await watched.start()
            return
        if address.kind == "single" and len(address.nodes) == 1:
            server = endpoint(
                reactor, address.nodes[0], address.login, address.connect_timeout
            )
            self._route = single = SingleServer(reactor, address, server)
            await single.start()
            if not await _is_cluster(single):
                return
            await single.stop()
        self.layout = Layout(self.layout.prefix, True, self.layout.lists)
        self._route = Cluster(reactor, address)
        await self._route.start()

    def stop(self) -> "Deferred[None]":
        """Close; fires when all connections and timers are gone."""
        return succeed(None) if self._route is None else self._route.stop()

    def _master_moved(self) -> None:
        """Close all connections to the previous master."""
        if isinstance(self._route, SentinelMaster):
            for connection in (self._route.connection, *self._listeners):
                connection.reconnect("the master has moved")
                connection.retry_now()

    # --- Use -------------------------------------------------------------------

    def send(self, key: bytes, *command: bytes) -> "Deferred[Reply]":
        """Send a command to the server of *key*."""
        reply: Deferred[Reply] = Deferred()
        self.call(key, pack(command), partial(fire, reply))
        return reply

    def request(
        self, then: Callable[[Reply], T], key: bytes, *command: bytes
    ) -> "Deferred[T]":
        """Send a command; return the result of *then* for its reply."""
        result: Deferred[T] = Deferred()
        self.call(key, pack(command), partial(fire_with, result, then))
        return result

    def call(self, key: bytes, command: bytes, handler: ReplyHandler) -> None:
        """Send an encoded command to the server of *key* (`CommandProtocol.call`)."""
        if self._route is None:
            handler(BrokerUnavailable("not started"))
        else:
            self._route.call(key, command, handler)

    def can_reach(self, key: bytes) -> bool:
        """Whether the server of *key* is connected."""
        return self._route is not None and self._route.can_reach(key)

    def run(
        self, script: Script, then: Callable[[Reply], T], *command: bytes
    ) -> "Deferred[T]":
        """Run *script*; return the result of *then* for its reply.

        :param command: the keys of the script, followed by its arguments.
        """
        return self.run_encoded(script, then, command[0], len(command), bulk(*command))

    def run_encoded(
        self,
        script: Script,
        then: Callable[[Reply], T],
        key: bytes,
        count: int,
        arguments: bytes,
    ) -> "Deferred[T]":
        """Run *script* with *count* keys and arguments that `bulk` has encoded.

        :param key: the first key.
        """
        result: Deferred[T] = Deferred()

        def take(reply: Reply) -> None:
            if type(reply) is Refused and reply.code == "NOSCRIPT":
                # The server has lost the script: send its source.
                source = script.by_source(count, arguments)
                self.call(key, source, partial(fire_with, result, then))
            else:
                fire_with(result, then, reply)

        self.call(key, script.by_hash(count, arguments), take)
        return result

    def listen(self, subscriber: Subscriber) -> None:
        """Make *subscriber* use a connection to this shard."""
        assert self._route is not None
        address, reactor = self._address, self._reactor
        name = f"PUB/SUB of Redis at {address}"
        connection: ReconnectingConnection[PubSubProtocol] = ReconnectingConnection(
            name,
            reactor,
            self._route.listeners(),
            address.login,
            lambda lost: PubSubProtocol(
                reactor, name, address.io_timeout, lost, subscriber.receive
            ),
        )
        if isinstance(self._route, SingleServer):
            connection.prepare = self._wait_for_commands
        subscriber.use(connection)
        self._listeners.append(connection)

    async def _wait_for_commands(self, protocol: PubSubProtocol) -> None:
        """Subscribe only after commands work, so that gaps can be checked."""
        assert isinstance(self._route, SingleServer)
        self._route.connection.retry_now()
        await self._route.connection.attempt_outcome()
        if isinstance(self._route, SentinelMaster):
            await require_master(protocol)


async def _is_cluster(single: SingleServer) -> bool:
    """Ask a server whether it is part of a Cluster.

    :raises Refused: the answer is neither yes nor no.
    """
    try:
        await single.connection.send(b"CLUSTER", b"SLOTS")
    except Refused as error:
        if "cluster" in str(error).lower() or error.code == "NOPERM":
            return False
        raise
    return True

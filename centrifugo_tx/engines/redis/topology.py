"""One shard: which connection serves which key, and where to listen."""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredList, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IStreamClientEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...errors import BrokerUnavailable
from .addresses import ShardAddress, TCPAddress
from .cluster import Cluster
from .connection import CommandProtocol, PubSubProtocol, Refused, Reply, forget
from .endpoints import IRedisReactor, SentinelEndpoint, endpoint, must_rule
from .inbox import Message
from .layout import Layout
from .link import Link
from .pubsub import Subscriber
from .scripts import Script, teach

__all__ = ["Shard"]

T = TypeVar("T")

#: Seconds between two questions to the Sentinels.
POLL = 5.0


class Route(Protocol):
    """The ways into one shard."""

    def send(self, key: bytes, *command: bytes) -> "Deferred[Reply]":
        """Send a command to whoever has *key*."""

    def reaches(self, key: bytes) -> bool:
        """Whether whoever has *key* can be reached now."""

    def start(self) -> "Deferred[None]":
        """Connect; fires when commands can be sent."""

    def stop(self) -> "Deferred[None]":
        """Close; fires when nothing is left in the reactor."""

    def listeners(self) -> IStreamClientEndpoint:
        """Return an endpoint for PUB/SUB connections."""


@define(eq=False)
class Single:
    """One server."""

    _reactor: IRedisReactor
    _address: ShardAddress
    _endpoint: IStreamClientEndpoint
    link: Link[CommandProtocol] = field(init=False)

    def __attrs_post_init__(self) -> None:
        address, reactor = self._address, self._reactor
        name = f"Redis at {address}"
        self.link = Link(
            name,
            reactor,
            self._endpoint,
            address.login,
            lambda lost: CommandProtocol(reactor, name, address.io_timeout, lost),
            teach,
        )

    def send(self, key: bytes, *command: bytes) -> "Deferred[Reply]":
        """Send a command."""
        return self.link.send(*command)

    def reaches(self, key: bytes) -> bool:
        """Whether the server can be reached now."""
        return self.link.protocol is not None

    def start(self) -> "Deferred[None]":
        """Connect."""
        return self.link.start()

    def stop(self) -> "Deferred[None]":
        """Close."""
        return self.link.stop()

    def listeners(self) -> IStreamClientEndpoint:
        """Return the endpoint of the server."""
        return self._endpoint


@define(eq=False)
class Watched(Single):
    """The master of a set of servers that Sentinels watch.

    That it has moved is learned from lost connections, from what the Sentinels
    tell, and by asking them regularly, since their word can get lost.
    """

    _endpoint: SentinelEndpoint
    _events: Link[PubSubProtocol] = field(init=False)
    _poll: IDelayedCall | None = field(default=None, init=False)
    _asked: "Deferred[TCPAddress] | None" = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        Single.__attrs_post_init__(self)
        self.link.prepare = self._prepare
        self._events = self._endpoint.events(self._heard)

    def start(self) -> "Deferred[None]":
        """Connect to the master, and to a Sentinel."""
        self._events.start().addErrback(forget)
        self._poll = self._reactor.callLater(POLL, self._ask)
        return self.link.start()

    def stop(self) -> "Deferred[None]":
        """Close."""
        if self._poll is not None:
            self._poll.cancel()
            self._poll = None
        ending: list[Deferred[Any]] = [self._events.stop(), self.link.stop()]
        if self._asked is not None:
            ending.append(self._asked)
            self._asked.cancel()
        return DeferredList(ending).addCallback(forget)

    async def _prepare(self, protocol: CommandProtocol) -> None:
        await must_rule(protocol)
        await teach(protocol)

    def _heard(self, messages: list[Message]) -> None:
        """Take ``NAME OLD-HOST OLD-PORT NEW-HOST NEW-PORT`` from a Sentinel."""
        name = self._address.master_name.encode()
        if any(message.split(b" ")[0] == name for _, message in messages):
            self._inquire()

    def _ask(self) -> None:
        self._poll = self._reactor.callLater(POLL, self._ask)
        self._inquire()

    def _inquire(self) -> None:
        if self._asked is None:
            self._asked = Deferred.fromCoroutine(self._endpoint.ask())
            self._asked.addBoth(self._answered)

    def _answered(self, result: object) -> None:
        # That no Sentinel answers is told when one is needed to connect.
        self._asked = None


@define(eq=False)
class Shard:
    """One of those that share the channels: its names, commands and messages."""

    _reactor: IRedisReactor
    _address: ShardAddress
    layout: Layout
    _route: Route | None = field(default=None, init=False)
    _listeners: list[Link[PubSubProtocol]] = field(factory=list, init=False)
    _log = Logger()

    # --- Life ------------------------------------------------------------------

    def start(self) -> "Deferred[None]":
        """Connect, and find out whether this is a Cluster.

        :return: fires when commands can be sent, fails when the shard is away.
        """
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        address, reactor = self._address, self._reactor
        if address.kind == "sentinel":
            master = SentinelEndpoint(reactor, address, self._moved)
            self._route = watched = Watched(reactor, address, master)
            await watched.start()
            return
        if address.kind == "single" and len(address.nodes) == 1:
            server = endpoint(
                reactor, address.nodes[0], address.login, address.connect_timeout
            )
            self._route = single = Single(reactor, address, server)
            await single.start()
            if not await _is_cluster(single):
                return
            await single.stop()
        self.layout = Layout(self.layout.prefix, True, self.layout.lists)
        self._route = Cluster(reactor, address)
        await self._route.start()

    def stop(self) -> "Deferred[None]":
        """Close; fires when nothing is left in the reactor."""
        return succeed(None) if self._route is None else self._route.stop()

    def _moved(self) -> None:
        """Leave the former master, on all connections."""
        if isinstance(self._route, Watched):
            for link in (self._route.link, *self._listeners):
                link.drop("the master has moved")
                link.hurry()

    # --- Use -------------------------------------------------------------------

    def send(self, key: bytes, *command: bytes) -> "Deferred[Reply]":
        """Send a command to whoever has *key*."""
        if self._route is None:
            return fail(BrokerUnavailable("not started"))
        return self._route.send(key, *command)

    def reaches(self, key: bytes) -> bool:
        """Whether whoever has *key* can be reached now."""
        return self._route is not None and self._route.reaches(key)

    def run(
        self, script: Script, then: Callable[[Reply], T], *command: bytes
    ) -> "Deferred[T]":
        """Run *script* and return what *then* makes of its reply.

        :param command: the keys of the script, and then its arguments.
        """
        reply = self.send(command[0], b"EVALSHA", script.sha, script.keys, *command)
        return reply.addCallbacks(
            then, self._unknown, errbackArgs=(script, then, command)
        )

    def _unknown(
        self,
        failure: Failure,
        script: Script,
        then: Callable[[Reply], T],
        command: tuple[bytes, ...],
    ) -> "Failure | Deferred[T]":
        """Send the script itself to a server that does not know it."""
        error = failure.value
        if isinstance(error, Refused) and error.code == "NOSCRIPT":
            reply = self.send(command[0], b"EVAL", script.source, script.keys, *command)
            return reply.addCallback(then)
        return failure

    def listen(self, subscriber: Subscriber) -> None:
        """Let *subscriber* use a connection to this shard."""
        assert self._route is not None
        address, reactor = self._address, self._reactor
        name = f"PUB/SUB of Redis at {address}"
        link: Link[PubSubProtocol] = Link(
            name,
            reactor,
            self._route.listeners(),
            address.login,
            lambda lost: PubSubProtocol(
                reactor, name, address.io_timeout, lost, subscriber.receive
            ),
        )
        if isinstance(self._route, Single):
            link.prepare = self._after_commands
        subscriber.use(link)
        self._listeners.append(link)

    async def _after_commands(self, protocol: PubSubProtocol) -> None:
        """Let nothing be heard before it can be compared with storage."""
        assert isinstance(self._route, Single)
        self._route.link.hurry()
        await self._route.link.outcome()
        if isinstance(self._route, Watched):
            await must_rule(protocol)


async def _is_cluster(single: Single) -> bool:
    """Ask a server whether it is part of a Cluster.

    :raises Refused: the answer is neither yes nor no.
    """
    try:
        await single.send(b"", b"CLUSTER", b"SLOTS")
    except Refused as error:
        if "cluster" in str(error).lower() or error.code == "NOPERM":
            return False
        raise
    return True

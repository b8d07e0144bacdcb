"""Redis Cluster: which node serves which slot (engines, "Redis connections")."""

from binascii import crc_hqx
from random import choice

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredList, fail
from twisted.internet.interfaces import IDelayedCall, IStreamClientEndpoint
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...errors import BrokerUnavailable
from .addresses import ShardAddress, TCPAddress
from .connection import CommandProtocol, Refused, Reply, forget
from .endpoints import AnyEndpoint, IRedisReactor, endpoint
from .link import Link
from .scripts import teach

__all__ = ["Cluster", "key_slot"]

SLOTS = 16384
#: Seconds between two looks at the nodes, and looks between two questions when
#: all is well.
LOOK, SELDOM = 1.0, 30
#: How often one command follows the nodes' directions.
REDIRECTS = 6
#: Seconds to wait, at first, when a slot is just being moved.
AGAIN = 0.02

_Node = Link[CommandProtocol]


def key_slot(key: bytes) -> int:
    """Return the slot of *key*: that of the text in its first braces, if any."""
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return crc_hqx(key, 0) % SLOTS


@define(eq=False)
class Cluster:
    """Sends each command to the master of its key's slot.

    A redirected command was not executed, so it is sent again; nothing else is.
    """

    _reactor: IRedisReactor
    _address: ShardAddress
    _slots: list[_Node | None] = field(init=False)
    _masters: dict[TCPAddress, _Node] = field(factory=dict, init=False)
    #: All nodes, also replicas: whom to ask.
    _nodes: list[TCPAddress] = field(init=False)
    _refreshing: "Deferred[None] | None" = field(default=None, init=False)
    _look: IDelayedCall | None = field(default=None, init=False)
    _looks: int = field(default=0, init=False)
    _leaving: "set[Deferred[None]]" = field(factory=set, init=False)
    _pauses: "set[Deferred[None]]" = field(factory=set, init=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._slots = [None] * SLOTS
        self._nodes = [
            node for node in self._address.nodes if isinstance(node, TCPAddress)
        ]

    # --- Life ------------------------------------------------------------------

    def start(self) -> "Deferred[None]":
        """Learn who serves what, and connect to all masters."""
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        await self._learn()
        links = list(self._masters.values())
        await DeferredList([link.outcome() for link in links], consumeErrors=True)
        if links and not any(link.protocol for link in links):
            raise BrokerUnavailable(links[0].reason)
        self._look = self._reactor.callLater(LOOK, self._look_around)

    def stop(self) -> "Deferred[None]":
        """Close; fires when nothing is left in the reactor."""
        if self._look is not None:
            self._look.cancel()
            self._look = None
        for pause in list(self._pauses):
            pause.cancel()
        for address in list(self._masters):
            self._leave(address)
        ending = list(self._leaving)
        if self._refreshing is not None:
            ending.append(self._refreshing)
            self._refreshing.cancel()
        return DeferredList(ending).addCallback(forget)

    def listeners(self) -> IStreamClientEndpoint:
        """Return an endpoint that leads to any node: they pass on all messages."""

        def choose() -> IStreamClientEndpoint:
            usable = [node for node, link in self._masters.items() if link.protocol]
            return self._endpoint(choice(usable or self._nodes))

        return AnyEndpoint(choose)

    # --- Commands --------------------------------------------------------------

    def send(self, key: bytes, *command: bytes) -> "Deferred[Reply]":
        """Send a command to the master of *key*."""
        slot = key_slot(key)
        link = self._slots[slot]
        if link is None:
            self.refresh()
            return fail(BrokerUnavailable(f"nobody serves slot {slot}"))
        return link.send(*command).addErrback(self._refused, link, slot, command, 0)

    def reaches(self, key: bytes) -> bool:
        """Whether the master of *key* can be reached now."""
        link = self._slots[key_slot(key)]
        return link is not None and link.protocol is not None

    def _refused(
        self,
        failure: Failure,
        link: _Node,
        slot: int,
        command: tuple[bytes, ...],
        redirects: int,
    ) -> "Failure | Deferred[Reply]":
        """Follow the direction that a node gave instead of an answer.

        Nodes may disagree for a moment, so later directions are followed slowly.
        """
        error = failure.value
        if not isinstance(error, Refused) or self._look is None:
            return failure
        if error.code in ("MOVED", "CLUSTERDOWN"):
            self.refresh()
        if error.code in ("MOVED", "ASK"):
            there = self._master(self._direction(str(error), link))
            slow = redirects > 1
        elif error.code == "TRYAGAIN":
            there, slow = self._slots[slot] or link, True
        else:
            return failure
        if redirects >= REDIRECTS:
            return failure
        if error.code == "MOVED":
            self._slots[slot] = there
        delay = AGAIN * 2**redirects if slow else 0.0
        again = Deferred.fromCoroutine(
            self._again(there, error.code == "ASK", command, delay)
        )
        return again.addErrback(self._refused, there, slot, command, redirects + 1)

    async def _again(
        self, there: _Node, asking: bool, command: tuple[bytes, ...], delay: float
    ) -> Reply:
        if delay:
            pause: Deferred[None] = deferLater(self._reactor, delay)
            self._pauses.add(pause)
            try:
                await pause
            finally:
                self._pauses.discard(pause)
        await there.outcome()
        if asking:
            there.send(b"ASKING").addErrback(forget)
        return await there.send(*command)

    def _direction(self, text: str, link: _Node) -> TCPAddress:
        """Return the address in ``MOVED 3999 127.0.0.1:6381``; the host may lack."""
        host, _, port = text.split(" ")[2].rpartition(":")
        if not host:
            own = [node.host for node, each in self._masters.items() if each is link]
            host = own[0] if own else self._nodes[0].host
        return TCPAddress(host, int(port))

    # --- Who serves what -------------------------------------------------------

    def refresh(self) -> None:
        """Learn again who serves what; once, however often it is asked for."""
        if self._refreshing is None and self._look is not None:
            self._refreshing = Deferred.fromCoroutine(self._learn())
            self._refreshing.addBoth(self._refreshed)

    def _refreshed(self, result: object) -> None:
        self._refreshing = None
        if isinstance(result, Failure) and self._look is not None:
            reason = result.getErrorMessage()
            self._log.warn("cannot learn about the Cluster: {reason}", reason=reason)

    def _look_around(self) -> None:
        self._look = self._reactor.callLater(LOOK, self._look_around)
        self._looks += 1
        troubled = not all(link.protocol for link in self._masters.values())
        if troubled or self._looks % SELDOM == 0:
            self.refresh()

    async def _learn(self) -> None:
        """Ask one node after the other until one knows.

        :raises BrokerUnavailable: none does.
        """
        for node, link in list(self._masters.items()):
            if link.protocol is not None:
                try:
                    self._apply(await link.send(b"CLUSTER", b"SLOTS"), node)
                    return
                except BrokerUnavailable:
                    continue
        reason = "no node is known"
        for node in list(self._nodes):
            link = self._link(node)
            try:
                await link.start()
                table = await link.send(b"CLUSTER", b"SLOTS")
            except BrokerUnavailable as error:
                reason = str(error)
            else:
                self._apply(table, node)
                return
            finally:
                await link.stop()
        raise BrokerUnavailable(reason)

    def _apply(self, table: Reply, asked: TCPAddress) -> None:
        """Take over what a node said."""
        slots: list[_Node | None] = [None] * SLOTS
        nodes: dict[TCPAddress, None] = {}
        masters = set()
        for first, last, *serving in table:
            found = [_node(each, asked) for each in serving]
            nodes.update(dict.fromkeys(found))
            masters.add(found[0])
            slots[first : last + 1] = [self._master(found[0])] * (last + 1 - first)
        self._slots = slots
        self._nodes = list(nodes) or self._nodes
        for address in set(self._masters) - masters:
            self._leave(address)

    def _master(self, address: TCPAddress) -> _Node:
        """Return the connection to a node, a new one if need be."""
        link = self._masters.get(address)
        if link is None:
            link = self._masters[address] = self._link(address)
            link.prepare = teach
            link.changed = self._changed
            link.start().addErrback(forget)
        return link

    def _changed(self, link: _Node) -> None:
        if link.protocol is None:
            self.refresh()

    def _leave(self, address: TCPAddress) -> None:
        left = self._masters.pop(address).stop()
        self._leaving.add(left)
        left.addCallback(lambda _: self._leaving.discard(left))

    def _link(self, address: TCPAddress) -> _Node:
        reactor, io_timeout = self._reactor, self._address.io_timeout
        name = f"Redis at {address}"
        return Link(
            name,
            reactor,
            self._endpoint(address),
            self._address.login,
            lambda lost: CommandProtocol(reactor, name, io_timeout, lost),
        )

    def _endpoint(self, address: TCPAddress) -> IStreamClientEndpoint:
        settings = self._address
        return endpoint(
            self._reactor, address, settings.login, settings.connect_timeout
        )


def _node(entry: Reply, asked: TCPAddress) -> TCPAddress:
    """Return the address in one node's entry; it may leave out its own host."""
    host = (entry[0] or b"").decode()
    return TCPAddress(asked.host if host in ("", "?") else host, entry[1])

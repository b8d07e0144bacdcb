"""Redis Cluster: which node serves which slot (engines, "Redis connections")."""

from binascii import crc_hqx
from random import choice

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall, IStreamClientEndpoint
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...errors import BrokerUnavailable
from .addresses import ShardAddress, TCPAddress
from .connection import (
    CommandProtocol,
    Refused,
    Reply,
    ReplyHandler,
    ignore_result,
)
from .endpoints import ChoosingEndpoint, IRedisReactor, endpoint
from .reconnecting import ReconnectingConnection
from .scripts import load_scripts

__all__ = ["Cluster", "key_slot"]

SLOTS = 16384
#: Seconds between two checks of the nodes, and checks between two reloads of the slot
#: table while all nodes are connected.
CHECK_INTERVAL, CHECKS_PER_REFRESH = 1.0, 30
#: Maximum number of redirections of one command.
MAX_REDIRECTS = 6
#: Seconds of the first delay while a slot is migrated.
RETRY_DELAY = 0.02

_Node = ReconnectingConnection[CommandProtocol]


def key_slot(key: bytes) -> int:
    """Return the slot of *key*: that of the text in its first braces, if any."""
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return crc_hqx(key, 0) % SLOTS


@define(eq=False)
class _Call:
    """A command to the node of a slot, which may be redirected."""

    slot: int
    command: bytes
    handler: ReplyHandler
    redirects: int = 0


@define(eq=False)
class Cluster:
    """Sends each command to the master of its key's slot.

    A redirected command was not executed, so it is sent again; no other command is.
    """

    _reactor: IRedisReactor
    _address: ShardAddress
    _slots: list[_Node | None] = field(init=False)
    _masters: dict[TCPAddress, _Node] = field(factory=dict, init=False)
    #: All nodes that can supply the slot table, including replicas.
    _nodes: list[TCPAddress] = field(init=False)
    _refreshing: "Deferred[None] | None" = field(default=None, init=False)
    _check_timer: IDelayedCall | None = field(default=None, init=False)
    _checks: int = field(default=0, init=False)
    _disconnecting: "set[Deferred[None]]" = field(factory=set, init=False)
    _pauses: "set[Deferred[None]]" = field(factory=set, init=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._slots = [None] * SLOTS
        self._nodes = [
            node for node in self._address.nodes if isinstance(node, TCPAddress)
        ]

    # --- Life ------------------------------------------------------------------

    def start(self) -> "Deferred[None]":
        """Load the slot table, and connect to all masters."""
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        await self._load_slots()
        connections = list(self._masters.values())
        await DeferredList(
            [connection.attempt_outcome() for connection in connections],
            consumeErrors=True,
        )
        if connections and not any(connection.protocol for connection in connections):
            raise BrokerUnavailable(connections[0].reason)
        self._check_timer = self._reactor.callLater(CHECK_INTERVAL, self._check_nodes)

    def stop(self) -> "Deferred[None]":
        """Close; fires when all connections and timers are gone."""
        if self._check_timer is not None:
            self._check_timer.cancel()
            self._check_timer = None
        for pause in list(self._pauses):
            pause.cancel()
        for address in list(self._masters):
            self._disconnect(address)
        ending = list(self._disconnecting)
        if self._refreshing is not None:
            ending.append(self._refreshing)
            self._refreshing.cancel()
        return DeferredList(ending).addCallback(ignore_result)

    def listeners(self) -> IStreamClientEndpoint:
        """Return an endpoint of any node: every node receives all messages."""

        def choose() -> IStreamClientEndpoint:
            usable = [
                node
                for node, connection in self._masters.items()
                if connection.protocol
            ]
            return self._endpoint(choice(usable or self._nodes))

        return ChoosingEndpoint(choose)

    # --- Commands --------------------------------------------------------------

    def call(self, key: bytes, command: bytes, handler: ReplyHandler) -> None:
        """Send an encoded command to the master of *key*."""
        slot = key_slot(key)
        connection = self._slots[slot]
        if connection is None:
            self.refresh()
            handler(BrokerUnavailable(f"no node serves slot {slot}"))
            return

        self._call_at(connection, _Call(slot, command, handler))

    def _call_at(self, connection: _Node, call: "_Call") -> None:
        def take(reply: Reply) -> None:
            if type(reply) is Refused:
                self._follow_redirect(reply, connection, call)
            else:
                call.handler(reply)

        connection.call(call.command, take)

    def can_reach(self, key: bytes) -> bool:
        """Whether the master of *key* is reachable."""
        connection = self._slots[key_slot(key)]
        return connection is not None and connection.protocol is not None

    def _follow_redirect(
        self, error: Refused, connection: _Node, call: "_Call"
    ) -> None:
        """Follow the redirection in *error*; other errors answer the call.

        Nodes may disagree for a moment, so later redirections are delayed.
        """
        running = self._check_timer is not None
        if running and error.code in ("MOVED", "CLUSTERDOWN"):
            self.refresh()
        if not running or error.code not in ("MOVED", "ASK", "TRYAGAIN"):
            call.handler(error)
            return
        try:
            there, slow = self._next_node(error, connection, call)
        except (IndexError, ValueError):  # the redirection is malformed
            call.handler(error)
            return
        if call.redirects >= MAX_REDIRECTS:
            call.handler(error)
            return
        if error.code == "MOVED":
            self._slots[call.slot] = there
        delay = RETRY_DELAY * 2**call.redirects if slow else 0.0
        call.redirects += 1
        again = Deferred.fromCoroutine(
            self._resend(there, error.code == "ASK", delay, call)
        )
        again.addErrback(_not_resent, call.handler)

    def _next_node(
        self, error: Refused, connection: _Node, call: "_Call"
    ) -> tuple[_Node, bool]:
        """Return the node to ask next, and whether to ask it later."""
        if error.code == "TRYAGAIN":
            return self._slots[call.slot] or connection, True
        target = self._redirect_target(str(error), connection)
        return self._connection_to(target), call.redirects > 1

    async def _resend(
        self, there: _Node, asking: bool, delay: float, call: "_Call"
    ) -> None:
        if delay:
            pause: Deferred[None] = deferLater(self._reactor, delay)
            self._pauses.add(pause)
            try:
                await pause
            finally:
                self._pauses.discard(pause)
        await there.attempt_outcome()
        if asking:
            there.send(b"ASKING").addErrback(ignore_result)
        self._call_at(there, call)

    def _redirect_target(self, text: str, connection: _Node) -> TCPAddress:
        """Parse the address in ``MOVED 3999 127.0.0.1:6381``; the host is optional."""
        host, _, port = text.split(" ")[2].rpartition(":")
        if not host:
            own = [
                node.host for node, each in self._masters.items() if each is connection
            ]
            host = own[0] if own else self._nodes[0].host
        return TCPAddress(host, int(port))

    # --- The slot table -------------------------------------------------------

    def refresh(self) -> None:
        """Reload the slot table, unless that is already under way."""
        if self._refreshing is None and self._check_timer is not None:
            self._refreshing = Deferred.fromCoroutine(self._load_slots())
            self._refreshing.addBoth(self._refreshed)

    def _refreshed(self, result: object) -> None:
        self._refreshing = None
        if isinstance(result, Failure) and self._check_timer is not None:
            reason = result.getErrorMessage()
            self._log.warn(
                "cannot load the slot table of the Cluster: {reason}", reason=reason
            )

    def _check_nodes(self) -> None:
        self._check_timer = self._reactor.callLater(CHECK_INTERVAL, self._check_nodes)
        self._checks += 1
        troubled = not all(connection.protocol for connection in self._masters.values())
        if troubled or self._checks % CHECKS_PER_REFRESH == 0:
            self.refresh()

    async def _load_slots(self) -> None:
        """Load the slot table from the first node that answers.

        :raises BrokerUnavailable: no node answers.
        """
        for node, connection in list(self._masters.items()):
            if connection.protocol is not None:
                try:
                    self._apply_slots(await connection.send(b"CLUSTER", b"SLOTS"), node)
                    return
                except BrokerUnavailable:
                    continue
        reason = "no node is known"
        for node in list(self._nodes):
            connection = self._make_connection(node)
            try:
                await connection.start()
                table = await connection.send(b"CLUSTER", b"SLOTS")
            except BrokerUnavailable as error:
                reason = str(error)
            else:
                self._apply_slots(table, node)
                return
            finally:
                await connection.stop()
        raise BrokerUnavailable(reason)

    def _apply_slots(self, table: Reply, asked: TCPAddress) -> None:
        """Apply a slot table."""
        slots: list[_Node | None] = [None] * SLOTS
        nodes: dict[TCPAddress, None] = {}
        masters = set()
        for first, last, *serving in table:
            found = [_node_address(each, asked) for each in serving]
            nodes.update(dict.fromkeys(found))
            masters.add(found[0])
            slots[first : last + 1] = [self._connection_to(found[0])] * (
                last + 1 - first
            )
        self._slots = slots
        self._nodes = list(nodes) or self._nodes
        for address in set(self._masters) - masters:
            self._disconnect(address)

    def _connection_to(self, address: TCPAddress) -> _Node:
        """Return the connection to a node; open one if there is none."""
        connection = self._masters.get(address)
        if connection is None:
            connection = self._masters[address] = self._make_connection(address)
            connection.prepare = load_scripts
            connection.changed = self._connection_changed
            connection.start().addErrback(ignore_result)
        return connection

    def _connection_changed(self, connection: _Node) -> None:
        if connection.protocol is None:
            self.refresh()

    def _disconnect(self, address: TCPAddress) -> None:
        left = self._masters.pop(address).stop()
        self._disconnecting.add(left)
        left.addCallback(lambda _: self._disconnecting.discard(left))

    def _make_connection(self, address: TCPAddress) -> _Node:
        reactor, io_timeout = self._reactor, self._address.io_timeout
        name = f"Redis at {address}"
        return ReconnectingConnection(
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


def _not_resent(failure: Failure, handler: ReplyHandler) -> None:
    """Answer a call that was cancelled, or whose next node is unreachable."""
    error = failure.value
    if not isinstance(error, BrokerUnavailable):
        error = BrokerUnavailable(f"not sent again: {error!r}")
    handler(error)


def _node_address(entry: Reply, asked: TCPAddress) -> TCPAddress:
    """Return the address in a node's entry, whose host may be missing."""
    host = (entry[0] or b"").decode()
    return TCPAddress(asked.host if host in ("", "?") else host, entry[1])

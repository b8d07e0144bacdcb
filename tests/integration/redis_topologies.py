"""Redis servers with failover: Sentinel and Cluster."""

import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import combinations
from typing import Any

import hiredis
from attrs import define, field

from .ports import free_port
from .redis_servers import Server, any_server, start_all

__all__ = ["ClusterOfSix", "Watched"]

#: Seconds that the servers have to find each other.
PATIENCE = 120.0
#: How far above its port a node of a Cluster talks to the others.
BUS = 10000
#: Replicas copy at once, not a few seconds later.
_FAST = {"repl-diskless-sync-delay": "0"}


@define(eq=False)
class Watched:
    """A master, two replicas, and three Sentinels that watch them.

    A failover leaves traces that Sentinels need ten seconds and more to remove, so a
    test that causes one takes servers of its own.
    """

    #: Seconds of silence after which a Sentinel takes a server for dead.
    down_after: float = 60.0
    servers: list[Server] = field(init=False)
    sentinels: list[Server] = field(init=False)

    def __attrs_post_init__(self) -> None:
        program = any_server()
        self.servers = [Server(program, dict(_FAST)) for _ in range(3)]
        master, *replicas = self.servers
        self.sentinels = [Server(program) for _ in range(3)]
        names = {each: secrets.token_hex(20) for each in self.sentinels}
        for each in self.sentinels:
            each.sentinel = self._config(each, names)
        start_all(self.servers)
        for each in replicas:
            # At once; a server that starts as a replica first waits for a second.
            each.call("REPLICAOF", "127.0.0.1", master.port)
        _wait(lambda: all(map(self._is_copying, replicas)), "the replicas copy")
        start_all(self.sentinels)
        _wait(lambda: all(map(self._sees_all, self.sentinels)), "Sentinels see all")

    def _config(self, sentinel: Server, names: dict[Server, str]) -> str:
        """Return a Sentinel's configuration, complete without discovery."""
        master, *replicas = self.servers
        lines = [
            f"sentinel myid {names[sentinel]}",
            f"sentinel monitor m 127.0.0.1 {master.port} 2",
            f"sentinel down-after-milliseconds m {int(self.down_after * 1000)}",
            "sentinel failover-timeout m 3000",
        ]
        lines += [
            f"sentinel known-replica m 127.0.0.1 {each.port}" for each in replicas
        ]
        lines += [
            f"sentinel known-sentinel m 127.0.0.1 {each.port} {name}"
            for each, name in names.items()
            if each is not sentinel
        ]
        return "\n".join(lines) + "\n"

    @staticmethod
    def _is_copying(replica: Server) -> bool:
        return b"master_link_status:up" in replica.call("INFO", "replication")

    def _sees_all(self, sentinel: Server) -> bool:
        """Whether a Sentinel is connected to all others, and may fail over."""
        replicas = [_pairs(each) for each in sentinel.call("SENTINEL", "REPLICAS", "m")]
        others = [_pairs(each) for each in sentinel.call("SENTINEL", "SENTINELS", "m")]
        return (
            self.state(sentinel)["flags"] == b"master"
            and [each["flags"] for each in replicas] == [b"slave"] * 2
            and [each["master-link-status"] for each in replicas] == [b"ok"] * 2
            and [each["flags"] for each in others] == [b"sentinel"] * 2
        )

    @staticmethod
    def state(sentinel: Server) -> dict[str, bytes]:
        """Return a Sentinel's information about the master."""
        return _pairs(sentinel.call("SENTINEL", "MASTER", "m"))

    @property
    def address(self) -> str:
        """The Sentinels, as one address."""
        first, *others = (each.address for each in self.sentinels)
        more = "".join(f"&addr={each}" for each in others)
        return f"redis+sentinel://{first}?sentinel_master_name=m{more}"

    @property
    def master(self) -> Server:
        """The server that the Sentinels take for the master."""
        port = int(self.state(self.sentinels[0])["port"])
        [found] = [each for each in self.servers if each.port == port]
        return found

    def all_have_key(self, key: str) -> bool:
        """Whether all servers answer, and have *key*."""
        try:
            return all(each.call("EXISTS", key) for each in self.servers)
        except OSError:
            return False

    def failed_over(self, old: Server) -> bool:
        """Whether *old* is no longer the master; request a failover if none is
        running.
        """
        first = self.sentinels[0]
        state = self.state(first)
        if int(state["port"]) != old.port:
            return True
        if b"failover_in_progress" not in state["flags"]:
            # Refused while the Sentinel has no suitable replica.
            with suppress(hiredis.ReplyError):
                first.call("SENTINEL", "FAILOVER", "m")
        return False

    def stop(self) -> None:
        """End all of them."""
        for each in (*self.sentinels, *self.servers):
            each.stop()


def _pairs(told: list[bytes]) -> dict[str, bytes]:
    """Return names and values that take turns, as a dictionary."""
    names = [each.decode() for each in told[::2]]
    return dict(zip(names, told[1::2], strict=True))


@define(eq=False)
class ClusterOfSix:
    """Three masters and their replicas."""

    #: Seconds of silence after which a node is taken for dead.
    down_after: float = 60.0
    nodes: list[Server] = field(init=False)

    def __attrs_post_init__(self) -> None:
        program = any_server()
        settings = {
            "cluster-enabled": "yes",
            "cluster-node-timeout": str(int(self.down_after * 1000)),
            "cluster-replica-validity-factor": "0",
            "repl-ping-replica-period": "1",
            **_FAST,
        }
        self.nodes = [
            Server(program, dict(settings), port=free_port(BUS)) for _ in range(6)
        ]
        start_all(self.nodes)
        self._create()
        self.settle()

    def _create(self) -> None:
        """Share the slots among three nodes, and give each of them a replica."""
        for number, node in enumerate(self.nodes, 1):
            node.call("CLUSTER", "SET-CONFIG-EPOCH", number)
        masters, replicas = self.nodes[:3], self.nodes[3:]
        for master, slots in zip(
            masters, ((0, 5460), (5461, 10922), (10923, 16383)), strict=True
        ):
            master.call("CLUSTER", "ADDSLOTSRANGE", *slots)
        # Each of them each: otherwise gossip takes a second to tell of the others.
        for node, other in combinations(self.nodes, 2):
            node.call("CLUSTER", "MEET", "127.0.0.1", other.port)
        _wait(lambda: all(map(self._knows_all, self.nodes)), "the nodes meet")
        for master, replica in zip(masters, replicas, strict=True):
            replica.call("CLUSTER", "REPLICATE", self._identity(master))

    @staticmethod
    def _knows_all(node: Server) -> bool:
        known = node.call("CLUSTER", "NODES").decode()
        return len(known.splitlines()) == 6 and "handshake" not in known

    def settle(self) -> None:
        """Wait until every node serves, and knows a replica of every master."""
        _wait(lambda: all(map(self.settled, self.nodes)), "the nodes serve")

    @staticmethod
    def settled(node: Server) -> bool:
        """Whether a node serves, and knows a replica of every master."""
        info = node.call("CLUSTER", "INFO").decode()
        table = node.call("CLUSTER", "SLOTS")
        return "cluster_state:ok" in info and all(len(each) == 4 for each in table)

    def slots(self) -> list[Any]:
        """Return the slots of each node, as a running node reports them."""
        for node in self.nodes:
            try:
                table: list[Any] = node.call("CLUSTER", "SLOTS")
            except OSError:
                continue
            return table
        raise RuntimeError("no node is up")

    def agrees(self, slot: int) -> bool:
        """Whether all nodes agree on the node of *slot*."""
        told = {
            master[1]
            for node in self.nodes
            for first, last, master, *_ in node.call("CLUSTER", "SLOTS")
            if first <= slot <= last
        }
        return len(told) == 1

    def master_of(self, slot: int) -> Server:
        """Return the node that serves *slot*."""
        for first, last, master, *_ in self.slots():
            if first <= slot <= last:
                [found] = [each for each in self.nodes if each.port == master[1]]
                return found
        raise RuntimeError(f"nobody serves {slot}")

    def ends(self, slot: int) -> tuple[Server, Server]:
        """Return the node that serves *slot*, and another master."""
        source = self.master_of(slot)
        return source, next(each for each in self.masters() if each is not source)

    def masters(self) -> list[Server]:
        """Return the nodes that take part in writing."""
        ports = {master[1] for _, _, master, *_ in self.slots()}
        return [each for each in self.nodes if each.port in ports]

    def announce(self, slot: int, source: Server, target: Server) -> None:
        """Begin to move a slot."""
        target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", self._identity(source))
        source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", self._identity(target))

    def migrate(self, slot: int, source: Server, target: Server) -> None:
        """Move the slot's keys."""
        self.announce(slot, source, target)
        for key in source.call("CLUSTER", "GETKEYSINSLOT", slot, 100):
            source.call("MIGRATE", "127.0.0.1", target.port, key, 0, 1000)

    def finish(self, slot: int, source: Server, target: Server) -> None:
        """Tell all that the slot has moved."""
        identity = self._identity(target)
        for each in (target, source, *self.masters()):
            each.call("CLUSTER", "SETSLOT", slot, "NODE", identity)

    @staticmethod
    def _identity(node: Server) -> str:
        name: bytes = node.call("CLUSTER", "MYID")
        return name.decode()

    def stop(self) -> None:
        """End all of them."""
        for each in self.nodes:
            each.stop()


def _wait(condition: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > until:
            raise RuntimeError(f"waited in vain: {what}")
        time.sleep(0.02)

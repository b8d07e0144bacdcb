"""Redis shards whose connections lead to scripted peers."""

from collections.abc import Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.engines.redis import topology
from centrifugo_tx.engines.redis.addresses import shard_addresses
from centrifugo_tx.engines.redis.layout import Layout
from centrifugo_tx.engines.redis.options import EngineRedisOptions
from centrifugo_tx.engines.redis.scripts import Script
from centrifugo_tx.engines.redis.sharding import Shards
from centrifugo_tx.engines.redis.topology import Shard

from .peer import Command, Connection, Peer

__all__ = ["NO_CLUSTER", "ShardCase", "array"]

T = TypeVar("T")

#: The response of a standalone server to ``CLUSTER SLOTS``.
NO_CLUSTER = b"-ERR This instance has cluster support disabled\r\n"


def array(*items: object) -> bytes:
    """Return nested lists, bytes, numbers and None as Redis writes them."""
    out = b"*%d\r\n" % len(items)
    for item in items:
        if item is None:
            out += b"$-1\r\n"
        elif isinstance(item, int):
            out += b":%d\r\n" % item
        elif isinstance(item, bytes):
            out += b"$%d\r\n%b\r\n" % (len(item), item)
        else:
            assert isinstance(item, list | tuple)
            out += array(*item)
    return out


class ShardCase(SynchronousTestCase):
    """Makes shards whose servers follow a script."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1790000000.5)
        self.peers: list[Peer] = []

    def shards(self, count: int = 1, lists: bool = False) -> Shards:
        """Return *count* shards, each with a peer of its own; they are started."""
        made = self.unstarted(count, lists)
        started = Deferred.fromCoroutine(made.start())
        self.flow()
        self.successResultOf(started)
        return made

    def unstarted(self, count: int = 1, lists: bool = False) -> Shards:
        """Return *count* shards."""
        self.serve(count)
        options = EngineRedisOptions(
            address=tuple(f"redis://10.0.0.{n}:6379" for n in range(count))
        )
        reactor: Any = self.clock
        return Shards(
            [
                Shard(reactor, address, Layout("cg", lists=lists))
                for address in shard_addresses(options)
            ]
        )

    def serve(self, count: int = 1) -> None:
        """Let *count* servers be there, under 10.0.0.0 and so on."""
        self.peers = [Peer(answers={b"CLUSTER": NO_CLUSTER}) for _ in range(count)]
        for peer in self.peers:
            peer.answers.update({b"XRANGE": b"*0\r\n", b"PUBLISH": b":1\r\n"})

        def endpoint(reactor: object, address: Any, *_: object) -> Peer:
            return self.peers[int(address.host.rpartition(".")[2])]

        self.patch(topology, "endpoint", endpoint)

    @property
    def peer(self) -> Peer:
        """The first server."""
        return self.peers[0]

    def flow(self) -> None:
        """Let all peers answer."""
        self.clock.advance(0)
        for _ in range(3):
            for peer in self.peers:
                peer.flow()

    def result(self, deferred: "Deferred[T]") -> T:
        """Let the peers answer, and return the result."""
        self.flow()
        return self.successResultOf(deferred)

    def failure(self, deferred: "Deferred[T]", kind: type[Exception]) -> Exception:
        """Let the peers answer, and return why it fails."""
        self.flow()
        error: Exception = self.failureResultOf(deferred, kind).value
        return error

    def replies(self, **answers: bytes) -> None:
        """Let the first server answer commands, by name, as given."""
        self.peer.answers.update(
            {name.encode(): answer for name, answer in answers.items()}
        )

    def sent(self, name: bytes) -> list[Command]:
        """Return the commands of a name that the first server has got."""
        return [each for each in self.peer.commands if each[0] == name]

    def ran(self, script: Script) -> Sequence[bytes]:
        """Return keys and arguments of the last script; it was this one."""
        name, sha, keys, *rest = self.sent(b"EVALSHA")[-1]
        self.assertEqual((name, sha, keys), (b"EVALSHA", script.sha, script.keys))
        return rest

    def hearing(self, number: int = 0) -> Connection:
        """Return the connection over which a server publishes."""
        (found,) = (
            each
            for each in self.peers[number].connections
            if not each.closed
            and any(command[0] == b"SUBSCRIBE" for command in each.commands)
        )
        return found

    def publish(self, name: bytes, payload: bytes, number: int = 0) -> None:
        """Let a server publish something."""
        self.hearing(number).reply(array(b"message", name, payload))
        self.clock.advance(0)

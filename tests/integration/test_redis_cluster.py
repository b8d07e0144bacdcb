"""The Redis engine on a Cluster of three masters and three replicas."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from centrifugo_tx.engines.redis import cluster
from centrifugo_tx.engines.redis.cluster import key_slot
from centrifugo_tx.engines.redis.map_broker import RedisMapBroker
from centrifugo_tx.errors import BrokerUnavailable, ReplyError
from centrifugo_tx.interfaces import Engine, IBroker, IController, IPresenceManager
from centrifugo_tx.options import HistoryQuery, MapChange, PublishOptions
from centrifugo_tx.protocol.messages import ClientInfo

from ..contracts.broker import HISTORY, BrokerContract, StreamContract, data
from ..contracts.controller import ControllerContract
from ..contracts.doubles import Mailbox, Receiver
from ..contracts.maps import FADING, MapContract, MapReceiver
from ..contracts.presence import PresenceContract
from .redis_case import RedisCase, until
from .redis_servers import Server
from .redis_topologies import ClusterOfSix

#: Seconds that anything may take.
PATIENCE = 120.0

_cluster: ClusterOfSix | None = None


def setUpModule() -> None:
    """Start six nodes, and make them a Cluster that no test harms."""
    global _cluster
    _cluster = ClusterOfSix()


def tearDownModule() -> None:
    """End them."""
    assert _cluster is not None
    _cluster.stop()


class ClusterCase(RedisCase):
    """Makes engines on a Cluster."""

    timeout = 300

    def make_server(self) -> Server:
        """Return a node."""
        self.cluster = self.make_cluster()
        return self.cluster.nodes[0]

    def make_cluster(self) -> ClusterOfSix:
        """Return the Cluster of the module."""
        assert _cluster is not None
        return _cluster

    async def pass_time(self, seconds: float) -> None:
        """Put the clock forward, and let what is stored grow older."""
        self.reactor.ahead += seconds
        for node in self.cluster.masters():
            for key in node.call("KEYS", f"{self.prefix}*"):
                left = node.call("PTTL", key)
                if 0 < left <= seconds * 1000:
                    node.call("DEL", key)
                elif left > 0:
                    node.call("PEXPIRE", key, int(left - seconds * 1000))

    def options(self, **changes: Any) -> Any:
        """Return options that lead to the Cluster."""
        nodes = ",".join(each.address for each in self.cluster.nodes)
        return super().options(**{"cluster_address": [nodes], **changes})


class BrokerOnCluster(ClusterCase, StreamContract):
    """The broker with streams."""

    async def make_broker(self, receiver: Receiver, meta_ttl: float) -> IBroker:
        """Return a broker on the Cluster."""
        return (await self.make_engine(receiver, meta_ttl)).broker


class ListBrokerOnCluster(ClusterCase, BrokerContract):
    """The broker with lists."""

    async def make_broker(self, receiver: Receiver, meta_ttl: float) -> IBroker:
        """Return a broker on the Cluster."""
        engine = await self.make_engine(receiver, meta_ttl, history_use_lists=True)
        return engine.broker


class PresenceOnCluster(ClusterCase, PresenceContract):
    """The presence manager, with Redis counting the users."""

    async def make_presence(self, ttl: float) -> IPresenceManager:
        """Return a manager on the Cluster."""
        engine = await self.make_engine(presence_ttl=ttl, presence_user_mapping=True)
        return engine.presence


class ControllerOnCluster(ClusterCase, ControllerContract):
    """The controller."""

    async def make_controller(self, mailbox: Mailbox, node: str) -> IController:
        """Return a controller on the Cluster."""
        engine = await self.make_engine(mailbox=mailbox, node=node)
        return engine.controller


class MapsOnCluster(ClusterCase, MapContract):
    """The map broker."""

    broker: RedisMapBroker

    async def make_broker(self, receiver: MapReceiver) -> RedisMapBroker:
        """Return a broker on the Cluster."""
        return await self.make_maps(receiver)

    async def pass_time(self, seconds: float) -> None:
        """Let what is stored grow older, and keys expire."""
        await super().pass_time(seconds)
        assert self.broker.expiry is not None
        await self.broker.expiry.search()

    async def test_all_partitions(self) -> None:
        """Maps are spread over slots, all receive changes, and their keys expire."""
        await self.begin()
        for n in range(30):
            await self.broker.subscribe(f"c{n}")
            change = MapChange(FADING)
            await self.broker.publish(f"c{n}", "k", data(n), change)
        self.receiver.kept = FADING
        await self.delivered(30)
        lists = [
            len(node.call("KEYS", f"{self.prefix}:cleanup:channels:*"))
            for node in self.cluster.masters()
        ]
        self.assertTrue(all(lists), lists)
        self.assertGreater(sum(lists), 10)
        await self.pass_time(12)
        deliveries = await self.delivered(60)
        gone = {each.channel for each in deliveries if each.publication.removed}
        self.assertEqual(gone, {f"c{n}" for n in range(30)})


class Names(ClusterCase):
    """Where things are."""

    async def test_detected(self) -> None:
        """One node's address is enough to find out that it is a Cluster."""
        for address in (self.server.address, f"redis+cluster://{self.server.address}"):
            engine = await self.make_engine(cluster_address=[], address=[address])
            await engine.broker.publish("room:7", data(1), HISTORY)
            key = f"{self.prefix}.stream.{{room:7}}"
            node = self.cluster.master_of(key_slot(b"room:7"))
            self.assertEqual(node.call("XLEN", key), 1)
            await engine.broker.remove_history("room:7")

    async def test_all_slots(self) -> None:
        """Channels are spread over the nodes, and all receive over one connection."""
        receiver = Receiver()
        engine = await self.make_engine(receiver)
        for n in range(30):
            await engine.broker.subscribe(f"c{n}")
            await engine.broker.publish(f"c{n}", data(n), HISTORY)
            await engine.presence.add(f"c{n}", "c", ClientInfo("u", "c"))
        await receiver.when_count_is(receiver.deliveries, 30)
        sizes = [
            len(node.call("KEYS", f"{self.prefix}.stream.meta.*"))
            for node in self.cluster.masters()
        ]
        self.assertEqual(sum(sizes), 30)
        self.assertTrue(all(sizes), sizes)

    async def test_scattered_channel(self) -> None:
        """A channel whose keys would be in several slots is refused."""
        engine = await self.make_engine()
        attempts: list[Deferred[Any]] = [
            engine.broker.publish("}x", data(1), HISTORY),
            engine.broker.history("}x", HistoryQuery()),
            engine.broker.subscribe("}x"),
        ]
        for attempt in attempts:
            await self.assertFailure(attempt, ReplyError)

    async def test_one_node_down_at_start(self) -> None:
        """Any of the nodes given is enough to start."""
        nowhere = f"127.0.0.1:1,{self.server.address}"
        await self.make_engine(cluster_address=[nowhere])


class Moving(ClusterCase):
    """Slots that move from node to node."""

    async def test_moved(self) -> None:
        """A slot that has moved is followed."""
        engine, slot = await self.begin()
        source, target = self.cluster.ends(slot)
        self.cluster.migrate(slot, source, target)
        self.cluster.finish(slot, source, target)
        published = await engine.broker.publish("room:7", data(2), HISTORY)
        self.assertEqual(published.position.offset, 2)

    async def test_moving(self) -> None:
        """While a slot moves, commands go where the keys are."""
        engine, slot = await self.begin()
        source, target = self.cluster.ends(slot)
        self.cluster.announce(slot, source, target)
        published = await engine.broker.publish("room:7", data(2), HISTORY)
        self.assertEqual(published.position.offset, 2)
        self.cluster.migrate(slot, source, target)
        # Half of the keys here and half of them there, and then all of them there.
        published = await engine.broker.publish("room:7", data(3), HISTORY)
        self.assertEqual(published.position.offset, 3)
        history = await engine.broker.history("room:7", HistoryQuery(-1))
        self.assertEqual([each.offset for each in history.publications], [1, 2, 3])
        self.cluster.finish(slot, source, target)
        published = await engine.broker.publish("room:7", data(4), HISTORY)
        self.assertEqual(published.position.offset, 4)

    async def test_half_moved(self) -> None:
        """A command that needs keys from both sides waits until they are together."""
        engine, slot = await self.begin()
        source, target = self.cluster.ends(slot)
        self.cluster.announce(slot, source, target)
        [first, second] = source.call("CLUSTER", "GETKEYSINSLOT", slot, 100)
        source.call("MIGRATE", "127.0.0.1", target.port, first, 0, 1000)
        waiting = engine.broker.publish("room:7", data(2), HISTORY)
        await until(lambda: self.tries >= 2)
        self.assertNoResult(waiting)
        source.call("MIGRATE", "127.0.0.1", target.port, second, 0, 1000)
        self.assertEqual((await waiting).position.offset, 2)
        self.cluster.finish(slot, source, target)

    tries = 0

    async def begin(self) -> tuple[Engine, int]:
        """Make an engine, publish, and return the channel's slot."""

        def count(*args: Any) -> Any:
            self.tries += 1
            return deferLater(*args)

        self.patch(cluster, "deferLater", count)
        slot = key_slot(b"room:7")
        await until(lambda: self.cluster.agrees(slot), PATIENCE)
        node = self.cluster.master_of(slot)
        for key in node.call("CLUSTER", "GETKEYSINSLOT", slot, 1000):
            node.call("DEL", key)
        engine = await self.make_engine()
        await engine.broker.publish("room:7", data(1), HISTORY)
        return engine, slot


class MasterLoss(ClusterCase):
    """A master dies."""

    def make_cluster(self) -> ClusterOfSix:
        """Return a Cluster that ends with the test."""
        cluster = ClusterOfSix(down_after=2.5)
        self.addCleanup(cluster.stop)
        return cluster

    async def test_master_killed(self) -> None:
        """Its replica is found, subscriptions continue, and gaps are reported."""
        receiver = Receiver()
        engine = await self.make_engine(receiver)
        channels = [f"c{n}" for n in range(30)]
        for channel in channels:
            await engine.broker.subscribe(channel)
            await engine.broker.publish(channel, data(1), HISTORY)
        await receiver.when_count_is(receiver.deliveries, 30)
        slot = key_slot(b"c0")
        old = self.cluster.master_of(slot)
        old.kill()
        failed = engine.broker.publish("c0", data(9), HISTORY)
        await self.assertFailure(failed, BrokerUnavailable)
        published: set[str] = set()

        def all_published() -> bool:
            for channel in set(channels) - published:
                done = engine.broker.publish(channel, data(2), PublishOptions())
                done.addCallbacks(lambda _, c=channel: published.add(c), lambda _: None)
            return len(published) == 30

        await until(all_published, PATIENCE)
        before = len(receiver.deliveries)
        await engine.broker.publish("c0", data(3), HISTORY)
        await receiver.when_count_is(receiver.deliveries, before + 1)

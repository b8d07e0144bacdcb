"""The Redis engine on a master that Sentinels watch, and that fails."""

from typing import Any

from centrifugo_tx.engines.redis import topology
from centrifugo_tx.errors import BrokerUnavailable
from centrifugo_tx.interfaces import Engine
from centrifugo_tx.options import HistoryQuery, MapChange, MapQuery

from ..contracts.broker import HISTORY, data
from ..contracts.doubles import Mailbox, Receiver
from ..contracts.maps import FADING, MapReceiver
from .redis_case import RedisCase, until
from .redis_servers import Server
from .redis_topologies import Watched

#: Seconds that anything may take.
PATIENCE = 120.0


class SentinelCase(RedisCase):
    """Has a master, two replicas and three Sentinels of its own."""

    timeout = 300
    #: Seconds of silence after which the Sentinels replace the master.
    down_after = 60.0

    def make_server(self) -> Server:
        """Start all of them; return the master."""
        self.watched = Watched(self.down_after)
        self.addCleanup(self.watched.stop)
        return self.watched.servers[0]


class FailoverCase(SentinelCase):
    """An engine is subscribed when the master changes."""

    async def begin(self) -> tuple[Engine, Receiver, Mailbox]:
        """Make an engine that is subscribed to a channel with history."""
        receiver, mailbox = Receiver(), Mailbox()
        engine = await self.make_engine(
            receiver, mailbox=mailbox, address=[self.watched.address]
        )
        await engine.broker.subscribe("room:7")
        await engine.broker.publish("room:7", data(1), HISTORY)
        await receiver.when_count_is(receiver.deliveries, 1)
        key = f"{self.prefix}.stream.room:7"
        await until(lambda: self.watched.all_have_key(key), PATIENCE)
        return engine, receiver, mailbox

    async def check_stream_continues(
        self, engine: Engine, receiver: Receiver, mailbox: Mailbox
    ) -> None:
        """See that the stream goes on, is heard again, and nodes can talk."""
        await until(lambda: set(receiver.gaps) == {"room:7"}, PATIENCE)
        failures = 0
        while True:
            try:
                published = await engine.broker.publish("room:7", data(2), HISTORY)
                break
            except BrokerUnavailable:
                failures += 1
                await until(lambda: True)
        self.assertEqual(published.position.offset, 2)
        await receiver.when_count_is(receiver.deliveries, 2)
        history = await engine.broker.history("room:7", HistoryQuery(-1))
        self.assertEqual([each.offset for each in history.publications], [1, 2])
        await until(
            lambda: len(mailbox.messages) > 0 or self.publish_control_message(engine),
            PATIENCE,
        )

    def publish_control_message(self, engine: Engine) -> bool:
        """Say something to all nodes."""
        engine.controller.publish(b"hello").addErrback(lambda _: None)
        return False

    async def fail_over(self) -> None:
        """Order a failover, and wait for it."""
        await until(lambda: self.watched.failed_over(self.server), PATIENCE)


class DeadMaster(FailoverCase):
    """The master dies."""

    down_after = 1.0

    async def test_master_killed(self) -> None:
        """When the master dies the engine follows the Sentinels to the next one."""
        engine, receiver, mailbox = await self.begin()
        self.server.kill()
        failed = engine.broker.publish("room:7", data(9), HISTORY)
        await self.assertFailure(failed, BrokerUnavailable)
        await until(lambda: self.watched.master is not self.server, PATIENCE)
        await self.check_stream_continues(engine, receiver, mailbox)


class OrderedFailover(FailoverCase):
    """The master changes while it is well."""

    async def test_ordered(self) -> None:
        """A failover that was ordered is followed, too."""
        engine, receiver, mailbox = await self.begin()
        await self.fail_over()
        await self.check_stream_continues(engine, receiver, mailbox)

    async def test_maps(self) -> None:
        """Maps follow the Sentinels, too, and possible losses are reported."""
        receiver = MapReceiver()
        maps = await self.make_maps(receiver, address=[self.watched.address])
        await maps.subscribe("m")
        change = MapChange(FADING)
        first = await maps.publish("m", "a", data(1), change)
        key = f"{self.prefix}:state:m"
        await until(lambda: self.watched.all_have_key(key), PATIENCE)
        await self.fail_over()
        await until(lambda: set(receiver.gaps) == {"m"}, PATIENCE)
        page = await maps.state("m", MapQuery(limit=10))
        self.assertEqual(page.position, first.position)
        self.assertEqual([each.key for each in page.entries], ["a"])
        changed = await maps.publish("m", "b", data(2), change)
        self.assertEqual(changed.position.offset, 2)
        await receiver.when_count_is(receiver.deliveries, 2)

    async def test_demoted(self) -> None:
        """A master that only was demoted is left when it refuses to be written to."""
        engine, *_ = await self.begin()
        for sentinel in self.watched.sentinels:
            sentinel.pause()
        try:
            other = self.watched.servers[1]
            self.server.call("REPLICAOF", "127.0.0.1", other.port)
            failed = engine.broker.publish("room:7", data(9), HISTORY)
            await self.assertFailure(failed, BrokerUnavailable)
            self.server.call("REPLICAOF", "NO", "ONE")
        finally:
            for sentinel in self.watched.sentinels:
                sentinel.resume()
        await until(lambda: self.publication_succeeds(engine), PATIENCE)

    def publication_succeeds(self, engine: Engine) -> bool:
        """Try to publish; whether that worked at an earlier call."""
        done: list[Any] = self.__dict__.setdefault("done", [])
        engine.broker.publish("room:7", data(3), HISTORY).addCallbacks(
            done.append, lambda _: None
        )
        return bool(done)

    async def test_unheard_of_change(self) -> None:
        """A change without an announcement is found by polling."""
        self.patch(topology, "SENTINEL_POLL_INTERVAL", 0.2)
        engine, receiver, mailbox = await self.begin()
        route = engine.broker._shards.all[0]._route  # type: ignore[attr-defined]
        await route._events.stop()
        await self.fail_over()
        await self.check_stream_continues(engine, receiver, mailbox)


class NoSentinel(SentinelCase):
    """No Sentinel can be asked."""

    async def test_unknown_master(self) -> None:
        """A master that no Sentinel knows stops the start."""
        address = self.watched.address.replace("master_name=m", "master_name=x")
        failed = self.make_engine(address=[address])
        with self.assertRaises(BrokerUnavailable) as caught:
            await failed
        self.assertIn("does not know the master 'x'", str(caught.exception))

    async def test_one_is_enough(self) -> None:
        """As long as one Sentinel can be asked the master is found."""
        for sentinel in self.watched.sentinels[:2]:
            sentinel.kill()
        engine = await self.make_engine(address=[self.watched.address])
        await engine.broker.publish("room:7", data(1), HISTORY)

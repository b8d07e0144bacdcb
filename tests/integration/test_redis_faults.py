"""The Redis engine while its server is down, hangs, or returns empty."""

from typing import Any

from twisted.internet.defer import Deferred, fail, gatherResults
from twisted.internet.error import ConnectionRefusedError

from centrifugo_tx.errors import BrokerUnavailable
from centrifugo_tx.interfaces import Engine
from centrifugo_tx.options import HistoryQuery
from centrifugo_tx.protocol.messages import ClientInfo

from ..contracts.broker import HISTORY, data
from ..contracts.doubles import Mailbox, Receiver
from .redis_case import RedisCase, until
from .redis_servers import Server, valkey


class FaultCase(RedisCase):
    """Has a server of its own."""

    timeout = 180
    settings: dict[str, str] = {}  # noqa: RUF012

    def make_server(self) -> Server:
        """Start a server that ends with the test."""
        server = Server(valkey(), dict(self.settings)).start()
        self.addCleanup(server.stop)
        return server

    async def begin(self) -> Engine:
        """Make an engine that is subscribed to a channel with history."""
        self.receiver, self.mailbox = Receiver(), Mailbox()
        engine = await self.make_engine(self.receiver, mailbox=self.mailbox)
        await engine.broker.subscribe("room:7")
        await engine.broker.publish("room:7", data(1), HISTORY)
        await self.receiver.when_count_is(self.receiver.deliveries, 1)
        return engine

    def calls(self, engine: Engine) -> "list[Deferred[Any]]":
        """Call everything."""
        return [
            engine.broker.publish("room:7", data(9), HISTORY),
            engine.broker.history("room:7", HistoryQuery(-1)),
            engine.broker.publish_join("room:7", ClientInfo("u", "c")),
            engine.broker.remove_history("another"),
            engine.broker.subscribe("room:8"),
            engine.presence.add("room:7", "c", ClientInfo("u", "c")),
            engine.presence.remove("room:7", "c", "u"),
            engine.presence.presence("room:7"),
            engine.presence.stats("room:7"),
            engine.controller.publish(b"hello"),
        ]

    def all_fail_at_once(self, engine: Engine) -> None:
        """Call everything; see that it fails without waiting for anything."""
        for call in self.calls(engine):
            self.failureResultOf(call, BrokerUnavailable)

    async def cut_off(self, engine: Engine) -> None:
        """Wait until all connections are given up."""
        broker: Any = engine.broker
        [shard] = broker._shards.all
        await until(
            lambda: (
                not shard.can_reach(b"")
                and all(link.protocol is None for link in shard._listeners)
            )
        )

    async def works(self, engine: Engine, offset: int) -> None:
        """See that everything works again."""
        deliveries = len(self.receiver.deliveries)
        published = await engine.broker.publish("room:7", data(2), HISTORY)
        self.assertEqual(published.position.offset, offset)
        await self.receiver.when_count_is(self.receiver.deliveries, deliveries + 1)
        await engine.broker.subscribe("room:8")
        await engine.presence.add("room:7", "c", ClientInfo("u", "c"))
        messages = len(self.mailbox.messages)

        def heard() -> bool:
            # Messages before the reconnect are lost.
            engine.controller.publish(b"hello").addErrback(lambda _: None)
            return len(self.mailbox.messages) > messages

        await until(heard)


class Killed(FaultCase):
    """The server is killed."""

    async def test_comes_back_empty(self) -> None:
        """Everything fails at once, and works again after the restart."""
        engine = await self.begin()
        before = await engine.broker.history("room:7", HistoryQuery())
        waiting = engine.broker.publish("room:7", data(9), HISTORY)
        self.server.kill()
        await gatherResults([waiting.addErrback(lambda _: None)])
        await self.cut_off(engine)
        self.all_fail_at_once(engine)
        self.server.start()
        await until(lambda: self.receiver.gaps == ["room:7"])
        after = await engine.broker.history("room:7", HistoryQuery())
        self.assertNotEqual(after.position.epoch, before.position.epoch)
        await self.works(engine, 1)

    async def test_subscriptions_left_meanwhile(self) -> None:
        """Channels left while the server was down are not restored."""
        engine = await self.begin()
        await engine.broker.subscribe("room:9")
        self.server.kill()
        await self.cut_off(engine)
        await engine.broker.unsubscribe("room:9")
        self.server.start()
        await until(lambda: self.receiver.gaps == ["room:7"])
        subscribed = self.server.call("PUBSUB", "CHANNELS", f"{self.prefix}.client.*")
        self.assertEqual(subscribed, [f"{self.prefix}.client.room:7".encode()])

    async def test_connections_killed(self) -> None:
        """When only connections are lost nothing but time is."""
        engine = await self.begin()
        for kind in ("pubsub", "normal"):
            self.server.call("CLIENT", "KILL", "TYPE", kind)
        await until(lambda: self.receiver.gaps == ["room:7"])
        await self.works(engine, 2)

    async def test_commands_first(self) -> None:
        """No message is delivered before the channel can be compared with storage."""
        engine = await self.begin()
        broker: Any = engine.broker
        [shard] = broker._shards.all
        commands = shard._route.connection
        reachable: list[bool] = []
        for link in shard._listeners:
            before = link.changed

            def changed(link: Any, before: Any = before) -> None:
                if link.protocol is not None:
                    reachable.append(shard.can_reach(b""))
                before(link)

            link.changed = changed
        # The way of commands is closed for a while, that of messages is not.
        way, commands._endpoint = commands._endpoint, _Closed()
        for kind in ("normal", "pubsub"):
            self.server.call("CLIENT", "KILL", "TYPE", kind)
        await until(lambda: commands._endpoint.attempts >= 3)
        self.assertEqual(reachable, [])
        commands._endpoint = way
        await until(lambda: self.receiver.gaps == ["room:7"])
        await until(lambda: len(reachable) == 2)
        self.assertEqual(reachable, [True, True])


class _Closed:
    """An endpoint that leads nowhere."""

    attempts = 0

    def connect(self, factory: object) -> "Deferred[Any]":
        """Refuse."""
        self.attempts += 1
        return fail(ConnectionRefusedError())


class Persistent(FaultCase):
    """The server writes everything down."""

    settings = {"appendonly": "yes", "appendfsync": "always"}  # noqa: RUF012

    async def test_comes_back_with_data(self) -> None:
        """The stream continues at its position."""
        engine = await self.begin()
        before = await engine.broker.history("room:7", HistoryQuery())
        self.server.kill()
        self.server.start()
        await until(lambda: self.receiver.gaps == ["room:7"])
        after = await engine.broker.history("room:7", HistoryQuery(-1))
        self.assertEqual(after.position, before.position)
        self.assertEqual(len(after.publications), 1)
        await self.works(engine, 2)


class Hanging(FaultCase):
    """The server hangs."""

    async def test_hangs(self) -> None:
        """Pending calls fail at the timeout; later calls fail at once."""
        engine = await self.make_hasty()
        self.server.pause()
        for call in self.calls(engine):
            await self.assertFailure(call, BrokerUnavailable)
        await self.cut_off(engine)
        self.all_fail_at_once(engine)
        self.server.resume()
        await until(lambda: self.receiver.gaps == ["room:7"])
        # What the server had read already before it was left counts, too.
        history = await engine.broker.history("room:7", HistoryQuery())
        await self.works(engine, history.position.offset + 1)

    async def test_hangs_while_idle(self) -> None:
        """That it hangs is found out without any command."""
        engine = await self.make_hasty()
        self.server.pause()
        await self.cut_off(engine)
        self.server.resume()
        await until(lambda: self.receiver.gaps == ["room:7"])

    async def make_hasty(self) -> Engine:
        """Make an engine that waits for a second only."""
        self.receiver, self.mailbox = Receiver(), Mailbox()
        engine = await self.make_engine(
            self.receiver, mailbox=self.mailbox, io_timeout=1.0
        )
        await engine.broker.subscribe("room:7")
        await engine.broker.publish("room:7", data(1), HISTORY)
        await self.receiver.when_count_is(self.receiver.deliveries, 1)
        return engine


class Many(FaultCase):
    """Many subscriptions."""

    async def test_restored(self) -> None:
        """Ten thousand subscriptions are restored, and each is reported once."""
        self.receiver = Receiver()
        engine = await self.make_engine(self.receiver)
        channels = [f"c{n}" for n in range(10000)]
        await gatherResults([engine.broker.subscribe(each) for each in channels])
        self.server.call("CLIENT", "KILL", "TYPE", "pubsub")
        await until(lambda: len(self.receiver.gaps) >= 10000)
        self.assertEqual(sorted(self.receiver.gaps), sorted(channels))
        subscribed = self.server.call("PUBSUB", "CHANNELS", f"{self.prefix}.client.*")
        self.assertEqual(len(subscribed), 10000)

    async def test_flood(self) -> None:
        """Publications during slow deliveries come in order, or are reported."""
        receiver = Receiver()
        engine = await self.make_engine(receiver)
        await engine.broker.subscribe("room:7")
        for _ in range(20):
            await gatherResults(
                [engine.broker.publish("room:7", data(n), HISTORY) for n in range(500)]
            )
        await receiver.when_count_is(receiver.deliveries, 10000)
        offsets = [each.position.offset for each in receiver.deliveries]
        self.assertEqual(offsets, list(range(1, 10001)))

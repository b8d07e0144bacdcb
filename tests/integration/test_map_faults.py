"""Maps on Redis while the server is down, returns empty, or is very full."""

import json
from typing import Any

from msgspec.structs import replace
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.engines.redis.map_broker import RedisMapBroker
from centrifugo_tx.errors import BrokerUnavailable
from centrifugo_tx.options import HistoryQuery, MapChange, MapQuery
from centrifugo_tx.protocol.messages import Raw

from ..contracts.broker import data
from ..contracts.maps import FADING, KEPT, STREAMLESS, MapReceiver
from .redis_case import RedisCase, until
from .redis_servers import Server as Redis
from .redis_servers import valkey
from .server import API_KEY, Server
from .test_redis_nodes import Client


class Killed(RedisCase):
    """A broker whose server is killed."""

    timeout = 60

    def make_server(self) -> Redis:
        """Start a server that ends with the test."""
        server = Redis(valkey()).start()
        self.addCleanup(server.stop)
        return server

    async def begin(self) -> RedisMapBroker:
        """Make a broker that listens to a map."""
        self.receiver = MapReceiver()
        maps = await self.make_maps(self.receiver)
        await maps.subscribe("m")
        await maps.publish("m", "a", data(1), MapChange(KEPT))
        await self.receiver.when_count_is(self.receiver.deliveries, 1)
        return maps

    async def test_comes_back_empty(self) -> None:
        """All calls fail at once; later the gap is reported and all works."""
        maps = await self.begin()
        before = await maps.state("m", MapQuery())
        self.server.kill()
        [shard] = maps._shards.all
        await until(lambda: not shard.can_reach(b""))
        calls: list[Deferred[Any]] = [
            maps.publish("m", "a", data(1), MapChange(KEPT)),
            maps.remove("m", "a", MapChange(KEPT)),
            maps.state("m", MapQuery(10)),
            maps.state("m", MapQuery(-1)),
            maps.stream("m", HistoryQuery(-1)),
            maps.size("m"),
            maps.clear("m"),
            maps.subscribe("n"),
        ]
        for call in calls:
            self.failureResultOf(call, BrokerUnavailable)
        assert maps.expiry is not None
        await maps.expiry.search()  # does not fail
        self.server.start()
        await until(lambda: self.receiver.gaps == ["m"])
        after = await maps.state("m", MapQuery())
        self.assertNotEqual(after.position.epoch, before.position.epoch)
        await maps.publish("m", "b", data(2), MapChange(KEPT))
        await self.receiver.when_count_is(self.receiver.deliveries, 2)

    async def test_expiry_goes_on(self) -> None:
        """Keys expire again after the server was away, by the broker itself."""
        maps = await self.begin()
        self.server.kill()
        [shard] = maps._shards.all
        await until(lambda: not shard.can_reach(b""))
        self.server.start()
        await until(lambda: shard.can_reach(b"") and self.receiver.gaps == ["m"])
        self.receiver.kept = FADING
        await maps.publish("m", "b", data(2), MapChange(FADING))
        self.reactor.ahead += 12
        await until(lambda: self.receiver.deliveries[-1].publication.removed)

    async def test_wrong_type(self) -> None:
        """A map that Redis cannot work on keeps no other from expiring."""
        maps = await self.begin()
        self.receiver.kept = FADING
        await maps.subscribe("n")
        for channel in "mn":
            await maps.publish(channel, "k", data(2), MapChange(FADING))
        await self.receiver.when_count_is(self.receiver.deliveries, 3)
        self.server.call("SET", f"{self.prefix}:state:expire:m", "nonsense")
        self.reactor.ahead += 12
        assert maps.expiry is not None
        await maps.expiry.search()
        await self.receiver.when_count_is(self.receiver.deliveries, 4)
        self.assertEqual(self.receiver.deliveries[-1].channel, "n")
        self.flushLoggedErrors()

    async def test_foreign_maps(self) -> None:
        """Maps without a namespace on this node are not touched."""
        maps = await self.begin()
        for number in range(100):
            name = f"foreign{number}"
            await maps.publish(name, "k", data(2), MapChange(FADING))
        await maps.publish("m", "k", data(2), MapChange(FADING))
        self.receiver.known = {"m"}
        self.receiver.kept = FADING
        self.reactor.ahead += 12
        assert maps.expiry is not None
        await maps.expiry.search()
        await self.receiver.when_count_is(self.receiver.deliveries, 3)
        listed = self.server.call("ZCARD", f"{self.prefix}:cleanup:channels")
        self.assertEqual(listed, 100)


class Large(RedisCase):
    """A map of a hundred thousand entries."""

    timeout = 120

    async def fill(self, change: MapChange) -> RedisMapBroker:
        """Make a broker whose map ``m`` is large."""
        maps = await self.make_maps()
        await maps.publish("m", "k0", Raw(b"x" * 80), change)
        fill = """
            local entry = redis.call('HGET', KEYS[1], 'k0')
            for n = 1, 99999 do
              redis.call('HSET', KEYS[1], 'k' .. n, entry)
            end
        """
        self.server.call("EVAL", fill, 1, f"{self.prefix}:state:m")
        return maps

    async def test_pages(self) -> None:
        """No page is longer than it must be, and all of them are the whole."""
        # Keys that do not expire while a busy machine fills the map.
        maps = await self.fill(MapChange(replace(STREAMLESS, key_ttl=600.0)))
        found: set[str] = set()
        longest = pages = 0
        cursor = ""
        while True:
            page = await maps.state("m", MapQuery(1000, cursor, streamless=True))
            found.update(entry.key for entry in page.entries)
            longest = max(longest, len(page.entries))
            pages, cursor = pages + 1, page.cursor
            if not cursor:
                break
        self.assertEqual(len(found), 100_000)
        self.assertLess(longest, 2500)
        self.assertGreater(pages, 40)

    async def test_everything(self) -> None:
        """Reading all entries at once does not block the reactor."""
        maps = await self.fill(MapChange(KEPT))
        turns = 0

        def turn() -> None:
            nonlocal turns, call
            turns += 1
            call = reactor.callLater(0, turn)  # type: ignore[attr-defined]

        call = reactor.callLater(0, turn)  # type: ignore[attr-defined]
        page = await maps.state("m", MapQuery(-1))
        call.cancel()
        self.assertEqual(len(page.entries), 100_000)
        self.assertGreater(turns, 40)
        self.assertEqual(await maps.size("m"), 100_000)


class NodeWithoutRedis(SynchronousTestCase):
    """A node whose Redis is away for a while."""

    def test_outage(self) -> None:
        """The caller is answered 100; subscribers stay, and have the map again."""
        redis = Redis(valkey()).start()
        self.addCleanup(redis.stop)
        options = {"allow_subscribe_for_client": True, "subscription_type": "map"}
        server = Server(
            {
                "map_broker": {"type": "redis", "redis": {"address": redis.address}},
                "channel": {
                    "namespaces": [
                        {"name": "map", "map": {"mode": "persistent"}, **options},
                        {
                            "name": "cursors",
                            "map": {"mode": "ephemeral", "key_ttl": "60s"},
                            **options,
                        },
                    ]
                },
            }
        ).start()
        self.addCleanup(server.close)
        names = ("map:a", "cursors:a")
        for name in names:
            server.api("map_publish", channel=name, key="k", data=1)
        client = Client(server, "ada")
        self.addCleanup(client.close)
        for name in names:
            result = client.ask("subscribe", channel=name, type=1, phase=2)
            self.assertEqual(len(result["state"]), 1)
        redis.kill()
        for method, request in (
            ("map_publish", {"key": "k", "data": 2}),
            ("map_remove", {"key": "k"}),
            ("map_read_state", {"limit": 10}),
            ("map_read_stream", {"limit": 10}),
            ("map_stats", {}),
            ("map_clear", {}),
        ):
            body = json.dumps({"channel": "map:a", **request}).encode()
            headers = {"X-API-Key": API_KEY}
            _, answer = server.request("POST", f"/api/{method}", body, headers)
            self.assertEqual(json.loads(answer)["error"]["code"], 100, method)
        late = Client(server, "eve")
        self.addCleanup(late.close)
        for name in ("map:b", "cursors:b"):
            request = {"channel": name, "type": 1, "phase": 2}
            late.websocket.send({"id": 9, "subscribe": request})
            self.assertEqual(late.websocket.receive()["error"]["code"], 100)
        redis.start()
        lost = [client.websocket.receive()["push"] for _ in names]
        self.assertEqual({each["channel"] for each in lost}, set(names))
        self.assertEqual({each["unsubscribe"]["code"] for each in lost}, {2500})
        for name in names:
            result = client.ask("subscribe", channel=name, type=1, phase=2)
            self.assertEqual(result.get("state", []), [])
        server.api("map_publish", channel="map:a", key="k", data=3)
        self.assertEqual(client.push("pub")["data"], 3)
        self.assertEqual(server.complaints(), [])

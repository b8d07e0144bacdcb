"""Keys and messages of the Redis engine, byte for byte."""

from typing import Any

from twisted.internet import reactor

from centrifugo_tx.engines.redis import broker as redis_broker
from centrifugo_tx.engines.redis.addresses import Login, TCPAddress
from centrifugo_tx.engines.redis.connection import PubSubProtocol
from centrifugo_tx.engines.redis.endpoints import endpoint
from centrifugo_tx.engines.redis.reconnecting import ReconnectingConnection
from centrifugo_tx.errors import BrokerUnavailable
from centrifugo_tx.interfaces import IBroker
from centrifugo_tx.options import HistoryQuery, Published, PublishOptions
from centrifugo_tx.protocol.messages import ClientInfo, Publication, StreamPosition

from ..contracts.doubles import Receiver
from ..vectors.redis import (
    CI,
    EPOCH,
    LEAVER,
    MALFORMED,
    MESSAGES,
    P0,
    P1,
    P1_HEX,
    P2,
    P3,
    P3_HEX,
)
from .redis_case import RedisCase, until


class BytesCase(RedisCase):
    """Publishes the reference's publications at their times, with its epoch."""

    async def begin(self, **changes: Any) -> IBroker:
        """Make a broker, and a subscriber to its bytes."""
        self.patch(redis_broker, "new_epoch", lambda: EPOCH)
        self.engine = await self.make_engine(**changes)
        self.heard: list[bytes] = []
        await self.listen(f"{self.prefix}.client.room:7".encode())
        return self.engine.broker

    async def listen(self, name: bytes) -> None:
        """Record the messages to *name*."""
        clock: Any = reactor
        address = TCPAddress("127.0.0.1", self.server.port)
        link: ReconnectingConnection[PubSubProtocol] = ReconnectingConnection(
            "test",
            clock,
            endpoint(clock, address, Login(), 1.0),
            Login(),
            lambda lost: PubSubProtocol(
                clock,
                "test",
                4.0,
                lost,
                lambda messages: self.heard.extend(each for _, each in messages),
            ),
        )
        await link.start()
        self.addCleanup(link.stop)
        assert link.protocol is not None
        await link.protocol.subscribe([name])

    async def publish(
        self, publication: Publication, history: bool = True, **changes: Any
    ) -> Published:
        """Publish at the time that the publication says."""
        self.reactor.fixed = publication.time / 1000
        options = PublishOptions(
            history_size=10 if history else 0,
            history_ttl=60.0 if history else 0.0,
            info=publication.info,
            tags=publication.tags,
            version=publication.version,
            **changes,
        )
        return await self.engine.broker.publish("room:7", publication.data, options)

    def key(self, name: str) -> str:
        """Return the name of a key."""
        return f"{self.prefix}.{name}"


class Messages(BytesCase):
    """The seven vectors of engines, C.5."""

    async def test_vectors(self) -> None:
        """Publications equal the reference's byte for byte."""
        broker = await self.begin()
        await self.publish(P0, history=False)
        await self.publish(P0, history=False, delta=True)
        await self.publish(P1, delta=True)
        await self.publish(P2)
        last = await self.publish(P3, delta=True)
        await broker.publish_join("room:7", CI)
        await broker.publish_leave("room:7", LEAVER)
        await until(lambda: len(self.heard) == 7)
        self.assertEqual(self.heard, MESSAGES)
        self.assertEqual(last.position, StreamPosition(3, EPOCH))
        again = await self.publish(P3, delta=True)
        self.assertEqual(again, Published(StreamPosition(3, EPOCH), "version"))

        entries = self.server.call("XRANGE", self.key("stream.room:7"), "-", "+")
        self.assertEqual([entry for entry, _ in entries], [b"1-0", b"2-0", b"3-0"])
        self.assertEqual({fields[0] for _, fields in entries}, {b"d"})
        self.assertEqual(entries[0][1][1].hex(), P1_HEX)
        self.assertEqual(entries[2][1][1].hex(), P3_HEX)
        meta = self.server.call("HGETALL", self.key("stream.meta.room:7"))
        self.assertEqual(
            dict(zip(meta[::2], meta[1::2], strict=True)),
            {b"e": EPOCH.encode(), b"s": b"3", b"v": b"5", b"ve": b""},
        )

    async def test_lists(self) -> None:
        """An element of a list begins with its position."""
        await self.begin(history_use_lists=True)
        published = await self.publish(P1)
        self.assertEqual(published.position, StreamPosition(1, EPOCH))
        items = self.server.call("LRANGE", self.key("list.room:7"), 0, -1)
        self.assertEqual(
            [item.hex() for item in items],
            ["5f5f70313a313a6b517a576d5274595f5f" + P1_HEX],
        )
        await self.publish(P2, delta=True)
        await until(lambda: len(self.heard) == 2)
        self.assertTrue(
            self.heard[1].startswith(b"__d1:2:kQzWmRtY:17:" + bytes.fromhex(P1_HEX))
        )


class Keys(BytesCase):
    """Remaining keys."""

    async def test_lives(self) -> None:
        """Every key has the life that the reference gives it."""
        await self.begin(meta_ttl=3600.0)
        await self.publish(P1, idempotency_key="k1", idempotent_result_ttl=30.0)
        for name, life in [
            ("stream.room:7", 60),
            ("stream.meta.room:7", 3600),
            ("result.room:7.k1", 30),
        ]:
            left = self.server.call("TTL", self.key(name))
            self.assertTrue(life - 2 <= left <= life, (name, left))
        result = self.server.call("HGETALL", self.key("result.room:7.k1"))
        self.assertEqual(
            dict(zip(result[::2], result[1::2], strict=True)),
            {b"e": EPOCH.encode(), b"s": b"1"},
        )

    async def test_no_meta_ttl(self) -> None:
        """Without a meta TTL a position never expires."""
        await self.begin(meta_ttl=0.0)
        await self.publish(P1)
        self.assertEqual(self.server.call("TTL", self.key("stream.meta.room:7")), -1)

    async def test_once_without_history(self) -> None:
        """A key without history is remembered with an empty epoch."""
        await self.begin()
        await self.publish(P0, history=False, idempotency_key="k1")
        await self.publish(P0, history=False, idempotency_key="k1")
        result = self.server.call("HGETALL", self.key("result.room:7.k1"))
        self.assertEqual(result, [b"e", b""])
        self.assertEqual(self.server.call("TTL", self.key("result.room:7.k1")), 300)
        await self.publish(P1, idempotency_key="k1")
        await self.publish(P2, history=False)
        await until(lambda: len(self.heard) >= 2)
        self.assertEqual(len(self.heard), 2)

    async def test_lost_meta(self) -> None:
        """If only the meta key is lost the stream starts again."""
        broker = await self.begin()
        await self.publish(P1)
        await self.publish(P2)
        self.server.call("DEL", self.key("stream.meta.room:7"))
        await self.publish(P3)
        history = await broker.history("room:7", HistoryQuery(-1))
        self.assertEqual([each.offset for each in history.publications], [1])

    async def test_large_versions(self) -> None:
        """Versions are compared exactly up to 64 bits."""
        broker = await self.begin()
        for version, suppressed in [
            (2**53, ""),
            (2**53 + 1, ""),
            (2**53, "version"),
            (2**64 - 2, ""),
            (2**64 - 1, ""),
            (2**64 - 2, "version"),
            (9, "version"),
        ]:
            options = PublishOptions(history_size=10, history_ttl=60.0, version=version)
            published = await broker.publish("room:7", P1.data, options)
            self.assertEqual(published.suppressed, suppressed, version)

    async def test_version_of_the_reference(self) -> None:
        """A version that the reference stored beyond 63 bits is negative."""
        broker = await self.begin()
        self.server.call("HSET", self.key("stream.meta.room:7"), "v", "-5", "ve", "")
        options = PublishOptions(history_size=10, history_ttl=60.0, version=3)
        published = await broker.publish("room:7", P1.data, options)
        self.assertEqual(published.suppressed, "")

    async def test_publications_without_time(self) -> None:
        """History is returned without what only live publications need."""
        broker = await self.begin()
        await self.publish(P2)
        [stored] = (await broker.history("room:7", HistoryQuery(-1))).publications
        self.assertEqual((stored.time, stored.offset, stored.epoch), (0, 1, ""))
        assert stored.info is not None
        self.assertEqual((stored.info.user, stored.tags), ("u7", {"k": "v"}))


class Presence(BytesCase):
    """Keys of presence (engines, "Redis payloads")."""

    async def test_keys(self) -> None:
        """Data, expiries and the users' counts are where others look for them."""
        await self.begin(presence_user_mapping=True)
        self.reactor.fixed = 1790000000.5
        await self.engine.presence.add("room:7", "3f2a", CI)
        await self.engine.presence.add("room:7", "3f2b", ClientInfo("u7", "3f2b"))
        call, key = self.server.call, self.key
        self.assertEqual(
            call("HGET", key("presence.data.room:7"), "3f2a"), MESSAGES[5][5:]
        )
        self.assertEqual(
            call("ZSCORE", key("presence.expire.room:7"), "3f2a"), b"1790000060"
        )
        self.assertEqual(
            call("HGETALL", key("presence.user.clients.room:7")), [b"u7", b"2"]
        )
        self.assertEqual(
            call("ZSCORE", key("presence.user.expire.room:7"), "u7"), b"1790000060"
        )
        for name in ("data", "expire", "user.clients", "user.expire"):
            self.assertEqual(call("TTL", key(f"presence.{name}.room:7")), 60)

    async def test_field_ttl(self) -> None:
        """With expiring fields there are no lists of expiries."""
        await self.begin(presence_hash_field_ttl=True)
        await self.engine.presence.add("room:7", "3f2a", CI)
        self.assertEqual(
            self.server.call(
                "HTTL", self.key("presence.data.room:7"), "FIELDS", "1", "3f2a"
            ),
            [60],
        )
        self.assertEqual(
            self.server.call("EXISTS", self.key("presence.expire.room:7")), 0
        )

    async def test_malformed_entry(self) -> None:
        """An entry that cannot be read is left out."""
        await self.begin()
        await self.engine.presence.add("room:7", "3f2a", CI)
        self.server.call("HSET", self.key("presence.data.room:7"), "x", b"\xff")
        present = await self.engine.presence.presence("room:7")
        self.assertEqual(list(present), ["3f2a"])


class Malformed(BytesCase):
    """Malformed messages of other publishers."""

    async def test_dropped(self) -> None:
        """A malformed message is dropped, and nothing else is."""
        receiver = Receiver()
        engine = await self.make_engine(receiver)
        await engine.broker.subscribe("room:7")
        for message in [*MALFORMED, MESSAGES[1], b"\xff", MESSAGES[5]]:
            self.server.call("PUBLISH", self.key("client.room:7"), message)
        await receiver.when_count_is(receiver.joins, 1)
        self.assertEqual(len(receiver.deliveries), 1)
        self.assertEqual(receiver.deliveries[0].publication.time, P0.time)


class Scripts(BytesCase):
    """Servers that forget."""

    async def test_flushed(self) -> None:
        """A server that has forgotten all scripts learns them again."""
        broker = await self.begin()
        self.server.call("SCRIPT", "FLUSH")
        published = await self.publish(P1)
        self.assertEqual(published.position.offset, 1)
        self.server.call("SCRIPT", "FLUSH")
        history = await broker.history("room:7", HistoryQuery(-1))
        self.assertEqual(len(history.publications), 1)

    async def test_new_key_of_another_type(self) -> None:
        """An error of Redis fails only that call, with the reason."""
        await self.begin()
        self.server.call("SET", self.key("stream.meta.room:7"), "x")
        failure = await self.assertFailure(
            self.engine.broker.publish(
                "room:7", P1.data, PublishOptions(history_size=1, history_ttl=9.0)
            ),
            BrokerUnavailable,
        )
        self.assertIn("WRONGTYPE", str(failure))

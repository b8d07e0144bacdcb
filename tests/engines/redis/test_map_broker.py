"""The map broker, and a server that follows a script."""

from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.engines.redis.addresses import shard_addresses
from centrifugo_tx.engines.redis.layout import Layout
from centrifugo_tx.engines.redis.map_broker import RedisMapBroker
from centrifugo_tx.engines.redis.map_scripts import (
    EXPIRE_KEYS,
    PUBLISH_KEY,
    READ_STATE,
    REMOVE_KEY,
)
from centrifugo_tx.engines.redis.options import EngineRedisOptions
from centrifugo_tx.engines.redis.sharding import Shards
from centrifugo_tx.engines.redis.topology import Shard, SingleServer
from centrifugo_tx.errors import BrokerUnavailable, ReplyError
from centrifugo_tx.metrics import Metrics
from centrifugo_tx.options import HistoryQuery, MapChange, MapQuery
from centrifugo_tx.protocol.messages import Raw, StreamPosition

from ...contracts.maps import FADING, KEPT, STREAMLESS, MapReceiver
from .peer import Command, Peer, bulk

NOW = 1790000000
#: A publication of the key ``k1`` with the data ``{"t":21}``.
VALUE = bytes.fromhex("22087b2274223a32317d48fbd8c1a28c345a026b31")
EPOCH = b"kQzWmRtY"


class MapBrokerCase(SynchronousTestCase):
    """A broker that is started, with a scripted server."""

    silent = False

    def setUp(self) -> None:
        """Start it."""
        self.clock = Clock()
        self.clock.advance(NOW)
        self.peer = Peer(custom=self.answer)
        #: The responses to scripts, in order; without any, scripts wait.
        self.scripted: list[bytes] = []
        self.due: list[bytes] = []
        (address,) = shard_addresses(EngineRedisOptions(address=("redis://r:1",)))
        clock = cast(Any, self.clock)
        self.shard = Shard(clock, address, Layout("cg"))
        self.shard._route = SingleServer(clock, address, self.peer)
        self.metrics = Metrics()
        self.broker = RedisMapBroker(
            clock, Shards([self.shard]), self.metrics, silent=self.silent
        )
        self.receiver = MapReceiver()
        self.broker.listen(self.receiver)
        self.wait(self.shard._route.start())
        self.wait(Deferred.fromCoroutine(self.broker.start()))
        self.peer.commands.clear()

    def tearDown(self) -> None:
        """Stop, and see that nothing is left in the reactor."""
        self.wait(self.broker.stop())
        self.wait(self.shard.stop())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def answer(self, command: Command) -> bytes:
        """Answer as a server does that runs no script by itself."""
        if command[0] in (b"EVALSHA", b"EVAL"):
            if not self.scripted:
                return b""
            self.due.clear()
            return self.scripted.pop(0)
        if command[0] == b"ZRANGEBYSCORE":
            start, count = int(command[5]), int(command[6])
            return bulk(*self.due[start : start + count])
        return bulk() if command[0] == b"XRANGE" else b":1\r\n"

    def wait(self, deferred: Any) -> Any:
        """Return what *deferred* fires with."""
        self.peer.flow()
        return self.successResultOf(deferred)

    def publish(self, change: MapChange, *replies: bytes) -> Any:
        """Publish ``k1`` into ``m``."""
        self.scripted.extend(replies)
        return self.broker.publish("m", "k1", Raw(b'{"t":21}'), change)


class ChangeTests(MapBrokerCase):
    """Setting and removing keys."""

    def test_publish(self) -> None:
        """The script has all names, the value, and all times in milliseconds."""
        reply = bulk(1, EPOCH, b"")
        change = MapChange(FADING, version=7, version_epoch="v", delta=True)
        changed = self.wait(self.publish(change, reply))
        self.assertEqual(changed.position, StreamPosition(1, EPOCH.decode()))
        self.assertEqual(changed.suppressed, "")
        (command,) = self.peer.commands
        self.assertEqual(command[:3], (b"EVALSHA", PUBLISH_KEY.sha, b"7"))
        names = (
            *(b"cg:stream:m", b"cg:meta:m", b"cg:state:m", b"cg:state:expire:m"),
            *(b"cg:state:meta:m", b"cg:cleanup:channels"),
        )
        self.assertEqual(command[3:9], names)
        self.assertEqual((command[10], command[12:14]), (b"k1", (b"cg.client.m", b"m")))
        self.assertRegex(command[14].decode(), "^[a-zA-Z]{8}$")
        self.assertEqual(command[15:19], (b"5", b"60000", b"120000", b""))
        self.assertEqual(command[19:21], (b"", b""))
        due, now = NOW * 1000 + 10000, NOW * 1000
        expected = (b"10000", b"%d" % due, b"%d" % now, b"1", b"7", b"v", b"", b"0")
        self.assertEqual(command[21:], expected)

    def test_streamless(self) -> None:
        """A map without a stream says so by a size of 0, and has no meta."""
        self.wait(self.publish(MapChange(STREAMLESS), bulk(0, EPOCH, b"")))
        (command,) = self.peer.commands
        self.assertEqual(command[15:18], (b"0", b"0", b"0"))

    def test_idempotency(self) -> None:
        """The result has a key of its own, and lives as long as the change says."""
        change = MapChange(KEPT, idempotency_key="i", idempotent_result_ttl=2.5)
        changed = self.wait(self.publish(change, bulk(b"4", EPOCH, b"idempotency")))
        self.assertEqual(changed.position.offset, 4)
        self.assertEqual(changed.suppressed, "idempotency")
        (command,) = self.peer.commands
        self.assertEqual(command[9], b"cg.result.m.i")
        self.assertEqual(command[18], b"2500")
        self.wait(
            self.publish(MapChange(KEPT, idempotency_key="j"), bulk(1, EPOCH, b""))
        )
        self.assertEqual(self.peer.commands[-1][18], b"300000")

    def test_mismatch(self) -> None:
        """A failed expectation returns the key's value."""
        change = MapChange(KEPT, expected=StreamPosition(3, "e"))
        entry = b"2:" + EPOCH + b":" + VALUE
        reply = bulk(b"5", EPOCH, b"position_mismatch", entry)
        changed = self.wait(self.publish(change, reply))
        self.assertEqual(self.peer.commands[0][19:21], (b"3", b"e"))
        self.assertEqual(changed.position.offset, 5)
        self.assertEqual((changed.current.key, changed.current.offset), ("k1", 2))
        reply = bulk(b"5", EPOCH, b"position_mismatch", b"")
        self.assertIsNone(self.wait(self.publish(change, reply)).current)

    def test_remove(self) -> None:
        """A removal has the tags of its own, or else those of the key."""
        self.scripted += [bulk(1, EPOCH, b""), bulk(2, EPOCH, b"")]
        self.wait(self.broker.remove("m", "k1", MapChange(KEPT)))
        self.wait(self.broker.remove("m", "k1", MapChange(KEPT, tags={"a": "b"})))
        first, second = self.peer.commands
        self.assertEqual(first[1], REMOVE_KEY.sha)
        self.assertEqual((first[-1], second[-1]), (b"1", b"0"))
        self.assertIn(b"\x0a\x01a\x12\x01b", second[11])

    def test_unknown_script(self) -> None:
        """A server that does not know a script is sent its text."""
        missing = b"-NOSCRIPT No matching script.\r\n"
        self.wait(self.publish(MapChange(KEPT), missing, bulk(1, EPOCH, b"")))
        first, second = self.peer.commands
        self.assertEqual(second[:2], (b"EVAL", PUBLISH_KEY.source))
        self.assertEqual(first[2:], second[2:])

    def test_away(self) -> None:
        """Without a connection everything fails at once."""
        waiting = self.publish(MapChange(KEPT))
        for connection in self.peer.connections:
            connection.lose()
        self.failureResultOf(waiting, BrokerUnavailable)
        for call in (
            self.publish(MapChange(KEPT)),
            self.broker.remove("m", "k", MapChange(KEPT)),
            self.broker.state("m", MapQuery(-1)),
            self.broker.stream("m", HistoryQuery()),
            self.broker.size("m"),
            self.broker.clear("m"),
            self.broker.subscribe("m"),
        ):
            self.failureResultOf(call, BrokerUnavailable)


class ReadTests(MapBrokerCase):
    """Reading maps."""

    def test_page(self) -> None:
        """A page has the entries that can be read, and where to go on."""
        entry = b"2:" + EPOCH + b":" + VALUE
        pairs = bulk(b"k1", entry, b"k2", b"nonsense", b"k3", entry)
        reply = b"*4\r\n" + bulk(b"7", EPOCH, b"42")[4:] + pairs
        self.scripted.append(reply)
        page = self.wait(self.broker.state("m", MapQuery(10, "5", meta_ttl=1.5)))
        self.assertEqual([each.key for each in page.entries], ["k1", "k3"])
        self.assertEqual([each.offset for each in page.entries], [2, 2])
        self.assertEqual((page.position.offset, page.cursor), (7, "42"))
        (command,) = self.peer.commands
        self.assertEqual(command[1:3], (READ_STATE.sha, b"5"))
        self.assertEqual(command[8], b"1500")
        self.assertEqual(command[10:], (b"5", b"10", b"", b"0"))

    def test_cursor(self) -> None:
        """A cursor that Redis did not give is refused without asking it."""
        for cursor in ("k1", "-1", "1" * 21, "٣"):
            failed = self.failureResultOf(self.broker.state("m", MapQuery(1, cursor)))
            self.assertEqual(failed.check(ReplyError), ReplyError)
        self.assertEqual(self.peer.commands, [])

    def test_map_begins_anew(self) -> None:
        """If the map is recreated while it is read, only the new one counts."""
        entry = EPOCH + b":" + VALUE
        for epoch, cursor, key in (
            (b"old", b"9", b"k1"),
            (EPOCH, b"8", b"k2"),
            (EPOCH, b"0", b"k2"),
        ):
            head = bulk(b"7", epoch, cursor)[4:]
            self.scripted.append(b"*4\r\n" + head + bulk(key, b"1:" + entry))
        page = self.wait(self.broker.state("m", MapQuery(-1)))
        self.assertEqual([each.key for each in page.entries], ["k2"])
        self.assertEqual(page.position.epoch, EPOCH.decode())
        self.assertEqual([each[10] for each in self.peer.commands], [b"0", b"9", b"8"])


class MessageTests(MapBrokerCase):
    """Messages from Redis."""

    def setUp(self) -> None:
        """Listen to ``m``."""
        super().setUp()
        done = self.broker.subscribe("m")
        self.clock.advance(0)
        self.wait(done)

    def listen_to_shard(self, payload: bytes, name: bytes = b"cg.client.m") -> None:
        """Let a message come."""
        self.peer.last.reply(bulk(b"message", name, payload))

    def test_subscribed(self) -> None:
        """The channel of cleared maps is always subscribed."""
        (_, listener) = self.peer.connections
        heard = [each[1:] for each in listener.commands if each[0] == b"SUBSCRIBE"]
        expected = [(b"cg.shard.0", b"cg.map.cleared"), (b"cg.client.m",)]
        self.assertEqual(heard, expected)

    def test_change(self) -> None:
        """A change is delivered unchanged, with the key's previous value."""
        entry = b"1:" + EPOCH + b":" + VALUE
        self.listen_to_shard(entry)
        message = b"d:2:%b:%d:%b:%d:%b" % (EPOCH, len(entry), entry, len(VALUE), VALUE)
        self.listen_to_shard(message)
        first, second = self.receiver.deliveries
        self.assertEqual(first.position, StreamPosition(1, EPOCH.decode()))
        self.assertEqual(first.publication.key, "k1")
        self.assertIsNone(first.previous)
        assert second.previous is not None
        self.assertEqual(second.previous.offset, 1)

    def test_clear(self) -> None:
        """A cleared map is reported by its name."""
        self.listen_to_shard("чат".encode(), b"cg.map.cleared")
        self.assertEqual(self.receiver.cleared, ["чат"])

    def test_malformed(self) -> None:
        """A malformed message is counted and dropped; others are delivered."""
        for payload in (b"", b"1:e", b"d:1:e:9:a", b"1:\xff:", b"\x27", b"d:1:e:0::x:"):
            self.listen_to_shard(payload)
        self.listen_to_shard(b"1:e:" + VALUE)
        self.assertEqual(len(self.receiver.deliveries), 1)
        errors = self.metrics.counter(
            "map_broker_redis_pub_sub_errors",
            broker_name="",
            error="handle_client_message",
        )
        self.assertEqual(errors.value, 6)

    def test_lost_connection(self) -> None:
        """After a new connection the map may have changed."""
        self.peer.last.lose()
        self.clock.advance(3)
        self.peer.flow()
        self.assertEqual(self.receiver.gaps, ["m"])


class ExpiryTests(MapBrokerCase):
    """Keys whose time is over."""

    def search(self) -> list[Command]:
        """Let the time for a look come; return the scripts that ran."""
        self.clock.advance(1)
        self.peer.flow()
        scripts = [each for each in self.peer.commands if each[0] == b"EVALSHA"]
        self.peer.commands.clear()
        return scripts

    def test_look(self) -> None:
        """A map that is due is worked on by a script."""
        self.receiver.kept = FADING
        self.due = [b"m"]
        self.scripted = [b":3\r\n"]
        self.assertEqual(len(self.search()), 1)
        removed = self.metrics.counter(
            "map_broker_cleanup_removed_count", broker_name=""
        )
        self.assertEqual(removed.value, 3)

    def test_one_at_a_time(self) -> None:
        """A look that is not answered is the only one."""
        self.due = [b"m"]
        (command,) = self.search()
        self.assertEqual(command[1], EXPIRE_KEYS.sha)
        self.assertEqual(
            command[10:14],
            (*(b"%d" % ((NOW + 1) * 1000), b"100", b"cg.client.m", b"m"),),
        )
        for _ in range(3):
            self.assertEqual(self.search(), [])

    def test_foreign(self) -> None:
        """Maps that this node does not know are passed over, also in numbers."""
        self.receiver.known = {"m"}
        self.due = [b"foreign%d" % number for number in range(150)] + [b"m"]
        (command,) = self.search()
        self.assertEqual(command[13], b"m")

    def test_outage(self) -> None:
        """A search that fails without Redis is counted, and logged once an outage."""
        warnings: list[str] = []
        self.due = [b"m", b"n"]
        globalLogPublisher.addObserver(
            observer := lambda event: warnings.append(event["log_format"])
        )
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.assertEqual(len(self.search()), 2)
        for connection in self.peer.connections:
            connection.lose()
        self.peer.refuses = True
        for _ in range(5):
            self.search()
        found = [each for each in warnings if each.startswith("keys of maps")]
        self.assertEqual(found, ["keys of maps cannot expire: {reason}"])
        errors = self.metrics.counter("map_broker_cleanup_errors_count", broker_name="")
        self.assertEqual(errors.value, 6)


class SilentTests(MapBrokerCase):
    """A broker that only stores."""

    silent = True

    def test_silent(self) -> None:
        """Changes are not published, and nothing is subscribed."""
        self.assertEqual(len(self.peer.connections), 1)
        self.wait(self.publish(MapChange(KEPT), bulk(1, EPOCH, b"")))
        self.assertEqual(self.peer.commands[0][12], b"")
        self.wait(self.broker.subscribe("m"))
        self.wait(self.broker.unsubscribe("m"))
        self.scripted = [b":1\r\n"]
        self.wait(self.broker.clear("m"))
        self.assertEqual(self.peer.commands[-1][-1], b"")

"""PUB/SUB and history, against a server that follows a script."""

from typing import Any

from twisted.internet.defer import Deferred

from centrifugo_tx.engines.redis.broker import RedisBroker
from centrifugo_tx.engines.redis.envelope import JOIN, LEAVE, encode_client_info
from centrifugo_tx.engines.redis.layout import Layout
from centrifugo_tx.engines.redis.scripts import (
    HISTORY_LIST,
    HISTORY_STREAM,
    PUBLISH_LIST,
    PUBLISH_ONCE,
    PUBLISH_STREAM,
)
from centrifugo_tx.errors import BrokerUnavailable, ReplyError
from centrifugo_tx.metrics import Metrics
from centrifugo_tx.options import HistoryQuery, Published, PublishOptions
from centrifugo_tx.protocol.messages import ClientInfo, Raw, StreamPosition

from ...contracts.doubles import Receiver
from .scripted_shards import ShardCase, array

ADA = ClientInfo(user="u7", client="3f2a")
DATA = Raw(b'{"t":20}')
#: The publication of `DATA`, made at 1790000000.5.
PAYLOAD = bytes.fromhex("22087b2274223a32307d48f4dbc1a28c34")
HISTORY = PublishOptions(history_size=10, history_ttl=60.0)


class BrokerCase(ShardCase):
    """Makes a broker, started."""

    lists = False

    def setUp(self) -> None:
        super().setUp()
        self.receiver, self.metrics = Receiver(), Metrics()
        reactor: Any = self.clock
        self.all = self.shards(lists=self.lists)
        self.broker = RedisBroker(reactor, self.all, 2592000.0, self.metrics)
        self.broker.listen(self.receiver)
        self.result(Deferred.fromCoroutine(self.broker.start()))


class PublishTests(BrokerCase):
    """Requests of the broker, and their responses."""

    def test_plain(self) -> None:
        """Without history the publication is published as it is."""
        sent = self.broker.publish("room:7", DATA, PublishOptions())
        self.assertEqual(self.result(sent), Published())
        name, channel, payload = self.sent(b"PUBLISH")[-1]
        self.assertEqual((name, channel), (b"PUBLISH", b"cg.client.room:7"))
        self.assertEqual(payload, PAYLOAD)

    def test_delta_hint(self) -> None:
        """Without history the wish for deltas travels inside the publication."""
        self.result(self.broker.publish("room:7", DATA, PublishOptions(delta=True)))
        self.assertIn(b"\x40\x01", self.sent(b"PUBLISH")[-1][2])

    def test_history(self) -> None:
        """With history the script gets the names, and the numbers in whole seconds."""
        self.replies(EVALSHA=array(3, b"kQzWmRtY", b"0", b"0"))
        options = PublishOptions(
            history_size=10,
            history_ttl=60.9,
            history_meta_ttl=100.0,
            idempotency_key="k1",
            delta=True,
            version=5,
            version_epoch="v",
        )
        found = self.result(self.broker.publish("room:7", DATA, options))
        self.assertEqual(found, Published(StreamPosition(3, "kQzWmRtY")))
        stream, meta, result, payload, *rest = self.ran(PUBLISH_STREAM)
        self.assertEqual(
            (stream, meta, result),
            (b"cg.stream.room:7", b"cg.stream.meta.room:7", b"cg.result.room:7.k1"),
        )
        self.assertNotIn(b"\x40\x01", payload)
        epoch = rest.pop(1)
        self.assertEqual(
            rest,
            [
                *(b"cg.client.room:7", b"5", b"v"),
                *(b"10", b"60", b"100", b"PUBLISH", b"300", b"1"),
            ],
        )
        self.assertRegex(epoch.decode(), "^[a-zA-Z]{8}$")

    def test_defaults(self) -> None:
        """The position lives as long as configured; the third key is always there."""
        self.replies(EVALSHA=array(1, b"kQzWmRtY", b"0", b"0"))
        self.result(self.broker.publish("room:7", DATA, HISTORY))
        _, meta, result, *rest = self.ran(PUBLISH_STREAM)
        self.assertEqual(result, meta)
        self.assertEqual(rest[3:5], [b"0", b""])
        self.assertEqual(rest[7:], [b"2592000", b"PUBLISH", b"", b""])

    def test_suppressed(self) -> None:
        """The answer says why nothing was published."""
        for flags, reason in (
            ((b"1", b"0"), "idempotency"),
            ((b"0", b"1"), "version"),
        ):
            self.replies(EVALSHA=array(b"3", b"kQzWmRtY", *flags))
            found = self.result(self.broker.publish("room:7", DATA, HISTORY))
            position = StreamPosition(3, "kQzWmRtY")
            self.assertEqual(found, Published(position, reason))

    def test_once(self) -> None:
        """Without history an idempotency key has a script of its own."""
        self.replies(EVALSHA=b":1\r\n")
        options = PublishOptions(idempotency_key="k1", idempotent_result_ttl=9.0)
        sent = self.broker.publish("room:7", DATA, options)
        self.assertEqual(self.result(sent), Published())
        key, _, *rest = self.ran(PUBLISH_ONCE)
        self.assertEqual(key, b"cg.result.room:7.k1")
        self.assertEqual(rest, [b"cg.client.room:7", b"PUBLISH", b"9"])

    def test_unknown_script(self) -> None:
        """A server that does not know a script gets its text."""
        self.replies(
            EVALSHA=b"-NOSCRIPT No matching script\r\n",
            EVAL=array(1, b"kQzWmRtY", b"0", b"0"),
        )
        found = self.result(self.broker.publish("room:7", DATA, HISTORY))
        self.assertEqual(found.position.offset, 1)
        self.assertEqual(self.sent(b"EVAL")[-1][1], PUBLISH_STREAM.source)

    def test_refused(self) -> None:
        """Any other answer of the server is the caller's failure."""
        self.replies(EVALSHA=b"-OOM command not allowed\r\n")
        error = self.failure(
            self.broker.publish("room:7", DATA, HISTORY), BrokerUnavailable
        )
        self.assertIn("OOM", str(error))

    def test_announcements(self) -> None:
        """Joins and leaves are published, with a header each."""
        self.result(self.broker.publish_join("room:7", ADA))
        self.result(self.broker.publish_leave("room:7", ADA))
        info = encode_client_info(ADA)
        self.assertEqual(
            self.sent(b"PUBLISH"),
            [
                (b"PUBLISH", b"cg.client.room:7", JOIN + info),
                (b"PUBLISH", b"cg.client.room:7", LEAVE + info),
            ],
        )

    def test_away(self) -> None:
        """Without a connection publishing fails at once."""
        self.peer.refuses = True
        for connection in list(self.peer.connections):
            connection.lose()
        sent = self.broker.publish("room:7", DATA, HISTORY)
        self.failureResultOf(sent, BrokerUnavailable)


class HistoryTests(BrokerCase):
    """Reading of history."""

    def read(self, **query: Any) -> list[bytes]:
        """Read, and return the arguments of the script after the keys."""
        self.replies(EVALSHA=array(b"3", b"kQzWmRtY", []))
        self.result(self.broker.history("room:7", HistoryQuery(**query)))
        stream, meta, ttl, _, *rest = self.ran(HISTORY_STREAM)
        self.assertEqual(stream, b"cg.stream.room:7")
        self.assertEqual((meta, ttl), (b"cg.stream.meta.room:7", b"2592000"))
        return rest

    def test_ranges(self) -> None:
        """First offset, limit and direction of each kind of query."""
        since = StreamPosition(5, "kQzWmRtY")
        for query, rest in (
            ({"limit": 0}, [b"", b"0", b"0"]),
            ({"limit": -1}, [b"-", b"0", b"0"]),
            ({"limit": 2, "reverse": True}, [b"+", b"2", b"1"]),
            ({"limit": 2, "since": since}, [b"6", b"2", b"0"]),
            ({"limit": 2, "since": since, "reverse": True}, [b"4", b"2", b"1"]),
        ):
            self.assertEqual(self.read(**query), rest, query)

    def test_first(self) -> None:
        """Before the first publication there is nothing."""
        since = StreamPosition(1, "kQzWmRtY")
        query: dict[str, Any] = {"limit": 2, "since": since, "reverse": True}
        self.assertEqual(self.read(**query), [b"", b"2", b"1"])

    def test_entries(self) -> None:
        """Entries become publications, whose offsets are their ids."""
        entries = [[b"2-0", [b"d", PAYLOAD]], [b"3-0", [b"d", PAYLOAD]]]
        self.replies(EVALSHA=array(b"3", b"kQzWmRtY", entries))
        found = self.result(self.broker.history("room:7", HistoryQuery(limit=-1)))
        self.assertEqual(found.position, StreamPosition(3, "kQzWmRtY"))
        self.assertEqual([each.offset for each in found.publications], [2, 3])
        self.assertEqual(found.publications[0].data, DATA)

    def test_remove(self) -> None:
        """Publications go, the position stays."""
        self.replies(DEL=b":1\r\n")
        self.assertIsNone(self.result(self.broker.remove_history("room:7")))
        self.assertEqual(self.sent(b"DEL"), [(b"DEL", b"cg.stream.room:7")])


class ListTests(BrokerCase):
    """History in lists."""

    lists = True

    def item(self, offset: int) -> bytes:
        """Return an item of the list."""
        return b"__p1:%d:kQzWmRtY__" % offset + PAYLOAD

    def read(self, **query: Any) -> list[int]:
        """Return the offsets that are read of 3, 4 and 5."""
        items = [self.item(offset) for offset in (5, 4, 3)]
        self.replies(EVALSHA=array(b"5", b"kQzWmRtY", items))
        found = self.result(self.broker.history("room:7", HistoryQuery(**query)))
        self.assertEqual(found.position, StreamPosition(5, "kQzWmRtY"))
        self.assertEqual(self.ran(HISTORY_LIST)[0], b"cg.list.room:7")
        return [each.offset for each in found.publications]

    def test_publish(self) -> None:
        """There is a script for lists; no stream is tried at the start."""
        self.assertEqual(self.sent(b"XRANGE"), [])
        self.replies(EVALSHA=array(1, b"kQzWmRtY", b"0", b"0"))
        found = self.result(self.broker.publish("room:7", DATA, HISTORY))
        self.assertEqual(found.position, StreamPosition(1, "kQzWmRtY"))
        self.assertEqual(self.ran(PUBLISH_LIST)[0], b"cg.list.room:7")

    def test_read(self) -> None:
        """The requested publications are selected from the whole list."""
        since = StreamPosition(4, "kQzWmRtY")
        for query, offsets in (
            ({"limit": -1}, [3, 4, 5]),
            ({"limit": 2}, [3, 4]),
            ({"limit": -1, "reverse": True}, [5, 4, 3]),
            ({"limit": -1, "since": since}, [5]),
            ({"limit": -1, "since": since, "reverse": True}, [3]),
        ):
            self.assertEqual(self.read(**query), offsets, query)


class SubscribeTests(BrokerCase):
    """Messages that arrive."""

    def count(self) -> float:
        """Return how many messages were malformed."""
        return self.metrics.counter(
            "broker_redis_pub_sub_errors",
            broker_name="",
            error="handle_client_message",
        ).value

    def test_acknowledged(self) -> None:
        """Subscribing is done when the server says so."""
        self.peer.acknowledges = (b"cg.shard.0",)
        done = self.broker.subscribe("room:7")
        self.flow()
        self.assertNoResult(done)
        self.hearing().reply(array(b"subscribe", b"cg.client.room:7", 1))
        self.assertIsNone(self.successResultOf(done))

    def test_deliveries(self) -> None:
        """Publications, joins and leaves come to the receiver."""
        self.result(self.broker.subscribe("room:7"))
        info = encode_client_info(ADA)
        for payload in (
            PAYLOAD,
            b"__p1:2:kQzWmRtY__" + PAYLOAD,
            b"__d1:3:kQzWmRtY:%d:%b:%d:%b" % (len(PAYLOAD), PAYLOAD, 17, PAYLOAD),
            JOIN + info,
            LEAVE + info,
        ):
            self.publish(b"cg.client.room:7", payload)
        plain, positioned, delta = self.receiver.deliveries
        self.assertEqual((plain.channel, plain.position.offset), ("room:7", 0))
        self.assertEqual(positioned.position, StreamPosition(2, "kQzWmRtY"))
        assert delta.previous is not None
        self.assertEqual(delta.previous.data, DATA)
        self.assertEqual(self.receiver.joins, [("room:7", ADA)])
        self.assertEqual(self.receiver.leaves, [("room:7", ADA)])

    def test_malformed(self) -> None:
        """A malformed message is counted and dropped; others are delivered."""
        self.result(self.broker.subscribe("room:7"))
        for payload in (b"__", b"__x1:1:e__", b"__p1:abc:e__", b"\xff"):
            self.publish(b"cg.client.room:7", payload)
        self.publish(b"other", PAYLOAD)
        self.assertEqual(self.count(), 5)
        self.publish(b"cg.client.room:7", PAYLOAD)
        self.assertEqual(len(self.receiver.deliveries), 1)

    def test_unsubscribe(self) -> None:
        """A channel is left by name."""
        self.result(self.broker.subscribe("room:7"))
        self.assertIsNone(self.result(self.broker.unsubscribe("room:7")))
        self.assertEqual(
            self.sent(b"UNSUBSCRIBE"), [(b"UNSUBSCRIBE", b"cg.client.room:7")]
        )

    def test_lost(self) -> None:
        """After a lost connection channels are resubscribed, and reported as gaps."""
        self.result(self.broker.subscribe("room:7"))
        self.hearing().lose()
        for _ in range(4):
            self.clock.advance(3)
            self.flow()
        self.assertEqual(self.receiver.gaps, ["room:7"])
        self.publish(b"cg.client.room:7", PAYLOAD)
        self.assertEqual(len(self.receiver.deliveries), 1)

    def test_stop(self) -> None:
        """Nothing is left in the reactor."""
        self.result(self.broker.stop())
        self.result(self.all.stop())
        self.assertEqual(self.clock.getDelayedCalls(), [])


class StartTests(ShardCase):
    """Before and while it starts."""

    def make(self) -> RedisBroker:
        """Return a broker that is not started."""
        reactor: Any = self.clock
        self.all = self.shards()
        return RedisBroker(reactor, self.all, 0.0)

    def test_not_started(self) -> None:
        """Nothing can be subscribed to."""
        broker = self.make()
        for done in (broker.subscribe("room:7"), broker.unsubscribe("room:7")):
            self.failureResultOf(done, BrokerUnavailable)

    def test_no_streams(self) -> None:
        """A server without streams stops the start."""
        broker = self.make()
        self.replies(XRANGE=b"-ERR unknown command 'XRANGE'\r\n")
        started = Deferred.fromCoroutine(broker.start())
        error = self.failure(started, BrokerUnavailable)
        self.assertIn("Redis cannot keep streams", str(error))

    def test_for_good(self) -> None:
        """Without a lifetime the position stays."""
        broker = self.make()
        self.replies(EVALSHA=array(1, b"kQzWmRtY", b"0", b"0"))
        self.result(broker.publish("room:7", DATA, HISTORY))
        self.assertEqual(self.ran(PUBLISH_STREAM)[10], b"0")

    def test_empty_tag(self) -> None:
        """A name that would break the hash tag of a Cluster is refused."""
        broker = self.make()
        (shard,) = self.all.all
        broker.listen(Receiver())
        self.result(Deferred.fromCoroutine(broker.start()))
        shard.layout = Layout("cg", True)
        for done in (
            broker.publish("}x", DATA, HISTORY),
            broker.subscribe("}x"),
            broker.history("}x", HistoryQuery()),
        ):
            self.failureResultOf(done, ReplyError)  # type: ignore[arg-type]

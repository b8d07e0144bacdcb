"""The names of maps, and their bytes."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.engines.redis.cluster import key_slot
from centrifugo_tx.engines.redis.map_envelope import (
    encode_removal,
    encode_value,
    parse_change,
    parse_entry,
)
from centrifugo_tx.engines.redis.map_layout import PARTITIONS, MapLayout
from centrifugo_tx.errors import DecodeError
from centrifugo_tx.options import MapChange, MapRules
from centrifugo_tx.protocol.messages import ClientInfo, Raw, StreamPosition

EPOCH = "kQzWmRtY"


class NameTests(SynchronousTestCase):
    """The names of keys (engines, "Other keys in Redis")."""

    def test_standalone(self) -> None:
        """Without a Cluster the channel stands as it is."""
        layout = MapLayout("cg")
        keys = layout.keys("map:7")
        self.assertEqual(
            keys,
            (
                *(b"cg:stream:map:7", b"cg:meta:map:7", b"cg:state:map:7"),
                *(b"cg:state:expire:map:7", b"cg:state:meta:map:7"),
                *(b"cg:state:order:map:7", b"cg:cleanup:channels"),
                b"cg.client.map:7",
            ),
        )
        self.assertEqual(layout.result("map:7", "k1"), b"cg.result.map:7.k1")
        self.assertEqual(layout.due, [b"cg:cleanup:channels"])
        self.assertEqual(layout.channel(b"cg.client.map:7"), "map:7")
        for name in (b"cx.client.map:7", b"cg.client.\xff"):
            self.assertIsNone(layout.channel(name))

    def test_cluster(self) -> None:
        """In a Cluster the number of the partition is in braces."""
        layout = MapLayout("cg", cluster=True)
        keys = layout.keys("room:7")
        self.assertEqual(keys.state, b"cg:state:{14}.room:7")
        self.assertEqual(keys.due, b"cg:cleanup:channels:{14}")
        self.assertEqual(keys.messages, b"cg.client.{14}.room:7")
        self.assertEqual(layout.result("room:7", "k"), b"cg.result.{14}.room:7.k")
        self.assertEqual(layout.channel(b"cg.client.{14}.a.b"), "a.b")
        for name in (b"cg.client.room:7", b"cg.client.{14}", b"cg.client.14.a"):
            self.assertIsNone(layout.channel(name))

    @given(st.text(min_size=1))
    def test_one_slot(self, channel: str) -> None:
        """All names of a map are in one slot, and its list is among those looked at."""
        layout = MapLayout("cg", cluster=True)
        names = [*layout.keys(channel), layout.result(channel, "k}{x")]
        self.assertEqual(len({key_slot(name) for name in names}), 1)
        self.assertIn(layout.keys(channel).due, layout.due)
        self.assertEqual(len(layout.due), PARTITIONS)
        self.assertEqual(layout.channel(layout.keys(channel).messages), channel)


class EnvelopeTests(SynchronousTestCase):
    """Entries and messages."""

    def test_value(self) -> None:
        """A value is the Publication that nodes of all makes write."""
        rules = MapRules()
        plain = encode_value("k1", Raw(b'{"t":21}'), MapChange(rules), 1790000000123)
        self.assertEqual(plain.hex(), "22087b2274223a32317d48fbd8c1a28c345a026b31")
        info = ClientInfo("u7", "3f2a", Raw(b'{"n":"Ada"}'))
        change = MapChange(rules, info=info, tags={"k": "v"}, version=5)
        full = encode_value("k1", Raw(b'{"t":22}'), change, 1790000000456)
        found = parse_entry(b"3:e:" + full)
        self.assertEqual((found.info, found.tags, found.offset), (info, {"k": "v"}, 3))
        self.assertEqual(found.version, 0)

    def test_removal(self) -> None:
        """A removal has key, tags and time, and no data."""
        found = parse_entry(b"3:e:" + encode_removal("k1", {"a": "b"}, 5))
        self.assertEqual((found.key, found.tags, found.time), ("k1", {"a": "b"}, 5))
        self.assertTrue(found.removed)
        self.assertEqual(bytes(found.data), b"")

    def test_epoch(self) -> None:
        """The first change says in which epoch it is."""
        value = encode_value("k", Raw(b"1"), MapChange(MapRules()), 1)
        for offset, epoch in ((1, EPOCH), (2, "")):
            entry = f"{offset}:{EPOCH}:".encode() + value
            self.assertEqual(parse_entry(entry).epoch, epoch)
            delivered = parse_change(entry)
            self.assertEqual(delivered.position, StreamPosition(offset, EPOCH))

    def test_key(self) -> None:
        """The key of an entry takes precedence over the key inside it."""
        value = encode_value("k", Raw(b"1"), MapChange(MapRules()), 1)
        self.assertEqual(parse_entry(b"2:e:" + value, "other").key, "other")

    def test_separators(self) -> None:
        """Values may hold what looks like separators."""
        value = encode_value("k:1", Raw(b"1:e:d:2:\xff"), MapChange(MapRules()), 1)
        entry = b"7:e:" + value
        message = b"d:8:e:%d:%b:%d:%b" % (len(entry), entry, len(value), value)
        delivered = parse_change(message)
        assert delivered.publication is not None and delivered.previous is not None
        for each in (delivered.publication, delivered.previous):
            self.assertEqual(bytes(each.data), b"1:e:d:2:\xff")
            self.assertEqual(each.key, "k:1")

    def test_joins(self) -> None:
        """Joins and leaves travel on the same channel, in their own form."""
        info = bytes.fromhex("0a0275371204336632611a0b7b226e223a22416461227d")
        for kind in ("join", "leave"):
            delivered = parse_change(b"__" + kind[:1].encode() + b"__" + info)
            found = getattr(delivered, kind)
            self.assertEqual((found.user, found.client), ("u7", "3f2a"))
            self.assertIsNone(delivered.publication)

    @given(st.binary(max_size=60))
    def test_anything(self, payload: bytes) -> None:
        """Anything else is malformed, and harms nothing."""
        for text in (payload, b"d:" + payload, b"1:e:" + payload, b"__j__" + payload):
            try:
                parse_change(text)
            except DecodeError:
                continue

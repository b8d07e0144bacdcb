"""Which shard a channel belongs to, and which slot a key."""

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.engines.redis.cluster import key_slot
from centrifugo_tx.engines.redis.sharding import fnv1a64, jump_hash, shard_index

#: Channel, hash, and the shard among 2, 3, 5 and 16 (engines, "Redis sharding").
VECTORS = [
    ("a", 0xAF63DC4C8601EC8C, (1, 2, 2, 12)),
    ("test", 0xF9E6E6EF197C2B25, (1, 1, 1, 10)),
    ("chat:index", 0x4E648CA6BAF3D6B9, (0, 0, 0, 0)),
    ("$private:1", 0xEEB062378C1CF867, (0, 0, 4, 4)),
    ("news", 0xE5495BBAA03A6526, (1, 2, 3, 3)),
    ("room:7", 0xBF45A424F7EB7295, (1, 1, 4, 14)),
    ("чат:1", 0x21A9CB4036F3F307, (0, 2, 2, 8)),
]


class Sharding(SynchronousTestCase):
    """The reference's consistent hash."""

    def test_vectors(self) -> None:
        """Every channel comes to the shard where other nodes look for it."""
        for channel, hashed, shards in VECTORS:
            self.assertEqual(fnv1a64(channel.encode()), hashed)
            for count, shard in zip((2, 3, 5, 16), shards, strict=True):
                self.assertEqual(jump_hash(hashed, count), shard)
                self.assertEqual(shard_index(channel, count), shard)

    def test_one(self) -> None:
        """With one shard everything is there."""
        self.assertEqual({jump_hash(key, 1) for key in range(0, 2**64, 2**58)}, {0})


class Slots(SynchronousTestCase):
    """The Cluster's hash."""

    def test_check_value(self) -> None:
        """The hash is CRC16 in its XMODEM variant."""
        self.assertEqual(key_slot(b"123456789"), 0x31C3 % 16384)

    def test_tags(self) -> None:
        """The text in the first braces decides, unless it is empty."""
        for key, tag in [
            (b"{room:7}", b"room:7"),
            (b"cg.stream.meta.{room:7}", b"room:7"),
            (b"x{a}y{b}", b"a"),
            (b"x{}y{b}", b"x{}y{b}"),
            (b"x{a", b"x{a"),
            (b"}{a}", b"a"),
        ]:
            self.assertEqual(key_slot(key), key_slot(tag), key)
        self.assertEqual(key_slot(b"room:7"), 2581)
        self.assertNotEqual(key_slot(b"x{}y{b}"), key_slot(b"b"))

"""The names of keys and PUB/SUB channels."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.engines.redis.cluster import key_slot
from centrifugo_tx.engines.redis.layout import Layout
from centrifugo_tx.errors import ReplyError


class Names(SynchronousTestCase):
    """The table of engines, C.2."""

    def test_standalone(self) -> None:
        """Without a Cluster the channel stands as it is."""
        layout = Layout("cg")
        self.assertEqual(layout.history(b"room:7"), b"cg.stream.room:7")
        self.assertEqual(layout.meta(b"room:7"), b"cg.stream.meta.room:7")
        self.assertEqual(layout.result(b"room:7", "k1"), b"cg.result.room:7.k1")
        self.assertEqual(layout.messages(b"room:7"), b"cg.client.room:7")
        self.assertEqual(
            layout.presence(b"room:7"),
            (
                b"cg.presence.expire.room:7",
                b"cg.presence.data.room:7",
                b"cg.presence.user.expire.room:7",
                b"cg.presence.user.clients.room:7",
            ),
        )

    def test_cluster(self) -> None:
        """In a Cluster the channel is in braces."""
        layout = Layout("cg", cluster=True)
        self.assertEqual(layout.history(b"room:7"), b"cg.stream.{room:7}")
        self.assertEqual(layout.meta(b"room:7"), b"cg.stream.meta.{room:7}")
        self.assertEqual(layout.result(b"room:7", "k1"), b"cg.result.{room:7}.k1")
        self.assertEqual(layout.messages(b"room:7"), b"cg.client.{room:7}")
        self.assertEqual(
            layout.presence(b"room:7"),
            (
                b"cg.presence.expire.{room:7}",
                b"cg.presence.data.{room:7}",
                b"cg.presence.user.expire.{room:7}",
                b"cg.presence.user.clients.{room:7}",
            ),
        )

    def test_lists(self) -> None:
        """Lists have keys of their own."""
        self.assertEqual(Layout("cg", lists=True).history(b"c"), b"cg.list.c")
        self.assertEqual(Layout("cg", lists=True).meta(b"c"), b"cg.list.meta.c")
        layout = Layout("cg", cluster=True, lists=True)
        self.assertEqual(layout.history(b"c"), b"cg.list.{c}")
        self.assertEqual(layout.meta(b"c"), b"cg.list.meta.{c}")

    def test_others(self) -> None:
        """The names that have to do with no channel are the same in a Cluster."""
        for layout in (Layout("cg"), Layout("cg", cluster=True)):
            self.assertEqual(layout.service, b"cg.shard.0")
            self.assertEqual(layout.control, b"cg.control")
            self.assertEqual(layout.node("u"), b"cg.node.u")
            self.assertEqual(layout.probe("u"), b"cg.node.u.probe")

    def test_one_slot(self) -> None:
        """All keys of a channel are in one slot of a Cluster."""
        layout = Layout("cg", cluster=True)
        for channel in (b"room:7", b"a{b}c", b"{x", b"x}y"):
            names = [
                layout.history(channel),
                layout.meta(channel),
                layout.result(channel, "k{y}"),
                layout.messages(channel),
                *layout.presence(channel),
            ]
            self.assertEqual(len({key_slot(name) for name in names}), 1, channel)

    def test_scattered(self) -> None:
        """A channel whose keys would scatter is refused in a Cluster only."""
        self.assertEqual(Layout("cg").encode("}x"), b"}x")
        with self.assertRaises(ReplyError) as caught:
            Layout("cg", cluster=True).encode("}x")
        self.assertEqual(caught.exception.error.code, 107)

    @given(st.text(), st.booleans())
    def test_back(self, channel: str, cluster: bool) -> None:
        """The channel is found again in the name of its messages."""
        layout = Layout("cg", cluster=cluster)
        self.assertEqual(layout.channel(layout.messages(channel.encode())), channel)

    def test_foreign_names(self) -> None:
        """Names of other things are of no channel."""
        layout = Layout("cg", cluster=True)
        for name in [
            b"cg.client.x",
            b"cg.client.{x",
            b"cg.client.x}",
            b"cg.client.",
            b"cg.client.{",
            b"cg.control",
            b"ab.client.{x}",
            b"cg.client.{\xff}",
        ]:
            self.assertIsNone(layout.channel(name), name)
        self.assertIsNone(Layout("cg").channel(b"cg.client.\xff"))

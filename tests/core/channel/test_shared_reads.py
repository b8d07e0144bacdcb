"""Reads of history that subscribers of a channel share."""

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.core.channel import shared_reads
from centrifugo_tx.core.channel.shared_reads import SharedReads
from centrifugo_tx.errors import BrokerUnavailable
from centrifugo_tx.options import History, HistoryQuery
from centrifugo_tx.protocol.messages import Publication, Raw, StreamPosition
from tests.support import World

SINCE = HistoryQuery(10, StreamPosition(5, "e"))


def result(offset: int, size: int = 2) -> History:
    """Return a history that ends at *offset*."""
    publication = Publication(data=Raw(b"0" * size), offset=offset)
    return History([publication], StreamPosition(offset, "e"))


class SharedReadTests(SynchronousTestCase):
    """Which subscribers get the result of which read."""

    def setUp(self) -> None:
        self.world = World()
        self.channel: Any = self.world.node.hub.channel("news")
        self.clock = Clock()
        self.asked: list[Deferred[History]] = []
        self.reads = SharedReads(self.clock, self.ask)

    def tearDown(self) -> None:
        self.reads.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def ask(self, name: str, query: HistoryQuery) -> "Deferred[History]":
        self.asked.append(Deferred())
        return self.asked[-1]

    def read(self, query: HistoryQuery = SINCE) -> "Deferred[History]":
        return self.reads.read(self.channel, query)

    def deliver(self, offset: int) -> None:
        self.channel.deliver(Publication(offset=offset), StreamPosition(offset, "e"))

    def test_together(self) -> None:
        """Those who ask while a read is under way get its result, each once."""
        first, second = self.read(), self.read()
        self.assertEqual(len(self.asked), 1)
        found = result(6)
        self.asked[0].callback(found)
        self.assertIs(self.successResultOf(first), found)
        self.assertIs(self.successResultOf(second), found)

    def test_different(self) -> None:
        """Another part of the stream, or another channel, is another read."""
        self.read()
        self.read(HistoryQuery(10, StreamPosition(4, "e")))
        self.reads.read(self.world.node.hub.channel("other"), SINCE)
        self.assertEqual(len(self.asked), 3)

    def test_soon_after(self) -> None:
        """A result serves further subscribers for 0.2 s, and then is forgotten."""
        self.read()
        self.asked[0].callback(result(6))
        self.clock.advance(0.1)
        self.assertEqual(self.successResultOf(self.read()), result(6))
        self.clock.advance(0.1)
        self.assertNoResult(self.read())
        self.assertEqual(len(self.asked), 2)

    def test_delivery(self) -> None:
        """After a delivery nobody joins an earlier read."""
        early = self.read()
        self.deliver(6)
        late = self.read()
        self.assertEqual(len(self.asked), 2)
        self.asked[0].callback(result(5))
        self.assertEqual(self.successResultOf(early), result(5))
        self.assertNoResult(late)
        self.assertNoResult(self.read())
        self.asked[1].callback(result(6))
        self.assertEqual(self.successResultOf(late), result(6))
        self.assertEqual(self.successResultOf(self.read()), result(6))
        self.deliver(7)
        self.assertNoResult(self.read())

    def test_uncertainty(self) -> None:
        """Nobody joins an earlier read if a delivery may have been lost since."""
        streams = self.world.node.streams
        for change in (
            self.channel.forget_position,
            lambda: streams.handle_gap(["news"]),
            lambda: streams.remove_history("news"),
        ):
            self.read()
            before = len(self.asked)
            change()
            self.read()
            self.assertEqual(len(self.asked), before + 1)

    def test_without_subscribers(self) -> None:
        """A delivery counts even if no subscriber is here to receive it."""
        self.read()
        publication, position = Publication(offset=6), StreamPosition(6, "e")
        streams = self.world.node.streams
        streams.handle_publication("news", publication, position, None)
        self.read()
        self.assertEqual(len(self.asked), 2)

    def test_failure(self) -> None:
        """A failed read fails for all that share it; the next one asks again."""
        waiting = [self.read(), self.read()]
        self.asked[0].errback(BrokerUnavailable("gone"))
        for each in waiting:
            self.failureResultOf(each, BrokerUnavailable)
        self.assertNoResult(self.read())
        self.assertEqual(len(self.asked), 2)

    def test_memory(self) -> None:
        """The oldest results are dropped when they take too much memory."""
        self.patch(shared_reads, "KEPT_BYTES", 5000)
        queries = [HistoryQuery(10, StreamPosition(n, "e")) for n in range(3)]
        for query in queries:
            self.read(query)
            self.asked[-1].callback(result(6, 1000))
        self.assertNoResult(self.read(queries[0]))
        for query in queries[1:]:
            self.successResultOf(self.read(query))

    def test_known(self) -> None:
        """What is answered at once is not kept."""
        reads = SharedReads(self.clock, lambda name, query: succeed(result(6)))
        self.successResultOf(reads.read(self.channel, SINCE))
        self.assertEqual(self.clock.getDelayedCalls(), [])

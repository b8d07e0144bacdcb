"""Maps in memory."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from centrifugo_tx.engines.memory_map_broker import MemoryMapBroker
from centrifugo_tx.options import MapChange, MapPage, MapQuery

from ..contracts.maps import FADING, KEPT, MapReceiver, OrderedMapContract, data


class MemoryMapContract(OrderedMapContract, TestCase):
    """The memory broker does what every map broker must do."""

    broker: MemoryMapBroker

    def setUp(self) -> None:
        """Begin at a time that is not zero."""
        self.clock = Clock()
        self.clock.advance(1790000000)

    async def make_broker(self, receiver: MapReceiver) -> MemoryMapBroker:
        """Return a broker on the test's clock."""
        broker = MemoryMapBroker(self.clock)
        broker.listen(receiver)
        return broker

    async def pass_time(self, seconds: float) -> None:
        """Let *seconds* pass, one by one."""
        self.clock.pump([1.0] * int(seconds))

    async def test_nothing_left(self) -> None:
        """When keys, streams, results and maps are over, the reactor has no call."""
        await self.begin()
        await self.put("a", 1, FADING, idempotency_key="i")
        await self.broker.clear("m")
        await self.put("b", 1, FADING)
        self.broker.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_order_while_delivering(self) -> None:
        """A change made while another is delivered is delivered after it."""
        broker = MemoryMapBroker(self.clock)

        class Answering(MapReceiver):
            """Answers one key with another before it writes anything down."""

            def handle_change(self, channel: str, *change: Any) -> None:
                if change[0].key == "a":
                    broker.publish("m", "b", data(2), MapChange(KEPT))
                super().handle_change(channel, *change)

        receiver = Answering()
        broker.listen(receiver)
        await broker.publish("m", "a", data(1), MapChange(KEPT))
        found = [each.publication.key for each in receiver.deliveries]
        self.assertEqual(found, ["a", "b"])


class OrderTests(SynchronousTestCase):
    """Keys come and go in any order."""

    @settings(max_examples=100, deadline=None, derandomize=True)
    @given(
        changes=st.lists(
            st.tuples(st.booleans(), st.text("abc\u00e4\U0001f600", max_size=3))
        ),
        size=st.integers(1, 4),
    )
    def test_pages(self, changes: list[tuple[bool, str]], size: int) -> None:
        """Pages put together are all entries, sorted by key, each once."""
        broker = MemoryMapBroker(Clock())
        broker.listen(MapReceiver())
        expected: dict[str, bytes] = {}
        for number, (removed, key) in enumerate(changes):
            if not key:
                continue
            if removed:
                broker.remove("m", key, MapChange(KEPT))
                expected.pop(key, None)
            else:
                broker.publish("m", key, data(number), MapChange(KEPT))
                expected[key] = bytes(data(number))
        found: list[tuple[str, bytes]] = []
        cursor = ""
        while True:
            query = MapQuery(size, cursor)
            page: MapPage = self.successResultOf(broker.state("m", query))
            found += [(entry.key, bytes(entry.data)) for entry in page.entries]
            cursor = page.cursor
            if not cursor:
                break
        self.assertEqual(found, sorted(expected.items()))
        self.assertEqual(self.successResultOf(broker.size("m")), len(expected))

"""The engine of a standalone server."""

import gc
import tracemalloc

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from centrifugo_tx.engines import memory_engine
from centrifugo_tx.engines.memory import (
    LocalController,
    MemoryBroker,
    MemoryPresenceManager,
)
from centrifugo_tx.engines.memory_receipt_store import MemoryReceiptStore
from centrifugo_tx.options import HistoryQuery, PublishOptions
from centrifugo_tx.protocol.messages import (
    ClientInfo,
    Publication,
    Raw,
    StreamPosition,
)

from ..contracts.broker import HISTORY, StreamContract, data
from ..contracts.controller import ControllerContract
from ..contracts.doubles import Mailbox, Receiver
from ..contracts.presence import PresenceContract
from ..contracts.receipts import ReceiptStoreContract

ADA = ClientInfo("ada", "c1")


class MemoryBrokerContract(StreamContract, TestCase):
    """The memory broker does what every broker must do."""

    def setUp(self) -> None:
        """Begin at a time that is not zero."""
        self.clock = Clock()
        self.clock.advance(1790000000)

    async def make_broker(self, receiver: Receiver, meta_ttl: float) -> MemoryBroker:
        """Return a broker on the test's clock."""
        broker = MemoryBroker(self.clock, meta_ttl)
        broker.listen(receiver)
        return broker

    async def pass_time(self, seconds: float) -> None:
        """Move the clock, second by second."""
        self.clock.pump([1.0] * int(seconds))


class MemoryReceiptStoreContract(ReceiptStoreContract, TestCase):
    """The memory store does what every receipt store must do."""

    def setUp(self) -> None:
        """Begin at a time that is not zero."""
        self.clock = Clock()
        self.clock.advance(1790000000)

    async def make_store(self) -> MemoryReceiptStore:
        """Return a store on the test's clock."""
        return MemoryReceiptStore(self.clock)

    async def pass_time(self, seconds: float) -> None:
        """Move the clock, second by second."""
        self.clock.pump([1.0] * int(seconds))


class MemoryPresenceContract(PresenceContract, TestCase):
    """The memory presence manager does what every presence manager must do."""

    def setUp(self) -> None:
        """Begin at a time that is not zero."""
        self.clock = Clock()
        self.clock.advance(1790000000)

    async def make_presence(self, ttl: float) -> MemoryPresenceManager:
        """Return a manager on the test's clock."""
        return MemoryPresenceManager(self.clock, ttl)

    async def pass_time(self, seconds: float) -> None:
        """Move the clock, second by second."""
        self.clock.pump([1.0] * int(seconds))


class LocalControllerContract(ControllerContract, TestCase):
    """The local controller does what every controller must do."""

    async def make_controller(self, mailbox: Mailbox, node: str) -> LocalController:
        """Return a controller."""
        controller = LocalController()
        controller.listen(mailbox, node)
        return controller


class Echo(Receiver):
    """Publishes once more from within the first delivery."""

    broker: MemoryBroker

    def handle_publication(
        self,
        channel: str,
        publication: Publication,
        position: StreamPosition,
        previous: Publication | None,
    ) -> None:
        """Publish before the delivery is written down."""
        if bytes(publication.data) == b'{"t":1}':
            self.broker.publish(channel, data(2), HISTORY)
            self.broker.publish_join(channel, ADA)
            self.assert_nothing_yet = not self.deliveries and not self.joins
        super().handle_publication(channel, publication, position, previous)


class Failing(Receiver):
    """Fails on the first delivery."""

    failed = False

    def handle_publication(
        self,
        channel: str,
        publication: Publication,
        position: StreamPosition,
        previous: Publication | None,
    ) -> None:
        """Fail once."""
        if not self.failed:
            self.failed = True
            raise ZeroDivisionError
        super().handle_publication(channel, publication, position, previous)


class Delivering(SynchronousTestCase):
    """Appending and delivering is one step."""

    def test_at_once(self) -> None:
        """When publish returns, the publication is delivered and answered."""
        broker, receiver = MemoryBroker(Clock(), 60.0), Receiver()
        broker.listen(receiver)
        published = broker.publish("c", data(1), HISTORY)
        [delivery] = receiver.deliveries
        self.assertEqual(delivery.position, published.position)
        self.assertEqual(delivery.publication.epoch, published.position.epoch)
        self.assertEqual(delivery.publication.time, 0)

    def test_publish_while_delivering(self) -> None:
        """A publication during a delivery is delivered after it."""
        broker, receiver = MemoryBroker(Clock(), 60.0), Echo()
        broker.listen(receiver)
        receiver.broker = broker
        broker.publish("c", data(1), HISTORY)
        self.assertTrue(receiver.assert_nothing_yet)
        self.assertEqual([d.position.offset for d in receiver.deliveries], [1, 2])
        self.assertEqual(receiver.joins, [("c", ADA)])

    def test_failing_receiver(self) -> None:
        """A failing receiver is logged, and gets the next events."""
        broker, receiver = MemoryBroker(Clock(), 60.0), Failing()
        broker.listen(receiver)
        broker.publish("c", data(1), HISTORY)
        broker.publish("c", data(2), HISTORY)
        self.assertEqual([d.position.offset for d in receiver.deliveries], [2])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_shared_publication(self) -> None:
        """The delivered object is the one that history returns."""
        broker, receiver = MemoryBroker(Clock(), 60.0), Receiver()
        broker.listen(receiver)
        broker.publish("c", data(1), HISTORY)
        history = self.successResultOf(broker.history("c", HistoryQuery(-1)))
        self.assertIs(history.publications[0], receiver.deliveries[0].publication)

    def test_dropped_version_keeps_history(self) -> None:
        """A publish that is dropped for its version still renews the history."""
        clock = Clock()
        broker = MemoryBroker(clock, 600.0)
        broker.listen(Receiver())
        options = PublishOptions(history_size=5, history_ttl=60.0, version=3)
        broker.publish("c", data(1), options)
        clock.advance(40)
        broker.publish("c", data(1), options)
        clock.advance(40)
        history = self.successResultOf(broker.history("c", HistoryQuery(-1)))
        self.assertEqual(len(history.publications), 1)


class Timers(SynchronousTestCase):
    """Delayed calls of the engine."""

    def setUp(self) -> None:
        """Make an engine on a clock."""
        self.clock = Clock()
        self.engine = memory_engine(self.clock, 600.0)
        self.engine.broker.listen(Receiver())
        self.successResultOf(self.engine.start())

    def test_nothing_to_expire(self) -> None:
        """Without history and presence nothing waits in the reactor."""
        self.engine.broker.publish("c", data(1), PublishOptions())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_last_one_left(self) -> None:
        """Without present clients no delayed call remains."""
        self.engine.presence.add("c", "c1", ADA)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.engine.presence.remove("c", "c1", "ada")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_many_channels(self) -> None:
        """However many channels there are, each part has one timer at most."""
        for n in range(100):
            self.engine.broker.publish(f"c{n}", Raw(b"1"), HISTORY)
            self.engine.presence.add(f"c{n}", "c1", ADA)
        self.assertEqual(len(self.clock.getDelayedCalls()), 2)

    def test_everything_expired(self) -> None:
        """When all has expired nothing waits in the reactor."""
        self.engine.broker.publish("c", data(1), HISTORY)
        self.engine.presence.add("c", "c1", ADA)
        self.clock.pump([1.0] * 605)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_sooner(self) -> None:
        """An entry that expires before all others expires in time."""
        self.engine.broker.publish("long", data(1), HISTORY)
        options = PublishOptions(history_size=5, history_ttl=5.0)
        self.engine.broker.publish("short", data(1), options)
        self.clock.pump([1.0] * 6)
        history = self.successResultOf(
            self.engine.broker.history("short", HistoryQuery(-1))
        )
        self.assertEqual(history.publications, [])

    def test_small(self) -> None:
        """A channel that was used once takes little until it is forgotten."""
        broker = MemoryBroker(self.clock, 2592000.0)
        receiver = Receiver()
        broker.listen(receiver)
        options = PublishOptions(history_size=10, history_ttl=60.0)
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        before, _ = tracemalloc.get_traced_memory()
        for number in range(2000):
            broker.publish(f"room:{number:016x}", data(number), options)
            broker.history(f"hall:{number:016x}", HistoryQuery(limit=0))
            self.clock.advance(1)
        self.clock.advance(100)
        receiver.deliveries.clear()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        self.assertLess((after - before) / 4000, 600)
        self.clock.advance(2592000.0 + 60)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_meta_ttl(self) -> None:
        """With a meta TTL of 0 a stream keeps its position forever."""
        engine = memory_engine(self.clock, history_meta_ttl=0.0)
        engine.broker.listen(Receiver())
        published = engine.broker.publish("c", data(1), HISTORY)
        self.clock.advance(10**8)
        history = self.successResultOf(engine.broker.history("c", HistoryQuery(-1)))
        self.assertEqual(history.position, published.position)
        self.assertEqual(history.publications, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop(self) -> None:
        """Stopping leaves nothing in the reactor."""
        self.engine.broker.publish("c", data(1), HISTORY)
        self.engine.presence.add("c", "c1", ADA)
        self.successResultOf(self.engine.stop())
        self.assertEqual(self.clock.getDelayedCalls(), [])

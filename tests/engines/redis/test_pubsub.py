"""Messages and subscriptions of a node."""

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.engines.redis.addresses import Login
from centrifugo_tx.engines.redis.connection import PubSubProtocol
from centrifugo_tx.engines.redis.delivery_queue import TIME_SLICE, DeliveryQueue
from centrifugo_tx.engines.redis.pubsub import Subscriber
from centrifugo_tx.engines.redis.reconnecting import ReconnectingConnection
from centrifugo_tx.errors import BrokerUnavailable
from centrifugo_tx.metrics import Counter

from .peer import Peer, ack, bulk


class SubscriberCase(SynchronousTestCase):
    """Makes a subscriber whose server follows a script."""

    always: tuple[bytes, ...] = ()

    def setUp(self) -> None:
        """Make both; nothing is started."""
        self.clock = Clock()
        self.peer = Peer()
        self.delivered: list[tuple[bytes, bytes]] = []
        self.missed: list[bytes] = []
        self.probes = 0
        self.probe_works = True
        self.subscriber = Subscriber(
            self.clock,
            b"service",
            self.probe,
            lambda name, payload: self.delivered.append((name, payload)),
            self.missed.extend,
            Counter(),
            self.always,
        )
        self.connection: ReconnectingConnection[PubSubProtocol] = (
            ReconnectingConnection(
                "PUB/SUB",
                self.clock,
                self.peer,
                Login(),
                lambda lost: PubSubProtocol(
                    self.clock, "PUB/SUB", 4.0, lost, self.subscriber.receive
                ),
            )
        )
        self.subscriber.use(self.connection)

    def probe(self) -> "Deferred[Any]":
        """Take note of a probe."""
        self.probes += 1
        if self.probe_works:
            return succeed(1)
        return fail(BrokerUnavailable("away"))

    def start(self) -> None:
        """Connect."""
        started = self.subscriber.start()
        self.peer.flow()
        self.successResultOf(started)

    def subscribe(self, *names: bytes) -> None:
        """Subscribe, and be acknowledged."""
        done = [self.subscriber.subscribe(name) for name in names]
        self.clock.advance(0)
        self.peer.flow()
        for each in done:
            self.successResultOf(each)

    def reconnect(self) -> None:
        """Lose the connection, and have a new one."""
        self.peer.last.lose()
        self.clock.advance(3)
        self.peer.flow()

    def subscribes(self) -> list[tuple[bytes, ...]]:
        """Return the subscriptions of the newest connection."""
        commands = self.peer.last.commands
        return [each[1:] for each in commands if each[0] == b"SUBSCRIBE"]

    def tearDown(self) -> None:
        """Stop, and see that nothing is left in the reactor."""
        stopped = self.subscriber.stop()
        self.peer.flow()
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class Subscribing(SubscriberCase):
    """Subscribing and unsubscribing."""

    def test_one_command(self) -> None:
        """The subscribes of one turn leave in one command."""
        self.start()
        self.subscribe(b"a", b"b", b"c")
        self.assertEqual(self.subscribes(), [(b"service",), (b"a", b"b", b"c")])

    def test_chunks(self) -> None:
        """No command has more than 512 channels."""
        self.start()
        self.subscribe(*(b"%d" % n for n in range(1300)))
        self.assertEqual([len(each) for each in self.subscribes()], [1, 512, 512, 276])

    def test_after_acknowledgement(self) -> None:
        """Subscribing is done when Redis has acknowledged it, not before."""
        self.start()
        self.peer.answers = {b"SUBSCRIBE": b""}
        done = self.subscriber.subscribe(b"a")
        self.clock.advance(0)
        self.peer.flow()
        self.assertNoResult(done)
        self.peer.last.reply(ack(b"subscribe", b"a"))
        self.successResultOf(done)

    def test_order(self) -> None:
        """Unsubscribing at once comes after subscribing."""
        self.start()
        first = self.subscriber.subscribe(b"a")
        second = self.subscriber.unsubscribe(b"a")
        third = self.subscriber.subscribe(b"a")
        self.clock.advance(0)
        self.peer.flow()
        for each in (first, second, third):
            self.successResultOf(each)
        self.assertEqual(
            self.peer.last.commands[-3:],
            [(b"SUBSCRIBE", b"a"), (b"UNSUBSCRIBE", b"a"), (b"SUBSCRIBE", b"a")],
        )

    def test_twice(self) -> None:
        """Subscribing twice is acknowledged twice."""
        self.start()
        self.subscribe(b"a", b"a")

    def test_without_connection(self) -> None:
        """Without a connection a subscribe fails at once."""
        self.start()
        self.peer.last.lose()
        self.failureResultOf(self.subscriber.subscribe(b"a"), BrokerUnavailable)

    def test_lost_before_sent(self) -> None:
        """A connection lost in the same turn fails the subscribe."""
        self.start()
        done = self.subscriber.subscribe(b"a")
        self.peer.last.lose()
        self.failureResultOf(done, BrokerUnavailable)

    def test_lost_before_acknowledged(self) -> None:
        """So does one lost before it was acknowledged; it is not restored."""
        self.start()
        self.peer.answers = {b"SUBSCRIBE": b""}
        done = self.subscriber.subscribe(b"a")
        self.clock.advance(0)
        self.peer.last.lose()
        self.failureResultOf(done, BrokerUnavailable)
        self.peer.answers = {}
        self.clock.advance(3)
        self.peer.flow()
        self.assertEqual(self.subscribes(), [(b"service",)])

    def test_refused(self) -> None:
        """A refusal fails only the subscribes of the command."""
        self.start()
        self.peer.answers = {b"SUBSCRIBE": b"-NOPERM no\r\n"}
        done = self.subscriber.subscribe(b"a")
        self.clock.advance(0)
        self.peer.flow()
        self.failureResultOf(done, BrokerUnavailable)
        self.peer.answers = {}
        self.subscribe(b"b")

    def test_unsubscribe_without_connection(self) -> None:
        """Without a connection an unsubscribe only removes the name."""
        self.start()
        self.subscribe(b"a", b"b")
        self.peer.last.lose()
        self.successResultOf(self.subscriber.unsubscribe(b"a"))
        self.clock.advance(3)
        self.peer.flow()
        self.assertEqual(self.subscribes(), [(b"service",), (b"b",)])

    def test_lost_while_unsubscribing(self) -> None:
        """A connection that is lost has unsubscribed, whether acknowledged or not."""
        self.start()
        self.subscribe(b"a", b"b")
        self.peer.answers = {b"UNSUBSCRIBE": b""}
        done = self.subscriber.unsubscribe(b"a")
        self.peer.last.lose()
        self.successResultOf(done)
        self.clock.advance(3)
        self.peer.flow()
        self.assertEqual(self.subscribes(), [(b"service",), (b"b",)])

    def test_unsubscribe_refused(self) -> None:
        """A refused unsubscribe leaves a subscription that is restored like the
        others.
        """
        self.start()
        self.subscribe(b"a")
        self.peer.answers = {b"UNSUBSCRIBE": b"-NOPERM no\r\n"}
        done = self.subscriber.unsubscribe(b"a")
        self.peer.flow()
        self.failureResultOf(done, BrokerUnavailable)
        self.reconnect()
        self.assertEqual(self.subscribes(), [(b"service",), (b"a",)])

    def test_messages(self) -> None:
        """Messages are delivered in their order; those to the service are not."""
        self.start()
        self.subscribe(b"a")
        self.peer.last.reply(
            bulk(b"message", b"a", b"1")
            + bulk(b"message", b"service", b"probe")
            + bulk(b"message", b"a", b"2")
        )
        self.assertEqual(self.delivered, [(b"a", b"1"), (b"a", b"2")])


class Restoring(SubscriberCase):
    """After a lost connection."""

    always = (b"control",)

    def begin_to_restore(self) -> None:
        """Have a new connection on which nothing is acknowledged by itself."""
        self.peer.acknowledges = (b"service", b"control")
        self.peer.last.lose()
        self.clock.advance(0.35)
        self.peer.flow()

    def test_restored(self) -> None:
        """All subscriptions are restored, and possible losses are reported."""
        self.start()
        self.subscribe(b"a", b"b", b"c")
        left = self.subscriber.unsubscribe(b"b")
        self.peer.flow()
        self.successResultOf(left)
        self.assertEqual(self.missed, [])
        self.reconnect()
        self.assertEqual(self.subscribes(), [(b"service", b"control"), (b"a", b"c")])
        self.assertEqual(self.missed, [b"a", b"c"])

    def test_many(self) -> None:
        """Ten thousand are restored in commands of 512, of which 16 are under way."""
        names = [b"%d" % n for n in range(10000)]
        self.start()
        self.subscribe(*names)
        self.begin_to_restore()
        self.assertEqual(len(self.subscribes()), 1 + 16)
        self.peer.acknowledges = None
        for sent in self.subscribes()[1:]:
            self.peer.last.reply(ack(b"subscribe", *sent))
        self.peer.flow()
        self.assertEqual(len(self.subscribes()), 1 + 20)
        self.assertEqual(self.missed, names)

    def test_missed_is_told_after_the_acknowledgement(self) -> None:
        """Before messages come again, storage must not be looked at."""
        self.start()
        self.subscribe(b"a")
        self.begin_to_restore()
        self.assertEqual(self.missed, [])
        self.peer.last.reply(ack(b"subscribe", b"a"))
        self.assertEqual(self.missed, [b"a"])

    def test_unsubscribed_while_restoring(self) -> None:
        """A channel that is left while it is being restored stays left."""
        self.start()
        self.subscribe(b"a", b"b")
        self.begin_to_restore()
        left = self.subscriber.unsubscribe(b"a")
        acknowledged = ack(b"subscribe", b"a", b"b") + ack(b"unsubscribe", b"a")
        self.peer.last.reply(acknowledged)
        self.successResultOf(left)
        self.peer.acknowledges = None
        self.reconnect()
        self.assertEqual(self.subscribes()[1:], [(b"b",)])

    def test_lost_while_restoring(self) -> None:
        """A connection lost while restoring starts the restore over."""
        self.start()
        self.subscribe(b"a", b"b")
        self.begin_to_restore()
        self.peer.acknowledges = None
        self.reconnect()
        self.assertEqual(self.subscribes()[1:], [(b"a", b"b")])
        self.assertEqual(self.missed, [b"a", b"b"])

    def test_refused_while_restoring(self) -> None:
        """If the restore is refused the node reconnects."""
        self.start()
        self.subscribe(b"a")
        self.begin_to_restore()
        self.peer.last.reply(b"-NOPERM no\r\n")
        self.peer.flow()
        self.assertIsNone(self.connection.protocol)
        self.peer.acknowledges = None
        self.clock.advance(3)
        self.peer.flow()
        self.assertEqual(self.missed, [b"a"])

    def test_subscribe_while_restoring(self) -> None:
        """New subscriptions need not wait for the others to be restored."""
        self.start()
        self.subscribe(b"a")
        self.begin_to_restore()
        done = self.subscriber.subscribe(b"new")
        self.clock.advance(0)
        self.peer.last.reply(ack(b"subscribe", b"a", b"new"))
        self.successResultOf(done)


class Listening(SubscriberCase):
    """Whether messages come at all."""

    def silent(self, seconds: int) -> None:
        """Let time pass without any message."""
        for _ in range(seconds):
            self.clock.advance(1)
            self.peer.flow()

    def test_probe(self) -> None:
        """After half a minute of silence it is tried whether messages come."""
        self.start()
        self.silent(29)
        self.assertEqual(self.probes, 0)
        self.silent(1)
        self.assertEqual(self.probes, 1)
        self.peer.last.reply(bulk(b"message", b"service", b"probe"))
        self.silent(30)
        self.assertEqual(len(self.peer.connections), 1)

    def test_messages_are_proof(self) -> None:
        """While messages come nothing is tried."""
        self.start()
        for _ in range(10):
            self.silent(20)
            self.peer.last.reply(bulk(b"message", b"a", b"1"))
        self.assertEqual(self.probes, 0)

    def test_deaf(self) -> None:
        """A connection on which the probe does not come is left."""
        self.start()
        self.silent(65)
        self.assertEqual(len(self.peer.connections), 2)

    def test_probe_not_published(self) -> None:
        """A probe that could not be published proves nothing."""
        self.start()
        self.probe_works = False
        self.silent(200)
        self.assertEqual(len(self.peer.connections), 1)

    def test_always_deaf(self) -> None:
        """When new connections are deaf too, they are left ever more rarely."""
        self.start()
        self.silent(65)
        self.silent(60)
        self.assertEqual(len(self.peer.connections), 2)
        self.silent(30)
        self.assertEqual(len(self.peer.connections), 3)
        self.silent(3000)
        self.assertTrue(8 < len(self.peer.connections) < 14)


class Slices(SynchronousTestCase):
    """Messages that come faster than they can be delivered."""

    def setUp(self) -> None:
        """Make an inbox whose deliveries take time."""
        self.clock = Clock()
        self.delivered: list[bytes] = []
        self.missed: list[bytes] = []
        self.dropped = Counter()
        self.buffered = Counter()
        self.queue = DeliveryQueue(
            self.clock, self.deliver, self.miss, self.dropped, self.buffered, 10
        )

    def deliver(self, name: bytes, payload: bytes) -> None:
        """Take some time."""
        self.clock.rightNow += TIME_SLICE / 2
        self.delivered.append(payload)
        if payload == b"bad":
            raise ZeroDivisionError

    def miss(self, names: Sequence[bytes]) -> None:
        """Record the missed channels."""
        self.missed.extend(names)

    def test_turns(self) -> None:
        """Deliveries that take too long continue in the next turn, in order."""
        self.queue.add([(b"a", b"%d" % n) for n in range(5)])
        self.assertEqual(self.delivered, [b"0", b"1"])
        self.queue.add([(b"a", b"5")])
        self.assertEqual(self.delivered, [b"0", b"1"])
        self.clock.advance(0)
        self.assertEqual(self.delivered, [b"%d" % n for n in range(6)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_too_many(self) -> None:
        """Beyond the limit messages are dropped, and reported at the end."""
        self.queue.add([(b"a", b"%d" % n) for n in range(9)])
        self.queue.add([(b"b", b"%d" % n) for n in range(5)])
        self.queue.add([(b"c", b"0")])
        self.assertEqual(self.dropped.value, 3)
        self.assertEqual(self.missed, [])
        self.clock.pump([0] * 10)
        self.assertEqual(len(self.delivered), 12)
        self.assertEqual(self.missed, [b"b", b"c"])

    def test_failing_delivery(self) -> None:
        """A delivery that fails is logged, and those after it take place."""
        self.queue.add([(b"a", b"bad"), (b"a", b"1")])
        self.clock.advance(0)
        self.assertEqual(self.delivered, [b"bad", b"1"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_stop(self) -> None:
        """Stopping leaves nothing in the reactor."""
        self.queue.add([(b"a", b"%d" % n) for n in range(5)])
        self.assertEqual(self.buffered.value, 3)
        self.queue.stop()
        self.assertEqual(self.buffered.value, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

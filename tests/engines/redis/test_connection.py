"""Connections to Redis, and how they are kept up."""

from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.engines.redis import connection
from centrifugo_tx.engines.redis.addresses import Login
from centrifugo_tx.engines.redis.connection import (
    CommandProtocol,
    PubSubProtocol,
    Refused,
)
from centrifugo_tx.engines.redis.reconnecting import (
    LONGEST_DELAY,
    ReconnectingConnection,
)
from centrifugo_tx.errors import BrokerUnavailable

from .peer import Peer, ack, bulk


class LinkCase(SynchronousTestCase):
    """Makes a connection to a peer that follows a script."""

    login = Login()

    def setUp(self) -> None:
        """Make a peer, and a connection that is not yet started."""
        self.clock = Clock()
        self.peer = Peer()
        self.changes: list[bool] = []
        self.connection: ReconnectingConnection[Any] = ReconnectingConnection(
            "Redis",
            self.clock,
            self.peer,
            self.login,
            self.build,
            changed=lambda link: self.changes.append(link.protocol is not None),
        )

    def build(self, lost: Any) -> CommandProtocol:
        """Make a protocol."""
        return CommandProtocol(self.clock, "Redis", 4.0, lost)

    def connect(self) -> None:
        """Start, and let the greeting take place."""
        started = self.connection.start()
        self.peer.flow()
        self.successResultOf(started)

    @property
    def protocol(self) -> Any:
        """The usable connection."""
        return self.connection.protocol

    def tearDown(self) -> None:
        """Stop, and see that nothing is left in the reactor."""
        stopped = self.connection.stop()
        self.peer.flow()
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class Commands(LinkCase):
    """Commands and replies."""

    def test_order(self) -> None:
        """Replies belong to commands in the order in which these were sent."""
        self.connect()
        first = self.connection.send(b"GET", b"a")
        second = self.connection.send(b"GET", b"b\r\n\xff")
        self.assertEqual(
            self.peer.last.commands[-2:], [(b"GET", b"a"), (b"GET", b"b\r\n\xff")]
        )
        self.peer.last.reply(b"$1\r\nA\r\n$2\r")
        self.assertEqual(self.successResultOf(first), b"A")
        self.assertNoResult(second)
        self.peer.last.reply(b"\nBB\r\n")
        self.assertEqual(self.successResultOf(second), b"BB")

    def test_too_many(self) -> None:
        """When too many wait already, the next one fails at once."""
        self.connect()
        self.patch(connection, "MAX_PENDING", 2)
        first, second = (self.connection.send(b"GET", b"a") for _ in range(2))
        refused = self.failureResultOf(
            self.connection.send(b"GET", b"a"), BrokerUnavailable
        )
        self.assertIn("too many pending calls", refused.getErrorMessage())
        self.peer.last.reply(b"$1\r\nA\r\n")
        self.assertEqual(self.successResultOf(first), b"A")
        third = self.connection.send(b"GET", b"b")
        self.peer.last.reply(b"$1\r\nB\r\n$1\r\nC\r\n")
        self.assertEqual(self.successResultOf(second), b"B")
        self.assertEqual(self.successResultOf(third), b"C")

    def test_exact_bytes(self) -> None:
        """Nothing is converted: numbers in text stay text."""
        self.connect()
        reply = self.connection.send(b"X")
        self.peer.last.reply(bulk(b"0012", b"1_000", 7, None, b"\xff"))
        self.assertEqual(
            self.successResultOf(reply), [b"0012", b"1_000", 7, None, b"\xff"]
        )

    def test_refusal(self) -> None:
        """An error reply fails its command, and no other."""
        self.connect()
        first, second = self.connection.send(b"A"), self.connection.send(b"B")
        self.peer.last.reply(b"-NOSCRIPT No matching script\r\n+OK\r\n")
        error = self.failureResultOf(first, Refused).value
        self.assertIsInstance(error, BrokerUnavailable)
        assert isinstance(error, Refused)
        self.assertEqual(error.code, "NOSCRIPT")
        self.assertEqual(self.successResultOf(second), b"OK")

    def test_cancelled(self) -> None:
        """A cancelled command keeps its place in the queue."""
        self.connect()
        first, second = self.connection.send(b"A"), self.connection.send(b"B")
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.peer.last.reply(b"+1\r\n+2\r\n")
        self.assertEqual(self.successResultOf(second), b"2")

    def test_library_commands(self) -> None:
        """The commands of txredisapi can be used as well."""
        self.connect()
        reply = self.protocol.hgetall("h")
        self.peer.last.reply(bulk(b"f", b"1", b"g", b"x"))
        self.assertEqual(self.successResultOf(reply), {b"f": b"1", b"g": b"x"})

    def test_malformed_reply(self) -> None:
        """A server that does not speak the protocol is left."""
        self.connect()
        reply = self.connection.send(b"A")
        self.peer.last.reply(b"HTTP/1.1 400 Bad Request\r\n")
        self.peer.flow()
        self.failureResultOf(reply, BrokerUnavailable)

    def test_unexpected_reply(self) -> None:
        """A server that sends an unexpected reply is disconnected."""
        self.connect()
        self.peer.last.reply(b"-ERR max number of clients reached\r\n")
        self.peer.flow()
        self.assertEqual(self.changes, [True, False])

    def test_former_master(self) -> None:
        """A server that has become a replica is left."""
        self.connect()
        reply = self.connection.send(b"SET", b"a", b"b")
        self.peer.last.reply(b"-READONLY You can't write against a replica.\r\n")
        self.peer.flow()
        self.failureResultOf(reply, Refused)
        self.assertEqual(self.changes, [True, False])


class Greeting(LinkCase):
    """The first commands of a connection."""

    login = Login("ada", "s3cret", "node 1", 3)

    def test_order(self) -> None:
        """User, name and db are said, and the server must be alive."""
        self.connect()
        self.assertEqual(
            self.peer.last.commands,
            [
                (b"AUTH", b"ada", b"s3cret"),
                (b"CLIENT", b"SETNAME", b"node 1"),
                (b"SELECT", b"3"),
                (b"PING",),
            ],
        )
        self.assertEqual(self.changes, [True])

    def test_unusable_until_answered(self) -> None:
        """Before the answers nothing can be sent."""
        started = self.connection.start()
        self.assertNoResult(started)
        self.failureResultOf(self.connection.send(b"GET", b"a"), BrokerUnavailable)
        self.peer.flow()
        self.successResultOf(started)

    def test_refused(self) -> None:
        """A refusal fails the start, closes, and is not final."""
        for command in (b"AUTH", b"CLIENT", b"SELECT", b"PING"):
            self.setUp()
            self.peer.answers = {command: b"-WRONGPASS invalid password\r\n"}
            started = self.connection.start()
            self.peer.flow()
            failure = self.failureResultOf(started, BrokerUnavailable)
            self.assertIn("WRONGPASS", str(failure.value))
            self.assertNotIn("s3cret", str(failure.value))
            self.assertTrue(self.peer.last.closed)
            self.peer.answers = {}
            self.clock.advance(1)
            self.peer.flow()
            self.assertEqual(self.changes, [True])

    def test_lost_while_greeting(self) -> None:
        """A connection lost while greeting is tried again."""
        started = self.connection.start()
        self.peer.last.lose()
        self.failureResultOf(started, BrokerUnavailable)
        self.peer.replies.clear()
        self.clock.advance(1)
        self.peer.flow()
        self.assertEqual(self.changes, [True])

    def test_silence_while_greeting(self) -> None:
        """A server that accepts and says nothing is left after a while."""
        self.peer.answers = {b"PING": b""}
        started = self.connection.start()
        self.clock.pump([1.0] * 6)
        self.peer.flow()
        self.failureResultOf(started, BrokerUnavailable)

    def test_without_permission(self) -> None:
        """A user without permission for the ping is accepted."""
        self.peer.answers = {b"PING": b"-NOPERM this user has no permissions\r\n"}
        self.connect()
        self.assertEqual(self.changes, [True])

    def test_loading(self) -> None:
        """A server that is still loading its data is not yet usable."""
        self.peer.answers = {b"PING": b"-LOADING Redis is loading\r\n"}
        started = self.connection.start()
        self.peer.flow()
        self.failureResultOf(started, BrokerUnavailable)
        self.assertEqual(self.changes, [])


class Outage(LinkCase):
    """Commands without a connection."""

    def test_lost(self) -> None:
        """Pending commands fail at once, as do those sent while it is lost."""
        self.connect()
        waiting = self.connection.send(b"GET", b"a")
        self.peer.last.lose()
        self.failureResultOf(waiting, BrokerUnavailable)
        failure = self.failureResultOf(self.connection.send(b"GET"), BrokerUnavailable)
        self.assertIn("lost the connection to Redis", str(failure.value))

    def test_send_from_a_failure(self) -> None:
        """A command that is retried in its errback fails at once, too."""
        self.connect()
        again: list[Any] = []
        waiting = self.connection.send(b"A")
        waiting.addErrback(lambda _: again.append(self.connection.send(b"B")))
        self.peer.last.lose()
        self.failureResultOf(again[0], BrokerUnavailable)

    def test_first_attempt_fails(self) -> None:
        """A refused connection fails the start, saying why, and is tried again."""
        self.peer.refuses = True
        failure = self.failureResultOf(self.connection.start(), BrokerUnavailable)
        self.assertIn("cannot connect to Redis", str(failure.value))
        self.peer.refuses = False
        self.clock.advance(1)
        self.peer.flow()
        self.assertEqual(self.changes, [True])

    def test_back_off(self) -> None:
        """Attempts come rarely while they fail, and never stop."""
        self.connect()
        self.clock.advance(10)
        self.peer.flow()
        self.peer.refuses = True
        self.peer.last.lose()
        gaps = []
        for _ in range(12):
            attempts, began = self.peer.attempts, self.clock.seconds()
            while self.peer.attempts == attempts:
                self.clock.advance(0.01)
            gaps.append(self.clock.seconds() - began)
        self.assertTrue(0.18 < gaps[0] < 0.33, gaps)
        for gap in gaps[4:]:
            self.assertTrue(0.74 * LONGEST_DELAY < gap < 1.27 * LONGEST_DELAY, gaps)
        self.assertGreater(len({round(gap, 2) for gap in gaps[4:]}), 1)
        self.peer.refuses = False
        self.clock.advance(3)
        self.peer.flow()
        self.assertIsNotNone(self.connection.protocol)

    def test_back_off_begins_anew(self) -> None:
        """After a connection that lasted, the first attempt comes soon again."""
        self.connect()
        for _ in range(3):
            self.clock.pump([0.5] * 12)
            self.peer.flow()
            self.peer.last.lose()
            self.clock.advance(0.35)
            self.peer.flow()
            self.assertIsNotNone(self.connection.protocol)

    def test_flapping(self) -> None:
        """Connections that do not last make attempts rare, too."""
        self.connect()
        for _ in range(6):
            self.peer.last.lose()
            self.clock.advance(3)
            self.peer.flow()
        self.peer.last.lose()
        attempts = self.peer.attempts
        self.clock.advance(1.4)
        self.assertEqual(self.peer.attempts, attempts)

    def test_hurry(self) -> None:
        """An attempt can be had at once when it is known to be worth it."""
        self.peer.refuses = True
        self.failureResultOf(self.connection.start(), BrokerUnavailable)
        self.peer.refuses = False
        self.connection.retry_now()
        self.peer.flow()
        self.assertEqual(self.changes, [True])

    def test_drop(self) -> None:
        """A connection can be given up; a new one is made."""
        self.connect()
        waiting = self.connection.send(b"A")
        self.connection.reconnect("because")
        self.peer.flow()
        failure = self.failureResultOf(waiting, BrokerUnavailable)
        self.assertIn("because", str(failure.value))
        self.clock.advance(1)
        self.peer.flow()
        self.assertEqual(self.changes, [True, False, True])

    def test_stop_while_connecting(self) -> None:
        """An attempt is cancelled with its last caller."""
        self.peer.hangs = True
        started = self.connection.start()
        self.successResultOf(self.connection.stop())
        self.failureResultOf(started, BrokerUnavailable)

    def test_stop_waits(self) -> None:
        """Stopping is done when the connection is really closed."""
        self.connect()
        waiting = self.connection.send(b"A")
        stopped = self.connection.stop()
        self.assertNoResult(stopped)
        self.peer.flow()
        self.successResultOf(stopped)
        self.failureResultOf(waiting, BrokerUnavailable)
        self.assertEqual(self.changes, [True, False])


class SignsOfLife(LinkCase):
    """Whether the server is still there."""

    def test_idle(self) -> None:
        """An idle connection is tried every other second."""
        self.connect()
        del self.peer.last.commands[:]
        for _ in range(10):
            self.clock.advance(1)
            self.peer.flow()
        self.assertEqual(self.peer.last.commands, [(b"PING",)] * 5)
        self.assertEqual(self.changes, [True])

    def test_idle_server_hangs(self) -> None:
        """A server that hangs is noticed within six seconds without any command."""
        self.connect()
        self.peer.answers = {b"PING": b""}
        self.clock.pump([1.0] * 7)
        self.peer.flow()
        self.assertEqual(self.changes, [True, False])

    def test_no_answer(self) -> None:
        """A command without an answer fails when the time is over."""
        self.connect()
        reply = self.connection.send(b"A")
        self.clock.pump([1.0] * 4)
        self.peer.flow()
        self.assertNoResult(reply)
        self.clock.advance(1)
        self.peer.flow()
        failure = self.failureResultOf(reply, BrokerUnavailable)
        self.assertIn("no answer", str(failure.value))

    def test_progress(self) -> None:
        """As long as answers come, the connection is good."""
        self.connect()
        replies = [self.connection.send(b"A") for _ in range(10)]
        for _ in range(10):
            self.clock.advance(3)
            self.peer.last.reply(b"+OK\r\n")
        for reply in replies:
            self.assertEqual(self.successResultOf(reply), b"OK")


class PubSub(LinkCase):
    """Connections that receive messages."""

    def build(self, lost: Any) -> CommandProtocol:
        """Make a protocol that receives."""
        self.received: list[tuple[bytes, bytes]] = []
        return PubSubProtocol(self.clock, "Redis", 4.0, lost, self.received.extend)

    def test_acknowledged(self) -> None:
        """Subscribing is done when every channel is acknowledged."""
        self.peer.answers = {b"SUBSCRIBE": b""}
        self.connect()
        first = self.protocol.subscribe([b"a", b"b"])
        second = self.protocol.subscribe([b"c"])
        self.peer.last.reply(ack(b"subscribe", b"a"))
        self.assertNoResult(first)
        self.peer.last.reply(ack(b"subscribe", b"b"))
        self.successResultOf(first)
        self.assertNoResult(second)
        self.peer.last.reply(ack(b"subscribe", b"c"))
        self.successResultOf(second)

    def test_messages_between(self) -> None:
        """Messages may come between acknowledgements and replies."""
        self.peer.answers = {b"SUBSCRIBE": b"", b"PING": b"+PONG\r\n"}
        self.connect()
        done = self.protocol.subscribe([b"a", b"message"])
        self.peer.last.reply(
            bulk(b"subscribe", b"a", 1)
            + bulk(b"message", b"a", b"1")
            + bulk(b"subscribe", b"message", 2)
            + bulk(b"message", b"message", b"\x00\xff")
        )
        self.successResultOf(done)
        self.assertEqual(self.received, [(b"a", b"1"), (b"message", b"\x00\xff")])

    def test_pong(self) -> None:
        """A subscribed connection answers signs of life in its own way."""
        self.connect()
        self.peer.answers = {b"PING": bulk(b"pong", b"")}
        for _ in range(10):
            self.clock.advance(1)
            self.peer.flow()
        self.assertEqual(self.changes, [True])

    def test_refused(self) -> None:
        """A refused subscribe fails, and later commands continue."""
        self.peer.answers = {b"SUBSCRIBE": b""}
        self.connect()
        first = self.protocol.subscribe([b"a", b"b"])
        second = self.protocol.subscribe([b"c"])
        self.peer.last.reply(b"-NOPERM no\r\n" + ack(b"subscribe", b"c"))
        self.failureResultOf(first, Refused)
        self.successResultOf(second)

    def test_unsolicited(self) -> None:
        """An unexpected acknowledgement is ignored."""
        self.connect()
        self.peer.last.reply(ack(b"unsubscribe", b"a"))
        self.assertEqual(self.changes, [True])

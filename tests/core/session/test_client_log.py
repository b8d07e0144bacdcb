"""Log lines about errors of clients and closed connections."""

from centrifugo_tx.errors import BrokerUnavailable, DisconnectClient, ReplyError
from centrifugo_tx.options import Admission, NodeOptions
from centrifugo_tx.protocol.codes import (
    FORCE_DISCONNECT,
    INVALID_TOKEN,
    PERMISSION_DENIED,
    SHUTDOWN,
)

from ...log_lines import LogTestCase
from ...support import World


class CommandTests(LogTestCase):
    """Commands that fail."""

    def setUp(self) -> None:
        super().setUp()
        self.world = World(NodeOptions(channel_limit=1, channel_max_length=10))
        self.peer = self.world.connected("ada")

    def test_error(self) -> None:
        """An error reply is logged with its client, method, channel, code and cause."""
        self.peer.ask(subscribe={"channel": "a"})
        self.peer.ask(subscribe={"channel": "a"})
        (event,) = self.events
        self.assertEqual(
            self.lines("client", "user", "method", "channel", "code", "error", "cause"),
            [
                (
                    *("info", "client command error"),
                    *(self.peer.client.id, "ada", "subscribe", "a", 105),
                    *("already subscribed", "client already subscribed on channel"),
                )
            ],
        )
        self.assertNotIn("data", event)

    def test_causes(self) -> None:
        """The log says more than the reply."""
        self.peer.ask(subscribe={"channel": "a"})
        for asked, code, cause in (
            ({"subscribe": {"channel": "b"}}, 106, "maximum limit of channels"),
            ({"subscribe": {"channel": "b" * 11}}, 107, "channel too long"),
            ({"sub_refresh": {"channel": "a"}}, 107, "refresh token required"),
            ({"sub_refresh": {"channel": "b"}}, 103, "client not subscribed"),
        ):
            self.peer.ask(**asked)  # type: ignore[arg-type]
            ((_, _, found, why),) = self.lines("code", "cause")
            self.assertEqual(found, code)
            self.assertIn(cause, why)

    def test_policy(self) -> None:
        """The cause and the details that the policy gives are in the line."""
        self.world.policy.subscription = ReplyError(
            PERMISSION_DENIED, "token user mismatch", token_user="bob"
        )
        self.peer.ask(subscribe={"channel": "a"})
        self.assertEqual(
            self.lines("cause", "token_user"),
            [("info", "client command error", "token user mismatch", "bob")],
        )

    def test_disconnect(self) -> None:
        """A command that closes the connection is logged once."""
        self.world.policy.subscription = DisconnectClient(
            INVALID_TOKEN, "invalid token"
        )
        self.peer.ask(subscribe={"channel": "a"})
        self.assertEqual(
            self.lines("method", "channel", "code", "reason", "cause"),
            [
                (
                    *("info", "disconnect after handling command"),
                    *("subscribe", "a", 3500, "invalid token", "invalid token"),
                )
            ],
        )

    def test_malformed(self) -> None:
        """A malformed message is logged with the error, without its text."""
        self.peer.client.receive(b'{"id":1,"connect":{"token":"secret"')
        self.assertNotIn("secret", self.text())
        self.assertEqual(self.lines("user"), [("info", "error reading command", "ada")])

    def test_unexpected(self) -> None:
        """An error of ours comes with a traceback, and the reply with a code."""
        self.world.policy.subscription = ValueError("broken")
        self.peer.ask(subscribe={"channel": "a"})
        self.assertEqual(
            self.lines("method", "code"),
            [
                ("info", "client command error", "subscribe", 100),
                ("error", "client command failed unexpectedly", "subscribe", None),
            ],
        )
        self.flushLoggedErrors(ValueError)

    def test_storage(self) -> None:
        """While storage is unavailable, the failed command is logged as well."""
        self.world.policy.subscription = BrokerUnavailable("gone")
        self.peer.ask(subscribe={"channel": "a"})
        self.assertIn(
            ("info", "client command error", "subscribe"), self.lines("method")
        )

    def test_flood(self) -> None:
        """Ten thousand errors write a bounded number of lines, and their count."""
        for _ in range(10_000):
            self.peer.ask(subscribe={"channel": "b" * 11})
            self.world.clock.advance(0)
        self.assertEqual(len(self.lines()), 5)
        self.world.clock.advance(1)
        self.assertEqual(
            self.lines("count", "about", "code"),
            [
                (
                    "info",
                    "log lines left out: client command error",
                    *(9995, "client command error", 107),
                )
            ],
        )


class ClosingTests(LogTestCase):
    """Connections that the server ends."""

    def test_no_pong(self) -> None:
        """The line says whom, and why."""
        world = World(NodeOptions(ping_interval=25, pong_timeout=8))
        peer = world.connected("ada")
        world.clock.advance(25)
        world.clock.advance(8)
        world.clock.advance(1)
        self.assertEqual(
            self.lines("client", "user", "code", "reason"),
            [
                (
                    *("info", "closing client connection"),
                    *(peer.client.id, "ada", 3012, "no pong"),
                )
            ],
        )

    def test_usual(self) -> None:
        """Clients that go, and the stop of the node, are no news."""
        world = World()
        world.connected().client.transport_lost()
        world.connected().client.close(SHUTDOWN)
        self.assertEqual(self.lines(), [])

    def test_forced(self) -> None:
        """A disconnect by the server API is logged."""
        World().connected().client.close(FORCE_DISCONNECT)
        self.assertEqual(
            self.lines("code"), [("info", "closing client connection", 3503)]
        )

    def test_refused(self) -> None:
        """A unidirectional client whose connect fails is logged once."""
        world = World()
        world.policy.admission = Admission(expire_at=1)
        world.open(unidirectional=True).client.receive(b'{"id":1,"connect":{}}')
        self.assertEqual(
            self.lines("method", "code", "cause"),
            [
                (
                    *("info", "client command error", "connect", 110),
                    "connection expiration must be greater than now",
                )
            ],
        )

    def test_stop(self) -> None:
        """When the node stops, pending counts are logged."""
        world = World()
        peer = world.subscribed("a")
        for _ in range(6):
            peer.ask(subscribe={"channel": "a"})
        self.events.clear()
        peer.client.transport_lost()
        self.successResultOf(world.node.stop())
        self.assertEqual(
            self.lines("count"),
            [("info", "log lines left out: client command error", 1)],
        )

"""Log lines about connections and their messages."""

import json
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import LogEvent

from centrifugo_tx.core import Journal, journal_for
from centrifugo_tx.options import NodeOptions
from centrifugo_tx.protocol.codes import FORCE_DISCONNECT
from centrifugo_tx.protocol.messages import Raw
from centrifugo_tx.protocol.wire import sse_json, websocket_json, websocket_protobuf

from ...log_lines import LogTestCase
from ...support import World


class JournalTestCase(LogTestCase):
    """A node that logs at ``level``."""

    level = "debug"

    def setUp(self) -> None:
        super().setUp()
        clock = Clock()
        self.world = World(
            NodeOptions(ping_interval=25, pong_timeout=8),
            clock,
            journal=journal_for(self.level, clock.seconds),
        )

    def frames(self) -> list[tuple[str, str]]:
        """Return the messages that were traced, in and out."""
        shown = [_frame(event) for event in self.events if "log_frame" in event]
        self.events.clear()
        return shown


def _frame(event: LogEvent) -> tuple[str, str]:
    names = ("command", "reply", "push", "data")
    (found,) = [event[name] for name in names if name in event]
    return event["log_format"], found


class LevelTests(LogTestCase):
    """Which journal a level means."""

    def test_silent(self) -> None:
        """At info and above nothing is written, by a journal that does nothing."""
        for level in ("info", "warn", "error", "fatal", "none", "unknown"):
            self.assertIs(type(journal_for(level, float)), Journal)
        peer = World().subscribed("a")
        peer.client.transport_lost()
        self.assertEqual(self.lines(), [])

    def test_case(self) -> None:
        """Names of levels are of any case."""
        self.assertIsNot(type(journal_for("DEBUG", float)), Journal)


class DebugTests(JournalTestCase):
    """A line for each step."""

    def test_life(self) -> None:
        """From the first to the last step, with duration and code."""
        peer = self.world.subscribed("a", "ada")
        peer.ask(unsubscribe={"channel": "a"})
        self.world.clock.advance(1.5)
        peer.client.transport_lost()
        client = peer.client.id
        self.assertEqual(
            self.lines("client", "user", "channel", "duration", "code"),
            [
                (
                    *("debug", "client connection established"),
                    *(client, None, None, None, None),
                ),
                (
                    *("debug", "client authenticated"),
                    *(client, "ada", None, None, None),
                ),
                (
                    *("debug", "client subscribed to channel"),
                    *(client, "ada", "a", None, None),
                ),
                (
                    *("debug", "client unsubscribed from channel"),
                    *(client, "ada", "a", None, None),
                ),
                (
                    *("debug", "client connection completed"),
                    *(client, "ada", None, 1.5, 3000),
                ),
            ],
        )

    def test_code(self) -> None:
        """A connection that the server ended has the server's code."""
        peer = self.world.connected("ada")
        peer.client.close(FORCE_DISCONNECT)
        peer.client.transport_lost()
        self.assertEqual(
            self.lines("code", "reason")[-1],
            ("debug", "client connection completed", 3503, "force disconnect"),
        )

    def test_nothing_stays(self) -> None:
        """The journal forgets connections that are gone."""
        for _ in range(3):
            peer = self.world.connected()
            peer.client.close(FORCE_DISCONNECT)
            peer.client.transport_lost()
        journal: Any = self.world.node.journal
        self.assertEqual((journal._began, journal._ends), ({}, {}))

    def test_refused_subscription(self) -> None:
        """A failed subscription is not logged as ended."""
        self.world.policy.subscription = ValueError()
        peer = self.world.subscribed("a")
        peer.client.transport_lost()
        told = [line[1] for line in self.lines()]
        self.assertNotIn("client subscribed to channel", told)
        self.assertNotIn("client unsubscribed from channel", told)
        self.flushLoggedErrors(ValueError)


class TraceTests(JournalTestCase):
    """Messages in and out."""

    level = "trace"

    def open(self, wire: Any = None) -> Any:
        """Return a connection that speaks as *wire* does."""
        peer = self.world.open()
        if wire is not None:
            peer.client.transport.wire = wire
            self.world.node.journal.watch(peer.client)
        self.events.clear()
        return peer

    def test_messages(self) -> None:
        """Commands, replies and pushes are shown as JSON."""
        peer = self.open()
        peer.ask(connect={})
        peer.ask(subscribe={"channel": "a"})
        self.frames()
        self.world.publish("a", {"n": 1})
        self.assertEqual(
            self.frames(), [("-out->", '{"channel":"a","pub":{"data":{"n": 1}}}')]
        )
        peer.ask(unsubscribe={"channel": "a"})
        (_, command), (_, reply) = self.frames()
        self.assertEqual(json.loads(command)["unsubscribe"], {"channel": "a"})
        self.assertIn("unsubscribe", json.loads(reply))

    def test_who(self) -> None:
        """Each subscriber's copy is logged with its client."""
        peers = [self.world.subscribed("a", user) for user in ("ada", "bob")]
        self.events.clear()
        self.world.publish("a", 1)
        told = {(event["client"], event["user"]) for event in self.events}
        self.assertEqual(told, {(peer.client.id, peer.client.user) for peer in peers})

    def test_frames_unchanged(self) -> None:
        """Peers get the same bytes as without trace."""
        plain = World(NodeOptions(ping_interval=25, pong_timeout=8)).subscribed("a")
        traced = self.world.subscribed("a")
        for peer in (plain, traced):
            peer.take()
        traced.client.push(_PUSH)
        plain.client.push(_PUSH)
        self.assertEqual(traced.take(), plain.take())

    def test_secrets(self) -> None:
        """Tokens, signatures, headers and the session are hidden."""
        peer = self.world.open(emulated=True)
        asked = [
            {
                "connect": {
                    "token": "SECRET",
                    "headers": {"Authorization": "SECRET"},
                    "subs": {"s": {"token": "SECRET"}},
                }
            },
            {"subscribe": {"channel": "a", "token": "SECRET"}},
            {"refresh": {"token": "SECRET"}},
            {
                "sub_refresh": {
                    "channel": "a",
                    "token": "SECRET",
                    "track": [{"signature": "SECRET", "items": []}],
                }
            },
        ]
        for command in asked:
            peer.ask(**command)
        text = self.text()
        self.assertNotIn("SECRET", text)
        self.assertGreaterEqual(text.count("[REDACTED]"), 6)
        self.assertTrue(peer.client.session)
        self.assertNotIn(peer.client.session, text)

    def test_malformed(self) -> None:
        """Text that is not a message is shown with its secrets redacted."""
        for data in (
            b'{"id":1,"connect":{"token":"SECRET',
            b'{"id":1,"connect":{"token" : "SECRET\\"SECRET","x":',
            b'{"connect":{"headers":{"Authorization":"SECRET"},"x"',
            b"eyJSECRET.eyJSECRET.SECRET",
            b'{"Token":"SECRET"',
        ):
            peer = self.open()
            peer.client.receive(data)
            ((way, shown),) = self.frames()
            self.assertEqual(way, "<-in--")
            self.assertNotIn("SECRET", shown)

    def test_malformed_shown(self) -> None:
        """The log shows the parts that are no secrets."""
        peer = self.open()
        peer.client.receive(b'{"id":1,"connect":{},}')
        ((_, shown),) = self.frames()
        self.assertEqual(shown, '{"id":1,"connect":{},}')

    def test_malformed_protobuf(self) -> None:
        """Of bytes that are no Protobuf only the size is shown."""
        peer = self.open(websocket_protobuf())
        peer.client.receive(b"\x05SECRET")
        (event,) = [each for each in self.events if "log_frame" in each]
        self.assertEqual((event["size"], event["data"]), (7, ""))
        self.assertNotIn("SECRET", self.text())

    def test_long(self) -> None:
        """At most 512 characters are shown."""
        peer = self.open()
        peer.ask(rpc={"method": "m", "data": "x" * 10_000})
        ((_, shown), *_) = self.frames()
        self.assertEqual(len(shown), 512 + 1)

    def test_binary(self) -> None:
        """Payloads that are no text are escaped."""
        peer = self.world.open()
        peer.client.transport.wire = websocket_protobuf()
        self.world.node.journal.watch(peer.client)
        self.events.clear()
        peer.client.push(_publication(b"\xff\x00"))
        ((_, shown),) = self.frames()
        self.assertIn("\\xff", shown)

    def test_ping(self) -> None:
        """Pings and pongs are shown."""
        peer = self.world.connected()
        self.events.clear()
        self.world.clock.advance(25)
        peer.client.receive(b"{}")
        self.assertEqual(self.frames(), [("-out->", "{}"), ("<-in--", "{}")])

    def test_other_wires(self) -> None:
        """The wires of all transports can be watched."""
        for wire in (websocket_json(1, 0), websocket_protobuf(1, 0), sse_json()):
            self.open(wire).client.push(_PUSH)
            self.assertEqual(
                self.frames(), [("-out->", '{"channel":"a","pub":{"data":1}}')]
            )


def _publication(data: bytes) -> Any:
    from centrifugo_tx.protocol.messages import Publication, Push

    return Push(channel="a", pub=Publication(data=Raw(data)))


_PUSH = _publication(b"1")

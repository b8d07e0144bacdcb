"""The methods of the node for APIs and embedding applications."""

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.core import SurveyFailed
from centrifugo_tx.errors import BrokerUnavailable, ReplyError
from centrifugo_tx.options import (
    HistoryQuery,
    NodeOptions,
    SubscribeOptions,
)
from centrifugo_tx.protocol.messages import (
    ClientInfo,
    Publication,
    Raw,
    StreamPosition,
)

from ..support import Peer, World, cautious
from .keyed.map_world import MapWorld

NOW = 1_000_000_000
POSITIONED = SubscribeOptions(positioned=True, recoverable=True)
KEPT = {"history_size": 10, "history_ttl": 60.0}


class PolicyTests(SynchronousTestCase):
    """A node's policy may be replaced while clients are connected."""

    def test_replaced(self) -> None:
        """The new policy decides on the next command of a connected client."""
        world = World()
        peer = world.connected()
        self.assertIn("subscribe", peer.one(subscribe={"channel": "a"}))
        world.node.policy = cautious()
        refused = peer.one(subscribe={"channel": "b"})
        self.assertEqual(refused["error"]["code"], 103)


class StreamTests(SynchronousTestCase):
    """History (engines, "Reading history")."""

    def setUp(self) -> None:
        self.world = World()
        self.top = self.world.publish("a", 1, **KEPT)

    def read(self, **query: Any) -> Any:
        """Ask for history."""
        return self.world.node.history("a", HistoryQuery(**query))

    def code(self, **query: Any) -> int:
        """Return the code with which a question is refused."""
        refused = self.failureResultOf(self.read(**query), ReplyError).value
        code: int = refused.error.code
        return code

    def test_epochs(self) -> None:
        """Without an epoch any will do; another one is 112."""
        for epoch in ("", self.top.epoch):
            since = StreamPosition(0, epoch)
            found = self.successResultOf(self.read(limit=-1, since=since))
            self.assertEqual([each.offset for each in found.publications], [1])
        self.assertEqual(self.code(limit=-1, since=StreamPosition(0, "other")), 112)

    def test_backwards(self) -> None:
        """Backwards from offset 0 is 107."""
        since = StreamPosition(0, self.top.epoch)
        self.assertEqual(self.code(limit=-1, since=since, reverse=True), 107)

    def test_removed(self) -> None:
        """Publications go, the position stays."""
        self.successResultOf(self.world.node.remove_history("a"))
        found = self.successResultOf(self.read(limit=-1))
        self.assertEqual((found.publications, found.position), ([], self.top))

    def test_lag(self) -> None:
        """A publication that took too long costs subscribers their position."""
        world = World(options=NodeOptions(position_max_time_lag=2.0))
        world.policy.subscription = POSITIONED
        peer = world.subscribed("a", recoverable=True)
        streams = world.node.streams
        epoch = world.publish("a", 1, **KEPT).epoch
        peer.take()
        for offset, age in ((2, 1), (3, 5)):
            publication = Publication(
                data=Raw(b"1"), offset=offset, time=(NOW - age) * 1000
            )
            streams.handle_publication(
                "a", publication, StreamPosition(offset, epoch), None
            )
        pushes = [message["push"] for message in peer.take()]
        self.assertEqual([list(push)[1] for push in pushes], ["pub", "unsubscribe"])
        self.assertEqual(pushes[1]["unsubscribe"]["code"], 2500)
        self.assertNotIn("time", pushes[0]["pub"])


class PresenceTests(SynchronousTestCase):
    """Presence that cannot be written."""

    def test_failures(self) -> None:
        """Renewing and removing fail without consequence for the client."""
        world = World(options=NodeOptions(ping_interval=-1))
        world.policy.subscription = SubscribeOptions(presence=True)
        peer = world.subscribed("a", "u")
        manager = world.node.engine.presence

        def away(*_: object) -> "Deferred[None]":
            return fail(BrokerUnavailable("away"))

        self.patch(world.node.presences, "_manager", _Failing(manager, away))
        world.clock.pump([1] * 60)
        self.assertEqual((peer.closed, peer.take()), (0, []))
        self.assertEqual(peer.one(unsubscribe={"channel": "a"})["unsubscribe"], {})


class _Failing:
    """A presence manager that takes no changes."""

    def __init__(self, manager: Any, away: Any) -> None:
        self._manager, self.add, self.remove = manager, away, away

    def __getattr__(self, name: str) -> Any:
        return getattr(self._manager, name)


class ServerSideTests(SynchronousTestCase):
    """The server's own doings."""

    def setUp(self) -> None:
        self.world = World(options=NodeOptions(ping_interval=-1, channel_limit=2))
        self.node = self.world.node
        self.peer = self.world.connected("u")

    def test_refresh(self) -> None:
        """The push has the new expiry, or none."""
        self.node.refresh("u", expire_at=NOW + 100, info=Raw(b'"new"'))
        (message,) = self.peer.take()
        self.assertEqual(message, {"push": {"refresh": {"expires": True, "ttl": 100}}})
        self.assertEqual(bytes(self.peer.client.info.conn_info), b'"new"')
        self.node.refresh("u", info=Raw(b'"ignored"'))
        self.assertEqual(self.peer.take(), [{"push": {"refresh": {}}}])
        self.assertEqual(bytes(self.peer.client.info.conn_info), b'"new"')
        self.world.clock.advance(1000)
        self.assertEqual(self.peer.closed, 0)

    def test_expired(self) -> None:
        """An end that is now, or has been, closes with 3005."""
        for arguments in ({"expired": True}, {"expire_at": NOW - 1}):
            peer = self.world.connected("v")
            self.node.refresh("v", **arguments)
            self.assertEqual(peer.closed, 3005)

    def test_recovered(self) -> None:
        """Publications since a position follow the push."""
        top = self.world.publish("a", 1, **KEPT)
        self.world.publish("a", 2, **KEPT)
        self.node.subscribe("a", POSITIONED, "u", since=top)
        push, publication = (each["push"] for each in self.peer.take())
        self.assertEqual(push["subscribe"]["epoch"], top.epoch)
        self.assertEqual(publication["pub"]["data"], 2)

    def test_limit(self) -> None:
        """One channel too many closes with 3505."""
        for name in "abc":
            self.node.subscribe(name, SubscribeOptions(), "u")
        self.assertEqual(self.peer.closed, 3505)

    def test_subscribe_fails(self) -> None:
        """Where the broker is away the connection ends with 3004."""
        self.world.broker.fail("subscribe")
        self.node.subscribe("a", SubscribeOptions(), "u")
        self.assertEqual(self.peer.closed, 3004)

    def test_unsubscribe(self) -> None:
        """Subscribers receive a push; other connections are not affected."""
        self.node.unsubscribe("none", "u")
        self.assertEqual(self.peer.take(), [])
        self.peer.ask(subscribe={"channel": "a"})
        self.node.unsubscribe("a", "u")
        (message,) = self.peer.take()
        self.assertEqual(message["push"]["unsubscribe"]["code"], 2000)

    def undecided(self, name: str) -> Peer:
        """Return a client whose subscribe is not decided on for ever."""
        self.world.policy.subscription = Deferred()
        peer = self.world.connected("w")
        peer.send({"id": 9, "subscribe": {"channel": name}})
        return peer

    def test_undecided(self) -> None:
        """A subscribe that hangs for five seconds ends the connection with 3004."""
        for act in (
            lambda: self.node.unsubscribe("a", "w"),
            lambda: self.node.subscribe("a", SubscribeOptions(), "w"),
        ):
            peer = self.undecided("a")
            act()
            self.world.clock.advance(4.9)
            self.assertEqual(peer.closed, 0)
            self.world.clock.advance(0.2)
            self.assertEqual(peer.closed, 3004)


class MapTests(SynchronousTestCase):
    """Maps whose changes may have been lost."""

    def test_gap(self) -> None:
        """With a stream it is compared; without, the map has to be read again."""
        world = MapWorld()
        maps = world.node.maps
        assert maps is not None
        readers = {}
        for name in ("m:1", "e:1"):
            world.put(name, "k", 1)
            peer = readers[name] = world.connected("u")
            peer.ask(subscribe={"channel": name, "type": 1, "phase": 2, "limit": 4})
        maps.handle_gap(["m:1", "e:1", "none"])
        world.clock.advance(5)
        self.assertEqual(readers["m:1"].take(), [])
        (message,) = readers["e:1"].take()
        self.assertEqual(message["push"]["unsubscribe"]["code"], 2500)

    def test_announcements(self) -> None:
        """Joins and leaves of a map reach only its subscribers."""
        world = MapWorld()
        maps = world.node.maps
        assert maps is not None
        world.policy.subscription = SubscribeOptions(push_join_leave=True)
        peer = world.connected("u")
        peer.ask(subscribe={"channel": "m:1", "type": 1, "phase": 2, "limit": 4})
        info = ClientInfo(user="v", client="c")
        maps.handle_join("m:1", info)
        maps.handle_leave("m:1", info)
        maps.handle_join("m:2", info)
        pushes = [list(message["push"])[1] for message in peer.take()]
        self.assertEqual(pushes, ["join", "leave"])


class SurveyTests(SynchronousTestCase):
    """Questions to all nodes, of which this is the only one."""

    def setUp(self) -> None:
        self.world = World()

    def test_pattern(self) -> None:
        """A malformed pattern is refused."""
        asked = self.world.node.channels("[")
        self.failureResultOf(asked, ValueError)

    def test_not_sent(self) -> None:
        """If it cannot be sent it fails at once."""
        away = _Away()
        self.patch(self.world.node.peers, "_controller", away)
        asked = self.world.node.survey("channels", b"", "other")
        self.failureResultOf(asked, BrokerUnavailable)

    def test_code(self) -> None:
        """A node that answers with a code spoils the count."""
        handlers = self.world.node._surveys.handlers
        handlers["channels"] = lambda data: succeed((1, b""))
        self.failureResultOf(self.world.node.channels("*"), SurveyFailed)


class _Away:
    """A controller that reaches no other node."""

    def publish(self, message: bytes, node: str = "") -> "Deferred[None]":
        """Fail."""
        return fail(BrokerUnavailable("away"))

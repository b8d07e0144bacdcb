"""One connection: connect, commands, their order, and its end."""

import json
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from centrifugo_tx.errors import BrokerUnavailable, DisconnectClient, ReplyError
from centrifugo_tx.interfaces import IClient
from centrifugo_tx.options import (
    Admission,
    Expiry,
    NodeOptions,
    PublishOptions,
    Source,
    SubscribeOptions,
)
from centrifugo_tx.protocol.codes import (
    INVALID_TOKEN,
    NOT_AVAILABLE,
    PERMISSION_DENIED,
    TOKEN_EXPIRED,
)
from centrifugo_tx.protocol.messages import EMPTY, Raw

from ...support import Peer, World

NOW = 1_000_000_000
HISTORY = PublishOptions(history_size=10, history_ttl=60)


class ConnectTests(SynchronousTestCase):
    """The first command (client protocol, "Connect")."""

    def test_reply(self) -> None:
        """The reply tells id, version, ping and pong."""
        peer = World().open()
        reply = peer.one(connect={})
        self.assertEqual(
            reply,
            {
                "id": 1,
                "connect": {
                    "client": peer.client.id,
                    "version": "1.2.3",
                    "ping": 25,
                    "pong": True,
                },
            },
        )
        verifyObject(IClient, peer.client)

    def test_expires(self) -> None:
        """A connection with an end tells its ttl."""
        world = World()
        world.policy.admission = Admission(user="u", expire_at=NOW + 60)
        reply = world.open().one(connect={})
        self.assertEqual(reply["connect"]["expires"], True)
        self.assertEqual(reply["connect"]["ttl"], 60)

    def test_expired(self) -> None:
        """An end that has passed is error 110."""
        world = World()
        world.policy.admission = Admission(user="u", expire_at=NOW)
        peer = world.open()
        self.assertEqual(peer.one(connect={})["error"]["code"], 110)

    def test_server_side_refresh(self) -> None:
        """With server-side refresh the reply contains no expiry."""
        world = World()
        world.policy.admission = Admission(expire_at=NOW + 60, server_side_refresh=True)
        self.assertNotIn("expires", world.open().one(connect={})["connect"])

    def test_without_pings(self) -> None:
        """No pings, no fields about them."""
        world = World(options=NodeOptions(ping_interval=-1))
        reply = world.open().one(connect={})
        self.assertEqual(list(reply["connect"]), ["client"])

    def test_first(self) -> None:
        """Anything else before connect is 3501."""
        for command in (
            {"id": 1, "subscribe": {"channel": "a"}},
            {},
            {"id": 0, "connect": {}},
            {"id": 1},
            {"id": 1, "ping": {}},
            {"send": {"data": 1}},
        ):
            peer = World().open()
            peer.send(command)
            self.assertEqual(peer.closed, 3501, command)

    def test_twice(self) -> None:
        """A second connect is 3501."""
        peer = World().connected()
        peer.send({"id": 9, "connect": {}})
        self.assertEqual(peer.closed, 3501)

    def refused(self, delay: float = 0) -> Peer:
        """Return a connection whose connect was answered, after *delay*, by 109."""
        world = self.world = World()
        answer: Deferred[Admission] = Deferred()
        world.policy.admission = answer
        peer = world.open()
        peer.send({"id": 1, "connect": {}}, {"id": 2, "subscribe": {"channel": "a"}})
        for id in range(100):
            peer.send({"id": id + 3, "rpc": {}})
        self.assertTrue(peer.transport.paused)
        world.clock.advance(delay)
        answer.errback(ReplyError(TOKEN_EXPIRED))
        self.assertEqual(
            peer.take(), [{"id": 1, "error": {"code": 109, "message": "token expired"}}]
        )
        return peer

    def test_refused(self) -> None:
        """After an error the client is read on, and goes when it is stale."""
        peer = self.refused(3)
        self.assertFalse(peer.transport.paused)
        self.world.clock.pump([1] * 6 + [0.9])
        self.assertEqual(peer.closed, 0)
        self.world.clock.advance(0.2)
        self.assertEqual((peer.take(), peer.closed), ([], 3502))

    def test_commands_after_refusal(self) -> None:
        """Whatever still comes is ignored: commands, another connect, nonsense."""
        peer = self.refused()
        peer.send({"id": 2, "subscribe": {"channel": "a"}})
        peer.send({"id": 3, "connect": {}})
        peer.send({})
        peer.send("nonsense")
        self.assertEqual((peer.take(), peer.closed), ([], 0))
        self.assertEqual([call for call, _ in self.world.policy.calls], ["connect"])

    def test_channel_without_name(self) -> None:
        """It is not a server-side subscription, and counts for no limit."""
        world = World(NodeOptions(channel_limit=1))
        subs = {"": SubscribeOptions(), "a": SubscribeOptions()}
        world.policy.admission = Admission(subs=subs)
        peer = world.open()
        self.assertEqual(peer.one(connect={})["connect"]["subs"], {"a": {}})
        self.assertEqual(world.node.hub.num_subscriptions, 1)

    def test_disconnected(self) -> None:
        """The policy may end the connection instead."""
        world = World()
        world.policy.admission = DisconnectClient(INVALID_TOKEN)
        peer = world.open()
        self.assertEqual(peer.ask(connect={}), [])
        self.assertEqual(peer.closed, 3500)

    def test_waits(self) -> None:
        """Commands behind a connect that takes time wait for it."""
        world = World()
        decision: Deferred[Admission] = Deferred()
        world.policy.admission = decision
        peer = world.open()
        peer.send({"id": 1, "connect": {}}, {"id": 2, "subscribe": {"channel": "a"}})
        peer.send({"id": 3, "subscribe": {"channel": "b"}})
        self.assertEqual(peer.take(), [])
        decision.callback(Admission())
        self.assertEqual([m["id"] for m in peer.take()], [1, 2, 3])

    def test_gone_meanwhile(self) -> None:
        """A client that leaves while the policy waits is not admitted."""
        world = World()
        decision: Deferred[Admission] = Deferred()
        world.policy.admission = decision
        peer = world.open()
        peer.ask(connect={})
        peer.client.transport_lost()
        decision.callback(Admission(user="u"))
        self.assertEqual(world.node.connections.num_clients, 0)
        self.assertEqual(world.node.connections.open, {})

    def test_stale(self) -> None:
        """A client that does not connect within 10 s is closed with 3502."""
        world = World()
        peer = world.open()
        world.clock.advance(9.9)
        self.assertEqual(peer.closed, 0)
        world.clock.advance(0.2)
        self.assertEqual(peer.closed, 3502)

    def test_user_limit(self) -> None:
        """One connection of a user too many is 3504; anonymous ones do not count."""
        world = World(options=NodeOptions(user_connection_limit=1))
        world.connected("u")
        world.connected()
        self.assertEqual(world.connected().closed, 0)
        self.assertEqual(world.connected("u").closed, 3504)

    def test_single_connection(self) -> None:
        """An exclusive channel closes the user's other connections with 3504."""
        world = World()
        world.policy.admission = Admission(
            user="u",
            subs={"#u": SubscribeOptions(presence=True)},
            exclusive="#u",
        )
        first, second = world.open(), world.open()
        first.ask(connect={})
        second.ask(connect={})
        self.assertEqual((first.closed, second.closed), (3504, 0))

    def test_server_time(self) -> None:
        """The reply contains the time in milliseconds if configured."""
        world = World(options=NodeOptions(include_server_time=True))
        self.assertEqual(world.open().one(connect={})["connect"]["time"], NOW * 1000)

    def test_session(self) -> None:
        """An emulated client gets a session, and the node's id."""
        world = World()
        peer = world.open(emulated=True)
        result = peer.one(connect={})["connect"]
        self.assertIs(world.node.connections.by_session(result["session"]), peer.client)
        self.assertEqual(result["node"], world.node.id)


class ServerSideTests(SynchronousTestCase):
    """Subscriptions that come with connect.

    See client protocol, "Server-side subscriptions".
    """

    def setUp(self) -> None:
        self.world = World()
        self.world.policy.admission = Admission(
            user="u",
            subs={
                "a": SubscribeOptions(positioned=True, recoverable=True),
                "b": SubscribeOptions(data=Raw(b'{"x":1}'), join_leave=True),
            },
        )

    def test_reply(self) -> None:
        """The connect reply holds their results."""
        subs = self.world.open().one(connect={})["connect"]["subs"]
        self.assertEqual(subs["b"], {"data": {"x": 1}})
        self.assertTrue(subs["a"]["recoverable"])

    def test_recovery(self) -> None:
        """A known position is recovered from."""
        position = self.world.publish("a", 1, history_size=5, history_ttl=60)
        self.world.publish("a", 2, history_size=5, history_ttl=60)
        known = {"recover": True, "offset": 1, "epoch": position.epoch}
        subs = self.world.open().one(connect={"subs": {"a": known}})["connect"]["subs"]
        self.assertEqual([p["data"] for p in subs["a"]["publications"]], [2])
        self.assertTrue(subs["a"]["recovered"])

    def test_too_many(self) -> None:
        """More than the channel limit are 3505."""
        world = World(options=NodeOptions(channel_limit=1))
        world.policy.admission = self.world.policy.admission
        peer = world.open()
        peer.ask(connect={})
        self.assertEqual(peer.closed, 3505)

    def test_rolled_back(self) -> None:
        """One that fails fails the connect, and leaves nothing."""
        broken = self.world.broker.answers["history"] = Deferred()
        peer = self.world.open()
        peer.ask(connect={})
        broken.errback(BrokerUnavailable("away"))
        self.assertEqual(peer.closed, 3004)
        self.assertEqual(self.world.node.connections.num_clients, 0)
        self.assertEqual(self.world.node.hub.num_subscriptions, 0)


class CommandTests(SynchronousTestCase):
    """Commands after connect (client protocol, "Subscribe" and "Other commands")."""

    def setUp(self) -> None:
        self.world = World()
        self.peer = self.world.connected("u")

    def test_subscribe(self) -> None:
        """Without history the result is empty."""
        self.assertEqual(
            self.peer.one(subscribe={"channel": "a"}), {"id": 2, "subscribe": {}}
        )

    def test_subscribe_refusals(self) -> None:
        """Each wrong subscribe has its answer."""
        self.peer.ask(subscribe={"channel": "a"})
        for request, code in (
            ({"channel": "a"}, 105),
            ({"channel": "x" * 256}, 107),
            ({"channel": "й" * 128}, 107),
        ):
            with self.subTest(request=request):
                self.assertEqual(
                    self.peer.one(subscribe=request)["error"]["code"], code
                )
        self.world.policy.subscription = ReplyError(PERMISSION_DENIED)
        self.assertEqual(
            self.peer.one(subscribe={"channel": "z"})["error"]["code"], 103
        )
        self.assertNotIn("z", self.peer.client.subscriptions)

    def test_subscribe_violations(self) -> None:
        """An empty channel and an unknown delta are 3501."""
        for request in ({}, {"channel": "a", "delta": "zip"}):
            peer = self.world.connected()
            peer.ask(subscribe=request)
            self.assertEqual(peer.closed, 3501, request)

    def test_channel_limit(self) -> None:
        """One channel too many is 106."""
        world = World(options=NodeOptions(channel_limit=1))
        peer = world.subscribed("a")
        self.assertEqual(peer.one(subscribe={"channel": "b"})["error"]["code"], 106)

    def test_subscription_expired(self) -> None:
        """A subscription that is over already is 110."""
        self.world.policy.subscription = SubscribeOptions(expire_at=NOW)
        self.assertEqual(
            self.peer.one(subscribe={"channel": "a"})["error"]["code"], 110
        )

    def test_broker_away(self) -> None:
        """A broker that fails while subscribing ends the connection with 3004."""
        self.world.broker.fail("subscribe")
        self.peer.ask(subscribe={"channel": "a"})
        self.assertEqual(self.peer.closed, 3004)

    def test_unsubscribe(self) -> None:
        """Leaving is answered by an empty result, also where one was not."""
        self.peer.ask(subscribe={"channel": "a"})
        for _ in range(2):
            self.assertEqual(
                self.peer.one(unsubscribe={"channel": "a"})["unsubscribe"], {}
            )

    def test_publish(self) -> None:
        """The publisher's own push comes before the reply, with its info."""
        self.peer.ask(subscribe={"channel": "a"})
        push, reply = self.peer.ask(publish={"channel": "a", "data": {"x": 1}})
        self.assertEqual(reply, {"id": 3, "publish": {}})
        self.assertEqual(
            push["push"]["pub"],
            {
                "data": {"x": 1},
                "info": {"user": "u", "client": self.peer.client.id},
            },
        )

    def test_publish_replaced(self) -> None:
        """The policy may replace the payload, or take care of it all."""
        self.peer.ask(subscribe={"channel": "a"})
        self.world.policy.publication = PublishOptions(data=Raw(b"7"))
        push, _ = self.peer.ask(publish={"channel": "a", "data": 1})
        self.assertEqual(push["push"]["pub"]["data"], 7)
        self.world.policy.publication = None
        self.assertEqual(
            self.peer.one(publish={"channel": "a", "data": 1})["publish"], {}
        )

    def test_publish_broker_away(self) -> None:
        """A broker that fails is error 100, and the connection lives."""
        self.world.broker.fail("publish")
        self.assertEqual(
            self.peer.one(publish={"channel": "a", "data": 1})["error"],
            {"code": 100, "message": "internal server error", "temporary": True},
        )

    def test_unexpected(self) -> None:
        """An unexpected exception is logged once and answered with 100."""
        self.world.policy.publication = RuntimeError("bug")
        reply = self.peer.one(publish={"channel": "a", "data": 1})
        self.assertEqual(reply["error"]["code"], 100)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(self.peer.closed, 0)

    def test_presence(self) -> None:
        """The reply lists the present clients by id, and counts them."""
        self.world.policy.subscription = SubscribeOptions(presence=True)
        self.peer.ask(subscribe={"channel": "a"})
        self.world.subscribed("a", "v")
        found = self.peer.one(presence={"channel": "a"})["presence"]["presence"]
        self.assertEqual(sorted(info["user"] for info in found.values()), ["u", "v"])
        self.assertEqual(
            self.peer.one(presence_stats={"channel": "a"})["presence_stats"],
            {"num_clients": 2, "num_users": 2},
        )

    def test_history(self) -> None:
        """History has publications, epoch and offset, always."""
        self.world.policy.publication = HISTORY
        position = self.world.publish("a", 1, history_size=9, history_ttl=60)
        found = self.peer.one(history={"channel": "a", "limit": 5})["history"]
        self.assertEqual(found["offset"], 1)
        self.assertEqual([p["data"] for p in found["publications"]], [1])
        self.assertEqual(
            self.peer.one(history={"channel": "a"})["history"],
            {"publications": [], "epoch": position.epoch, "offset": 1},
        )

    def test_history_refusals(self) -> None:
        """Another epoch is 112, backwards from 0 is 107."""
        since = {"offset": 1, "epoch": "other"}
        reply = self.peer.one(history={"channel": "a", "since": since})
        self.assertEqual(reply["error"]["code"], 112)
        reply = self.peer.one(history={"channel": "a", "since": {}, "reverse": True})
        self.assertEqual(reply["error"]["code"], 107)

    def test_rpc(self) -> None:
        """The answer is passed on; an empty one is `{}`; errors are error replies."""
        self.assertEqual(
            self.peer.one(rpc={"method": "m"}), {"id": 2, "rpc": {"data": {"pong": 1}}}
        )
        self.world.policy.answer = EMPTY
        self.assertEqual(self.peer.one(rpc={}), {"id": 3, "rpc": {}})
        self.world.policy.answer = ReplyError(NOT_AVAILABLE)
        self.assertEqual(self.peer.one(rpc={})["error"]["code"], 108)

    def test_send(self) -> None:
        """A message without a receiver is 3508."""
        self.peer.send({"send": {"data": 1}})
        self.assertEqual(self.peer.closed, 3508)

    def test_empty_channels(self) -> None:
        """A command on no channel is 3501."""
        for name in ("unsubscribe", "publish", "presence", "presence_stats", "history"):
            peer = self.world.connected()
            peer.ask(**{name: {}})
            self.assertEqual(peer.closed, 3501, name)

    def test_malformed(self) -> None:
        """Earlier commands of the message run, then it is 3501."""
        self.peer.send({"id": 5, "rpc": {}}, "{nonsense")
        self.assertEqual(self.peer.take()[0]["id"], 5)
        self.assertEqual(self.peer.closed, 3501)

    def test_unknown(self) -> None:
        """A command without a request is 3501."""
        self.peer.send({"id": 5, "fly": {}})
        self.assertEqual(self.peer.closed, 3501)


class OrderTests(SynchronousTestCase):
    """Commands run one after another."""

    def test_in_order(self) -> None:
        """The next command starts when the last has its answer."""
        world = World()
        peer = world.connected()
        decision: Deferred[SubscribeOptions] = Deferred()
        world.policy.subscription = decision
        peer.send({"id": 7, "subscribe": {"channel": "a"}}, {"id": 8, "rpc": {}})
        self.assertEqual(peer.take(), [])
        decision.callback(SubscribeOptions())
        self.assertEqual([m["id"] for m in peer.take()], [7, 8])

    def test_concurrency(self) -> None:
        """With more concurrency they overlap."""
        world = World(options=NodeOptions(concurrency=2))
        peer = world.connected()
        decision: Deferred[SubscribeOptions] = Deferred()
        world.policy.subscription = decision
        peer.send({"id": 7, "subscribe": {"channel": "a"}}, {"id": 8, "rpc": {}})
        self.assertEqual([m["id"] for m in peer.take()], [8])
        decision.callback(SubscribeOptions())
        self.assertEqual([m["id"] for m in peer.take()], [7])

    def test_unsubscribe_waits(self) -> None:
        """An unsubscribe waits for the subscribe that is under way."""
        world = World(options=NodeOptions(concurrency=2))
        peer = world.connected()
        decision: Deferred[SubscribeOptions] = Deferred()
        world.policy.subscription = decision
        peer.send(
            {"id": 7, "subscribe": {"channel": "a"}},
            {"id": 8, "unsubscribe": {"channel": "a"}},
        )
        decision.callback(SubscribeOptions())
        self.assertEqual([m["id"] for m in peer.take()], [7, 8])
        self.assertEqual(peer.client.subscriptions, {})

    def test_unsubscribe_holds(self) -> None:
        """Commands behind a waiting unsubscribe start after it."""
        world = World(options=NodeOptions(concurrency=8))
        peer = world.connected()
        decision: Deferred[SubscribeOptions] = Deferred()
        world.policy.subscription = decision
        peer.send(
            {"id": 7, "subscribe": {"channel": "a"}},
            {"id": 8, "unsubscribe": {"channel": "a"}},
            {"id": 9, "subscribe": {"channel": "a"}},
            {"id": 10, "rpc": {}},
        )
        self.assertEqual(peer.take(), [])
        world.policy.subscription = SubscribeOptions()
        decision.callback(SubscribeOptions())
        self.assertEqual(
            peer.take(),
            [
                {"id": 7, "subscribe": {}},
                {"id": 8, "unsubscribe": {}},
                {"id": 9, "subscribe": {}},
                {"id": 10, "rpc": {"data": {"pong": 1}}},
            ],
        )
        self.assertEqual(list(peer.client.subscriptions), ["a"])

    def test_unsubscribe_waits_in_vain(self) -> None:
        """If that takes more than 5 s the connection ends with 3004."""
        world = World(options=NodeOptions(concurrency=2))
        peer = world.connected()
        world.policy.subscription = Deferred()
        peer.send(
            {"id": 7, "subscribe": {"channel": "a"}},
            {"id": 8, "unsubscribe": {"channel": "a"}},
        )
        world.clock.advance(5)
        self.assertEqual(peer.closed, 3004)

    def test_crowd(self) -> None:
        """A client that sends too far ahead is not read until it is caught up."""
        world = World()
        peer = world.connected()
        decision: Deferred[SubscribeOptions] = Deferred()
        world.policy.subscription = decision
        peer.send({"id": 1, "subscribe": {"channel": "a"}})
        for id in range(100):
            peer.send({"id": id + 2, "rpc": {}})
        self.assertTrue(peer.transport.paused)
        decision.callback(SubscribeOptions())
        world.clock.advance(0)
        self.assertFalse(peer.transport.paused)
        self.assertEqual([m["id"] for m in peer.take()], list(range(1, 102)))


class PingTests(SynchronousTestCase):
    """Ping and pong (client protocol, "Ping and pong")."""

    def setUp(self) -> None:
        self.world = World()
        self.peer = self.world.connected()

    def wait_for_ping(self) -> float:
        waited = 0.0
        while not self.peer.transport.frames:
            self.world.clock.advance(0.5)
            waited += 0.5
            self.assertLess(waited, 30)
        return waited

    def test_first(self) -> None:
        """The first comes within the interval, not before its half."""
        waited = self.wait_for_ping()
        self.assertTrue(12.5 <= waited <= 25.5, waited)
        self.assertEqual(self.peer.take(), [{}])

    def test_answered(self) -> None:
        """A client that answers stays connected, and is pinged again."""
        for _ in range(3):
            self.wait_for_ping()
            self.peer.take()
            self.peer.send({})
        self.assertEqual(self.peer.closed, 0)

    def test_not_answered(self) -> None:
        """A client without a pong within 8 s is closed with 3012."""
        self.wait_for_ping()
        self.peer.take()
        self.world.clock.advance(4)
        self.peer.ask(rpc={})
        self.world.clock.advance(4.2)
        self.assertEqual(self.peer.closed, 3012)

    def test_unasked(self) -> None:
        """A pong without a ping is 3501."""
        self.peer.send({})
        self.assertEqual(self.peer.closed, 3501)

    def test_second_pong(self) -> None:
        """So is a second one for one ping."""
        self.wait_for_ping()
        self.peer.send({})
        self.assertEqual(self.peer.closed, 0)
        self.peer.send({})
        self.assertEqual(self.peer.closed, 3501)

    def test_command_without_id(self) -> None:
        """A command without id counts as a pong, and is not executed."""
        self.wait_for_ping()
        self.peer.take()
        self.peer.send({"subscribe": {"channel": "a"}})
        self.assertEqual(self.peer.take(), [])
        self.assertEqual((self.peer.closed, self.peer.client.subscriptions), (0, {}))


class ExpiryTests(SynchronousTestCase):
    """The end of connections and subscriptions.

    See client protocol, "Connection expiry" and "Subscription expiry".
    """

    def setUp(self) -> None:
        self.world = World(options=NodeOptions(ping_interval=-1))

    def expiring(self, **admission: Any) -> Any:
        self.world.policy.admission = Admission(
            user="u", expire_at=NOW + 60, **admission
        )
        peer = self.world.open()
        peer.ask(connect={})
        return peer

    def test_not_refreshed(self) -> None:
        """25 s after its end a connection is closed with 3005."""
        peer = self.expiring()
        self.world.clock.advance(84)
        self.assertEqual(peer.closed, 0)
        self.world.clock.advance(1.2)
        self.assertEqual(peer.closed, 3005)

    def test_refreshed(self) -> None:
        """A refresh moves the end, and takes over info."""
        peer = self.expiring()
        self.world.policy.expiry = Expiry(expire_at=NOW + 600, info=Raw(b'"new"'))
        reply = peer.one(refresh={"token": "t"})["refresh"]
        self.assertEqual((reply["expires"], reply["ttl"]), (True, 600))
        self.assertEqual(reply["client"], peer.client.id)
        self.world.clock.advance(500)
        self.assertEqual(peer.closed, 0)
        self.assertEqual(bytes(peer.client.info.conn_info), b'"new"')

    def test_refreshed_for_ever(self) -> None:
        """A token without end takes the end away."""
        peer = self.expiring()
        self.world.policy.expiry = Expiry()
        self.assertNotIn("expires", peer.one(refresh={"token": "t"})["refresh"])
        self.world.clock.advance(5000)
        self.assertEqual(peer.closed, 0)

    def test_refresh_in_vain(self) -> None:
        """An end in the past is 110; an expired token is 3005."""
        peer = self.expiring()
        self.world.policy.expiry = Expiry(expire_at=NOW)
        self.assertEqual(peer.one(refresh={"token": "t"})["error"]["code"], 110)
        self.world.policy.expiry = Expiry(expired=True)
        peer.ask(refresh={"token": "t"})
        self.assertEqual(peer.closed, 3005)

    def test_refresh_violations(self) -> None:
        """A refresh without token, or where the server refreshes, is 3501."""
        peer = self.expiring()
        peer.ask(refresh={})
        self.assertEqual(peer.closed, 3501)
        peer = self.expiring(server_side_refresh=True)
        peer.ask(refresh={"token": "t"})
        self.assertEqual(peer.closed, 3501)

    def test_other_channels(self) -> None:
        """A token with other server-side channels is 3010."""
        subs = {"a": SubscribeOptions(source=Source.CONNECTION_TOKEN)}
        for channels, code in (({"a"}, 0), (set(), 3010), ({"a", "b"}, 3010)):
            peer = self.expiring(subs=subs)
            self.world.policy.expiry = Expiry(channels=frozenset(channels))
            peer.ask(refresh={"token": "t"})
            self.assertEqual(peer.closed, code, channels)

    def test_server_asks(self) -> None:
        """Where the server refreshes the policy is asked at the end."""
        peer = self.expiring(server_side_refresh=True)
        self.world.policy.expiry = Expiry(expire_at=NOW + 120)
        self.world.clock.advance(60.1)
        self.world.policy.expiry = RuntimeError("backend down")
        self.world.clock.advance(60.1)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.world.policy.expiry = Expiry()
        self.world.clock.advance(59)
        self.assertEqual(peer.closed, 0)
        self.world.clock.advance(2)
        self.assertEqual(peer.closed, 3005)

    def test_subscription_over(self) -> None:
        """A subscription that was not refreshed is ended with 2501."""
        self.world.policy.subscription = SubscribeOptions(expire_at=NOW + 60)
        peer = self.world.connected()
        result = peer.one(subscribe={"channel": "a"})["subscribe"]
        self.assertEqual(result, {"expires": True, "ttl": 60})
        self.world.clock.advance(85)
        self.assertEqual(peer.take(), [])
        self.world.clock.pump([1] * 28)
        (message,) = peer.take()
        self.assertEqual(message["push"]["unsubscribe"]["code"], 2501)

    def test_subscription_refreshed(self) -> None:
        """A sub_refresh moves the end; a channel in the token will do."""
        self.world.policy.subscription = SubscribeOptions(expire_at=NOW + 60)
        peer = self.world.subscribed("a")
        self.world.policy.sub_expiry = Expiry(
            expire_at=NOW + 900, channels=frozenset({"a"})
        )
        for request in ({"channel": "a", "token": "t"}, {"token": "t"}):
            self.assertEqual(
                peer.one(sub_refresh=request)["sub_refresh"],
                {"expires": True, "ttl": 900},
            )
        self.world.clock.pump([1] * 200)
        self.assertEqual(peer.take(), [])

    def seen(self, watcher: Peer, peer: Peer, channel: str) -> list[Any]:
        """Return the infos of *peer* in a publication and in presence."""
        watcher.take()
        peer.ask(publish={"channel": channel, "data": 1})
        (push,) = watcher.take()
        presence = self.successResultOf(self.world.node.presence(channel))
        found = presence[peer.client.id]
        return [
            push["push"]["pub"]["info"].get("conn_info"),
            push["push"]["pub"]["info"].get("chan_info"),
            json.loads(bytes(found.conn_info)),
        ]

    def test_seen_after_refresh(self) -> None:
        """Others see the new info in publications, joins, leaves, renewed presence.

        The ``chan_info`` of a subscription stays.
        """
        world = self.world
        options = SubscribeOptions(presence=True, join_leave=True, push_join_leave=True)
        world.policy.subscription = options
        watcher = world.connected("w")
        for name in ("plain", "own", "later"):
            watcher.ask(subscribe={"channel": name})
        world.policy.admission = Admission(user="u", expire_at=NOW + 60, info=Raw(b"1"))
        peer = world.open()
        peer.ask(connect={})
        peer.ask(subscribe={"channel": "plain"})
        own = msgspec.structs.replace(options, info=Raw(b'"own"'))
        world.policy.subscription = own
        peer.ask(subscribe={"channel": "own"})
        world.policy.subscription = options
        world.policy.expiry = Expiry(expire_at=NOW + 6000, info=Raw(b"2"))
        peer.ask(refresh={"token": "t"})
        self.assertEqual(self.seen(watcher, peer, "plain"), [2, None, 1])
        self.assertEqual(self.seen(watcher, peer, "own"), [2, "own", 1])
        world.clock.pump([1] * 28)
        self.assertEqual(self.seen(watcher, peer, "plain"), [2, None, 2])
        world.node.refresh(user="u", expire_at=NOW + 6000, info=Raw(b"3"))
        self.assertEqual(self.seen(watcher, peer, "own")[:2], [3, "own"])
        peer.ask(subscribe={"channel": "later"})
        peer.ask(unsubscribe={"channel": "own"})
        infos = [each["push"] for each in watcher.take()]
        self.assertEqual(infos[0]["join"]["info"]["conn_info"], 3)
        leave = infos[1]["leave"]["info"]
        self.assertEqual((leave["conn_info"], leave["chan_info"]), (3, "own"))

    def test_seen_after_sub_refresh(self) -> None:
        """A sub_refresh brings another ``chan_info``, or takes it away."""
        world = self.world
        watcher = world.subscribed("a")
        world.policy.subscription = SubscribeOptions(presence=True, info=Raw(b"1"))
        peer = world.subscribed("a")
        for info, expected in ((Raw(b"2"), 2), (EMPTY, None)):
            world.policy.sub_expiry = Expiry(expire_at=NOW + 900, info=info)
            peer.ask(sub_refresh={"channel": "a", "token": "t"})
            peer.ask(publish={"channel": "a", "data": 1})
            (push,) = watcher.take()
            found = push["push"]["pub"].get("info", {}).get("chan_info")
            self.assertEqual(found, expected)

    def test_server_side_sub_refresh(self) -> None:
        """A client cannot refresh a server-side subscription: 3501."""
        for request in ({"token": "t"}, {}):
            peer = self.expiring(subs={"a": SubscribeOptions()})
            peer.ask(sub_refresh={"channel": "a", **request})
            self.assertEqual(peer.closed, 3501)

    def test_sub_refresh_refusals(self) -> None:
        """Not subscribed is 103, no token 107, an end in the past 110."""
        peer = self.world.subscribed("a")
        for request, code in (
            ({"channel": "b", "token": "t"}, 103),
            ({"channel": "a"}, 107),
        ):
            self.assertEqual(peer.one(sub_refresh=request)["error"]["code"], code)
        self.world.policy.sub_expiry = Expiry(expire_at=NOW)
        request = {"channel": "a", "token": "t"}
        self.assertEqual(peer.one(sub_refresh=request)["error"]["code"], 110)
        peer.ask(sub_refresh={})
        self.assertEqual(peer.closed, 3501)


class JoinLeaveTests(SynchronousTestCase):
    """Joins and leaves of others (client protocol, "Join and leave")."""

    def setUp(self) -> None:
        self.world = World()
        self.world.policy.subscription = SubscribeOptions(
            join_leave=True, push_join_leave=True
        )

    def pushes(self, peer: Any) -> list[str]:
        return [next(iter(m["push"].keys() - {"channel"})) for m in peer.take()]

    def test_join(self) -> None:
        """The others see it, and so does the client that joins, after its reply."""
        first = self.world.subscribed("a", "u")
        second = self.world.connected("v")
        reply, join = second.ask(subscribe={"channel": "a"})
        self.assertEqual(reply["subscribe"], {})
        self.assertEqual(join["push"]["join"]["info"]["user"], "v")
        self.assertEqual(self.pushes(first), ["join"])

    def test_leave(self) -> None:
        """The others see it, on unsubscribe and on a lost connection; not oneself."""
        first = self.world.subscribed("a")
        second = self.world.subscribed("a")
        third = self.world.subscribed("a")
        for peer in (first, second, third):
            peer.take()
        self.assertEqual(len(second.ask(unsubscribe={"channel": "a"})), 1)
        third.client.transport_lost()
        self.assertEqual(self.pushes(first), ["leave", "leave"])

    def test_not_wanted(self) -> None:
        """A client that did not ask for joins sees none."""
        quiet = SubscribeOptions(join_leave=True)
        loud, self.world.policy.subscription = self.world.policy.subscription, quiet
        peer = self.world.subscribed("a")
        peer.take()
        self.world.policy.subscription = loud
        self.world.subscribed("a")
        self.assertEqual(peer.take(), [])


class RecoveryTests(SynchronousTestCase):
    """The subscribe reply contains missed publications (client protocol, "Streams")."""

    def setUp(self) -> None:
        self.world = World()
        self.world.policy.subscription = SubscribeOptions(
            positioned=True, recoverable=True
        )
        for number in range(1, 6):
            self.position = self.world.publish(
                "a", number, history_size=3, history_ttl=60
            )
        self.peer = self.world.connected()

    def recover(self, offset: int, **more: Any) -> Any:
        request = {"offset": offset, "epoch": self.position.epoch, **more}
        peer = self.world.connected()
        reply = peer.one(subscribe={"channel": "a", "recover": True, **request})
        return reply.get("subscribe") or reply["error"]

    def test_fresh(self) -> None:
        """Without recover the result tells the top."""
        self.assertEqual(
            self.peer.one(subscribe={"channel": "a"})["subscribe"],
            {
                "recoverable": True,
                "epoch": self.position.epoch,
                "offset": 5,
                "positioned": True,
            },
        )

    def test_recovered(self) -> None:
        """The reply has the missed publications, and the offset of the request."""
        result = self.recover(3)
        self.assertEqual([p["data"] for p in result["publications"]], [4, 5])
        self.assertEqual(
            (result["recovered"], result["was_recovering"], result["offset"]),
            (True, True, 3),
        )

    def test_nothing_missed(self) -> None:
        """Nothing missed is recovered, too."""
        result = self.recover(5)
        self.assertNotIn("publications", result)
        self.assertTrue(result["recovered"])

    def test_too_late(self) -> None:
        """If history is too short, the reply has the top and no publications."""
        result = self.recover(1)
        self.assertNotIn("publications", result)
        self.assertNotIn("recovered", result)
        self.assertEqual((result["was_recovering"], result["offset"]), (True, 5))

    def test_other_epoch(self) -> None:
        """Another epoch is not recovered; an empty one matches any."""
        self.assertNotIn("recovered", self.recover(5, epoch="other"))
        self.assertTrue(self.recover(4, epoch="")["recovered"])

    def test_rejected(self) -> None:
        """With the flag, a failed recovery is error 112."""
        self.assertEqual(self.recover(1, flag=2)["code"], 112)
        self.assertTrue(self.recover(4, flag=3)["recovered"])

    def test_goes_on(self) -> None:
        """After a recovery live publications follow without a gap."""
        peer = self.world.connected()
        request = {"recover": True, "offset": 4, "epoch": self.position.epoch}
        peer.ask(subscribe={"channel": "a", **request})
        self.world.publish("a", 6, history_size=3, history_ttl=60)
        self.world.publish("a", 7, history_size=3, history_ttl=60)
        self.assertEqual([m["push"]["pub"]["offset"] for m in peer.take()], [6, 7])

    def test_cache(self) -> None:
        """In cache mode only the latest matters."""
        self.world.policy.subscription = SubscribeOptions(
            positioned=True, recoverable=True, recovery_mode="cache"
        )
        result = self.recover(1)
        self.assertEqual([p["data"] for p in result["publications"]], [5])
        self.assertTrue(result["recovered"])
        self.assertNotIn("publications", self.recover(5))
        self.world.node.remove_history("a")
        self.assertNotIn("recovered", self.recover(1))
        self.assertTrue(self.recover(5)["recovered"])

    def test_auto_cache(self) -> None:
        """With auto_recover every subscribe brings the latest."""
        self.world.policy.subscription = SubscribeOptions(
            positioned=True, recoverable=True, recovery_mode="cache", auto_recover=True
        )
        result = self.peer.one(subscribe={"channel": "a"})["subscribe"]
        self.assertEqual([p["data"] for p in result["publications"]], [5])
        self.assertTrue(result["was_recovering"])


class EndTests(SynchronousTestCase):
    """Nothing is left of a client."""

    def test_lost(self) -> None:
        """After its connection is lost no register knows it."""
        world = World()
        world.policy.subscription = SubscribeOptions(presence=True)
        peer = world.subscribed("a", "u")
        peer.client.transport_lost()
        hub, connections = world.node.hub, world.node.connections
        self.assertEqual(
            (connections.num_clients, connections.num_users, hub.num_subscriptions),
            (0, 0, 0),
        )
        self.assertEqual(hub.num_channels, 0)
        found = self.successResultOf(world.node.presence("a"))
        self.assertEqual(found, {})
        world.clock.advance(1.1)
        self.assertEqual(hub.channels, {})

    def test_stop(self) -> None:
        """A stopping node closes all clients, new ones too, with 3001."""
        world = World()
        peer = world.connected()
        stopped = world.node.stop()
        self.assertEqual(peer.closed, 3001)
        self.assertNoResult(stopped)
        late = world.open()
        self.assertEqual(late.closed, 3001)
        late.client.transport_lost()
        peer.client.transport_lost()
        self.successResultOf(stopped)
        self.assertEqual(world.clock.getDelayedCalls(), [])

    def test_stop_with_a_mute_peer(self) -> None:
        """A peer that does not go is not waited for longer than 6 s."""
        world = World()
        world.connected()
        stopped = world.node.stop()
        world.clock.advance(6)
        self.successResultOf(stopped)

    def test_json_only_strings(self) -> None:
        """Frames are JSON of one line."""
        world = World()
        peer = world.subscribed("a")
        world.node.publish("a", b'{"x":\n1}')
        (message,) = peer.take()
        self.assertEqual(json.dumps(message["push"]["pub"]["data"]), '{"x": 1}')

"""Keys that the node polls for the clients that track them.

See client protocol, "Shared poll".
"""

from typing import Any

from attrs import define, field
from msgspec.structs import replace
from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.core.keyed.key_channels import (
    key_channel_name,
    split_key_channel_name,
)
from centrifugo_tx.core.keyed.polled_channel import PolledChannel
from centrifugo_tx.errors import BrokerUnavailable, ReplyError
from centrifugo_tx.options import (
    ChannelOptions,
    NodeOptions,
    Polled,
    PollRules,
    SubscribeOptions,
)
from centrifugo_tx.protocol.codes import PERMISSION_DENIED
from centrifugo_tx.protocol.delta import apply as apply_delta
from centrifugo_tx.protocol.messages import KeyedItem, Publication, Raw, StreamPosition

from ...support import Peer, Permissive, World, cautious

VERSIONED = PollRules(versioned=True, interval=10.0, batch=2, max_keys=3)


def value(key: str, data: str = "", version: int = 0) -> Publication:
    """Return a backend's item of a key; without data, a removed one."""
    payload = Raw(data.encode())
    return Publication(data=payload, key=key, version=version, removed=not data)


@define(eq=False)
class PollPolicy(Permissive):
    """``v:`` is polled with versions, ``c:`` without, the others are not."""

    rules: dict[str, PollRules] = field(
        factory=lambda: {"v": VERSIONED, "c": PollRules()}
    )

    def channel(self, name: str) -> ChannelOptions:
        return ChannelOptions(poll=self.rules.get(name.partition(":")[0]))

    def polled_requests(self) -> list[tuple[str, list[KeyedItem]]]:
        """Return the backend's requests since the last call."""
        found = [request for call, request in self.calls if call == "poll"]
        self.calls = [call for call in self.calls if call[0] != "poll"]
        return found


class PollCase(SynchronousTestCase):
    """A node whose backend knows nothing as yet."""

    def setUp(self) -> None:
        # Nobody answers pings here.
        options = NodeOptions(pong_timeout=-1.0)
        self.world: World = World(options, policy=PollPolicy())
        policy = self.world.policy
        assert isinstance(policy, PollPolicy)
        self.policy: PollPolicy = policy

    def subscribed(self, channel: str = "v:a", user: str = "", **request: Any) -> Peer:
        """Return a client that tracks nothing yet."""
        return self.world.subscribed(channel, user, type=4, **request)

    def track(self, peer: Peer, *keys: str, **request: Any) -> Any:
        """Track keys, each perhaps as ``key=version``; return result or error code."""
        items = []
        for each in keys:
            key, _, version = each.partition("=")
            items.append({"key": key, "version": int(version or 0)})
        batches = [{"signature": "s", "items": items}] if keys else []
        request = {"channel": "v:a", "type": 1, "track": batches, **request}
        reply = peer.one(sub_refresh=request)
        return reply["error"]["code"] if "error" in reply else reply["sub_refresh"]

    def answer(self, *items: Publication, epoch: str = "") -> None:
        """Let the backend say this from now on."""
        self.policy.polled = Polled(list(items), epoch)

    def turn(self, seconds: float = 0.0) -> None:
        """Let the node ask."""
        self.world.clock.advance(seconds)

    def publications(self, peer: Peer) -> list[Any]:
        """Return the publications that came."""
        return [m["push"]["pub"] for m in peer.take() if "pub" in m.get("push", {})]


class SubscribeTests(PollCase):
    """Subscribing to a polled channel."""

    def test_result(self) -> None:
        """The result contains the type of the channel, and its epoch."""
        reply = self.world.connected().one(subscribe={"channel": "v:a", "type": 4})
        self.assertEqual(reply["subscribe"], {"type": 4})
        for _ in range(2):
            reply = self.world.connected().one(subscribe={"channel": "c:a", "type": 4})
            epoch = self.world.node.polls.channels["c:a"].epoch
            self.assertTrue(epoch)
            self.assertEqual(reply["subscribe"], {"type": 4, "epoch": epoch})

    def test_nothing_recovered(self) -> None:
        """There are no positions, even if they are requested or granted."""
        self.policy.subscription = SubscribeOptions(positioned=True, recoverable=True)
        request = {"channel": "v:a", "type": 4, "recover": True, "offset": 5}
        reply = self.world.connected().one(subscribe=request)
        self.assertEqual(reply["subscribe"], {"type": 4})

    def test_expires(self) -> None:
        """The result says when the subscription must be prolonged."""
        now = int(self.world.clock.seconds())
        self.policy.subscription = SubscribeOptions(expire_at=now + 60)
        reply = self.world.connected().one(subscribe={"channel": "v:a", "type": 4})
        result = reply["subscribe"]
        self.assertEqual((result["expires"], result["ttl"]), (True, 60))

    def test_refused(self) -> None:
        """The usual rules hold, and the channel must be polled."""
        peer = self.world.connected()
        request = {"channel": "v:a", "type": 4}
        peer.ask(subscribe=request)
        self.world.node.runtime.options = NodeOptions(channel_limit=2)
        now = int(self.world.clock.seconds())
        for code, answer, wrong in (
            (105, SubscribeOptions(), {}),
            (107, SubscribeOptions(), {"channel": "v:" + "a" * 300}),
            (108, SubscribeOptions(), {"channel": "s:a"}),
            (103, ReplyError(PERMISSION_DENIED), {"channel": "v:b"}),
            (110, SubscribeOptions(expire_at=now - 1), {"channel": "v:b"}),
        ):
            self.policy.subscription = answer
            reply = peer.one(subscribe={**request, **wrong})
            self.assertEqual(reply["error"]["code"], code, wrong)
        self.policy.subscription = SubscribeOptions()
        peer.ask(subscribe={**request, "channel": "v:b"})
        reply = peer.one(subscribe={**request, "channel": "v:c"})
        self.assertEqual(reply["error"]["code"], 106)
        self.assertEqual(list(peer.client.subscriptions), ["v:a", "v:b"])
        peer.send({"id": 99, "subscribe": {"type": 4}})
        self.assertEqual(peer.closed, 3501)

    def test_forgotten(self) -> None:
        """A second after its last subscriber a channel is forgotten, not before."""
        peer = self.subscribed("c:a")
        epoch = self.world.node.polls.channels["c:a"].epoch
        peer.ask(unsubscribe={"channel": "c:a"})
        self.turn(0.9)
        self.subscribed("c:a").client.transport_lost()
        self.turn(0.9)
        self.assertEqual(self.world.node.polls.channels["c:a"].epoch, epoch)
        self.turn(0.2)
        self.assertEqual(self.world.node.polls.channels, {})


class TrackTests(PollCase):
    """Tracking keys."""

    def test_unknown_key(self) -> None:
        """An unknown key is polled at once, and its value sent when it arrives."""
        peer = self.subscribed()
        self.answer(value("a", "1", 3), value("b", "2", 1))
        self.assertEqual(self.track(peer, "a", "b", "c"), {})
        self.assertEqual(self.publications(peer), [])
        self.turn()
        asked = self.policy.polled_requests()
        self.assertEqual(
            asked,
            [
                ("v:a", [KeyedItem("a"), KeyedItem("b")]),
                ("v:a", [KeyedItem("c")]),
            ],
        )
        expected = [
            {"data": 1, "key": "a", "version": 3},
            {"data": 2, "key": "b", "version": 1},
        ]
        self.assertEqual(self.publications(peer), expected)

    def test_known_key(self) -> None:
        """A known value newer than the client's comes with the reply."""
        first, second = self.subscribed(), self.subscribed()
        self.answer(value("a", "1", 3))
        self.track(first, "a")
        self.turn()
        first.take()
        self.policy.polled_requests()
        result = self.track(second, "a=2")
        expected = {"data": 1, "key": "a", "version": 3}
        self.assertEqual(result, {"items": [expected]})
        self.assertEqual(self.track(second, "a=3"), {})
        self.turn()
        self.assertEqual(self.policy.polled_requests(), [])
        self.answer(value("a", "9", 4))
        self.turn(10)
        for peer in (first, second):
            self.assertEqual([each["version"] for each in self.publications(peer)], [4])

    def test_one_question(self) -> None:
        """Clients that come at the same time cause one poll."""
        self.policy.rules["v"] = replace(VERSIONED, batch=100)
        for peer in [self.subscribed() for _ in range(5)]:
            self.track(peer, "a", "b")
        self.turn()
        self.assertEqual(len(self.policy.polled_requests()), 1)

    def test_expiry(self) -> None:
        """The reply says when the first signature ends; some time later it counts."""
        peer = self.subscribed()
        now = int(self.world.clock.seconds())
        self.policy.tracking = [now + 50, 0, now + 20]
        batches = [
            {"signature": "s", "items": [{"key": key}]} for key in ("a", "b", "c")
        ]
        result = self.track(peer, track=batches)
        self.assertEqual(result, {"expires": True, "ttl": 20})
        keys = self.world.node.polls.channels["v:a"].keys
        self.turn(20 + 25 - 1)
        self.assertEqual(sorted(keys), ["a", "b", "c"])
        self.world.clock.pump([1.0] * 28)
        self.assertEqual(sorted(keys), ["a", "b"])

    def test_last_batch_counts(self) -> None:
        """A key that is in several batches has version and end of the last."""
        peer = self.subscribed()
        self.answer(value("a", "1", 3))
        self.track(self.subscribed(), "a")
        self.turn()
        batches = [
            {"signature": "s", "items": [{"key": "a", "version": version}]}
            for version in (0, 3)
        ]
        self.policy.tracking = [0, int(self.world.clock.seconds()) + 9]
        self.assertEqual(self.track(peer, track=batches), {"expires": True, "ttl": 9})

    def test_limit(self) -> None:
        """A client may track a limited number of keys, less those it untracks."""
        peer = self.subscribed()
        self.assertEqual(self.track(peer, "a", "b", "c", "d"), 106)
        self.assertEqual(self.track(peer, "a", "b", "c"), {})
        self.assertEqual(self.track(peer, "a=1", "b", "c"), {})
        self.assertEqual(self.track(peer, "d"), 106)
        self.assertEqual(self.track(peer, "d", untrack=["a"]), {})
        self.assertEqual(self.track(peer, "e", "f", untrack=["e", "f"]), {})
        keys = self.world.node.polls.channels["v:a"].keys
        self.assertEqual(sorted(keys), ["b", "c", "d"])

    def test_refused(self) -> None:
        """Something must be tracked, by a subscriber of a polled channel, rightly."""
        peer = self.subscribed()
        empty = [{"signature": "s", "items": []}]
        for code, request in (
            (107, {"track": []}),
            (107, {"track": empty}),
            (107, {"type": 2}),
            (107, {"type": 3}),
            (103, {"channel": "v:other"}),
        ):
            self.assertEqual(self.track(peer, **request), code, request)
        self.policy.tracking = ReplyError(PERMISSION_DENIED)
        self.assertEqual(self.track(peer, "a"), 103)
        self.assertEqual(self.world.node.polls.channels["v:a"].keys, {})
        plain = self.world.subscribed("s:a")
        self.assertEqual(self.track(plain, "a", channel="s:a"), 107)

    def test_left_meanwhile(self) -> None:
        """A client that leaves while its signatures are verified tracks nothing."""
        self.world.node.runtime.options = NodeOptions(concurrency=2)
        peer = self.subscribed()
        waiting: Deferred[Any] = Deferred()
        self.policy.tracking = waiting
        batch = {"signature": "s", "items": [{"key": "a"}]}
        request = {"channel": "v:a", "type": 1, "track": [batch]}
        self.assertEqual(peer.ask(sub_refresh=request), [])
        peer.ask(unsubscribe={"channel": "v:a"})
        waiting.callback([0])
        [reply] = peer.take()
        self.assertEqual(reply["error"]["code"], 107)
        self.assertEqual(self.world.node.polls.num_keys, 0)

    def test_untrack(self) -> None:
        """An untracked key is neither sent nor polled."""
        peer = self.subscribed()
        self.track(peer, "a", "b")
        self.turn()
        self.policy.polled_requests()
        request = {"channel": "v:a", "type": 2, "untrack": ["a", "other"]}
        self.assertEqual(peer.one(sub_refresh=request)["sub_refresh"], {})
        self.answer(value("a", "1", 1), value("b", "1", 1))
        self.turn(10)
        self.assertEqual(self.policy.polled_requests(), [("v:a", [KeyedItem("b")])])
        self.assertEqual([each["key"] for each in self.publications(peer)], ["b"])
        peer.client.transport_lost()
        self.assertEqual(self.world.node.polls.num_keys, 0)
        self.turn(30)
        self.assertEqual(self.policy.polled_requests(), [])

    def test_nobody_by_default(self) -> None:
        """A policy that says nothing of keys lets no client track any."""
        peer = self.subscribed()
        self.world.node.policy = cautious()
        self.assertEqual(self.track(peer, "a"), 103)


class PollTests(PollCase):
    """Polling the backend, and sending new values."""

    def test_versions(self) -> None:
        """A newer value is sent once; the backend gets the known versions."""
        peer = self.subscribed()
        self.answer(value("a", "1", 3))
        self.track(peer, "a")
        self.turn()
        peer.take()
        self.policy.polled_requests()
        for said, expected in (
            (value("a", "1", 3), []),
            (value("a", "0", 2), []),
            (value("a", "2", 4), [4]),
            (value("other", "2", 9), []),
        ):
            self.answer(said)
            self.turn(10)
            self.assertEqual(
                [each["version"] for each in self.publications(peer)], expected
            )
        versions = [items[0].version for _, items in self.policy.polled_requests()]
        self.assertEqual(versions, [3, 3, 3, 4])

    def test_without_versions(self) -> None:
        """Without versions what differs is new, and versions are counted here."""
        peer = self.subscribed("c:a")
        self.track(peer, "a", "b", channel="c:a")
        for said, expected in (
            ((value("a", "1"), value("b", "1")), [("a", 1), ("b", 2)]),
            ((value("a", "1"), value("b", "2")), [("b", 3)]),
            ((value("a", "1"), value("b", "2")), []),
        ):
            self.answer(*said)
            self.turn(10)
            told = [(each["key"], each["version"]) for each in self.publications(peer)]
            self.assertEqual(told, expected)
        asked = self.policy.polled_requests()
        self.assertEqual(asked[-1], ("c:a", [KeyedItem("a"), KeyedItem("b")]))

    def test_spread(self) -> None:
        """Batches are spread over the time until the next turn."""
        peer = self.subscribed()
        self.track(peer, "a", "b", "c")
        self.turn()
        self.policy.polled_requests()
        self.turn(10)
        self.assertEqual(len(self.policy.polled_requests()), 1)
        self.turn(4.9)
        self.assertEqual(len(self.policy.polled_requests()), 0)
        self.turn(0.2)
        self.assertEqual(self.policy.polled_requests(), [("v:a", [KeyedItem("c")])])

    def test_removed(self) -> None:
        """A removed key is announced to its trackers, and untracked."""
        peer, other = self.subscribed(), self.subscribed()
        self.answer(value("a", "1", 1))
        self.track(peer, "a")
        self.track(other, "b")
        self.turn()
        peer.take()
        self.answer(value("a"))
        self.turn(10)
        self.assertEqual(self.publications(peer), [{"key": "a", "removed": True}])
        self.assertEqual(self.publications(other), [])
        self.answer(value("a", "2", 2))
        self.turn(10)
        self.assertEqual(self.publications(peer), [])

    def test_epoch(self) -> None:
        """A new epoch makes all subscribers subscribe again from the start."""
        peer = self.subscribed()
        self.answer(value("a", "1", 7), epoch="e1")
        self.track(peer, "a")
        self.turn()
        [message] = peer.take()
        self.assertEqual(message["push"]["unsubscribe"]["code"], 2500)
        reply = peer.one(subscribe={"channel": "v:a", "type": 4})
        self.assertEqual(reply["subscribe"]["epoch"], "e1")
        self.track(peer, "a")
        self.turn()
        self.assertEqual([each["version"] for each in self.publications(peer)], [7])
        self.answer(value("a", "1", 1), epoch="e2")
        self.turn(10)
        [message] = peer.take()
        self.assertEqual(message["push"]["unsubscribe"]["code"], 2500)

    def test_backend_away(self) -> None:
        """A backend that fails is asked again at the next turn."""
        peer = self.subscribed()
        self.policy.polled = ValueError("away")
        self.track(peer, "a")
        self.turn()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.answer(value("a", "1", 1))
        self.turn(10)
        self.assertEqual([each["version"] for each in self.publications(peer)], [1])

    def test_delta(self) -> None:
        """A client with deltas gets the first value in full, and then deltas."""
        self.policy.subscription = SubscribeOptions(delta_types=("fossil",))
        long = "x" * 60
        self.answer(value("a", f'"{long}1"', 1))
        plain = self.subscribed()
        self.track(plain, "a")
        self.turn()
        peer = self.subscribed(delta="fossil")
        [item] = self.track(peer, "a")["items"]
        self.assertEqual(item["data"], f'"{long}1"')
        self.answer(value("a", f'"{long}2"', 2))
        self.turn(10)
        [change] = self.publications(peer)
        self.assertTrue(change["delta"])
        self.assertEqual((change["version"], change["key"]), (2, "a"))
        applied = apply_delta(item["data"].encode(), change["data"].encode())
        self.assertEqual(applied, f'"{long}2"'.encode())
        self.assertEqual(
            [each["data"] for each in self.publications(plain)],
            [long + "1", long + "2"],
        )

    def test_delta_without_base(self) -> None:
        """No delta is based on a version that the client only claims to have."""
        self.policy.subscription = SubscribeOptions(delta_types=("fossil",))
        long = "x" * 60
        self.answer(value("a", f'"{long}1"', 1))
        peer = self.subscribed(delta="fossil")
        self.track(peer, "a=1")
        self.turn()
        self.assertEqual(self.publications(peer), [])
        self.answer(value("a", f'"{long}2"', 2))
        self.turn(10)
        [pub] = self.publications(peer)
        self.assertNotIn("delta", pub)

    def test_no_json(self) -> None:
        """A client whose encoding cannot carry a value is closed; the others get it."""
        bad = self.subscribed()
        self.track(bad, "a")
        self.answer(value("a", "no json", 1))
        self.turn()
        self.assertEqual(bad.closed, 3506)

    def test_stop(self) -> None:
        """A node that stops asks no more."""
        self.track(self.subscribed(), "a", "b", "c")
        self.turn(10)
        self.policy.polled_requests()
        self.world.node.polls.stop()
        self.turn(60)
        self.assertEqual(self.policy.polled_requests(), [])


class PublishTests(PollCase):
    """Values that are published."""

    def setUp(self) -> None:
        """Let keys be published."""
        super().setUp()
        self.policy.rules["v"] = replace(VERSIONED, publish=True)

    def publish(self, key: str, data: str, version: int, epoch: str = "") -> None:
        """Publish into ``v:a``."""
        polls = self.world.node.polls
        polls.publish("v:a", key, Raw(data.encode()), version, epoch)

    def test_told(self) -> None:
        """A newer value is sent at once, and left out of the next poll."""
        peer = self.subscribed()
        self.track(peer, "a", "b")
        self.turn()
        self.policy.polled_requests()
        self.publish("a", "1", 5)
        self.publish("a", "0", 4)
        self.publish("other", "0", 4)
        self.assertEqual(
            self.publications(peer), [{"data": 1, "key": "a", "version": 5}]
        )
        self.turn(10)
        self.assertEqual(self.policy.polled_requests(), [("v:a", [KeyedItem("b")])])
        self.turn(10)
        asked = self.policy.polled_requests()
        self.assertEqual(asked, [("v:a", [KeyedItem("a", 5), KeyedItem("b")])])

    def test_nobody_there(self) -> None:
        """Without trackers nothing happens."""
        self.publish("a", "1", 5)
        self.assertEqual(self.world.node.polls.channels, {})

    def test_epoch(self) -> None:
        """Another epoch sends all subscribers back."""
        peer = self.subscribed()
        self.track(peer, "a")
        self.publish("a", "1", 5, "e1")
        [message] = peer.take()
        self.assertEqual(message["push"]["unsubscribe"]["code"], 2500)
        channel: PolledChannel = self.world.node.polls.channels["v:a"]
        self.assertEqual((channel.epoch, channel.keys), ("e1", {}))


class FeedTests(PollCase):
    """How published values come here, by way of the broker."""

    def setUp(self) -> None:
        """Let keys be published."""
        super().setUp()
        self.policy.rules["v"] = replace(VERSIONED, publish=True)
        self.key_channels = self.world.node.polls.key_channels

    def buffer(self, key: str, data: str, version: int) -> None:
        """Let the broker deliver what another node published."""
        publication = Publication(data=Raw(data.encode()), key=key, version=version)
        self.world.node.streams.handle_publication(
            f"3:v:a{key}", publication, StreamPosition(), None
        )

    def test_name(self) -> None:
        """The name says how many bytes of it are the channel."""
        self.assertEqual(key_channel_name("v:a", "k:1"), "3:v:ak:1")
        self.assertEqual(key_channel_name("чат:1", "k"), "8:чат:1k")

    def test_split(self) -> None:
        """A name is taken apart again; others are no key's."""
        for channel, key in (("v:a", "k:1"), ("чат:1", "k"), ("v:a", "")):
            self.assertEqual(
                split_key_channel_name(key_channel_name(channel, key)), (channel, key)
            )
        for name in ("v:a", "9:v:a", "-1:a", "1:чат", "x", "999999:a", "٣:v:a"):
            self.assertEqual(split_key_channel_name(name), ("", ""))

    def test_epoch_of_other_key(self) -> None:
        """The value of a key without trackers still changes the epoch."""
        peer = self.subscribed()
        self.world.node.polls.publish("v:a", "other", Raw(b"1"), 1, "e1")
        [message] = peer.take()
        self.assertEqual(message["push"]["unsubscribe"]["code"], 2500)

    def test_from_another_node(self) -> None:
        """A value published on another node reaches the trackers here."""
        peer = self.subscribed()
        self.track(peer, "a")
        self.buffer("a", "1", 5)
        self.buffer("b", "1", 5)
        self.assertEqual(
            self.publications(peer), [{"data": 1, "key": "a", "version": 5}]
        )

    def test_first_the_broker(self) -> None:
        """A key is polled once its publications are delivered here."""
        peer = self.subscribed()
        ready = self.world.broker.answers["subscribe"] = Deferred()
        items = [{"key": "a", "version": 0}]
        batches = [{"signature": "s", "items": items}]
        track = {"channel": "v:a", "type": 1, "track": batches}
        peer.send({"id": 9, "sub_refresh": track})
        self.turn()
        self.assertEqual((peer.take(), self.policy.polled_requests()), ([], []))
        ready.callback(None)
        self.turn()
        self.assertEqual(peer.take(), [{"id": 9, "sub_refresh": {}}])
        self.assertEqual(self.policy.polled_requests(), [("v:a", [KeyedItem("a")])])

    def test_broker_away(self) -> None:
        """A key that could not be followed is not tracked; the client may try again."""
        peer = self.subscribed()
        self.world.broker.answers["subscribe"] = fail(BrokerUnavailable("away"))
        self.assertEqual(self.track(peer, "a"), 100)
        self.assertEqual(self.world.node.polls.num_keys, 0)
        self.assertEqual(self.track(peer, "a"), {})
        self.turn(5)
        self.assertEqual(list(self.key_channels.by_name), ["3:v:aa"])

    def test_left(self) -> None:
        """A key without trackers stays subscribed for a second."""
        peers = [self.subscribed(), self.subscribed()]
        for peer in peers:
            self.track(peer, "a", "b")
        self.track(peers[0], type=2, untrack=["a"])
        self.track(peers[1], type=2, untrack=["a"])
        self.assertEqual(list(self.key_channels.by_name), ["3:v:aa", "3:v:ab"])
        self.turn(1)
        self.assertEqual(list(self.key_channels.by_name), ["3:v:ab"])
        for peer in peers:
            peer.one(unsubscribe={"channel": "v:a"})
        self.turn(1)
        self.assertEqual(list(self.key_channels.by_name), [])

    def test_gap(self) -> None:
        """When publications may have been lost the backend is asked at once."""
        self.track(self.subscribed(), "a", "b")
        self.turn()
        self.policy.polled_requests()
        self.world.node.streams.handle_gap(["3:v:aa", "3:v:ac", "other"])
        self.turn()
        self.assertEqual(self.policy.polled_requests(), [("v:a", [KeyedItem("a")])])

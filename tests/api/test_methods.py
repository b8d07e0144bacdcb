"""Methods of the server API: results and errors."""

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.api import METHODS
from centrifugo_tx.api.batches import Command
from centrifugo_tx.api.parallel import in_parallel
from centrifugo_tx.core.time_slices import RoundRobin, Slices
from centrifugo_tx.errors import BrokerUnavailable, ReplyError
from centrifugo_tx.options import Published
from centrifugo_tx.protocol.codes import Error
from centrifugo_tx.protocol.messages import Raw, StreamPosition

from .api_backend import Backend


class PublishTests(SynchronousTestCase):
    """publish and broadcast.

    See server API, "Publish", "Idempotency keys", "Versions", "API deltas" and
    "Broadcast".
    """

    def setUp(self) -> None:
        self.backend = Backend()

    def test_delivered(self) -> None:
        """A publication reaches the subscribers, with its tags."""
        peer = self.backend.world.subscribed("a")
        self.backend.result("publish", channel="a", data={"x": 1}, tags={"t": "1"})
        (push,) = peer.take()
        self.assertEqual(
            push["push"],
            {"channel": "a", "pub": {"data": {"x": 1}, "tags": {"t": "1"}}},
        )

    def test_refused(self) -> None:
        """Each rule has its error."""
        for code, request in (
            (107, {}),
            (107, {"data": 1}),
            (102, {"channel": "no:a", "data": 1}),
            (107, {"channel": "mm:a", "data": 1}),
            (107, {"channel": "a"}),
            (107, {"channel": "a", "b64data": "!"}),
            (107, {"channel": "a", "b64data": "YQ"}),
            (107, {"channel": "a", "b64data": "YWFh="}),
            (107, {"channel": "a", "data": 1, "b64data": "-_=="}),
            (107, {"channel": "jj:a"}),
            (107, {"channel": "jj:a", "b64data": "YWFh"}),
            (107, {"channel": "oo:a", "data": [1]}),
            (0, {"channel": "a", "b64data": "YQ==\n"}),
            (0, {"channel": "a", "data": None}),
            (0, {"channel": "jj:a", "b64data": "e30="}),
            (0, {"channel": "oo:a", "b64data": "IHt9IA=="}),
            (0, {"channel": "bb:a"}),
        ):
            self.assertEqual(self.backend.code("publish", **request), code, request)
        self.assertEqual(self.backend.errors()["publish", "107"], 11)

    def test_history(self) -> None:
        """The result says where the publication stands, unless it is not kept."""
        first = self.backend.result("publish", channel="hh:a", data=1)
        self.assertEqual(first["offset"], 1)
        skipped = self.backend.result(
            "publish", channel="hh:a", data=1, skip_history=True
        )
        self.assertEqual(skipped, {})
        second = self.backend.result("publish", channel="hh:a", data=1)
        self.assertEqual(second, {"offset": 2, "epoch": first["epoch"]})

    def test_suppressed(self) -> None:
        """A repeated key or version publishes nothing, and is a success."""
        once: dict[str, Any] = {"channel": "hh:a", "data": 1, "idempotency_key": "k"}
        first = self.backend.result("publish", **once)
        self.assertEqual(self.backend.result("publish", **once), first)
        new = {"channel": "hh:a", "data": 1, "version": 3}
        second = self.backend.result("publish", **new)
        self.assertEqual(second["offset"], 2)
        self.assertEqual(self.backend.result("publish", **new), second)

    def test_broker_away(self) -> None:
        """A broker that is away is an internal error, and no surprise."""
        self.backend.fail(BrokerUnavailable("away"))
        self.assertEqual(self.backend.code("publish", channel="a", data=1), 100)
        (response,) = self.backend.result("broadcast", channels=["a"], data=1)[
            "responses"
        ]
        self.assertEqual(
            response, {"error": {"code": 100, "message": "internal server error"}}
        )

    def test_bug(self) -> None:
        """An unexpected error is logged once and becomes an internal error."""
        self.backend.fail(ZeroDivisionError())
        self.assertEqual(self.backend.code("publish", channel="a", data=1), 100)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_broadcast(self) -> None:
        """Each channel has its own outcome, in the order asked for."""
        responses = self.backend.result(
            "broadcast", channels=["a", "hh:a", "", "no:a", "jj:a", "mm:a"], data=1
        )["responses"]
        codes = [response.get("error", {}).get("code", 0) for response in responses]
        self.assertEqual(codes, [0, 0, 107, 102, 0, 0])
        self.assertEqual(responses[1]["result"]["offset"], 1)
        self.assertEqual(
            self.backend.errors(),
            {("broadcast_publish", "102"): 1, ("broadcast_publish", "107"): 1},
        )

    def test_broadcast_refused(self) -> None:
        """Without channels, or with bad base64, nothing is published."""
        self.assertEqual(self.backend.code("broadcast", data=1), 107)
        self.assertEqual(self.backend.code("broadcast", channels=[], data=1), 107)
        bad = self.backend.code("broadcast", channels=["a"], b64data="!")
        self.assertEqual(bad, 107)


class ClientTests(SynchronousTestCase):
    """subscribe, unsubscribe, disconnect and refresh.

    See server API, "Subscribe and unsubscribe", "Disconnect" and "Refresh".
    """

    def setUp(self) -> None:
        self.backend = Backend()
        self.peer = self.backend.world.connected("u")
        self.other = self.backend.world.connected("other")

    def test_subscribe(self) -> None:
        """The user's connections are subscribed; data goes with the push."""
        self.backend.result("subscribe", channel="a", user="u", data={"d": 1})
        (push,) = self.peer.take()
        self.assertEqual(
            push["push"], {"channel": "a", "subscribe": {"data": {"d": 1}}}
        )
        self.assertEqual(self.other.take(), [])

    def test_override(self) -> None:
        """An override replaces the namespace's option; info becomes chan_info."""
        for override, seen in ({}, 1), ({"presence": {"value": False}}, 0):
            self.backend.result(
                "subscribe", channel="hh:a", user="u", b64info="e30=", override=override
            )
            found = self.backend.result("presence", channel="hh:a")["presence"]
            self.assertEqual(len(found), seen, override)
            for info in found.values():
                self.assertEqual((info["user"], info["chan_info"]), ("u", {}))
            self.backend.result("unsubscribe", channel="hh:a", user="u")

    def test_subscribe_refused(self) -> None:
        """Each rule has its error."""
        for code, request in (
            (107, {}),
            (102, {"channel": "no:a"}),
            (107, {"channel": "a", "b64data": "!"}),
            (107, {"channel": "a", "b64info": "!"}),
            (0, {"channel": "a", "user": "nobody"}),
        ):
            self.assertEqual(self.backend.code("subscribe", **request), code, request)

    def test_unsubscribe(self) -> None:
        """The user is unsubscribed and receives code 2000."""
        self.backend.result("subscribe", channel="a", user="u")
        self.peer.take()
        self.assertEqual(self.backend.code("unsubscribe", channel="no:a"), 102)
        self.backend.result("unsubscribe", user="u")
        self.assertEqual(self.peer.take(), [])
        self.backend.result("unsubscribe", channel="a", user="u")
        (push,) = self.peer.take()
        self.assertEqual(push["push"]["unsubscribe"]["code"], 2000)

    def test_disconnect(self) -> None:
        """The user is disconnected, with 3503 by default."""
        self.backend.result("disconnect", user="u", disconnect={})
        self.assertEqual((self.peer.closed, self.other.closed), (3503, 0))
        wanted = {"code": 4000, "reason": "x"}
        keep = [self.other.client.id]
        self.backend.result(
            "disconnect", user="other", disconnect=wanted, whitelist=keep
        )
        self.assertEqual(self.other.closed, 0)
        self.backend.result("disconnect", user="other", disconnect=wanted)
        self.assertEqual(self.other.closed, 4000)

    def test_refresh(self) -> None:
        """The expiry changes and the client is notified; an expired one is closed."""
        now = int(self.backend.world.clock.seconds())
        self.backend.result("refresh", user="u", expire_at=now + 60)
        (push,) = self.peer.take()
        self.assertEqual(push["push"], {"refresh": {"expires": True, "ttl": 60}})
        self.backend.result("refresh", user="u", expired=True)
        self.assertEqual((self.peer.closed, self.other.closed), (3005, 0))


class ChannelTests(SynchronousTestCase):
    """presence, history, channels, info and rpc.

    See server API, "Presence", "History in the API", "Channels", "Info" and "RPC".
    """

    def setUp(self) -> None:
        self.backend = Backend()

    def test_refused(self) -> None:
        """Each method needs a known channel with the feature."""
        for method in ("presence", "presence_stats", "history", "history_remove"):
            for channel, code in (("", 107), ("no:a", 102), ("a", 108), ("hh:a", 0)):
                self.assertEqual(self.backend.code(method, channel=channel), code)

    def test_empty(self) -> None:
        """Fields that are always there are there when nothing is."""
        self.assertEqual(
            self.backend.result("presence", channel="hh:a"), {"presence": {}}
        )
        self.assertEqual(
            self.backend.result("presence_stats", channel="hh:a"),
            {"num_clients": 0, "num_users": 0},
        )
        history = self.backend.result("history", channel="hh:a")
        self.assertEqual((history["publications"], history["offset"]), ([], 0))
        self.assertEqual(self.backend.result("channels"), {"channels": {}})

    def offsets(self, **request: Any) -> list[int]:
        found = self.backend.result("history", channel="hh:a", **request)
        return [publication["offset"] for publication in found["publications"]]

    def test_history(self) -> None:
        """A part of the stream is read, forwards or backwards."""
        for number in range(4):
            self.backend.result("publish", channel="hh:a", data=number)
        for request, offsets in (
            ({}, []),
            ({"limit": -7}, [1, 2, 3, 4]),
            ({"limit": 2}, [1, 2]),
            ({"limit": 2, "reverse": True}, [4, 3]),
            ({"limit": 2, "since": {"offset": 1}}, [2, 3]),
            ({"limit": 9, "since": {"offset": 3}, "reverse": True}, [2, 1]),
            ({"limit": -1, "since": {"offset": 2**64 - 1}}, []),
        ):
            self.assertEqual(self.offsets(**request), offsets, request)

    def test_history_refused(self) -> None:
        """Another epoch is unrecoverable; backwards from 0 leads nowhere."""
        other = {"offset": 1, "epoch": "other"}
        self.assertEqual(self.backend.code("history", channel="hh:a", since=other), 112)
        self.assertEqual(
            self.backend.code("history", channel="hh:a", since={}, reverse=True), 100
        )

    def test_history_remove(self) -> None:
        """Publications go, the position stays."""
        first = self.backend.result("publish", channel="hh:a", data=1)
        self.assertEqual(self.backend.result("history_remove", channel="hh:a"), {})
        history = self.backend.result("history", channel="hh:a", limit=-1)
        self.assertEqual(history, {"publications": [], **first})

    def test_channels(self) -> None:
        """Channels with subscribers are counted, those that match."""
        for channel in ("a", "a", "b:c"):
            self.backend.world.subscribed(channel)
        for pattern, channels in (
            ("", {"a": 2, "b:c": 1}),
            ("b*", {"b:c": 1}),
            ("[!b]", {"a": 2}),
        ):
            found = self.backend.result("channels", pattern=pattern)["channels"]
            wanted = {name: {"num_clients": count} for name, count in channels.items()}
            self.assertEqual(found, wanted, pattern)
        self.assertEqual(self.backend.code("channels", pattern="["), 100)

    def test_info(self) -> None:
        """The node tells of itself."""
        self.backend.world.subscribed("a", "u")
        self.backend.world.clock.advance(2)
        (node,) = self.backend.result("info")["nodes"]
        self.assertEqual(node.pop("uid"), self.backend.world.node.id)
        self.assertEqual(
            node,
            {
                "name": "",
                "version": "1.2.3",
                "num_clients": 1,
                "num_users": 1,
                "num_channels": 1,
                "num_subs": 1,
                "uptime": 2,
            },
        )

    def test_rpc(self) -> None:
        """A call goes to its extension; its error is the extension's."""
        self.assertEqual(self.backend.code("rpc"), 107)
        missing = self.backend.at_once("/api/rpc", '{"method":"x"}')
        self.assertEqual(json.loads(missing.body)["error"]["code"], 104)
        given: Deferred[Raw] = Deferred()
        self.backend.api.extensions["x"] = lambda params: given
        answer = self.backend.post("/api/rpc", '{"method":"x","params":{"a":1}}')
        given.errback(ReplyError(Error(4001, "no")))
        self.assertEqual(
            json.loads(self.successResultOf(answer).body),
            {"error": {"code": 4001, "message": "no"}},
        )


class BatchTests(SynchronousTestCase):
    """batch (server API, "Batch")."""

    def setUp(self) -> None:
        self.backend = Backend()

    def test_metrics(self) -> None:
        """The commands of a batch are counted; the batch itself is not."""
        self.replies({"info": {}}, {"publish": {}})
        found = self.backend.world.node.metrics.histograms()
        methods = {
            dict(labels)["method"]: sum(histogram.counts)
            for name, labels, histogram in found
            if name.startswith("api_command")
        }
        self.assertEqual(methods, {"info": 1, "publish": 1})

    def replies(self, *commands: Any, parallel: bool = False) -> list[Any]:
        called = self.backend.call("batch", commands=commands, parallel=parallel)
        replies: list[Any] = called["replies"]
        return replies

    def test_replies(self) -> None:
        """Replies are in order, each under its method or ``error``."""
        for parallel in (False, True):
            backend = self.backend = Backend()
            replies = self.replies(
                {"unsubscribe": {"channel": "a"}},
                {"publish": {"channel": "hh:a", "data": 1}},
                {"publish": {}},
                {"presence": {"channel": "hh:a"}, "publish": None},
                {"history": {}, "publish": {"channel": "hh:a", "data": 2}},
                {"connections": {}},
                None,
                parallel=parallel,
            )
            self.assertEqual(replies[0], {"unsubscribe": {}})
            self.assertEqual(replies[1]["publish"]["offset"], 1)
            self.assertEqual(replies[2]["error"]["code"], 107)
            self.assertEqual(replies[3], {"presence": {"presence": {}}})
            self.assertEqual(replies[4]["publish"]["offset"], 2)
            self.assertEqual(replies[5]["error"], {"code": 104, "message": "not found"})
            self.assertEqual(replies[6]["error"]["code"], 107)
            self.assertEqual(
                backend.errors(), {("publish", "107"): 1, ("unknown", "104"): 1}
            )

    def test_order(self) -> None:
        """One after another waits; side by side does not."""
        for parallel, started in (False, 1), (True, 2):
            backend = Backend()
            waiting: list[Deferred[Raw]] = []

            def extension(params: Raw) -> "Deferred[Raw]":
                waiting.append(Deferred())  # noqa: B023 - called in this turn
                return waiting[-1]  # noqa: B023

            backend.api.extensions["x"] = extension
            rpc = {"rpc": {"method": "x"}}
            body = json.dumps({"commands": [rpc, rpc], "parallel": parallel})
            answer = backend.post("/api/batch", body)
            self.assertEqual(len(waiting), started)
            waiting[0].callback(Raw(b"1"))
            waiting[1].callback(Raw(b"2"))
            self.assertEqual(
                self.successResultOf(answer).body,
                b'{"replies":[{"rpc":{"data":1}},{"rpc":{"data":2}}]}',
            )

    def test_publishes(self) -> None:
        """Consecutive publishes overlap if their order is kept; nothing else does."""
        for in_order, started in (True, [2, 2, 3]), (False, [1, 2, 3]):
            backend = Backend()
            waiting: list[Deferred[Published]] = []

            def publish(*publication: object) -> "Deferred[Published]":
                waiting.append(Deferred())  # noqa: B023 - called in this turn
                return waiting[-1]  # noqa: B023

            streams: Any = backend.world.node.streams
            streams.broker.publishes_in_order = in_order
            self.patch(type(streams), "publish", publish)
            command = {"publish": {"channel": "hh:a", "data": 1}}
            commands = [command, command, {"history": {"channel": "hh:a"}}, command]
            answer = backend.post("/api/batch", json.dumps({"commands": commands}))
            counts = []
            for offset in 1, 2, 3:
                counts.append(len(waiting))
                waiting[offset - 1].callback(Published(StreamPosition(offset, "x")))
            self.assertEqual(counts, started)
            replies = json.loads(self.successResultOf(answer).body)["replies"]
            self.assertEqual(
                [each.get("publish", {}).get("offset") for each in replies],
                [1, 2, None, 3],
            )

    def test_table(self) -> None:
        """A command's members are the methods, in the order of the table."""
        names = [name for name in METHODS if name != "batch"]
        self.assertEqual(list(Command.__struct_fields__), names)


class ParallelTests(SynchronousTestCase):
    """Running many things at once, but not too many."""

    def test_bound(self) -> None:
        """At most 1024 are under way; the next begins when one has ended."""
        waiting: list[Deferred[int]] = []

        def make(number: int) -> "Deferred[int]":
            waiting.append(Deferred())
            return waiting[-1]

        clock = Clock()
        slices = Slices(RoundRobin(clock), clock, limit=2000)
        done = Deferred.fromCoroutine(in_parallel(make, range(1030), slices))
        self.assertEqual(len(waiting), 1024)
        waiting[5].callback(5)
        self.assertEqual(len(waiting), 1025)
        for number, each in enumerate(waiting):
            if number != 5:
                each.callback(number)
        self.assertEqual(len(waiting), 1030)
        self.assertEqual(self.successResultOf(done)[5], 5)

"""Subscribers with filters in channels."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.options import Admission, HistoryQuery, NodeOptions, SubscribeOptions

from ...support import Peer, World
from .delta_client import WIRES, DeltaClient, publications_in

ALLOWED = SubscribeOptions(tags_filter=True)
RECOVERABLE = SubscribeOptions(positioned=True, recoverable=True, tags_filter=True)
CACHE = SubscribeOptions(
    positioned=True, recoverable=True, recovery_mode="cache", tags_filter=True
)
OTHER = {"op": "not", "nodes": [{"key": "k", "cmp": "eq", "val": "blue"}]}
WIRES_USED = ("json", "sse", "protobuf", "http_stream_protobuf")
HISTORY: dict[str, Any] = {"history_size": 500, "history_ttl": 60.0}


def equal(value: str) -> dict[str, Any]:
    """Return the filter for tag ``k``."""
    return {"tf": {"key": "k", "cmp": "eq", "val": value}}


def data_of(messages: list[Any]) -> list[Any]:
    """Return the payloads of all publications in *messages*."""
    return [publication["data"] for publication in publications_in(messages)]


class FilterCase(SynchronousTestCase):
    """A world in which every client may filter."""

    options = ALLOWED

    def setUp(self) -> None:
        self.world = World(options=NodeOptions(ping_interval=-1))
        self.world.policy.subscription = self.options

    def subscribed(self, value: str, **request: Any) -> Peer:
        """Return a client that filters publications by the tag *value*."""
        return self.world.subscribed("c", **equal(value), **request)

    def publish(self, n: int, value: str, **options: Any) -> None:
        self.world.publish("c", n, tags={"k": value}, **options)

    def since(self, offset: int) -> dict[str, Any]:
        """Return the request to recover the publications after *offset*."""
        top = self.world.node.history("c", HistoryQuery())
        epoch = self.successResultOf(top).position.epoch
        return {"recover": True, "offset": offset, "epoch": epoch}


class LiveTests(FilterCase):
    """Live publications."""

    def test_wanted(self) -> None:
        """Clients with a filter get matching publications, the others all."""
        red, blue = self.subscribed("red"), self.subscribed("blue")
        also_red, all_of_them = self.subscribed("red"), self.world.subscribed("c")
        peers = [red, blue, also_red, all_of_them]
        for peer in peers:
            peer.take()
        for n, value in enumerate(["red", "blue", "green", "red"]):
            self.publish(n, value)
        found = [data_of(peer.take()) for peer in peers]
        self.assertEqual(found, [[0, 3], [1], [0, 3], [0, 1, 2, 3]])

    def test_same_frame(self) -> None:
        """A frame is made once for all of a wire, with filters or without."""
        peers = [self.subscribed("red"), self.world.subscribed("c")]
        peers += [self.subscribed("red"), self.world.subscribed("c", tf=OTHER)]
        self.publish(1, "red")
        frames = [peer.transport.frames[-1] for peer in peers]
        for frame in frames:
            self.assertIs(frame, frames[0])

    def test_encodings(self) -> None:
        """Filters work in each encoding, for both at once."""
        clients = [DeltaClient(self.world.node, WIRES[name]()) for name in WIRES_USED]
        for client in clients:
            client.ask(subscribe={"channel": "c", **equal("red")})
        for n, value in enumerate(["red", "blue", "red"]):
            self.publish(n, value)
        found = [data_of(client.take()) for client in clients]
        self.assertEqual(found, [[0, 2], [0, 2], [b"0", b"2"], [b"0", b"2"]])

    def test_left(self) -> None:
        """A client that left gets nothing; others with the same filter still do."""
        one, other = self.subscribed("red"), self.subscribed("red")
        for peer, rest in ((one, [other]), (other, [])):
            peer.ask(unsubscribe={"channel": "c"})
            for each in (one, other):
                each.take()
            self.publish(1, "red")
            self.assertEqual(peer.take(), [])
            self.assertEqual([data_of(each.take()) for each in rest], [[1]] * len(rest))
        self.assertIsNone(self.world.node.hub.channels["c"]._variants)

    def test_counted(self) -> None:
        """Filtered publications are counted per subscriber."""
        for value in ("red", "red", "blue"):
            self.subscribed(value)
        for value in ("red", "green"):
            self.publish(1, value)
        name = "node_tags_filter_dropped_publications"
        counter = self.world.node.metrics.counter(name, channel_namespace="")
        self.assertEqual(counter.value, 1 + 3)

    def test_refused(self) -> None:
        """A filter that is not allowed, or none, is error 107 and leaves nothing."""
        peer = self.world.connected()
        faulty = {"tf": {"key": "k", "cmp": "eq"}}
        reply = peer.one(subscribe={"channel": "c", **faulty})
        self.assertEqual(reply["error"], {"code": 107, "message": "bad request"})
        self.world.policy.subscription = SubscribeOptions()
        reply = peer.one(subscribe={"channel": "c", **equal("red")})
        self.assertEqual(reply["error"]["code"], 107)
        self.assertEqual(self.world.node.hub.num_subscriptions, 0)
        self.assertIn("subscribe", peer.one(subscribe={"channel": "c"}))

    def test_server_side(self) -> None:
        """Subscriptions that the server makes have no filter."""
        self.world.policy.admission = Admission(subs={"c": ALLOWED})
        peer = self.world.open()
        peer.ask(connect={"subs": {"c": equal("red")}})
        self.publish(1, "blue")
        self.assertEqual(data_of(peer.take()), [1])


class PositionTests(FilterCase):
    """A filter hides publications, not gaps."""

    options = RECOVERABLE

    def test_hidden(self) -> None:
        """A publication that the filter drops advances the position."""
        peer = self.subscribed("red")
        peer.take()
        for n in range(1, 7):
            self.publish(n, "red" if n in (1, 5) else "blue", **HISTORY)
        self.assertEqual(data_of(peer.take()), [1, 5])
        self.world.clock.pump([1] * 81)
        self.assertEqual([m for m in peer.take() if m], [])

    def test_recovered(self) -> None:
        """Recovery returns the missed publications that pass the filter."""
        for n in range(1, 7):
            self.publish(n, "red" if n in (3, 5) else "blue", **HISTORY)
        peer = self.world.connected()
        request = {"channel": "c", **equal("red"), **self.since(2)}
        result = peer.one(subscribe=request)["subscribe"]
        self.assertEqual([p["offset"] for p in result["publications"]], [3, 5])
        self.assertEqual((result["recovered"], result["offset"]), (True, 2))
        self.publish(7, "red", **HISTORY)
        self.assertEqual(data_of(peer.take()), [7])

    def test_nothing_wanted(self) -> None:
        """When it wants none, its position stays; nothing is lost."""
        for n in range(1, 5):
            self.publish(n, "blue", **HISTORY)
        peer = self.world.connected()
        request = {"channel": "c", **equal("red"), **self.since(2)}
        result = peer.one(subscribe=request)["subscribe"]
        self.assertTrue(result["recovered"])
        self.assertEqual(result["offset"], 2)
        self.assertNotIn("publications", result)
        self.publish(5, "red", **HISTORY)
        self.assertEqual(data_of(peer.take()), [5])

    def test_gap(self) -> None:
        """A gap is found even if the filter would drop the missing publication."""
        for n in range(1, 5):
            self.publish(n, "blue", history_size=2, history_ttl=60.0)
        peer = self.world.connected()
        request = {"channel": "c", **equal("red"), **self.since(1)}
        result = peer.one(subscribe=request)["subscribe"]
        self.assertNotIn("recovered", result)
        self.assertEqual(result["offset"], 4)


class CacheTests(FilterCase):
    """In cache mode the latest wanted one counts."""

    options = CACHE

    def recovered(self, offset: int) -> tuple[bool, list[Any], int]:
        """Recover; return whether that succeeded, the publications, and the offset."""
        peer = self.world.connected()
        request = {"channel": "c", **equal("red"), **self.since(offset)}
        result = peer.one(subscribe=request)["subscribe"]
        found = [p["data"] for p in result.get("publications", [])]
        return result.get("recovered", False), found, result.get("offset", 0)

    def test_latest(self) -> None:
        """The latest wanted one comes, though hidden ones are newer."""
        for n in range(1, 7):
            self.publish(n, "red" if n in (1, 4) else "blue", **HISTORY)
        self.assertEqual(self.recovered(0), (True, [4], 0))
        self.assertEqual(self.recovered(6), (True, [], 6))

    def test_none(self) -> None:
        """Without any it is as if there were no history."""
        for n in range(1, 4):
            self.publish(n, "blue", **HISTORY)
        self.assertEqual(self.recovered(1), (False, [], 3))
        self.assertEqual(self.recovered(3), (True, [], 3))

    def test_while_reading(self) -> None:
        """Publications that arrive while history is read are filtered, too."""
        self.publish(1, "red", **HISTORY)
        query = HistoryQuery(300, reverse=True)
        read = self.successResultOf(self.world.node.history("c", query))
        request = {"channel": "c", **equal("red"), **self.since(0)}
        waiting = self.world.broker.answers["history"] = Deferred()
        peer = self.world.connected()
        self.assertEqual(peer.ask(subscribe=request), [])
        for n, value in ((2, "red"), (3, "blue")):
            self.publish(n, value, **HISTORY)
        waiting.callback(read)
        (reply,) = peer.take()
        found = [p["data"] for p in reply["subscribe"]["publications"]]
        self.assertEqual(found, [2])
        self.publish(4, "red", **HISTORY)
        self.assertEqual(data_of(peer.take()), [4])

    def test_far_back(self) -> None:
        """It is looked for among as many as a recovery reads."""
        self.publish(1, "red", **HISTORY)
        for n in range(2, 301):
            self.publish(n, "blue", **HISTORY)
        self.assertEqual(self.recovered(0), (True, [1], 0))
        self.publish(301, "blue", **HISTORY)
        self.assertEqual(self.recovered(0), (False, [], 301))

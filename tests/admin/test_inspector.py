"""Information of nodes about themselves, their channels and connections."""

import json
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.admin.measures import LagProbe
from centrifugo_tx.admin.messages import Measures
from centrifugo_tx.admin.samples import INTERVAL, KEPT, SampleRing
from tests.support import Peer

from .admin_session import Page

NO_SAMPLES: dict[str, Any] = {"samples": []}


class InspectorCase(SynchronousTestCase):
    """Asks one node."""

    def setUp(self) -> None:
        self.page = Page()
        self.page.login()
        self.addCleanup(self.page.inspector.stop)

    def subscribed(self, user: str, *channels: str) -> Peer:
        peer = self.page.world.connected(user)
        for channel in channels:
            peer.ask(subscribe={"channel": channel})
        return peer


class NodeTests(InspectorCase):
    """The state of nodes."""

    def test_nodes(self) -> None:
        """A node reports its counts, its use of resources, and sent messages."""
        self.subscribed("ada", "hh:a")
        (node,) = self.page.result("nodes")["nodes"]
        self.assertEqual((node["num_clients"], node["num_channels"]), (1, 1))
        measures = node["measures"]
        self.assertGreater(measures["memory_bytes"], 10_000_000)
        self.assertGreater(measures["cpu_seconds"], 0)
        sent = measures["sent"]
        self.page.world.node.publish("hh:a", b"{}")
        (node,) = self.page.result("nodes")["nodes"]
        self.assertEqual(node["measures"]["sent"], sent + 1)
        self.assertEqual(node["measures"]["published"], 1)

    def test_samples(self) -> None:
        """A node tells what it has measured since it started."""
        self.assertEqual(self.page.result("samples")["nodes"], {self.uid: NO_SAMPLES})
        self.page.inspector.start()
        self.subscribed("ada", "hh:a")
        self.page.world.clock.advance(INTERVAL)
        samples = self.page.result("samples")["nodes"][self.uid]["samples"]
        self.assertEqual([each["num_clients"] for each in samples], [0, 1])
        self.assertEqual(samples[1]["num_subs"], 1)
        self.assertEqual(samples[1]["time"] - samples[0]["time"], INTERVAL)
        self.assertEqual(
            samples[1]["measures"].keys(),
            self.page.result("nodes")["nodes"][0]["measures"].keys(),
        )

    @property
    def uid(self) -> str:
        """The id of the node."""
        return self.page.world.node.id


class SampleTests(SynchronousTestCase):
    """What a node remembers of itself."""

    def setUp(self) -> None:
        self.clock, self.clients = Clock(), 0
        self.lags: list[float] = []
        self.ring = SampleRing(self.clock, lambda: (self.clients, 2), self.measure)
        self.addCleanup(self.ring.stop)

    def measure(self, lag: float) -> Measures:
        """Return measures of nothing, and note the lag."""
        self.lags.append(lag)
        return Measures(
            cpu_seconds=0,
            memory_bytes=0,
            lag_seconds=lag,
            sent=0,
            sent_bytes=0,
            received=0,
            published=0,
        )

    def test_times(self) -> None:
        """Times are multiples of the interval, whenever a node has started."""
        self.clock.advance(1003)
        self.ring.start()
        for self.clients in range(1, 4):
            self.clock.advance(4 if self.clients == 1 else 5)
        found = [(each.time, each.num_clients) for each in self.ring.samples]
        self.assertEqual(found, [(1000, 0), (1005, 1), (1010, 2), (1015, 3)])

    def test_bounded(self) -> None:
        """The oldest go."""
        self.ring.start()
        self.clock.pump([INTERVAL] * (KEPT + 20))
        self.assertEqual(len(self.ring.samples), KEPT)
        self.assertEqual(self.ring.samples[0].time, 21 * INTERVAL)

    def test_hang(self) -> None:
        """A reactor that hung has a sample that says so, and none in between."""
        self.ring.start()
        self.clock.advance(17)
        self.clock.advance(3)
        self.assertEqual([each.time for each in self.ring.samples], [0, 5, 20])
        self.assertEqual(self.lags, [0, 12, 0])

    def test_stop(self) -> None:
        """Nothing stays in the reactor."""
        self.ring.start()
        self.ring.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class LagTests(SynchronousTestCase):
    """How late the reactor is."""

    def test_lag(self) -> None:
        """The greatest lag of the last five seconds is reported."""
        clock = Clock()
        probe = LagProbe(clock)
        self.assertEqual(probe.worst(), 0)
        clock.advance(1.25)
        self.assertAlmostEqual(probe.worst(), 0.25)
        for _ in range(5):
            clock.advance(1)
        self.assertAlmostEqual(probe.worst(), 0)

    def test_unwatched(self) -> None:
        """Ten seconds after the last question nothing is measured any more."""
        clock = Clock()
        probe = LagProbe(clock)
        probe.worst()
        clock.pump([1] * 12)
        self.assertFalse(probe.running)
        self.assertEqual(clock.getDelayedCalls(), [])
        probe.worst()
        self.assertTrue(probe.running)
        probe.stop()
        self.assertEqual(clock.getDelayedCalls(), [])


class ChannelTests(InspectorCase):
    """Pages of channels."""

    def names(self, **request: Any) -> list[str]:
        page = self.page.result("channels", **request)
        return [each["name"] for each in page["channels"]]

    def test_pages(self) -> None:
        """All channels come once, in order, on pages of the asked size."""
        expected = sorted(f"hh:{number}" for number in range(120))
        for start in range(0, 120, 40):
            self.subscribed("u", *expected[start : start + 40])
        found: list[str] = []
        while True:
            page = self.page.result(
                "channels", limit=50, after=found[-1] if found else ""
            )
            found += [each["name"] for each in page["channels"]]
            self.assertEqual(page["matched"], 120)
            if not page["more"]:
                break
            self.assertEqual(len(page["channels"]), 50)
        self.assertEqual(found, expected)

    def test_filter(self) -> None:
        """Channels are found by prefix, by pattern, or by both."""
        self.subscribed("u", "hh:ab", "hh:ac", "jj:ab")
        self.assertEqual(self.names(prefix="hh:"), ["hh:ab", "hh:ac"])
        self.assertEqual(self.names(pattern="*b"), ["hh:ab", "jj:ab"])
        self.assertEqual(self.names(prefix="hh:", pattern="*b"), ["hh:ab"])
        self.assertEqual(self.names(prefix="x"), [])

    def test_counts(self) -> None:
        """Subscribers are counted; a channel that all have left is gone."""
        self.subscribed("u", "hh:a")
        other = self.subscribed("v", "hh:a", "hh:b")
        page = self.page.result("channels")
        counts = {each["name"]: each["num_clients"] for each in page["channels"]}
        self.assertEqual(counts, {"hh:a": 2, "hh:b": 1})
        other.ask(unsubscribe={"channel": "hh:b"})
        self.assertEqual(self.names(), ["hh:a"])

    def test_details(self) -> None:
        """A channel's options and subscribers are reported, even without any."""
        self.subscribed("u", "hh:a")
        found = self.page.result("channel", channel="hh:a")
        self.assertEqual(found["num_clients"], 1)
        self.assertEqual((found["kind"], found["history_size"]), ("stream", 5))
        self.assertTrue(found["presence"])
        found = self.page.result("channel", channel="mm:x")
        self.assertEqual((found["kind"], found["num_clients"]), ("map", 0))

    def test_many(self) -> None:
        """Of 100,000 channels a page is found in slices, and others have their turn."""
        node, clock = self.page.world.node, self.page.world.clock
        for number in range(100_000):
            node.hub.channel(f"hh:{number:06}").subscribers[object()] = None  # type: ignore[index]
        body = json.dumps({"after": "hh:099989", "limit": 50}).encode()
        answer = self.page.send("/admin/channels", body)
        turns = 0
        while not answer.called:
            clock.advance(0.004)
            turns += 1
        # 256 channels between two looks at the clock, 256 of those in a slice.
        self.assertGreaterEqual(turns, 100_000 // (256 * 256))
        page = json.loads(self.successResultOf(answer).body)["result"]
        self.assertEqual((page["matched"], page["more"]), (100_000, False))
        self.assertEqual(len(page["channels"]), 10)


class PresenceTests(InspectorCase):
    """Pages of the connections in a channel."""

    def test_pages(self) -> None:
        """All come once, with users, and can be narrowed to one user."""
        self.page.world.policy.subscription = _present()
        for number in range(12):
            self.subscribed(f"user-{number % 3}", "hh:a")
        seen: list[str] = []
        while True:
            after = seen[-1] if seen else ""
            page = self.page.result("presence", channel="hh:a", limit=5, after=after)
            seen += [each["client"] for each in page["rows"]]
            if not page["more"]:
                break
        self.assertEqual(seen, sorted(set(seen)))
        self.assertEqual(len(seen), 12)
        page = self.page.result("presence", channel="hh:a", user="user-1")
        self.assertEqual((page["matched"], page["total"]), (4, 12))
        self.assertEqual({each["user"] for each in page["rows"]}, {"user-1"})


class ConnectionTests(InspectorCase):
    """Connections."""

    def test_list(self) -> None:
        """Connections are found by user and by the beginning of their id."""
        ada = self.subscribed("ada", "hh:a", "hh:b").client.id
        self.subscribed("grace")
        self.page.world.open()  # has not connected
        page = self.page.result("connections")
        self.assertEqual(page["matched"], 2)
        page = self.page.result("connections", user="ada")
        (row,) = page["connections"]
        self.assertEqual((row["client"], row["num_subs"]), (ada, 2))
        self.assertEqual(row["since"], self.page.world.clock.seconds())
        page = self.page.result("connections", client=ada[:8])
        self.assertEqual([each["client"] for each in page["connections"]], [ada])

    def test_details(self) -> None:
        """A connection is reported with its user, transport and subscriptions."""
        client = self.subscribed("ada", "hh:b", "hh:a").client
        found = self.page.result("connection", client=client.id)
        self.assertEqual((found["user"], found["transport"]), ("ada", "websocket"))
        self.assertEqual(found["protocol"], "json")
        self.assertEqual((found["library"], found["library_version"]), ("", ""))
        self.assertIsNone(found["info"])
        channels = [each["channel"] for each in found["subscriptions"]]
        self.assertEqual(channels, ["hh:a", "hh:b"])

    def test_library(self) -> None:
        """The client's library and address are told, a long name only in part."""
        peer = self.page.world.open()
        peer.transport.peer_address = "192.0.2.1"
        peer.ask(connect={"name": "js" + "x" * 1000, "version": "5.0"})
        found = self.page.result("connection", client=peer.client.id)
        self.assertEqual(found["library"], "js" + "x" * 62)
        self.assertEqual(found["library_version"], "5.0")
        self.assertEqual(found["address"], "192.0.2.1")

    def test_gone(self) -> None:
        """Nothing is reported about an unknown connection."""
        self.assertIsNone(self.page.result("connection", client="nobody"))


def _present() -> Any:
    from centrifugo_tx.options import SubscribeOptions

    return SubscribeOptions(presence=True)

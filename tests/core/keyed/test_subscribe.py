"""Reading of maps by clients, and the replies.

See client protocol, "Maps".
"""

from typing import Any, cast

from attrs import define
from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.errors import ReplyError
from centrifugo_tx.options import MapPage, MapQuery, NodeOptions
from centrifugo_tx.protocol.codes import PERMISSION_DENIED

from ...support import Peer
from .map_world import SMALL, MapWorld, Reader


class MapCase(SynchronousTestCase):
    """One node."""

    def setUp(self) -> None:
        self.world = MapWorld()

    def reader(self, channel: str = "m:a") -> Reader:
        """Return a client that has read nothing yet."""
        return Reader(self.world.connected(), channel)

    def ask(self, peer: Peer, **request: Any) -> Any:
        """Subscribe to ``m:a``; return the result, or the code of the error."""
        defaults = {"channel": "m:a", "type": 1}
        reply, *_ = peer.ask(subscribe={**defaults, **request})
        if "error" in reply:
            return reply["error"]["code"]
        return reply["subscribe"]


class StateTests(MapCase):
    """Reading the state."""

    def test_empty(self) -> None:
        """A map with nothing in it is there at once."""
        result = self.ask(self.world.connected(), phase=2)
        self.assertEqual(set(result), {"type", "epoch", "recoverable"})
        self.assertEqual((result["type"], result["recoverable"]), (1, True))

    def test_one_page(self) -> None:
        """A map of one page is sent in the reply that makes the client live."""
        self.world.fill("m:a", 2)
        result = self.ask(self.world.connected(), phase=2)
        self.assertNotIn("phase", result)
        self.assertEqual([e["key"] for e in result["state"]], ["k0", "k1"])
        self.assertEqual(result["offset"], 2)
        self.assertNotIn("publications", result)

    def test_pages(self) -> None:
        """More comes page by page, each with the position of the first."""
        self.world.fill("m:a", 5)
        reader = self.reader()
        first = reader.step()["subscribe"]
        self.assertEqual((first["phase"], first["cursor"]), (2, "k1"))
        self.world.put("m:a", "k4", "new")
        second = reader.step()["subscribe"]
        self.assertEqual((second["cursor"], second["offset"]), ("k3", 5))
        self.assertEqual(second["epoch"], first["epoch"])
        last = reader.step()["subscribe"]
        self.assertTrue(reader.live)
        self.assertNotIn("state", last)  # k4 is newer than the first page
        self.assertEqual([p["offset"] for p in last["publications"]], [6])
        self.assertEqual(reader.held, self.world.state("m:a"))

    def test_limits(self) -> None:
        """The size of a page is the client's wish within bounds, or the default."""
        self.world.fill("m:a", 9)
        for limit, expected in ((0, 2), (-1, 2), (1, 1), (3, 3), (100, 4)):
            result = self.ask(self.world.connected(), phase=2, limit=limit)
            self.assertEqual(len(result["state"]), expected, limit)

    def test_far_behind(self) -> None:
        """A client more than a page behind at the last page reads the stream first."""
        self.world.fill("m:a", 3)
        reader = self.reader()
        reader.step()
        for number in range(5):
            self.world.put("m:a", f"a{number}", number)
        self.assertNotIn("cursor", reader.step()["subscribe"])
        self.assertFalse(reader.live)
        page = reader.step()["subscribe"]
        self.assertEqual(page["phase"], 1)
        self.assertEqual([p["offset"] for p in page["publications"]], [4, 5])
        self.assertEqual(page["offset"], 5)
        reader.read()
        self.assertEqual(reader.held, self.world.state("m:a"))
        self.assertEqual(reader.offsets, [4, 5, 6, 7, 8])

    def test_already(self) -> None:
        """A client that reads a map, or is live, cannot start to read it."""
        self.world.fill("m:a", 3)
        peer = self.world.connected()
        self.ask(peer, phase=2)
        self.assertEqual(self.ask(peer, phase=2), 105)
        self.world.subscribed("s:a")
        other = self.world.connected()
        self.ask(other, phase=2, limit=4)
        for phase in (0, 1, 2):
            self.assertEqual(self.ask(other, phase=phase), 105)

    def test_not_a_step(self) -> None:
        """A phase that cannot follow is refused, and so is an unknown phase."""
        peer = self.world.connected()
        for code, request in (
            (103, {"phase": 2, "cursor": "k1"}),
            (103, {"phase": 1, "offset": 1, "epoch": "x"}),
            (107, {"phase": 3}),
            (107, {"phase": -1}),
            (112, {}),
        ):
            self.assertEqual(self.ask(peer, **request), code, request)
        self.assertEqual(peer.client.subscriptions, {})

    def test_no_map(self) -> None:
        """A channel that is not a map cannot be read as one, whatever the policy."""
        peer = self.world.connected()
        self.assertEqual(self.ask(peer, channel="s:a", phase=2), 108)
        peer = MapWorld(with_maps=False).connected()
        self.assertEqual(self.ask(peer, phase=2), 108)

    def test_epoch_changes(self) -> None:
        """A map that is recreated between two pages must be read again."""
        self.world.fill("m:a", 3)
        for sent in (True, False):
            peer = self.world.connected()
            first = self.ask(peer, phase=2)
            position = {"epoch": first["epoch"], "offset": first["offset"]}
            maps = self.world.node.maps
            assert maps is not None
            maps.clear("m:a")
            self.world.fill("m:a", 3)
            request = position if sent else {}
            answer = self.ask(peer, phase=2, cursor=first["cursor"], **request)
            self.assertEqual(answer, 112)
            self.assertEqual(peer.client.subscriptions, {})

    def test_too_late(self) -> None:
        """A client that takes more than five seconds is closed when it continues."""
        self.world.fill("m:a", 3)
        peer = self.world.connected()
        first = self.ask(peer, phase=2)
        self.world.clock.advance(5.2)
        request = {"channel": "m:a", "type": 1, "phase": 2, "cursor": first["cursor"]}
        peer.send({"id": 9, "subscribe": request})
        self.assertEqual(peer.closed, 3008)

    def test_given_up(self) -> None:
        """An abandoned read does not count when the client reads another map."""
        self.world.node.runtime.options = NodeOptions(channel_limit=1)
        self.world.fill("m:a", 3)
        peer = self.world.connected()
        self.ask(peer, phase=2)
        self.assertEqual(self.ask(peer, channel="m:b", phase=2), 106)
        self.world.clock.advance(5.2)
        self.assertEqual(self.ask(peer, channel="m:b", phase=2)["type"], 1)
        self.assertEqual(list(peer.client.subscriptions), ["m:b"])

    def test_any_time(self) -> None:
        """The time limit can be off."""
        self.world.policy.rules["m"] = replace(SMALL, catch_up=-1.0)
        self.world.fill("m:a", 3)
        reader = self.reader()
        reader.step()
        self.world.clock.advance(20)
        reader.read()
        self.assertEqual(reader.held, self.world.state("m:a"))

    def test_unsubscribe(self) -> None:
        """A client that stops to read can begin again at once."""
        self.world.fill("m:a", 3)
        peer = self.world.connected()
        self.ask(peer, phase=2)
        self.assertEqual(peer.one(unsubscribe={"channel": "m:a"})["unsubscribe"], {})
        self.assertEqual(self.ask(peer, phase=2)["phase"], 2)

    def test_one_page_at_a_time(self) -> None:
        """A page asked for while another is on its way is refused, and no more."""
        self.world.node.runtime.options = NodeOptions(concurrency=2)
        self.world.fill("m:a", 5)
        peer = self.world.connected()
        first = self.ask(peer, phase=2)
        maps = self.world.node.maps
        assert maps is not None
        real, slow = maps.broker, Slow(Deferred())
        maps.broker = cast("Any", slow)
        going_on = {"channel": "m:a", "type": 1, "phase": 2, "cursor": first["cursor"]}
        self.assertEqual(peer.ask(subscribe=going_on), [])
        self.assertEqual(self.ask(peer, phase=2, cursor=first["cursor"]), 113)
        maps.broker = real
        real.state("m:a", slow.query).chainDeferred(slow.late)
        [reply] = peer.take()
        self.assertEqual(reply["subscribe"]["cursor"], "k3")

    def test_refused(self) -> None:
        """The policy is asked once, and its refusal leaves nothing behind."""
        self.world.fill("m:a", 5)
        reader = self.reader()
        reader.read()
        asked = [call for call, _ in self.world.policy.calls if call == "subscribe"]
        self.assertEqual(len(asked), 1)
        self.world.policy.subscription = ReplyError(PERMISSION_DENIED)
        peer = self.world.connected()
        self.assertEqual(self.ask(peer, phase=2), 103)
        self.assertEqual(peer.client.subscriptions, {})

    def test_malformed(self) -> None:
        """A channel has a name, and one that is not too long."""
        peer = self.world.connected()
        self.assertEqual(self.ask(peer, channel="m:" + "a" * 300, phase=2), 107)
        peer.send({"id": 9, "subscribe": {"type": 1, "phase": 2}})
        self.assertEqual(peer.closed, 3501)


@define(eq=False)
class Slow:
    """A broker whose pages are late."""

    late: "Deferred[MapPage]"
    query: MapQuery = MapQuery()

    def state(self, channel: str, query: MapQuery) -> "Deferred[MapPage]":
        """Return the page that is late."""
        self.query = query
        return self.late

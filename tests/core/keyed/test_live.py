"""Live subscribers of a map (client protocol, "Maps")."""

from typing import Any

from msgspec.structs import replace
from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.core.keyed.maps import Maps
from centrifugo_tx.engines.memory_map_broker import MemoryMapBroker
from centrifugo_tx.errors import BrokerUnavailable
from centrifugo_tx.options import (
    Expiry,
    History,
    HistoryQuery,
    MapChange,
    SubscribeOptions,
)
from centrifugo_tx.protocol.delta import apply as apply_delta
from centrifugo_tx.protocol.payloads import checked

from .map_world import SMALL, STREAMLESS, MapWorld, Reader


class LiveCase(SynchronousTestCase):
    """One node."""

    def setUp(self) -> None:
        self.world = MapWorld()

    def live(self, channel: str = "m:a", **request: Any) -> Reader:
        """Return a client that has the map."""
        reader = Reader(self.world.connected(), channel)
        reader.read()
        return reader


class ChangeTests(LiveCase):
    """Changes reach live subscribers."""

    def test_changes(self) -> None:
        """Keys that are set, set again and removed are sent as such."""
        reader = self.live()
        self.world.put("m:a", "k", 1, tags={"t": "x"})
        self.world.put("m:a", "k", 2)
        self.world.drop("m:a", "k")
        pushes = [message["push"]["pub"] for message in reader.peer.take()]
        epoch = reader.epoch
        self.assertEqual(
            pushes,
            [
                {
                    "key": "k",
                    "data": 1,
                    "offset": 1,
                    "tags": {"t": "x"},
                    "epoch": epoch,
                },
                {"key": "k", "data": 2, "offset": 2},
                {"key": "k", "removed": True, "offset": 3},
            ],
        )

    def test_key_over(self) -> None:
        """An expired key is sent like a removed one."""
        self.world.policy.rules["m"] = replace(SMALL, key_ttl=5.0)
        reader = self.live()
        self.world.put("m:a", "k", 1)
        self.world.clock.pump([1.0] * 7)
        reader.apply_pushes()
        self.assertEqual((reader.held, reader.offsets), ({}, [1, 2]))

    def test_others_hear_nothing(self) -> None:
        """A change reaches only its map's subscribers, and not before the reply."""
        self.world.fill("m:a", 3)
        reader = Reader(self.world.connected(), "m:a")
        reader.step()
        other = self.live("m:b")
        self.world.put("m:a", "k0", 9)
        self.assertEqual(reader.peer.take(), [])
        self.assertEqual(other.peer.take(), [])

    def test_left(self) -> None:
        """A client that left gets nothing, and the channel is removed."""
        reader = self.live()
        reader.peer.ask(unsubscribe={"channel": "m:a"})
        self.world.put("m:a", "k", 1)
        self.assertEqual(reader.peer.take(), [])
        self.world.clock.advance(1.5)
        self.assertEqual(self.world.node.hub.maps, {})

    def test_counted(self) -> None:
        """A map's subscribers count like any, and the channel is known."""
        self.live()
        hub = self.world.node.hub
        self.assertEqual((hub.num_channels, hub.num_subscriptions), (1, 1))
        found = self.successResultOf(self.world.node.channels("m:*"))
        self.assertEqual(found, {"m:a": 1})

    def test_join_and_leave(self) -> None:
        """Observers get the joins and leaves of live subscribers."""
        self.world.policy.subscription = SubscribeOptions(
            join_leave=True, push_join_leave=True
        )
        first = self.live()
        second = self.live()
        first.peer.take()
        second.peer.client.transport_lost()
        kinds = [set(message["push"]) for message in first.peer.take()]
        self.assertEqual(kinds, [{"channel", "leave"}])

    def test_cleared(self) -> None:
        """A cleared map sends all clients back to its first page."""
        for channel in ("m:a", "e:a"):
            reader = self.live(channel)
            maps = self.world.node.maps
            assert maps is not None
            maps.clear(channel)
            [message] = reader.peer.take()
            self.assertEqual(message["push"]["unsubscribe"]["code"], 2500)

    def test_lost_change(self) -> None:
        """A client that misses a change loses its position, and recovers."""
        reader = self.live()
        deaf = self.patch(Maps, "handle_change", lambda *change: None)
        self.world.put("m:a", "k", 1)
        deaf.restore()
        self.world.put("m:a", "l", 2)
        reader.apply_pushes()
        self.assertFalse(reader.live)
        reader.read()
        self.assertEqual(reader.held, {"k": 1, "l": 2})
        self.assertEqual(reader.offsets, [1, 2])

    def test_gap(self) -> None:
        """After a gap, subscribers that missed a change resubscribe, and all without a
        stream.
        """
        readers = [self.live("m:a"), self.live("e:a"), self.live("m:b")]
        deaf = self.patch(Maps, "handle_change", lambda *change: None)
        self.world.put("m:a", "k", 1)
        deaf.restore()
        maps = self.world.node.maps
        assert maps is not None
        maps.handle_gap(["m:a", "e:a", "m:b", "m:none"])
        found = [reader.peer.take() for reader in readers]
        codes = [[each["push"]["unsubscribe"]["code"] for each in f] for f in found]
        self.assertEqual(codes, [[2500], [2500], []])

    def test_storage_away(self) -> None:
        """If the broker refuses, the client gets error 100 and may try again."""
        peer = self.world.connected()
        for channel in ("m:a", "e:a"):
            request = {"channel": channel, "type": 1, "phase": 2}
            away = self.patch(
                MemoryMapBroker,
                "subscribe",
                lambda broker, channel: fail(BrokerUnavailable("away")),
            )
            refused = peer.one(subscribe=request)
            self.assertEqual(refused["error"]["code"], 100)
            self.assertTrue(refused["error"]["temporary"])
            away.restore()
            self.assertIn("subscribe", peer.one(subscribe=request))

    def test_rules(self) -> None:
        """The broker may know how a map is kept, if it is one of this node."""
        maps = self.world.node.maps
        assert maps is not None
        found = [maps.rules(name) for name in ("m:a", "e:a", "s:a", "no:a")]
        self.assertEqual(found, [SMALL, STREAMLESS, None, None])

    def test_kept_while_watched(self) -> None:
        """A map that has subscribers is not forgotten, however quiet it is."""
        self.world.node.runtime.options = replace(
            self.world.node.options, pong_timeout=-1.0
        )
        self.world.policy.rules["m"] = replace(SMALL, meta_ttl=100.0, key_ttl=50.0)
        self.world.policy.rules["e"] = replace(STREAMLESS, meta_ttl=60.0, key_ttl=50.0)
        for channel in ("m:a", "e:a"):
            reader = self.live(channel)
            self.world.put(channel, "k", 1)
            self.world.clock.pump([1.0] * 400)
            reader.apply_pushes()
            self.assertTrue(reader.live)
            self.assertEqual(reader.held, {})

    def test_prolonged(self) -> None:
        """A subscription of a map is prolonged like any."""
        reader = self.live()
        now = int(self.world.clock.seconds())
        self.world.policy.sub_expiry = Expiry(expire_at=now + 60)
        request = {"channel": "m:a", "token": "t"}
        reply = reader.peer.one(sub_refresh=request)
        self.assertEqual(reply["sub_refresh"], {"expires": True, "ttl": 60})

    def test_expiry(self) -> None:
        """The reply says when the subscription must be prolonged."""
        now = int(self.world.clock.seconds())
        self.world.policy.subscription = SubscribeOptions(expire_at=now + 60)
        reader = Reader(self.world.connected(), "m:a")
        result = reader.step()["subscribe"]
        self.assertEqual((result["expires"], result["ttl"]), (True, 60))
        self.world.policy.subscription = SubscribeOptions(expire_at=now - 1)
        reply = Reader(self.world.connected(), "m:a").step()
        self.assertEqual(reply["error"]["code"], 110)


class TransitionTests(LiveCase):
    """Changes while a client becomes live."""

    def slow_stream(self) -> "tuple[Deferred[History], list[History]]":
        """Delay reads of the stream; return the pending calls and their results."""
        maps = self.world.node.maps
        assert maps is not None
        real = maps.broker.stream
        late: Deferred[History] = Deferred()
        found: list[History] = []

        def stream(broker: object, channel: str, query: HistoryQuery) -> Any:
            history = real(channel, query)
            if not query.limit:
                return history
            history.addCallback(found.append)
            return late

        self.patch(type(maps.broker), "stream", stream)
        return late, found

    def test_held_back(self) -> None:
        """Changes that come meanwhile are in the reply, each once."""
        self.world.put("m:a", "k", 1)
        peer = self.world.connected()
        late, found = self.slow_stream()
        request = {"channel": "m:a", "type": 1, "phase": 2}
        self.assertEqual(peer.ask(subscribe=request), [])
        self.world.put("m:a", "l", 2)
        self.assertEqual(peer.take(), [])
        late.callback(found[0])
        [reply] = peer.take()
        result = reply["subscribe"]
        self.assertEqual([p["key"] for p in result["publications"]], ["l"])
        self.assertEqual(result["offset"], 2)
        self.world.put("m:a", "m", 3)
        [push] = peer.take()
        self.assertEqual(push["push"]["pub"]["offset"], 3)

    def test_too_much(self) -> None:
        """More changes than may be caught up at once send the client back."""
        self.world.put("m:a", "k", 1)
        peer = self.world.connected()
        request = {"channel": "m:a", "type": 1, "offset": 1}
        epoch = self.live().epoch
        for number in range(5):
            self.world.put("m:a", "k", number)
        reply = peer.one(subscribe={**request, "epoch": epoch})
        self.assertEqual(reply["error"]["code"], 112)
        reply = peer.one(subscribe={**request, "epoch": epoch, "offset": 2})
        self.assertEqual(len(reply["subscribe"]["publications"]), 4)


class RecoveryTests(LiveCase):
    """Coming back (phase 1 with recover)."""

    def back(self, **request: Any) -> Any:
        """Return the result, or the code of the error."""
        defaults = {"channel": "m:a", "type": 1, "phase": 1, "recover": True}
        reply, *_ = self.world.connected().ask(subscribe={**defaults, **request})
        return reply.get("subscribe") or reply["error"]["code"]

    def test_recovered(self) -> None:
        """A client gets the changes it missed, and the reply says it recovered."""
        reader = self.live()
        self.world.fill("m:a", 2)
        result = self.back(epoch=reader.epoch)
        self.assertTrue(result["recovered"] and result["was_recovering"])
        self.assertEqual([p["offset"] for p in result["publications"]], [1, 2])
        self.assertEqual((result["offset"], result["type"]), (2, 1))
        self.assertNotIn("state", result)

    def test_in_pages(self) -> None:
        """A client that missed many changes reads the stream in pages."""
        reader = self.live()
        self.world.fill("m:a", 7)
        reader.reconnect(self.world.connected())
        self.assertEqual(reader.step()["subscribe"]["phase"], 1)
        reader.read()
        self.assertEqual(reader.offsets, [1, 2, 3, 4, 5, 6, 7])
        self.assertEqual(reader.held, self.world.state("m:a"))

    def test_lost(self) -> None:
        """A client that cannot recover all changes reads the map again."""
        reader = self.live()
        self.world.fill("m:a", 12)
        for request in (
            {"epoch": reader.epoch},  # the stream begins at 3
            {"epoch": reader.epoch, "offset": 13},
            {"epoch": "other", "offset": 12},
            {"offset": 12},
        ):
            self.assertEqual(self.back(**request), 112, request)
        self.world.clock.advance(61)
        self.assertEqual(self.back(epoch=reader.epoch, offset=11), 112)
        self.assertEqual(self.back(epoch=reader.epoch, offset=12)["offset"], 12)

    def test_join(self) -> None:
        """Phase 0 joins from a position, and speaks of no recovery."""
        reader = self.live()
        self.world.put("m:a", "k", 1)
        result = self.back(phase=0, recover=False, epoch=reader.epoch)
        self.assertNotIn("recovered", result)
        self.assertNotIn("was_recovering", result)
        self.assertEqual([p["offset"] for p in result["publications"]], [1])


class StreamlessTests(LiveCase):
    """Maps without a stream."""

    def test_offsets(self) -> None:
        """Nothing has an offset, and nothing can be recovered."""
        self.world.put("e:a", "k", 1)
        reader = Reader(self.world.connected(), "e:a")
        result = reader.step()["subscribe"]
        self.assertEqual(set(result), {"type", "epoch", "state"})
        self.world.put("e:a", "k", 2)
        [push] = reader.peer.take()
        self.assertEqual(push["push"]["pub"], {"key": "k", "data": 2})

    def test_between_pages(self) -> None:
        """Changes between the pages follow the reply with the last page."""
        self.world.fill("e:a", 3)
        reader = Reader(self.world.connected(), "e:a")
        reader.step()
        self.world.drop("e:a", "k0")
        self.world.put("e:a", "k1", "new")
        self.world.put("e:a", "k9", 9)
        self.assertEqual(reader.peer.take(), [])
        reader.read()
        self.assertEqual(reader.held, self.world.state("e:a"))

    def test_too_much_between(self) -> None:
        """More than may be held back sends the client back to the first page."""
        self.world.fill("e:a", 3)
        reader = Reader(self.world.connected(), "e:a")
        reader.step()
        for number in range(5):
            self.world.put("e:a", "k0", number)
        self.assertEqual(reader.step()["error"]["code"], 112)
        reader.read()
        self.assertEqual(reader.held, self.world.state("e:a"))

    def test_late_holds_nothing(self) -> None:
        """Changes are not buffered for a client that exceeds the time limit."""
        self.world.fill("e:a", 3)
        reader = Reader(self.world.connected(), "e:a")
        reader.step()
        self.world.clock.advance(5.2)
        self.assertEqual(self.world.node.hub.num_subscriptions, 0)
        self.assertEqual(self.world.node.hub.num_channels, 0)

    def test_phases(self) -> None:
        """Without a stream, a client joins at once."""
        peer = self.world.connected()
        request = {"channel": "e:a", "type": 1}
        reply = peer.one(subscribe={**request, "phase": 1, "recover": True})
        self.assertEqual(reply["error"]["code"], 107)
        self.assertEqual(peer.one(subscribe=request)["subscribe"], {"type": 1})
        self.world.put("e:a", "k", 1)
        self.assertEqual(peer.take()[0]["push"]["pub"]["key"], "k")


class SpecialTests(LiveCase):
    """Filters, and deltas by key."""

    def test_filter(self) -> None:
        """A filter applies to the state, to missed changes and to live changes."""
        self.world.policy.subscription = SubscribeOptions(tags_filter=True)
        for key, tag in (("a", "x"), ("b", "y"), ("c", "x")):
            self.world.put("m:a", key, 1, tags={"t": tag})
        peer = self.world.connected()
        wanted = {"key": "t", "cmp": "eq", "val": "x"}
        request = {"channel": "m:a", "type": 1, "tf": wanted, "phase": 2}
        first = peer.one(subscribe=request)["subscribe"]
        self.assertEqual([e["key"] for e in first["state"]], ["a"])
        self.world.put("m:a", "d", 1, tags={"t": "y"})
        self.world.put("m:a", "e", 1, tags={"t": "x"})
        del request["tf"]  # the first page's holds
        last = peer.one(subscribe={**request, "cursor": first["cursor"], "limit": 4})
        result = last["subscribe"]
        self.assertEqual([e["key"] for e in result["state"]], ["c"])
        self.assertEqual([p["key"] for p in result["publications"]], ["e"])
        self.assertEqual(result["offset"], 5)
        self.world.put("m:a", "f", 1, tags={"t": "y"})
        self.world.put("m:a", "g", 1, tags={"t": "x"})
        self.assertEqual([m["push"]["pub"]["key"] for m in peer.take()], ["g"])

    def test_filter_refused(self) -> None:
        """A filter needs to be allowed, and to mean something."""
        request = {"channel": "m:a", "type": 1, "phase": 2}
        for allowed, wanted in (
            (False, {"key": "t", "cmp": "eq", "val": "x"}),
            (True, {"key": "t", "cmp": "nope"}),
        ):
            self.world.policy.subscription = SubscribeOptions(tags_filter=allowed)
            peer = self.world.connected()
            reply = peer.one(subscribe={**request, "tf": wanted})
            self.assertEqual(reply["error"]["code"], 107)
            self.assertEqual(peer.client.subscriptions, {})

    def test_delta(self) -> None:
        """Values are strings, and a change is a delta to the key's last value."""
        self.world.policy.subscription = SubscribeOptions(delta_types=("fossil",))
        long = "x" * 60
        self.world.put("m:a", "k", long + "1")
        peer = self.world.connected()
        request = {"channel": "m:a", "type": 1, "phase": 2, "delta": "fossil"}
        result = peer.one(subscribe=request)["subscribe"]
        self.assertTrue(result["delta"])
        base = result["state"][0]["data"]
        self.assertEqual(base, f'"{long}1"')
        self.world.put("m:a", "l", long + "0", delta=True)
        self.world.put("m:a", "k", long + "2", delta=True)
        self.world.drop("m:a", "l")
        whole, changed, removed = (m["push"]["pub"] for m in peer.take())
        self.assertEqual((whole["data"], "delta" in whole), (f'"{long}0"', False))
        self.assertTrue(changed["delta"])
        applied = apply_delta(base.encode(), changed["data"].encode())
        self.assertEqual(applied, f'"{long}2"'.encode())
        self.assertEqual(removed, {"key": "l", "removed": True, "offset": 4})

    def test_delta_recovered(self) -> None:
        """Recovered changes start with a full value for each key."""
        self.world.policy.subscription = SubscribeOptions(delta_types=("fossil",))
        long = "x" * 60
        epoch = self.live().epoch
        for key, number in (("k", 1), ("l", 1), ("k", 2)):
            self.world.put("m:a", key, f"{long}{number}")
        request = {"channel": "m:a", "type": 1, "epoch": epoch, "delta": "fossil"}
        result = self.world.connected().one(subscribe=request)["subscribe"]
        deltas = ["delta" in each for each in result["publications"]]
        self.assertEqual(deltas, [False, False, True])
        base, _, change = (each["data"].encode() for each in result["publications"])
        self.assertEqual(apply_delta(base, change), f'"{long}2"'.encode())

    def test_no_json(self) -> None:
        """A value that a client's encoding cannot carry closes the client only."""
        reader = self.live("e:a")
        maps = self.world.node.maps
        assert maps is not None
        maps.publish("e:a", "k", checked(b"\xff"), MapChange(STREAMLESS))
        self.assertEqual(reader.peer.closed, 3506)

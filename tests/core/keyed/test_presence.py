"""Maps that mirror presence, and keys that are removed with their client."""

from typing import Any

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.options import MapRules, PresenceMaps, SubscribeOptions
from centrifugo_tx.protocol.messages import Raw

from .map_world import STREAMLESS, MapWorld, Reader

FADING = MapRules(key_ttl=60.0, meta_ttl=600.0)


class PresenceTests(SynchronousTestCase):
    """``pc:`` mirrors the clients, ``pu:`` the users."""

    def setUp(self) -> None:
        self.world = MapWorld()
        self.world.policy.rules |= {"pc": FADING, "pu": FADING}
        self.mirror(PresenceMaps("pc:", "pu:"))

    def mirror(self, maps: PresenceMaps) -> None:
        """Let subscribers be mirrored from now on."""
        self.world.policy.subscription = SubscribeOptions(
            presence_maps=maps, info=Raw(b'"in"')
        )

    def watch(self, channel: str) -> Reader:
        """Return a client that has the map, and is not mirrored itself."""
        before = self.world.policy.subscription
        self.world.policy.subscription = SubscribeOptions()
        reader = Reader(self.world.connected(), channel)
        reader.read()
        self.world.policy.subscription = before
        return reader

    def test_clients(self) -> None:
        """Each subscriber is a key, with its public info, until it leaves."""
        watcher = self.watch("pc:s:a")
        peer = self.world.subscribed("s:a", "ada")
        [push] = watcher.peer.take()
        id = peer.client.id
        info = {"user": "ada", "client": id, "chan_info": "in"}
        pub: Any = push["push"]["pub"]
        self.assertEqual((pub["key"], pub["info"]), (id, info))
        self.assertNotIn("data", pub)
        peer.client.transport_lost()
        [push] = watcher.peer.take()
        self.assertTrue(push["push"]["pub"]["removed"])
        self.assertEqual(self.world.state("pc:s:a"), {})

    def test_users(self) -> None:
        """Each user is a key, however many subscribers it is; it goes by itself."""
        watcher = self.watch("pu:s:a")
        first = self.world.subscribed("s:a", "ada")
        second = self.world.subscribed("s:a", "ada")
        self.world.subscribed("s:a")
        [push] = watcher.peer.take()
        self.assertEqual(push["push"]["pub"]["key"], "ada")
        self.assertNotIn("info", push["push"]["pub"])
        first.client.transport_lost()
        second.client.transport_lost()
        self.assertEqual(watcher.peer.take(), [])
        self.assertEqual(self.world.state("pu:s:a"), {"ada": None})
        watcher.peer.transport.frames.clear()
        self.world.clock.pump([1.0] * 65)
        self.assertEqual(self.world.state("pu:s:a"), {})

    def test_renewed(self) -> None:
        """A present client's entry is renewed without a change."""
        self.world.node.runtime.options = replace(
            self.world.node.options, pong_timeout=-1.0
        )
        peer = self.world.subscribed("s:a", "ada")
        self.world.clock.pump([1.0] * 150)
        self.assertEqual(list(self.world.state("pc:s:a")), [peer.client.id])
        self.assertEqual(list(self.world.state("pu:s:a")), ["ada"])
        maps = self.world.node.maps
        assert maps is not None
        self.assertEqual(self.successResultOf(maps.size("pc:s:a")), 1)

    def test_map_subscribers(self) -> None:
        """Subscribers of maps are mirrored when they are live, not before."""
        self.world.fill("m:a", 3)
        reader = Reader(self.world.connected("ada"), "m:a")
        reader.step()
        self.assertEqual(self.world.state("pc:m:a"), {})
        reader.read()
        self.assertEqual(len(self.world.state("pc:m:a")), 1)
        reader.peer.ask(unsubscribe={"channel": "m:a"})
        self.assertEqual(self.world.state("pc:m:a"), {})

    def test_one_kind(self) -> None:
        """Either mirror is of use without the other."""
        self.mirror(PresenceMaps(clients="pc:"))
        self.world.subscribed("s:a", "ada")
        self.mirror(PresenceMaps(users="pu:"))
        self.world.subscribed("s:a", "bob").client.transport_lost()
        self.assertEqual(len(self.world.state("pc:s:a")), 1)
        self.assertEqual(list(self.world.state("pu:s:a")), ["bob"])

    def test_no_map(self) -> None:
        """A mirror that is not a map is ignored."""
        for prefix in ("s:", "no:"):
            self.mirror(PresenceMaps(clients=prefix))
            peer = self.world.subscribed("s:a", "ada")
            peer.client.transport_lost()
        self.assertEqual(self.world.node.hub.maps, {})


class OwnKeyTests(SynchronousTestCase):
    """The key that is a client's id can go with it."""

    def test_removed(self) -> None:
        """It is removed when the client leaves the map, not before."""
        world = MapWorld()
        world.policy.rules["e"] = replace(STREAMLESS, own_keys=True)
        reader = Reader(world.connected(), "e:a")
        reader.read()
        world.put("e:a", reader.peer.client.id, 1)
        world.put("e:a", "other", 2)
        reader.peer.ask(unsubscribe={"channel": "e:a"})
        self.assertEqual(world.state("e:a"), {"other": 2})

    def test_not_live(self) -> None:
        """A client that never became live removes no key."""
        world = MapWorld()
        world.policy.rules["e"] = replace(STREAMLESS, own_keys=True)
        world.fill("e:a", 3)
        reader = Reader(world.connected(), "e:a")
        world.put("e:a", reader.peer.client.id, 1)
        reader.step()
        reader.peer.client.transport_lost()
        self.assertIn(reader.peer.client.id, world.state("e:a"))

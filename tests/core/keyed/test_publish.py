"""Clients that change maps (client protocol, "Maps")."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.errors import ReplyError
from centrifugo_tx.options import MapChange
from centrifugo_tx.protocol.codes import PERMISSION_DENIED
from centrifugo_tx.protocol.messages import ClientInfo

from ...support import cautious
from .map_world import SMALL, MapWorld, Reader


class PublishTests(SynchronousTestCase):
    """The publish command with type 1."""

    def setUp(self) -> None:
        self.world = MapWorld()
        self.peer = self.world.connected("ada")
        self.reader = Reader(self.world.connected(), "m:a")
        self.reader.read()

    def grant(self, key: str, change: MapChange | None = None) -> None:
        """Let clients change the map under *key*."""
        self.world.policy.change = key, change or MapChange(SMALL)

    def publish(self, **request: Any) -> Any:
        """Publish; return the only answer."""
        defaults = {"channel": "m:a", "type": 1, "key": "wish"}
        return self.peer.one(publish={**defaults, **request})

    def test_publish(self) -> None:
        """The policy sets the key, a change has its publisher, the reply is empty."""
        self.grant("k")
        self.assertEqual(self.publish(data={"n": 1})["publish"], {})
        [push] = self.reader.peer.take()
        publication = push["push"]["pub"]
        self.assertEqual((publication["key"], publication["data"]), ("k", {"n": 1}))
        info = {"user": "ada", "client": self.peer.client.id}
        self.assertEqual(publication["info"], info)

    def test_suppressed(self) -> None:
        """Changes that were not made are counted by their reason."""
        self.world.put("m:a", "k", 1)
        self.world.put("m:a", "k", 2, key_mode="if_new")
        self.world.drop("m:a", "none")
        counter = self.world.node.metrics.counter
        for verb, reason in (("publish", "key_exists"), ("remove", "key_not_found")):
            name = f"map_broker_{verb}_suppressed_count"
            found = counter(name, reason=reason, channel_namespace="")
            self.assertEqual(found.value, 1)

    def test_other_publisher(self) -> None:
        """The policy may set the publisher."""
        self.grant("k", MapChange(SMALL, info=ClientInfo("eve", "x")))
        self.publish(data=1)
        [push] = self.reader.peer.take()
        self.assertEqual(push["push"]["pub"]["info"]["user"], "eve")

    def test_remove(self) -> None:
        """A removal deletes the key; removing an unknown key is not an error."""
        self.grant("k")
        self.world.put("m:a", "k", 1)
        self.assertEqual(self.publish(removed=True)["publish"], {})
        self.assertEqual(self.publish(removed=True)["publish"], {})
        self.reader.apply_pushes()
        self.assertEqual((self.reader.held, self.reader.offsets), ({}, [1, 2]))

    def test_refused(self) -> None:
        """The policy refuses, and there must be a key, a channel and maps."""
        self.grant("")
        self.assertEqual(self.publish(data=1)["error"]["code"], 107)
        self.world.policy.change = ReplyError(PERMISSION_DENIED)
        self.assertEqual(self.publish(data=1)["error"]["code"], 103)
        self.grant("k")
        self.peer.send({"id": 9, "publish": {"type": 1, "key": "k", "data": 1}})
        self.assertEqual(self.peer.closed, 3501)

    def test_no_maps(self) -> None:
        """A node without maps has none to change."""
        peer = MapWorld(with_maps=False).connected()
        request = {"type": 1, "channel": "m:a", "key": "k", "data": 1}
        (answer,) = peer.ask(publish=request)
        self.assertEqual(answer["error"]["code"], 108)

    def test_nobody_by_default(self) -> None:
        """A policy that says nothing of maps lets no client change one."""
        self.world.node.policy = cautious()
        self.assertEqual(self.publish(data=1)["error"]["code"], 103)

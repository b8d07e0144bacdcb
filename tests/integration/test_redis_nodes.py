"""Two nodes on one Redis behave as one server: two of ours, or one of each kind.

The mixed clusters need the reference server: ``CENTRIFUGO_REFERENCE`` names its
binary, otherwise they are skipped.
"""

import os
import time
from collections.abc import Callable
from typing import Any
from unittest import SkipTest
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from . import server as servers
from .redis_servers import shared, valkey
from .redis_topologies import ClusterOfSix
from .server import Server, connection_token
from .websocket import WebSocket

#: Seconds that anything may take to come to the other node.
PATIENCE = 60.0


def reference() -> str:
    """Return the path of the reference server."""
    path = os.environ.get("CENTRIFUGO_REFERENCE", "")
    if not path:
        raise SkipTest("CENTRIFUGO_REFERENCE does not name the reference server")
    return path


class ReferenceServer(Server):
    """The reference, as a process of its own."""

    def start(self) -> "Server":
        """Start, and wait until it answers."""
        path = reference()
        with patch.object(servers, "command", lambda config: [path, "-c", str(config)]):
            return super().start()


class Client:
    """A client of one node."""

    def __init__(self, node: Server, user: str) -> None:
        self.websocket = WebSocket(node.port)
        self._last = 0
        self._pushes: list[Any] = []
        self.ask("connect", token=connection_token(user))

    def ask(self, method: str, **request: Any) -> Any:
        """Send a command; return its result."""
        self._last += 1
        self.websocket.send({"id": self._last, method: request})
        while True:
            reply = self.websocket.receive()
            if reply.get("id") == self._last:
                return reply[method]
            self._pushes.append(reply)

    def push(self, kind: str, wanted: Callable[[Any], bool] = bool) -> Any:
        """Return the next push of a kind, passing over others."""
        while True:
            message = self._pushes.pop(0) if self._pushes else self.websocket.receive()
            found = message.get("push", {}).get(kind)
            if found is not None and wanted(found):
                return found

    def close(self) -> None:
        """Close the connection."""
        self.websocket.close()


class TwoNodes(SynchronousTestCase):
    """Two nodes of ours on one Valkey."""

    kinds: tuple[type[Server], type[Server]] = (Server, Server)
    lists = False
    nodes: "tuple[Server, Server] | None" = None

    @classmethod
    def storage(cls) -> dict[str, Any]:
        """Return the options that lead to Redis."""
        return {"address": [shared(valkey()).address]}

    @classmethod
    def setUpClass(cls) -> None:
        """Start both, and wait until they know each other."""
        redis = {
            "prefix": cls.__name__,
            "history_use_lists": cls.lists,
            **cls.storage(),
        }
        channels = {
            "presence": True,
            "join_leave": True,
            "force_push_join_leave": True,
            "history_size": 100,
            "history_ttl": "60s",
            "force_recovery": True,
            "allow_publish_for_subscriber": True,
            "allow_subscribe_for_client": True,
        }
        options: dict[str, Any] = {
            "engine": {"type": "redis", "redis": redis},
            "channel": {
                "without_namespace": channels,
                "namespaces": [{"name": "plain", "allow_subscribe_for_client": True}],
            },
        }
        started: list[Server] = []
        for number, kind in enumerate(cls.kinds):
            node = {"node": {"name": f"node{number}"}}
            server = kind({**options, **node})
            cls.addClassCleanup(server.close)
            started.append(server.start())
        cls.nodes = (started[0], started[1])
        for each in started:
            cls.wait(lambda each=each: len(each.api("info")["nodes"]) == 2)  # type: ignore[misc]

    @staticmethod
    def wait(condition: Callable[[], bool]) -> None:
        """Wait until *condition* holds."""
        until = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < until, "waited in vain"
            time.sleep(0.02)

    def setUp(self) -> None:
        """Name the nodes, and a channel for this test."""
        assert self.nodes is not None
        self.one, self.other = self.nodes
        self.channel = self.id().rpartition(".")[2]

    def client(self, node: Server, user: str) -> Client:
        """Connect."""
        client = Client(node, user)
        self.addCleanup(client.close)
        return client

    def subscribed(self, node: Server, user: str, **request: Any) -> tuple[Client, Any]:
        """Connect and subscribe to the test's channel."""
        client = self.client(node, user)
        return client, client.ask("subscribe", channel=self.channel, **request)

    def publish(self, node: Server, data: Any, **request: Any) -> Any:
        """Publish by the API of one node."""
        return node.api("publish", channel=self.channel, data=data, **request)

    def test_info(self) -> None:
        """Each node knows of both."""
        for node in (self.one, self.other):
            names = {each["name"] for each in node.api("info")["nodes"]}
            self.assertEqual(names, {"node0", "node1"})

    def test_publish(self) -> None:
        """Publications of one node reach both, in the same way."""
        here, first = self.subscribed(self.one, "ada")
        there, second = self.subscribed(self.other, "bob")
        self.assertEqual(first["epoch"], second["epoch"])
        for offset, node in enumerate((self.one, self.other), 1):
            published = self.publish(node, {"t": "ü"}, tags={"k": "v"})
            self.assertEqual(published, {"offset": offset, "epoch": first["epoch"]})
            received = here.push("pub")
            self.assertEqual(received, there.push("pub"))
            self.assertEqual(
                (received["data"], received["offset"], received["tags"]),
                ({"t": "ü"}, offset, {"k": "v"}),
            )

    def test_clients_publish(self) -> None:
        """A client's publication reaches the other node with its info."""
        here, _ = self.subscribed(self.one, "ada")
        there, _ = self.subscribed(self.other, "bob")
        for sender, receiver, user in ((here, there, "ada"), (there, here, "bob")):
            sender.ask("publish", channel=self.channel, data=user)
            received = receiver.push("pub", lambda found, u=user: found["data"] == u)  # type: ignore[misc]
            self.assertEqual(received["info"]["user"], user)

    def test_without_history(self) -> None:
        """Publications of channels without history are received as they are."""
        self.channel = f"plain:{self.channel}"
        here, _ = self.subscribed(self.one, "ada")
        there, _ = self.subscribed(self.other, "bob")
        for node, client in ((self.one, there), (self.other, here)):
            text = f"__p1:1:e__{node.port}"
            self.publish(node, text)
            received = client.push("pub", lambda found, t=text: found["data"] == t)  # type: ignore[misc]
            self.assertNotIn("offset", received)

    def test_history(self) -> None:
        """Both nodes read the same history, and either can remove it."""
        for n in range(4):
            self.publish((self.one, self.other)[n % 2], n)
        for request in ({"limit": -1}, {"limit": 2}, {"limit": 0}):
            here, there = (
                each.api("history", channel=self.channel, **request)
                for each in (self.one, self.other)
            )
            self.assertEqual(here, there)
        self.assertEqual(here["offset"], 4)
        self.one.api("history_remove", channel=self.channel)
        after = self.other.api("history", channel=self.channel, limit=-1)
        self.assertEqual((after["publications"], after["offset"]), ([], 4))
        self.assertEqual(after["epoch"], here["epoch"])

    def test_backward(self) -> None:
        """Both nodes read the same history backwards."""
        for n in range(4):
            self.publish((self.one, self.other)[n % 2], n)
        here, there = (
            each.api("history", channel=self.channel, limit=2, reverse=True)
            for each in (self.one, self.other)
        )
        self.assertEqual(here, there)
        self.assertEqual([each["offset"] for each in here["publications"]], [4, 3])

    def test_recovery(self) -> None:
        """A client recovers on one node publications missed on the other."""
        for origin, target in ((self.one, self.other), (self.other, self.one)):
            _, position = self.subscribed(origin, "ada")
            since = position.get("offset", 0)
            for n in range(3):
                self.publish((self.one, self.other)[n % 2], n)
            _, recovered = self.subscribed(
                target, "ada", recover=True, offset=since, epoch=position["epoch"]
            )
            self.assertTrue(recovered["recovered"])
            self.assertEqual(
                [each["offset"] for each in recovered["publications"]],
                [since + 1, since + 2, since + 3],
            )

    def test_idempotency(self) -> None:
        """A key used on one node counts on the other."""
        for first, second in ((self.one, self.other), (self.other, self.one)):
            key = f"k{first.port}"
            published = self.publish(first, 1, idempotency_key=key)
            self.assertEqual(self.publish(second, 2, idempotency_key=key), published)

    def test_version(self) -> None:
        """A version published on one node counts on the other."""
        self.assertEqual(self.publish(self.one, 1, version=5)["offset"], 1)
        self.assertEqual(self.publish(self.other, 2, version=5)["offset"], 1)
        self.assertEqual(self.publish(self.other, 3, version=6)["offset"], 2)
        self.assertEqual(self.publish(self.one, 4, version=6)["offset"], 2)

    def test_presence(self) -> None:
        """Both nodes see all clients, and all joins and leaves."""
        here, _ = self.subscribed(self.one, "ada")
        there, _ = self.subscribed(self.other, "bob")
        here.push("join", lambda found: found["info"]["user"] == "bob")
        seen = [
            each.api("presence", channel=self.channel)["presence"]
            for each in (self.one, self.other)
        ]
        self.assertEqual(seen[0], seen[1])
        self.assertEqual({each["user"] for each in seen[0].values()}, {"ada", "bob"})
        for node in (self.one, self.other):
            self.assertEqual(
                node.api("presence_stats", channel=self.channel),
                {"num_clients": 2, "num_users": 2},
            )
        here.ask("unsubscribe", channel=self.channel)
        there.push("leave", lambda found: found["info"]["user"] == "ada")
        there.ask("unsubscribe", channel=self.channel)
        self.wait(
            lambda: not self.one.api("presence", channel=self.channel)["presence"]
        )

    def test_channels(self) -> None:
        """Each node counts the subscribers of both."""
        self.subscribed(self.one, "ada")
        self.subscribed(self.other, "bob")
        for node in (self.one, self.other):
            channels = node.api("channels", pattern=self.channel)["channels"]
            self.assertEqual(channels, {self.channel: {"num_clients": 2}})

    def test_commands(self) -> None:
        """Calls on one node reach the clients of the other."""
        for near, far in ((self.one, self.other), (self.other, self.one)):
            client, _ = self.subscribed(far, "ada")
            near.api("unsubscribe", channel=self.channel, user="ada")
            self.assertEqual(client.push("unsubscribe")["code"], 2000)
            near.api("subscribe", channel=self.channel, user="ada")
            self.assertIsNotNone(client.push("subscribe"))
            near.api("disconnect", user="ada")
            self.assertEqual(client.websocket.closing()[0], 3503)
            client = self.client(far, "eve")
            near.api("refresh", user="eve", expired=True)
            self.assertEqual(client.websocket.closing()[0], 3005)


class MixedNodes(TwoNodes):
    """The reference and one of ours on one Valkey."""

    kinds = (ReferenceServer, Server)


class MixedNodesWithLists(MixedNodes):
    """The same, with history in lists."""

    lists = True
    test_backward = None  # type: ignore[assignment]  # lists cannot
    test_version = None  # type: ignore[assignment]


class MixedNodesOnCluster(MixedNodes):
    """The same on a Cluster."""

    @classmethod
    def storage(cls) -> dict[str, Any]:
        """Return the options that lead to the Cluster."""
        reference()
        cluster = ClusterOfSix()
        cls.addClassCleanup(cluster.stop)
        return {"cluster_address": [",".join(each.address for each in cluster.nodes)]}

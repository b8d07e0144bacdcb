"""Two nodes share maps and polled keys on one Redis: two of ours, or one of each kind.

The mixed pairs need the reference server: ``CENTRIFUGO_REFERENCE`` names its binary,
otherwise they are skipped.
"""

import time
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.access.track_signatures import sign
from centrifugo_tx.engines.redis.envelope import decode_publication
from centrifugo_tx.engines.redis.map_envelope import parse_entry
from centrifugo_tx.errors import DecodeError

from .redis_servers import Server as Redis
from .redis_servers import shared, valkey
from .sdk import SDK
from .server import Server, connection_token
from .test_javascript_sdk import node_command
from .test_redis_nodes import PATIENCE, Client, ReferenceServer
from .test_shared_poll import SECRET, Backend

_OPEN = {"allow_subscribe_for_client": True}
_CHANGES = {"allow_publish_for_client": True, "allow_remove_for_client": True}


def namespaces() -> list[dict[str, Any]]:
    """Return namespaces of every kind of map, and one of polled keys."""
    return [
        {
            "name": "map",
            "subscription_type": "map",
            "allowed_delta_types": ["fossil"],
            "map": {"mode": "persistent", **_CHANGES},
            **_OPEN,
        },
        {
            "name": "fading",
            "subscription_type": "map",
            "map": {"mode": "recoverable", "key_ttl": "2s", **_CHANGES},
            **_OPEN,
        },
        {
            "name": "cursors",
            "subscription_type": "map",
            "map": {"mode": "ephemeral", "key_ttl": "2s", **_CHANGES},
            **_OPEN,
        },
        {"name": "room", "map_clients_presence_channel_prefix": "here:", **_OPEN},
        {
            "name": "here",
            "subscription_type": "map_clients",
            "map": {"mode": "recoverable", "key_ttl": "1m"},
            **_OPEN,
        },
        {
            "name": "votes",
            "subscription_type": "shared_poll",
            "shared_poll": {
                "refresh_interval": "60s",
                "mode": "versioned",
                "publish_enabled": True,
            },
            **_OPEN,
        },
    ]


def entries(node: Server, channel: str) -> list[Any]:
    """Return the entries of a map as a node reads it, in the order of their keys."""
    found = node.api("map_read_state", channel=channel, limit=-1).get("entries", [])
    return sorted(found, key=lambda entry: entry["key"])


class TwoNodes(SynchronousTestCase):
    """Two nodes of ours on one Valkey."""

    kinds: tuple[type[Server], type[Server]] = (Server, Server)
    nodes: "tuple[Server, Server] | None" = None
    #: Whether both nodes announce cleared maps.
    announces = True

    @classmethod
    def setUpClass(cls) -> None:
        """Start both, and wait until they know each other."""
        redis = {
            "prefix": f"maps.{cls.__name__}",
            "address": [shared(valkey()).address],
        }
        cls.backend = Backend()
        cls.addClassCleanup(cls.backend.close)
        port = cls.backend.server.server_address[1]
        proxy = {"endpoint": f"http://127.0.0.1:{port}/poll", "timeout": "5s"}
        options: dict[str, Any] = {
            "engine": {"type": "redis", "redis": redis},
            "map_broker": {"type": "redis", "redis": redis},
            "shared_poll": {"hmac_secret_key": SECRET},
            "channel": {
                "proxy": {"shared_poll_refresh": proxy},
                "namespaces": namespaces(),
            },
        }
        started: list[Server] = []
        for number, kind in enumerate(cls.kinds):
            server = kind({**options, "node": {"name": f"node{number}"}})
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
        self.channel = "map:" + self.id().rpartition(".")[2]

    def client(self, node: Server, user: str) -> Client:
        """Connect."""
        client = Client(node, user)
        self.addCleanup(client.close)
        return client

    def subscribed(
        self, node: Server, user: str, kind: int = 1, **request: Any
    ) -> tuple[Client, Any]:
        """Connect and read the test's map to its end."""
        client = self.client(node, user)
        ask = {"channel": self.channel, "type": kind, "phase": 2, **request}
        result = client.ask("subscribe", **ask)
        while result.get("phase"):
            names = ("epoch", "offset", "cursor")
            ask |= {name: result[name] for name in names if name in result}
            if not result.get("cursor"):
                ask |= {"phase": 1, "cursor": ""}
            state = result.get("state", [])
            result = client.ask("subscribe", **ask)
            result["state"] = state + result.get("state", [])
        return client, result

    def put(self, node: Server, key: str, data: Any, **request: Any) -> Any:
        """Set a key over the server API of a node."""
        return node.api(
            "map_publish", channel=self.channel, key=key, data=data, **request
        )

    def both_ways(self) -> list[tuple[Server, Server]]:
        """Return the nodes in both orders."""
        return [(self.one, self.other), (self.other, self.one)]

    def test_publish(self) -> None:
        """A change on one node comes to both, and both read the same map."""
        here, first = self.subscribed(self.one, "ada")
        there, second = self.subscribed(self.other, "bob")
        self.assertEqual(first.get("epoch"), second.get("epoch"))
        for offset, node in enumerate((self.one, self.other), 1):
            done = self.put(node, f"k{offset}", {"t": "ü"}, tags={"k": "v"})
            self.assertEqual(done, {"offset": offset, "epoch": first["epoch"]})
            pub = here.push("pub")
            pub.pop("epoch", None)
            other = there.push("pub")
            other.pop("epoch", None)
            self.assertEqual(pub, other)
            self.assertEqual(pub["data"], {"t": "ü"})
            self.assertEqual((pub["key"], pub["offset"]), (f"k{offset}", offset))
            self.assertEqual(pub["tags"], {"k": "v"})
        self.assertEqual(
            entries(self.one, self.channel), entries(self.other, self.channel)
        )
        reads = [
            each.api("map_read_stream", channel=self.channel, limit=-1)
            for each in (self.one, self.other)
        ]
        self.assertEqual(reads[0], reads[1])
        self.assertEqual(len(reads[0]["entries"]), 2)
        for node in (self.one, self.other):
            stats = node.api("map_stats", channel=self.channel)
            self.assertEqual(stats, {"num_keys": 2})

    def test_clients_change(self) -> None:
        """Changes by a client of one node reach the other."""
        here, _ = self.subscribed(self.one, "ada")
        there, _ = self.subscribed(self.other, "bob")
        for sender, receiver, user in ((here, there, "ada"), (there, here, "bob")):
            ask = {"channel": self.channel, "type": 1, "key": user}
            sender.ask("publish", **ask, data=user)
            pub = receiver.push("pub", lambda found, u=user: found["key"] == u)  # type: ignore[misc]
            self.assertEqual((pub["data"], pub["info"]["user"]), (user, user))
            sender.ask("publish", **ask, removed=True)
            pub = receiver.push("pub", lambda found, u=user: found["key"] == u)  # type: ignore[misc]
            self.assertTrue(pub["removed"])
        self.assertEqual(entries(self.one, self.channel), [])
        self.assertEqual(entries(self.other, self.channel), [])

    def test_suppressed(self) -> None:
        """Idempotency keys, versions and key modes count on both nodes."""
        for number, (near, far) in enumerate(self.both_ways()):
            key = f"k{number}"
            first = self.put(near, key, 1, idempotency_key=key, version=5)
            again = self.put(far, key, 2, idempotency_key=key)
            self.assertEqual(again.pop("suppress_reason"), "idempotency")
            self.assertEqual(again, {**first, "suppressed": True})
            for reason, request in (
                ("version", {"version": 5}),
                ("key_exists", {"key_mode": "if_new"}),
            ):
                done = self.put(far, key, 3, **request)
                self.assertEqual(done["suppress_reason"], reason)
            done = self.put(far, "none", 3, key_mode="if_exists")
            self.assertEqual(done["suppress_reason"], "key_not_found")
            done = self.put(far, key, 4, version=6)
            self.assertNotIn("suppressed", done)

    def test_recovery(self) -> None:
        """A client recovers on one node the changes missed on the other."""
        for near, far in self.both_ways():
            client, result = self.subscribed(near, "ada")
            client.close()
            for n in range(3):
                self.put((self.one, self.other)[n % 2], "k", n)
            client = self.client(far, "ada")
            since = result.get("offset", 0)
            ask = {"phase": 1, "recover": True, "offset": since}
            ask |= {"channel": self.channel, "type": 1, "epoch": result["epoch"]}
            recovered = client.ask("subscribe", **ask)
            self.assertTrue(recovered["recovered"])
            found = [each["offset"] for each in recovered["publications"]]
            self.assertEqual(found, [since + 1, since + 2, since + 3])
            client.close()

    def test_expiry(self) -> None:
        """A key goes once, whichever node looks, and both tell so once."""
        for name in ("fading", "cursors"):
            self.channel = f"{name}:{self.id()}"
            clients = [self.subscribed(node, "ada")[0] for node in self.both_ways()[0]]
            self.put(self.one, "a", 1)
            self.put(self.other, "b", 1)
            for client in clients:
                gone = {client.push("pub", _is_removal)["key"] for _ in range(2)}
                self.assertEqual(gone, {"a", "b"})
            self.put(self.one, "mark", 1)
            for client in clients:
                self.assertEqual(client.push("pub")["key"], "mark")
            for client in clients:
                client.close()
        self.channel = f"fading:{self.id()}"
        stream = self.one.api("map_read_stream", channel=self.channel, limit=-1)
        removed = [each["key"] for each in stream["entries"] if each.get("removed")]
        self.assertEqual(sorted(key for key in removed if key != "mark"), ["a", "b"])

    def test_renewed(self) -> None:
        """A key that the other node publishes again stays."""
        self.channel = f"fading:{self.id()}"
        client, _ = self.subscribed(self.one, "ada")
        began = time.monotonic()
        turn = 0
        while time.monotonic() < began + 3:  # the time to live is over twice by then
            self.put((self.one, self.other)[turn % 2], "a", turn)
            push = client.push("pub")
            self.assertEqual((push.get("removed"), push["data"]), (None, turn))
            turn += 1
            time.sleep(0.1)
        self.assertTrue(client.push("pub")["removed"])

    def test_pages(self) -> None:
        """A map of many pages is had in full on either node."""
        text = "x" * 100
        for number in range(450):
            self.put((self.one, self.other)[number % 2], f"k{number}", text)
        expected = {f"k{number}" for number in range(450)}
        for node in (self.one, self.other):
            client, result = self.subscribed(node, "ada", limit=100)
            self.assertEqual({each["key"] for each in result["state"]}, expected)
            client.close()
            self.assertEqual(len(entries(node, self.channel)), 450)

    def test_clear(self) -> None:
        """A cleared map starts again for the subscribers of both."""
        for near, far in self.both_ways():
            self.put(near, "a", 1)
            here, _ = self.subscribed(near, "ada")
            there, _ = self.subscribed(far, "bob")
            near.api("map_clear", channel=self.channel)
            self.assertEqual(entries(far, self.channel), [])
            if not self.announces:
                self.put(near, "b", 1)
            for client in (here, there):
                self.assertEqual(client.push("unsubscribe")["code"], 2500)

    def test_presence(self) -> None:
        """Clients in a channel on one node are in the map of clients on the other."""
        name = f"room:{self.id()}"
        self.channel = f"here:{name}"
        for near, far in self.both_ways():
            watcher, _ = self.subscribed(far, "eve", kind=2)
            client = self.client(near, "ada")
            client.ask("subscribe", channel=name)
            came = watcher.push("pub")
            self.assertEqual(
                (came["key"], came["info"]["user"]),
                (
                    came["info"]["client"],
                    "ada",
                ),
            )
            client.ask("unsubscribe", channel=name)
            gone = watcher.push("pub")
            self.assertEqual((gone["key"], gone["removed"]), (came["key"], True))

    def test_delta(self) -> None:
        """With deltas centrifuge-js on one node has the values of the other."""
        long = "x" * 200
        for near, far in self.both_ways():
            sdk = SDK(node_command("maps.mjs", "json"))
            self.addCleanup(sdk.close)
            self.put(near, "a", long)
            token = connection_token("ada")
            sdk.order("connect", client="ada", url=far.url, token=token)
            sdk.expect("connected", client="ada")
            ask = {"client": "ada", "channel": self.channel}
            sdk.order("subscribe", **ask, delta=True)
            told = sdk.expect("sync", **ask)
            self.assertEqual(told["entries"][0]["data"], long)
            for end in "123":
                self.put(near, "a", long + end, delta=True)
                sdk.expect("update", client="ada", key="a", data=long + end)
            near.api("map_remove", channel=self.channel, key="a")
            sdk.expect("update", client="ada", key="a", removed=True)

    def test_lost_connection(self) -> None:
        """Changes while a node was deaf are not missed."""
        sdk = SDK(node_command("maps.mjs", "json"))
        self.addCleanup(sdk.close)
        token = connection_token("ada")
        sdk.order("connect", client="ada", url=self.other.url, token=token)
        sdk.expect("connected", client="ada")
        sdk.order("subscribe", client="ada", channel=self.channel)
        sdk.expect("sync", client="ada", channel=self.channel)
        for number in range(3):
            shared(valkey()).call("CLIENT", "KILL", "TYPE", "pubsub")
            self.put(self.one, "k", number)
            sdk.expect("update", client="ada", key="k", data=number)

    def test_polled_key(self) -> None:
        """A polled key published on one node is pushed on the other."""
        self.channel = f"votes:{self.id()}"
        for version, (near, far) in enumerate(self.both_ways(), 1):
            client = self.client(far, "ada")
            client.ask("subscribe", channel=self.channel, type=4)
            iat = str(int(time.time()))
            made = sign(SECRET, self.channel, "ada", ("k",), iat, "0")
            signature = f"{iat}:0:{made}"
            batch = {"signature": signature, "items": [{"key": "k"}]}
            client.ask("sub_refresh", channel=self.channel, type=1, track=[batch])
            near.api(
                "shared_poll_publish",
                **{"channel": self.channel, "key": "k"},
                **{"data": {"up": version}, "version": version},
            )
            pub = client.push("pub")
            expected = {"data": {"up": version}, "key": "k", "version": version}
            self.assertEqual(pub, expected)


def _is_removal(publication: Any) -> bool:
    return bool(publication.get("removed"))


class MixedNodes(TwoNodes):
    """The reference and one of ours on one Valkey."""

    kinds = (ReferenceServer, Server)
    announces = False
    #: The reference notices missed changes only at the next change or check.
    test_lost_connection = None  # type: ignore[assignment]


class SameBytes(SynchronousTestCase):
    """The reference and one of ours do the same, each under a prefix of its own."""

    def test_keys(self) -> None:
        """They leave the same keys, except for epochs and times."""
        left = [self.left_by(kind) for kind in (ReferenceServer, Server)]
        self.assertEqual(left[0], left[1])
        self.assertGreater(len(left[0]), 10)

    def left_by(self, kind: type[Server]) -> dict[str, Any]:
        """Return the contents of Redis after a server."""
        redis = shared(valkey())
        prefix = f"same.{kind.__name__}"
        maps = namespaces()[:3]
        for each in maps[1:]:
            each["map"]["key_ttl"] = "60s"
        storage = {"address": [redis.address], "prefix": prefix}
        server = kind(
            {
                "map_broker": {"type": "redis", "redis": storage},
                "channel": {"namespaces": maps},
            }
        )
        self.addCleanup(server.close)
        server.start()
        for channel in ("map:a", "fading:a", "cursors:a"):

            def put(key: str, channel: str = channel, **request: Any) -> None:
                server.api("map_publish", channel=channel, key=key, **request)

            put("k1", data={"t": 21}, tags={"a": "b"})
            put("k1", data={"t": 22}, delta=True)
            put("k2", data=1)
            server.api("map_remove", channel=channel, key="k2")
            if channel != "cursors:a":
                put("k3", data=1, version=7, version_epoch="q", idempotency_key="i")
        names = sorted(name.decode() for name in redis.call("KEYS", f"{prefix}*"))
        return {name.removeprefix(prefix): self.shape(redis, name) for name in names}

    def shape(self, redis: Redis, name: str) -> Any:
        """Return the value of a key, and its approximate TTL in units of 10 s."""
        reads = {
            "hash": ("HGETALL", name),
            "stream": ("XRANGE", name, "-", "+"),
            "zset": ("ZRANGE", name, 0, -1),
        }
        kind = redis.call("TYPE", name)
        held = redis.call(*reads[kind if isinstance(kind, str) else kind.decode()])
        return round(redis.call("PTTL", name) / 10_000), _plain(held)


def _plain(held: Any) -> Any:
    """Return the contents of Redis without epochs and times."""
    if isinstance(held, list):
        return [_plain(each) for each in held]
    for parse in (parse_entry, decode_publication):
        try:
            entry = parse(held)
        except DecodeError:
            continue
        if entry.time:
            return replace(entry, time=0, epoch="")
    is_epoch = len(held) == 8 and held.isalpha()
    return "new" if is_epoch or (held.isdigit() and len(held) == 13) else held

"""Maps and polled keys, as all workers of one node share them."""

import time
from typing import Any

from centrifugo_tx.access.track_signatures import sign

from .redis_servers import shared, valkey
from .server import Server
from .test_redis_nodes import Client
from .test_shared_poll import SECRET, Backend
from .test_workers import MANY, WorkersCase


class MapWorkers(WorkersCase):
    """Two workers, each with clients that have the same map."""

    def setUp(self) -> None:
        """Make a backend for polled keys."""
        valkey()  # or this is skipped
        backend = Backend()
        self.addCleanup(backend.close)
        port = backend.server.server_address[1]
        proxy = {"endpoint": f"http://127.0.0.1:{port}/poll", "timeout": "5s"}
        poll = {"mode": "versioned", "publish_enabled": True, "refresh_interval": "60s"}
        common = {"allow_subscribe_for_client": True}
        keyed: dict[str, Any] = {"mode": "recoverable", "key_ttl": "2s"}
        self.options = {
            "shared_poll": {"hmac_secret_key": SECRET},
            "channel": {
                "proxy": {"shared_poll_refresh": proxy},
                "namespaces": [
                    {"name": "map", "subscription_type": "map", "map": keyed, **common},
                    {
                        "name": "votes",
                        "subscription_type": "shared_poll",
                        "shared_poll": poll,
                        **common,
                    },
                ],
            },
        }

    def members(self, server: Server) -> list[Client]:
        """Return clients of both workers."""
        clients = [Client(server, f"u{number}") for number in range(MANY)]
        for client in clients:
            self.addCleanup(client.close)
        self.assertTrue(all(self.counts(server)))
        return clients

    def check(self, server: Server) -> None:
        """See that changes reach all clients, once each, and so does their end."""
        clients = self.members(server)
        for client in clients:
            client.ask("subscribe", channel="map:a", type=1, phase=2)
        for number in range(6):
            server.api("map_publish", channel="map:a", key=f"k{number}", data=number)
        for client in clients:
            got = [client.push("pub")["data"] for _ in range(6)]
            self.assertEqual(got, list(range(6)))
        late = Client(server, "late")
        self.addCleanup(late.close)
        result = late.ask("subscribe", channel="map:a", type=1, phase=2)
        self.assertEqual(len(result["state"]), 6)
        for client in clients:
            gone = [client.push("pub") for _ in range(6)]
            self.assertTrue(all(each["removed"] for each in gone))
            self.assertEqual(len({each["key"] for each in gone}), 6)

    def test_private_valkey(self) -> None:
        """With everything in memory the workers share maps."""
        server = self.serve(**self.options)
        self.check(server)
        self.assertEqual(server.complaints(), [])

    def test_beside_redis(self) -> None:
        """With the Redis engine, maps in memory are shared by the node's workers."""
        redis = {"address": shared(valkey()).address, "prefix": "map-workers"}
        engine = {"type": "redis", "redis": redis}
        server = self.serve(**self.options, engine=engine)
        self.check(server)
        self.assertIn("map_broker.type: maps are kept in memory", server.log())
        keys = shared(valkey()).call("KEYS", "map-workers:state:*")
        self.assertEqual(keys, [])

    def test_polled_key(self) -> None:
        """A polled key that is published reaches the clients of both workers."""
        server = self.serve(**self.options)
        clients = self.members(server)
        iat = str(int(time.time()))
        for number, client in enumerate(clients):
            client.ask("subscribe", channel="votes:a", type=4)
            made = sign(SECRET, "votes:a", f"u{number}", ("k",), iat, "0")
            batch = {"signature": f"{iat}:0:{made}", "items": [{"key": "k"}]}
            client.ask("sub_refresh", channel="votes:a", type=1, track=[batch])
        for version in range(1, 5):
            server.api(
                "shared_poll_publish",
                **{"channel": "votes:a", "key": "k", "data": version},
                version=version,
            )
        for client in clients:
            got = [client.push("pub")["version"] for _ in range(4)]
            self.assertEqual(got, [1, 2, 3, 4])

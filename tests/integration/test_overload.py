"""A server with too much memory serves its clients, and admits no others."""

import json
import threading
from http.client import HTTPConnection

from twisted.trial.unittest import SynchronousTestCase

from .server import PATIENCE, Server, connection_token
from .websocket import WebSocket

MIB = 1024 * 1024
UPGRADE = {
    **{"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"},
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


class OverloadTests(SynchronousTestCase):
    """History fills the memory, and goes again."""

    def setUp(self) -> None:
        history = {"history_size": 1000, "history_ttl": "10m"}
        self.server = Server(
            {
                "overload": {"max_memory": 220 * MIB, "retry_after": "2s"},
                "channel": {
                    "without_namespace": {
                        **{"allow_subscribe_for_client": True},
                        **history,
                    }
                },
            }
        )
        self.addCleanup(self.server.close)
        self.server.start()

    def handshake(self) -> tuple[int, int]:
        """Try to open a WebSocket; return the status and ``Retry-After``, or 0."""
        connection = HTTPConnection("127.0.0.1", self.server.port, timeout=PATIENCE)
        try:
            connection.request("GET", "/connection/websocket", headers=UPGRADE)
            response = connection.getresponse()
            return response.status, int(response.headers.get("Retry-After", 0))
        finally:
            connection.close()

    def health(self) -> dict[str, str]:
        """Return the response of the health endpoint."""
        status, body = self.server.request("GET", "/health")
        self.assertEqual(status, 200)
        found: dict[str, str] = json.loads(body)
        return found

    def wait_for_health(self, expected: dict[str, str]) -> None:
        """Wait until the health endpoint says so."""
        for _ in range(600):
            if self.health() == expected:
                return
            threading.Event().wait(0.1)
        self.fail(f"the health is {self.health()}")

    def test_memory(self) -> None:
        """503 with a time for new clients; the others, and the API, are served."""
        client = WebSocket(self.server.port)
        self.addCleanup(client.close)
        client.ask({"id": 1, "connect": {"token": connection_token("u")}})
        client.ask({"id": 2, "subscribe": {"channel": "news"}})
        self.assertEqual(self.handshake(), (101, 0))

        for _ in range(200):
            self.server.api("publish", channel="big", data="x" * MIB)
        self.wait_for_health({"overloaded": "memory"})
        status, seconds = self.handshake()
        self.assertEqual(status, 503)
        self.assertIn(seconds, range(2, 7))
        self.server.api("publish", channel="news", data="still here")
        push = client.receive()
        while "push" not in push:
            push = client.receive()
        self.assertEqual(push["push"]["pub"]["data"], "still here")

        self.server.api("history_remove", channel="big")
        self.wait_for_health({})
        self.assertEqual(self.handshake(), (101, 0))
        said = [line for line in self.server.log().splitlines() if "overload" in line]
        self.assertEqual(len(said), 2, said)
        self.assertEqual(json.loads(said[1])["refused"], 1)

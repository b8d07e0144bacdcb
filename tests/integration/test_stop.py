"""How a server ends, and what its clients make of it."""

import signal
import socket
import sys
import time
from typing import Any
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from .sdk import SDK
from .server import API_KEY, Server, connection_token
from .test_python_sdk import PYTHON_SDK
from .websocket import WebSocket

#: Clients that are connected when the server ends.
MANY = 200

_OPTIONS: dict[str, Any] = {
    "client": {"allow_anonymous_connect_without_token": True},
    "channel": {
        "without_namespace": {
            "allow_subscribe_for_client": True,
            "force_recovery": True,
            "history_size": 10,
            "history_ttl": "60s",
        }
    },
}


class GracefulStopTests(SynchronousTestCase):
    """An operator's SIGTERM or SIGINT ends the server in an orderly way."""

    def setUp(self) -> None:
        self.server = Server(_OPTIONS).start()
        self.addCleanup(self.server.close)

    def test_clients_are_told(self) -> None:
        """SIGTERM closes each client with 3001 "shutdown"; the exit code is 0."""
        clients = [WebSocket(self.server.port) for _ in range(MANY)]
        for client in clients:
            self.addCleanup(client.close)
            self.assertIn("connect", client.ask({"id": 1, "connect": {}}))
        self.server.signal(signal.SIGTERM)
        for client in clients:
            self.assertEqual(client.closing(), (3001, "shutdown"))
        self.assertEqual(self.server.wait(), 0)
        self.assertEqual(self.server.complaints(), [])

    def test_nobody_there(self) -> None:
        """SIGINT ends a server without clients at once, with exit code 0."""
        self.server.signal(signal.SIGINT)
        self.assertEqual(self.server.wait(), 0)

    def test_second_signal(self) -> None:
        """Signals during the stop change nothing about it."""
        client = WebSocket(self.server.port)
        client.ask({"id": 1, "connect": {}})
        for _ in range(3):
            self.server.signal(signal.SIGTERM)
        self.assertEqual(client.closing(), (3001, "shutdown"))
        self.assertEqual(self.server.wait(), 0)
        self.assertEqual(self.server.complaints(), [])

    def test_silent_client(self) -> None:
        """A client that answers nothing does not delay the stop until its timeout."""
        client = WebSocket(self.server.port)
        self.addCleanup(client.close)
        client.ask({"id": 1, "connect": {}})
        self.server.signal(signal.SIGTERM)
        self.assertEqual(self.server.wait(), 0)
        self.assertNotIn("timeout", self.server.log())

    def test_no_new_connections(self) -> None:
        """After the signal no new client is admitted."""
        client = WebSocket(self.server.port)
        client.ask({"id": 1, "connect": {}})
        self.server.signal(signal.SIGTERM)
        client.receive_frame()  # the close frame; it stays unanswered for now
        with self.assertRaises((OSError, EOFError)):
            WebSocket(self.server.port).ask({"id": 1, "connect": {}})
        client.close()
        self.assertEqual(self.server.wait(), 0)

    def test_running_request(self) -> None:
        """A request that was begun before the stop is still answered."""
        head = f"POST /api/info HTTP/1.1\r\nHost: a\r\nX-API-Key: {API_KEY}\r\n"
        with socket.create_connection(("127.0.0.1", self.server.port)) as caller:
            caller.sendall(f"{head}Content-Length: 2\r\n\r\n{{".encode())
            self.server.api("info")  # so the first one has been read
            self.server.signal(signal.SIGTERM)
            caller.settimeout(60)
            caller.sendall(b"}")
            self.assertIn(b"HTTP/1.1 200 ", caller.recv(4096))
            self.assertEqual(self.server.wait(), 0)
        self.assertEqual(self.server.complaints(), [])


class ComingBackTests(SynchronousTestCase):
    """Clients of the official library return when the server does."""

    def setUp(self) -> None:
        self.server = Server(_OPTIONS).start()
        self.addCleanup(self.server.close)
        self.sdk = SDK(PYTHON_SDK)
        self.addCleanup(self.sdk.close)
        self.clients = [f"c{number}" for number in range(MANY)]
        for client in self.clients:
            token = connection_token(client)
            self.sdk.order("connect", client=client, url=self.server.url, token=token)
            self.sdk.order("subscribe", client=client, channel="news")
        self.expect_all("subscribed")

    def expect_all(self, event: str, **fields: Any) -> None:
        """Wait until it has happened to every client."""
        for client in self.clients:
            self.sdk.expect(event, client=client, **fields)

    def publish(self) -> None:
        """Publish, and wait until all clients have it."""
        self.server.api("publish", channel="news", data={"at": time.time()})
        self.expect_all("publication")

    def test_after_a_stop(self) -> None:
        """After a graceful stop and a new start all clients are there again."""
        self.publish()
        self.assertEqual(self.server.stop(), 0)
        self.expect_all("connecting", code=3001, reason="shutdown")
        self.server.start()
        self.expect_all("subscribed", was_recovering=True, recovered=False)
        self.publish()
        self.assertEqual(self.sdk.pending("disconnected"), [])
        self.assertEqual(self.server.complaints(), [])

    def test_after_a_crash(self) -> None:
        """After kill -9 and a new start all clients are there again."""
        self.publish()
        self.server.kill()
        self.expect_all("subscribing", code=1)
        self.server.start()
        self.expect_all("subscribed", was_recovering=True, recovered=False)
        self.publish()
        self.assertEqual(self.sdk.pending("disconnected"), [])
        self.assertEqual(self.server.complaints(), [])


@skipUnless(sys.platform == "linux", "reads /proc")
class CrowdTests(SynchronousTestCase):
    """Clients that come and go leave nothing behind."""

    def test_descriptors(self) -> None:
        """When all clients have left, the server has as many files open as before."""
        server = Server(_OPTIONS).start()
        self.addCleanup(server.close)
        before = server.open_files()
        for _ in range(3):
            clients = [WebSocket(server.port) for _ in range(MANY)]
            for client in clients:
                client.ask({"id": 1, "connect": {}})
            for client in clients:
                client.close()
        while server.api("info")["nodes"][0].get("num_clients", 0):
            pass
        self.assertLessEqual(server.open_files(), before + 2)
        self.assertEqual(server.complaints(), [])

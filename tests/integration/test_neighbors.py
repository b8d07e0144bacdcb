"""The effect of an abusive client on others."""

import json
import resource
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from .server import Server, shared_server
from .websocket import PING, WebSocket, frame

_OPTIONS: dict[str, Any] = {
    "client": {
        "allow_anonymous_connect_without_token": True,
        "ping_interval": "600s",
    },
    "channel": {
        "without_namespace": {
            "allow_subscribe_for_client": True,
            "allow_subscribe_for_anonymous": True,
            "history_size": 100,
            "history_ttl": "600s",
            "force_recovery": True,
            "allow_history_for_client": True,
            "allow_history_for_anonymous": True,
        }
    },
}

#: MB by which the server may grow.  Each attack asks for more than a gigabyte.
GROWTH = 100
#: Seconds in which a neighbor is answered, however slow the machine is.
PATIENCE = 30.0


def histories(count: int) -> list[dict[str, Any]]:
    """Return commands that read all there is."""
    return [
        {"id": id, "history": {"channel": "a", "limit": 100}}
        for id in range(2, count + 2)
    ]


def recoveries(count: int) -> list[dict[str, Any]]:
    """Return commands that subscribe with recovery and unsubscribe."""
    commands: list[dict[str, Any]] = []
    for id in range(2, 2 * count + 2, 2):
        request = {"channel": "a", "recover": True, "offset": 0}
        commands.append({"id": id, "subscribe": request})
        commands.append({"id": id + 1, "unsubscribe": {"channel": "a"}})
    return commands


def packed(commands: list[dict[str, Any]]) -> bytes:
    """Return one message with these commands."""
    return frame(
        b"\n".join(json.dumps(c, separators=(",", ":")).encode() for c in commands)
    )


class NeighborTests(SynchronousTestCase):
    """The server has a channel with 100 publications of 50 kB."""

    server: Server

    def setUp(self) -> None:
        self.server = shared_server("neighbors", _OPTIONS)
        self.server.api("history_remove", channel="a")
        self.fill(50_000)
        self.neighbor = self.connected()

    def fill(self, size: int) -> None:
        for _ in range(100):
            self.server.api("publish", channel="a", data="x" * size)

    def connected(self) -> WebSocket:
        """Return a new connection that has connected."""
        client = WebSocket(self.server.port)
        client.ask({"id": 1, "connect": {}})
        self.addCleanup(client.close)
        return client

    def resident(self) -> float:
        """Return the server's resident memory in MB."""
        pages = int(Path(f"/proc/{self.server.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 1e6

    def check(self, attack: Callable[[], None]) -> None:
        """Attack; check the neighbor's replies, and the server's memory."""
        over = threading.Event()

        def run() -> None:
            try:
                attack()
            finally:
                over.set()

        before = self.resident()
        thread = threading.Thread(target=run)
        thread.start()
        peak, longest, answers = before, 0.0, 0
        while not over.is_set() or answers < 20:
            began = time.monotonic()
            request = {"channel": "b", "limit": 1}
            reply = self.neighbor.ask({"id": 2, "history": request})
            self.assertEqual(reply["id"], 2)
            longest = max(longest, time.monotonic() - began)
            peak = max(peak, self.resident())
            answers += 1
            time.sleep(0.005)
        thread.join()
        self.assertLess(peak - before, GROWTH)
        self.assertLess(longest, PATIENCE)

    def unread(self, *messages: bytes) -> None:
        """Send messages, and read nothing."""
        attacker = self.connected()
        try:
            for message in messages:
                attacker.send_bytes(message)
        except OSError:  # the server has had enough
            pass
        threading.Event().wait(0.5)  # so long the answers would pile up
        attacker.close()

    def test_history(self) -> None:
        """One message of 10 kB that asks for 1 GB of history."""
        self.check(lambda: self.unread(packed(histories(200))))

    def test_smaller_history(self) -> None:
        """The same with replies that are small enough for a queue."""
        self.fill(5_000)
        self.check(lambda: self.unread(packed(histories(800))))

    def test_recovery(self) -> None:
        """One message that recovers 1 GB."""
        self.check(lambda: self.unread(packed(recoveries(200))))

    def test_smaller_recovery(self) -> None:
        """The same with replies that are small enough for a queue."""
        self.fill(5_000)
        self.check(lambda: self.unread(packed(recoveries(400))))

    def test_many_messages(self) -> None:
        """Twenty messages of 898 commands each."""
        self.fill(5_000)
        self.check(lambda: self.unread(*[packed(histories(898))] * 20))

    def test_pings(self) -> None:
        """Pings whose answers are not read."""
        pings = frame(b"x" * 125, 0x80 | PING) * 1000
        self.check(lambda: self.unread(*[pings] * 100))

    def test_told(self) -> None:
        """A client that requests more than its queue holds gets 3008."""
        greedy = self.connected()
        greedy.send_bytes(packed(histories(1)))
        self.assertEqual(greedy.closing(), (3008, "slow"))

    def test_many_small_replies(self) -> None:
        """A client that reads is served to the end, in order, beside the others."""
        request = {"channel": "b", "limit": 1}
        commands = [{"id": id, "history": request} for id in range(2, 902)]
        found: list[int] = []

        def ask() -> None:
            client = self.connected()
            for _ in range(5):
                client.send_bytes(packed(commands))
            found.extend(client.receive()["id"] for _ in range(5 * len(commands)))

        self.check(ask)
        self.assertEqual(found, [*range(2, 902)] * 5)

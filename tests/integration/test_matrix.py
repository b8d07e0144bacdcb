"""Each version, encoding, transport and operation: {v1, v2} x {JSON, Protobuf} x …"""

import json
import time
from collections.abc import Callable
from itertools import product
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from .raw_clients import CODECS, Client, open_client
from .sdk_contract import OPTIONS
from .server import connection_token, shared_server

_VERSIONS = ("v1", "v2")
_ENCODINGS = ("json", "protobuf")
_TRANSPORTS = ("websocket", "http_stream", "sse")


def undefined(version: str, encoding: str, transport: str) -> str:
    """Return why the protocol does not define a combination, if it does not."""
    if version == "v1" and transport != "websocket":
        return "these transports came with protocol v2 (client-protocol-v1, 8)"
    if encoding == "protobuf" and transport == "sse":
        return "server-sent events are text (client protocol, 1.3)"
    return ""


class MatrixCase(SynchronousTestCase):
    """Each cell is one test; the operations below define it."""

    def setUp(self) -> None:
        self.server = shared_server("sdk", OPTIONS)
        self.name = f"{self.id().rpartition('.')[2]}-{time.monotonic_ns()}"

    def client(self, cell: tuple[str, str, str], connected: bool = True) -> Client:
        """Return a client of its own user."""
        version, encoding, transport = cell
        client = open_client(self.server.port, transport, encoding, version)
        self.addCleanup(client.close)
        if connected:
            result = client.ask("connect", token=connection_token(self.name))
            self.assertIn("client", result)
            self.id_of_client = result["client"]
        return client

    def publish(self, channel: str, numbers: range) -> None:
        """Publish by the server API."""
        for number in numbers:
            self.server.api("publish", channel=channel, data={"n": number})

    # Operations

    def subscribe(self, cell: tuple[str, str, str]) -> None:
        """Publications arrive; without permission there is an error."""
        client, channel = self.client(cell), f"room:{self.name}"
        self.assertNotIn("error", client.ask("subscribe", channel=channel))
        self.publish(channel, range(3))
        for number in range(3):
            push = client.push("pub")
            self.assertEqual(push["channel"], channel)
            told = push["pub"]["data"], push["pub"]["offset"]
            self.assertEqual(told, ({"n": number}, number + 1))
        self.assertEqual(client.ask("unsubscribe", channel=channel), {})
        self.assertEqual(client.ask("subscribe", channel="closed:x"), {"error": 103})

    def publishing(self, cell: tuple[str, str, str]) -> None:
        """A client publishes; others receive it with the publisher's info."""
        channel = f"room:{self.name}"
        listening, speaking = self.client(cell), self.client(cell)
        for client in (listening, speaking):
            client.ask("subscribe", channel=channel)
        sent = speaking.ask("publish", channel=channel, data={"text": "hé"})
        self.assertEqual(sent, {})
        for client in (listening, speaking):
            told = client.push("pub")["pub"]
            self.assertEqual(told["data"], {"text": "hé"})
            info = {"user": self.name, "client": self.id_of_client}
            self.assertEqual(told["info"], info)
        refused = speaking.ask("publish", channel="closed:x", data={})
        self.assertEqual(refused, {"error": 103})

    def history(self, cell: tuple[str, str, str]) -> None:
        """History is read by limit, and from a position."""
        client, channel = self.client(cell), f"room:{self.name}"
        client.ask("subscribe", channel=channel)
        self.publish(channel, range(5))
        found = client.ask("history", channel=channel, limit=2)
        self.assertEqual([p["offset"] for p in found["publications"]], [1, 2])
        self.assertEqual(found["offset"], 5)
        since = {"offset": 3, "epoch": found["epoch"]}
        found = client.ask("history", channel=channel, limit=9, since=since)
        self.assertEqual(
            [p["data"] for p in found["publications"]], [{"n": 3}, {"n": 4}]
        )
        since["epoch"] = "other"
        found = client.ask("history", channel=channel, limit=9, since=since)
        self.assertEqual(found, {"error": 112})

    def presence(self, cell: tuple[str, str, str]) -> None:
        """Presence names each client; the statistics count them."""
        channel = f"room:{self.name}"
        ids = []
        for _ in range(2):
            client = self.client(cell)
            client.ask("subscribe", channel=channel)
            ids.append(self.id_of_client)
        found = client.ask("presence", channel=channel)["presence"]
        self.assertEqual(set(found), set(ids))
        self.assertEqual(found[ids[0]], {"user": self.name, "client": ids[0]})
        stats = client.ask("presence_stats", channel=channel)
        self.assertEqual(stats, {"num_clients": 2, "num_users": 1})

    def recover(self, cell: tuple[str, str, str]) -> None:
        """A returning client gets missed publications once, and then continues."""
        first, channel = self.client(cell), f"log:{self.name}"
        position = first.ask("subscribe", channel=channel)
        self.assertTrue(position["recoverable"])
        self.publish(channel, range(2))
        seen = [first.push("pub")["pub"]["offset"] for _ in range(2)]
        self.assertEqual(seen, [1, 2])
        first.close()
        self.publish(channel, range(2, 5))
        epoch = position["epoch"]
        again = {"channel": channel, "recover": True, "offset": 2, "epoch": epoch}
        second = self.client(cell)
        found = second.ask("subscribe", **again)
        self.assertTrue(found["recovered"])
        missed = [p["data"]["n"] for p in found["publications"]]
        self.assertEqual(missed, [2, 3, 4])
        self.publish(channel, range(5, 6))
        self.assertEqual(second.push("pub")["pub"]["offset"], 6)
        third = self.client(cell)
        found = third.ask("subscribe", **{**again, "epoch": "other"})
        self.assertFalse(found.get("recovered", False))

    def disconnect(self, cell: tuple[str, str, str]) -> None:
        """The server ends a connection, and says why in the version's own form."""
        client = self.client(cell)
        self.server.api("disconnect", user=self.name)
        code, reason = client.ending()
        self.assertEqual(code, 3503)
        if cell[0] == "v1":
            told = {"reason": "force disconnect", "reconnect": False}
            self.assertEqual(json.loads(reason), told)
        else:
            self.assertEqual(reason, "force disconnect")

    def refuse(self, cell: tuple[str, str, str]) -> None:
        """Operations that the protocol does not define are bad requests, at once."""
        version, encoding, transport = cell
        message = CODECS[version, encoding]().encode(
            {"id": 1, "connect": {"token": connection_token(self.name)}}
        )
        client = self.client(("v2", "json", transport), connected=False)
        client.send(message)
        self.assertEqual(client.ending(), (3501, "bad request"))


def _test(
    operation: Callable[[Any, tuple[str, str, str]], None], cell: tuple[str, str, str]
) -> Callable[[MatrixCase], None]:
    def test(self: MatrixCase) -> None:
        operation(self, cell)

    test.__doc__ = f"{operation.__doc__} ({', '.join(cell)})"
    return test


class MatrixTests(MatrixCase):
    """All cells."""


_OPERATIONS = {
    "subscribe": MatrixCase.subscribe,
    "publish": MatrixCase.publishing,
    "history": MatrixCase.history,
    "presence": MatrixCase.presence,
    "recover": MatrixCase.recover,
    "disconnect": MatrixCase.disconnect,
}
for _cell in product(_VERSIONS, _ENCODINGS, _TRANSPORTS):
    if undefined(*_cell):
        # All six operations are undefined alike: nobody gets as far.
        setattr(
            MatrixTests,
            f"test_{'_'.join(_cell)}_undefined",
            _test(MatrixCase.refuse, _cell),
        )
    else:
        for _name, _operation in _OPERATIONS.items():
            setattr(
                MatrixTests, f"test_{'_'.join(_cell)}_{_name}", _test(_operation, _cell)
            )

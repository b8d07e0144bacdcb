"""Sessions of protocol v1 with the real server, message by message."""

import json
import signal
import time
from typing import Any

from attrs import define
from twisted.trial.unittest import SynchronousTestCase

from .raw_clients import METHODS, open_client
from .sdk_contract import OPTIONS, in_seconds
from .server import Server, connection_token, shared_server, subscription_token
from .websocket import CLOSE, PING, PONG, WebSocket, frame

#: The era of seq and gen, and frequent pings.
_OLDEST: dict[str, Any] = {
    **OPTIONS,
    "websocket": {"v1_positions": "seqgen", "v1_whole_history": True},
    "client": {**OPTIONS["client"], "ping_interval": "1s", "pong_timeout": "0.5s"},
}


@define(eq=False)
class OldClient:
    """A client of v1 in JSON, which returns messages unchanged."""

    socket: WebSocket
    _ids: int = 0

    def ask(self, method: str, /, **params: Any) -> Any:
        """Return the result of a command, or its error; no push may come before."""
        self._ids += 1
        command = {"method": METHODS.index(method), "params": params, "id": self._ids}
        reply = self.socket.ask(command)
        assert reply.pop("id") == self._ids, reply
        return reply.get("result", reply.get("error"))

    def push(self) -> Any:
        """Return the next push."""
        reply = self.socket.receive()
        assert reply.keys() == {"result"}, reply
        return reply["result"]


class OldCase(SynchronousTestCase):
    """Has a server, and a name of its own for channels and users."""

    def setUp(self) -> None:
        self.server = self.serving()
        self.name = f"{self.id().rpartition('.')[2]}-{time.monotonic_ns()}"
        self.token = connection_token(self.name)

    def serving(self) -> Server:
        """Return the server."""
        return shared_server("sdk", OPTIONS)

    def open(self) -> WebSocket:
        """Return a connection."""
        socket = WebSocket(self.server.port)
        self.addCleanup(socket.close)
        return socket

    def connect(self, **params: Any) -> tuple[OldClient, Any]:
        """Return a client that has connected, and the result of that."""
        client = OldClient(self.open())
        result = client.ask("connect", **{"token": self.token, **params})
        self.assertIn("client", result)
        return client, result

    def publish(self, channel: str, *numbers: int) -> None:
        """Publish by the server API."""
        for number in numbers:
            self.server.api("publish", channel=channel, data=number)


class SessionTests(OldCase):
    """Operations of applications on a connection."""

    def test_connect(self) -> None:
        """The result has what v1 knows; nothing of the pings of v2."""
        self.token = connection_token(self.name, exp=in_seconds(600))
        client, result = self.connect()
        known = {"client", "version", "expires", "ttl"}
        self.assertEqual(result.keys(), {*known, "subs"})
        self.assertTrue(result["expires"])
        again = client.ask("refresh", token=self.token)
        self.assertEqual(again.keys(), known)
        self.assertEqual(again["client"], result["client"])
        self.assertEqual(client.socket.ask({"method": 7, "id": 9}), {"id": 9})

    def test_expired_token(self) -> None:
        """It is an error, after which the client says goodbye and is answered."""
        token = connection_token(self.name, exp=in_seconds(-10))
        client = OldClient(self.open())
        error = {"code": 109, "message": "token expired"}
        self.assertEqual(client.ask("connect", token=token), error)
        client.socket.send_bytes(frame(b"\x03\xe8", 0x80 | CLOSE))
        self.assertEqual(client.socket.closing()[0], 1000)

    def test_channel(self) -> None:
        """Joins, publications and leaves come as pushes with a type."""
        channel = f"forced:{self.name}"
        client, result = self.connect()
        self.assertEqual(client.ask("subscribe", channel=channel), {})
        me = {"user": self.name, "client": result["client"]}
        said = {"type": 1, "channel": channel, "data": {"info": me}}
        self.assertEqual(client.push(), said)
        other, result = self.connect()
        other.ask("subscribe", channel=channel)
        them = {"user": self.name, "client": result["client"]}
        said = {"type": 1, "channel": channel, "data": {"info": them}}
        self.assertEqual(client.push(), said)
        self.assertEqual(other.push(), said)
        self.assertEqual(other.ask("unsubscribe", channel=channel), {})
        said = {"type": 2, "channel": channel, "data": {"info": them}}
        self.assertEqual(client.push(), said)
        self.publish(channel, 5)
        self.assertEqual(client.push(), {"channel": channel, "data": {"data": 5}})
        self.server.api("unsubscribe", user=self.name, channel=channel)
        said = {"type": 3, "channel": channel, "data": {}}
        self.assertEqual(client.push(), said)

    def test_permissions(self) -> None:
        """Errors are those of v2, without a word on whether to try again."""
        client, _ = self.connect()
        denied = {"code": 103, "message": "permission denied"}
        for method in ("subscribe", "publish", "presence", "history"):
            data = {"data": 1} if method == "publish" else {}
            found = client.ask(method, channel="closed:x", **data)
            self.assertIn(found["code"], (103, 108), method)
            self.assertEqual(found.keys(), denied.keys())
        self.assertEqual(client.ask("subscribe", channel="closed:x"), denied)
        unknown = {"code": 102, "message": "unknown channel"}
        self.assertEqual(client.ask("subscribe", channel="nothing:x"), unknown)
        found = client.socket.ask({"method": 12, "id": 99})
        error = {"code": 104, "message": "method not found"}
        self.assertEqual(found, {"id": 99, "error": error})

    def test_private_channel(self) -> None:
        """It takes a token for this client, which is renewed in time."""
        channel = f"$plain:{self.name}"
        client, result = self.connect()
        self.assertEqual(client.ask("subscribe", channel=channel)["code"], 103)

        def token(exp: int) -> str:
            return subscription_token(
                self.name, channel, exp=exp, client=result["client"]
            )

        found = client.ask("subscribe", channel=channel, token=token(in_seconds(300)))
        self.assertEqual(found.keys(), {"expires", "ttl"})
        fresh = token(in_seconds(600))
        found = client.ask("sub_refresh", channel=channel, token=fresh)
        self.assertTrue(found["expires"])
        self.assertGreater(found["ttl"], 300)
        self.publish(channel, 5)
        self.assertEqual(client.push(), {"channel": channel, "data": {"data": 5}})
        self.assertEqual(client.ask("unsubscribe", channel=channel), {})

    def test_expired_subscription(self) -> None:
        """A subscription that is not renewed ends the connection, to come again."""
        channel = f"$plain:{self.name}"
        client, _ = self.connect()
        token = subscription_token(self.name, channel, exp=in_seconds(1))
        self.assertTrue(client.ask("subscribe", channel=channel, token=token)["ttl"])
        code, reason = client.socket.closing()
        told = {"reason": "subscription expired", "reconnect": True}
        self.assertEqual((code, json.loads(reason)), (3006, told))

    def test_reading(self) -> None:
        """Presence and history have the forms of v1."""
        channel = f"room:{self.name}"
        client, result = self.connect()
        client.ask("subscribe", channel=channel)
        found = client.ask("presence", channel=channel)
        me = {"user": self.name, "client": result["client"]}
        self.assertEqual(found, {"presence": {me["client"]: me}})
        found = client.ask("presence_stats", channel=channel)
        self.assertEqual(found, {"num_clients": 1, "num_users": 1})
        for number in (1, 2):
            client.socket.send(
                {"method": 3, "params": {"channel": channel, "data": number}, "id": 50}
            )
            came = [client.socket.receive() for _ in range(2)]
            self.assertIn({"id": 50, "result": {}}, came)
        found = client.ask("history", channel=channel)
        self.assertEqual((found["publications"], found["offset"]), ([], 2))
        (first,) = client.ask("history", channel=channel, limit=1)["publications"]
        self.assertEqual(first, {"data": 1, "info": me, "offset": 1})
        found = client.ask("rpc", method="none", data={})
        self.assertEqual(found["code"], 108)

    def test_ends(self) -> None:
        """A reason says whether to reconnect; an unexpected message ends nothing."""
        client, _ = self.connect()
        client.socket.send({"method": 8, "params": {"data": {}}})
        self.assertEqual(client.ask("presence", channel="plain:x")["code"], 108)
        self.server.api("disconnect", user=self.name)
        code, reason = client.socket.closing()
        told = {"reason": "force disconnect", "reconnect": False}
        self.assertEqual((code, json.loads(reason)), (3503, told))
        client, _ = self.connect()
        disconnect = {"code": 4100, "reason": 'come "back"'}
        self.server.api("disconnect", user=self.name, disconnect=disconnect)
        code, reason = client.socket.closing()
        told = {"reason": 'come "back"', "reconnect": True}
        self.assertEqual((code, json.loads(reason)), (4100, told))

    def test_first_generation(self) -> None:
        """Clients of 2018 and before, with ids that are strings, are not served."""
        first = {"uid": "1", "method": "connect", "params": {"user": "1"}}
        for message in (first, [first]):
            socket = self.open()
            socket.send(message)
            self.assertEqual(socket.closing()[0], 3501)

    def test_side_by_side(self) -> None:
        """Clients of both versions and encodings share a channel."""
        channel = f"room:{self.name}"
        clients = []
        for version in ("v1", "v2"):
            for encoding in ("json", "protobuf"):
                client = open_client(self.server.port, "websocket", encoding, version)
                self.addCleanup(client.close)
                client.ask("connect", token=self.token)
                client.ask("subscribe", channel=channel)
                clients.append(client)
        clients[0].ask("publish", channel=channel, data={"n": 1})
        for client in clients:
            told = client.push("pub")["pub"]
            self.assertEqual((told["data"], told["offset"]), ({"n": 1}, 1))


class RecoveryTests(OldCase):
    """Missed publications come with offsets."""

    def test_channel(self) -> None:
        """Oldest first, and with the top of the stream."""
        channel = f"log:{self.name}"
        client, _ = self.connect()
        fresh = client.ask("subscribe", channel=channel)
        self.assertEqual(fresh.keys(), {"recoverable", "epoch", "positioned"})
        self.publish(channel, 7)
        told = {"channel": channel, "data": {"data": 7, "offset": 1}}
        self.assertEqual(client.push(), told)
        client.socket.close()
        self.publish(channel, 8, 9)
        client, _ = self.connect()
        found = client.ask(
            "subscribe", channel=channel, recover=True, offset=1, epoch=fresh["epoch"]
        )
        missed = [{"data": 8, "offset": 2}, {"data": 9, "offset": 3}]
        self.assertEqual(
            found,
            {**fresh, "publications": missed, "recovered": True, "offset": 3},
        )
        self.publish(channel, 10)
        self.assertEqual(client.push()["data"], {"data": 10, "offset": 4})

    def test_personal_channel(self) -> None:
        """What the connect result has of it advances to the top of the stream."""
        channel = f"personal:#{self.name}"
        client, result = self.connect()
        fresh = result["subs"][channel]
        client.socket.close()
        self.publish(channel, 7, 8)
        known = {channel: {"recover": True, "offset": 0, "epoch": fresh["epoch"]}}
        _, result = self.connect(subs=known)
        found = result["subs"][channel]
        self.assertEqual((found["recovered"], found["offset"]), (True, 2))
        self.assertEqual([p["offset"] for p in found["publications"]], [1, 2])


class OldestTests(OldCase):
    """The era of seq and gen."""

    def serving(self) -> Server:
        return shared_server("v1", _OLDEST)

    def test_channel(self) -> None:
        """Newest first, and nowhere an offset."""
        channel = f"log:{self.name}"
        client, _ = self.connect()
        fresh = client.ask("subscribe", channel=channel)
        self.assertEqual(fresh.keys(), {"recoverable", "epoch", "positioned"})
        self.publish(channel, 7)
        told = {"channel": channel, "data": {"seq": 1, "data": 7}}
        self.assertEqual(client.push(), told)
        client.socket.close()
        self.publish(channel, 8, 9)
        client, _ = self.connect()
        found = client.ask(
            "subscribe", channel=channel, recover=True, seq=1, epoch=fresh["epoch"]
        )
        missed = [{"seq": 3, "data": 9}, {"seq": 2, "data": 8}]
        self.assertEqual(
            found, {**fresh, "publications": missed, "recovered": True, "seq": 3}
        )

    def test_personal_channel(self) -> None:
        """The same in what the connect result has of it."""
        channel = f"personal:#{self.name}"
        client, result = self.connect()
        fresh = result["subs"][channel]
        client.socket.close()
        self.publish(channel, 7, 8)
        known = {channel: {"recover": True, "epoch": fresh["epoch"]}}
        _, result = self.connect(subs=known)
        found = result["subs"][channel]
        self.assertEqual((found["recovered"], found["seq"]), (True, 2))
        self.assertEqual([p["seq"] for p in found["publications"]], [2, 1])

    def test_history(self) -> None:
        """Without a limit all there is comes, oldest first."""
        channel = f"room:{self.name}"
        client, _ = self.connect()
        client.ask("subscribe", channel=channel)
        self.publish(channel, 7, 8)
        for _ in range(2):
            client.push()
        found = client.ask("history", channel=channel)
        told = [
            {"seq": 1, "data": 7, "offset": 1},
            {"seq": 2, "data": 8, "offset": 2},
        ]
        self.assertEqual((found["publications"], found["offset"]), (told, 2))

    def test_pings(self) -> None:
        """Pings are frames; a client that does not answer is dropped."""
        client, _ = self.connect()
        for _ in range(2):
            self.assertEqual(client.socket.receive_frame(), (PING, b""))
            client.socket.send_bytes(frame(b"", 0x80 | PONG))
        self.assertEqual(client.socket.receive_frame(), (PING, b""))
        self.assertEqual(client.socket.closing(), (0, ""))

    def test_shutdown(self) -> None:
        """When the server stops its clients are told to reconnect."""
        server = Server(_OLDEST).start()
        self.addCleanup(server.close)
        self.server = server
        client, _ = self.connect()
        server.signal(signal.SIGTERM)
        code, reason = client.socket.closing()
        told = {"reason": "shutdown", "reconnect": True}
        self.assertEqual((code, json.loads(reason)), (3001, told))
        self.assertEqual(server.wait(), 0)

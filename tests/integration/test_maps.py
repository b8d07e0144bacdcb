"""Maps over the wire: raw WebSockets, the server API, and centrifuge-js."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from .sdk import SDK, Event
from .server import Server, connection_token, shared_server
from .test_javascript_sdk import node_command
from .websocket import WebSocket

_OPEN = {"allow_subscribe_for_client": True}
_CHANGES = {"allow_publish_for_subscriber": True, "allow_remove_for_client": True}

OPTIONS: dict[str, Any] = {
    "channel": {
        "namespaces": [
            {
                "name": "map",
                "subscription_type": "map",
                "allowed_delta_types": ["fossil"],
                "map_clients_presence_channel_prefix": "clients:",
                "map_users_presence_channel_prefix": "users:",
                "map": {"mode": "persistent", **_CHANGES},
                **_OPEN,
            },
            {
                "name": "cursors",
                "subscription_type": "map",
                "map": {
                    **{"mode": "ephemeral", "key_ttl": "2s"},
                    **{"client_key": "client_id", **_CHANGES},
                    "remove_client_on_unsubscribe": True,
                },
                **_OPEN,
            },
            {
                "name": "clients",
                "subscription_type": "map_clients",
                "map": {"mode": "recoverable", "key_ttl": "1m"},
                **_OPEN,
            },
            {
                "name": "users",
                "subscription_type": "map_users",
                "map": {"mode": "ephemeral", "key_ttl": "1m"},
                **_OPEN,
            },
        ]
    },
}


class MapCase(SynchronousTestCase):
    """One server for all tests; each has channels and users of its own."""

    def setUp(self) -> None:
        self.server: Server = shared_server("maps", OPTIONS)
        self.name = self.id().rpartition(".")[2]

    def put(self, channel: str, key: str, data: Any, **request: Any) -> Any:
        """Publish a key over the server API."""
        request |= {"channel": channel, "key": key, "data": data}
        return self.server.api("map_publish", **request)


class RawTests(MapCase):
    """JSON as it goes over the wire."""

    def connected(self, user: str = "1") -> WebSocket:
        """Return a connection that has connected."""
        socket = WebSocket(self.server.port)
        self.addCleanup(socket.close)
        socket.ask({"id": 1, "connect": {"token": connection_token(user)}})
        return socket

    def test_life(self) -> None:
        """A map is read, changed and recovered."""
        channel = f"map:{self.name}"
        top = self.put(channel, "a", 1, tags={"t": "x"})
        socket = self.connected()
        subscribe = {"channel": channel, "type": 1, "phase": 2}
        reply = socket.ask({"id": 2, "subscribe": subscribe})
        entry = {"data": 1, "offset": 1, "tags": {"t": "x"}, "key": "a"}
        entry["epoch"] = top["epoch"]
        expected = {
            **{"recoverable": True, "epoch": top["epoch"], "offset": 1},
            **{"type": 1, "state": [entry]},
        }
        self.assertEqual(reply, {"id": 2, "subscribe": expected})
        publish = {"channel": channel, "type": 1, "key": "b", "data": 2}
        push = socket.ask({"id": 3, "publish": publish})["push"]
        self.assertEqual((push["pub"]["key"], push["pub"]["offset"]), ("b", 2))
        self.assertEqual(socket.receive(), {"id": 3, "publish": {}})
        socket.ask({"id": 4, "unsubscribe": {"channel": channel}})
        self.server.api("map_remove", channel=channel, key="a")
        subscribe |= {"phase": 1, "recover": True, "offset": 2, "epoch": top["epoch"]}
        result = socket.ask({"id": 5, "subscribe": subscribe})["subscribe"]
        missed = [{"offset": 3, "tags": {"t": "x"}, "key": "a", "removed": True}]
        self.assertEqual(result["publications"], missed)
        self.assertTrue(result["recovered"])

    def test_pages(self) -> None:
        """Of many keys a page holds a hundred."""
        channel = f"map:{self.name}"
        for number in range(101):
            self.put(channel, f"k{number:03}", number)
        socket = self.connected()
        subscribe = {"channel": channel, "type": 1, "phase": 2, "limit": 5}
        page = socket.ask({"id": 2, "subscribe": subscribe})["subscribe"]
        self.assertEqual((page["phase"], len(page["state"])), (2, 100))
        self.put(channel, "k000", "new")
        subscribe |= {name: page[name] for name in ("cursor", "epoch", "offset")}
        last = socket.ask({"id": 3, "subscribe": subscribe})["subscribe"]
        self.assertNotIn("phase", last)
        self.assertEqual([each["key"] for each in last["state"]], ["k100"])
        self.assertEqual([each["data"] for each in last["publications"]], ["new"])

    def test_errors(self) -> None:
        """Types must fit, and steps must follow one another."""
        socket = self.connected()
        channel = f"map:{self.name}"
        for code, request in (
            (103, {}),
            (103, {"type": 2, "phase": 2}),
            (103, {"type": 1, "phase": 2, "cursor": "k"}),
            (103, {"type": 1, "phase": 1}),
            (107, {"type": 1, "phase": 4}),
            (108, {"type": 4}),
            (112, {"type": 1}),
        ):
            command = {"id": 2, "subscribe": {"channel": channel, **request}}
            self.assertEqual(socket.ask(command)["error"]["code"], code, request)

    def test_own_key(self) -> None:
        """A client may have one key of its own, which goes when it leaves."""
        channel = f"cursors:{self.name}"
        watcher, socket = self.connected("2"), self.connected()
        subscribe = {"channel": channel, "type": 1, "phase": 2}
        watcher.ask({"id": 2, "subscribe": subscribe})
        socket.ask({"id": 2, "subscribe": subscribe})
        publish = {"channel": channel, "type": 1, "key": "wish", "data": {"x": 1}}
        socket.send({"id": 3, "publish": publish})
        pub = watcher.receive()["push"]["pub"]
        self.assertEqual(pub["key"], pub["info"]["client"])
        socket.close()
        gone = watcher.receive()["push"]["pub"]
        self.assertEqual(gone, {"key": pub["key"], "removed": True})

    def test_key_over(self) -> None:
        """A key that is not published again goes."""
        channel = f"cursors:{self.name}"
        socket = self.connected()
        socket.ask({"id": 2, "subscribe": {"channel": channel, "type": 1, "phase": 2}})
        self.put(channel, "k", 1)
        self.assertEqual(socket.receive()["push"]["pub"]["data"], 1)
        self.assertTrue(socket.receive()["push"]["pub"]["removed"])

    def test_no_publish(self) -> None:
        """Maps are not published into like other channels."""
        body = f'{{"channel":"map:{self.name}","data":1}}'.encode()
        headers = {"X-API-Key": "the-key-of-the-api"}
        status, answer = self.server.request("POST", "/api/publish", body, headers)
        self.assertEqual(status, 200)
        self.assertIn(b'"code":107', answer)


class JavaScriptTests(MapCase):
    """centrifuge-js in JSON."""

    encoding = "json"

    def setUp(self) -> None:
        super().setUp()
        self.name = f"{self.name}_{self.encoding}"
        self.sdk = SDK(node_command("maps.mjs", self.encoding))
        self.addCleanup(self.sdk.close)

    def connect(self, client: str) -> None:
        """Connect as the user of this name."""
        token = connection_token(client)
        self.sdk.order("connect", client=client, url=self.server.url, token=token)
        self.sdk.expect("connected", client=client)

    def subscribe(self, client: str, channel: str, **options: Any) -> Event:
        """Subscribe; return the initial map."""
        self.sdk.order("subscribe", client=client, channel=channel, **options)
        return self.sdk.expect("sync", client=client, channel=channel)

    def test_life(self) -> None:
        """A client reads the map, changes it, and recovers missed changes."""
        channel = f"map:{self.name}"
        self.put(channel, "a", {"n": 1})
        self.connect("ada")
        told = self.subscribe("ada", channel)
        self.assertEqual([e["data"] for e in told["entries"]], [{"n": 1}])
        call = self.sdk.order(
            "publish", client="ada", channel=channel, key="b", data={"n": 2}
        )
        update = self.sdk.expect("update", client="ada", key="b")
        self.assertEqual((update["data"], update["user"]), ({"n": 2}, "ada"))
        self.sdk.expect("answer", call=call, result=None)
        self.sdk.order("remove", client="ada", channel=channel, key="a")
        self.sdk.expect("update", client="ada", key="a", removed=True)
        self.sdk.order("disconnect", client="ada")
        self.put(channel, "c", 3)
        self.sdk.expect("subscribed", client="ada", recovered=False)
        self.sdk.order("reconnect", client="ada")
        self.sdk.expect("update", client="ada", key="c", data=3)
        self.sdk.expect("subscribed", client="ada", recovered=True)

    def test_from_scratch(self) -> None:
        """A client whose place is lost has the map again."""
        channel = f"map:{self.name}"
        self.put(channel, "a", 1)
        self.connect("ada")
        self.subscribe("ada", channel)
        self.server.api("map_clear", channel=channel)
        self.assertEqual(self.sdk.expect("sync", client="ada")["entries"], [])
        self.put(channel, "b", 2)
        self.sdk.expect("update", client="ada", key="b", data=2)

    def test_pages(self) -> None:
        """A map of many pages is had as one."""
        channel = f"map:{self.name}"
        for number in range(120):
            self.put(channel, f"k{number:03}", number)
        self.connect("ada")
        told = self.subscribe("ada", channel, page_size=50)
        found = [entry["data"] for entry in told["entries"]]
        self.assertEqual(found, list(range(120)))

    def test_delta(self) -> None:
        """With deltas a client receives the same values."""
        channel = f"map:{self.name}"
        long = "x" * 200
        self.put(channel, "a", long)
        self.connect("ada")
        told = self.subscribe("ada", channel, delta=True)
        self.assertEqual(told["entries"][0]["data"], long)
        self.put(channel, "b", 1, delta=True)
        self.put(channel, "a", long + "1", delta=True)
        self.put(channel, "a", long + "2", delta=True)
        self.sdk.expect("update", client="ada", key="b", data=1)
        for end in "12":
            self.sdk.expect("update", client="ada", key="a", data=long + end)
        self.sdk.order("remove", client="ada", channel=channel, key="a")
        self.sdk.expect("update", client="ada", key="a", removed=True)
        self.put(channel, "a", long + "3", delta=True)
        self.sdk.expect("update", client="ada", key="a", data=long + "3")

    def test_presence(self) -> None:
        """A map's subscribers are in the maps of clients and of users."""
        channel = f"map:{self.name}"
        self.connect("eve")
        self.subscribe("eve", f"clients:{channel}", type=2)
        self.subscribe("eve", f"users:{channel}", type=3)
        self.connect("ada")
        self.subscribe("ada", channel)
        clients = {"client": "eve", "channel": f"clients:{channel}"}
        came = self.sdk.expect("update", **clients, removed=False)
        self.assertEqual(came["user"], "ada")
        self.sdk.expect("update", client="eve", channel=f"users:{channel}", key="ada")
        self.sdk.order("unsubscribe", client="ada", channel=channel)
        self.sdk.expect("update", **clients, key=came["key"], removed=True)


class JavaScriptProtobufTests(JavaScriptTests):
    """centrifuge-js in Protobuf."""

    encoding = "protobuf"

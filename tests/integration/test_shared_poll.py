"""Polled keys over the wire: raw WebSockets, a backend, and centrifuge-js."""

import atexit
import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.access.track_signatures import sign

from .sdk import SDK
from .server import Server, connection_token, shared_server
from .test_javascript_sdk import node_command
from .websocket import WebSocket

SECRET = "the-secret-that-signs-keys"


class Backend:
    """Answers with the values in ``known``, by channel and key."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], dict[str, Any]] = {}
        self.asked: list[Any] = []
        backend = self

        class Handler(BaseHTTPRequestHandler):
            """Takes one question after the other."""

            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                size = int(self.headers["Content-Length"])
                question = json.loads(self.rfile.read(size))
                backend.asked.append(question)
                answer = json.dumps(backend.answer(question)).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *arguments: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def answer(self, question: Any) -> Any:
        """Return the answer to a question."""
        channel = question["channel"]
        asked = ((channel, item["key"]) for item in question["items"])
        items = [
            {"key": key[1], **self.known[key]} for key in asked if key in self.known
        ]
        return {"result": {"items": items}}

    def close(self) -> None:
        """Answer no more."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class PollCase(SynchronousTestCase):
    """One server and one backend for all tests; each has channels of its own."""

    backend: Backend | None = None

    def setUp(self) -> None:
        if PollCase.backend is None:
            PollCase.backend = Backend()
            atexit.register(PollCase.backend.close)
        self.known = PollCase.backend.known
        port = PollCase.backend.server.server_address[1]
        proxy = {"endpoint": f"http://127.0.0.1:{port}/poll", "timeout": "5s"}
        common = {
            "subscription_type": "shared_poll",
            "allow_subscribe_for_client": True,
            "allowed_delta_types": ["fossil"],
        }
        poll: dict[str, Any] = {"refresh_interval": "200ms"}
        versioned = {**poll, "mode": "versioned", "publish_enabled": True}
        options = {
            "shared_poll": {"hmac_secret_key": SECRET},
            "channel": {
                "proxy": {"shared_poll_refresh": proxy},
                "namespaces": [
                    {"name": "plain", "shared_poll": poll, **common},
                    {"name": "versions", "shared_poll": versioned, **common},
                ],
            },
        }
        self.server: Server = shared_server("shared_poll", options)
        self.name = self.id().rpartition(".")[2]

    def set_backend_value(self, channel: str, key: str, **what: Any) -> None:
        """Let the backend know something of a key."""
        self.known[channel, key] = what

    def signature(
        self, channel: str, keys: tuple[str, ...], user: str, exp: int = 0
    ) -> str:
        """Return what lets *user* track *keys*."""
        iat = str(int(time.time()))
        made = sign(SECRET, channel, user, keys, iat, str(exp))
        return f"{iat}:{exp}:{made}"


class RawTests(PollCase):
    """JSON as it goes over the wire."""

    def connected(self, user: str = "1") -> WebSocket:
        """Return a connection that has connected."""
        socket = WebSocket(self.server.port)
        self.addCleanup(socket.close)
        socket.ask({"id": 1, "connect": {"token": connection_token(user)}})
        return socket

    def track(
        self,
        socket: WebSocket,
        channel: str,
        *keys: str,
        exp: int = 0,
        version: int = 0,
    ) -> Any:
        """Track keys as user 1; return the reply."""
        batch = {
            "signature": self.signature(channel, keys, "1", exp),
            "items": [{"key": key, "version": version} for key in keys],
        }
        request = {"channel": channel, "type": 1, "track": [batch]}
        return socket.ask({"id": 9, "sub_refresh": request})

    def test_life(self) -> None:
        """Keys are tracked, pushed when they are new, published, and removed."""
        channel = f"versions:{self.name}"
        self.set_backend_value(channel, "a", data={"n": 1}, version=3)
        socket = self.connected()
        subscribe = {"channel": channel, "type": 4}
        reply = socket.ask({"id": 2, "subscribe": subscribe})
        self.assertEqual(reply, {"id": 2, "subscribe": {"type": 4}})
        reply = self.track(socket, channel, "a", "b")
        self.assertEqual(reply, {"id": 9, "sub_refresh": {}})
        expected = {"data": {"n": 1}, "key": "a", "version": 3}
        self.assertEqual(socket.receive()["push"]["pub"], expected)
        self.set_backend_value(channel, "a", data={"n": 2}, version=4)
        self.assertEqual(socket.receive()["push"]["pub"]["version"], 4)
        self.server.api(
            "shared_poll_publish", channel=channel, key="b", data=1, version=7
        )
        self.assertEqual(socket.receive()["push"]["pub"]["version"], 7)
        other = self.connected()
        other.ask({"id": 2, "subscribe": subscribe})
        [item] = self.track(other, channel, "b")["sub_refresh"]["items"]
        self.assertEqual(item, {"data": 1, "key": "b", "version": 7})
        self.set_backend_value(channel, "a", removed=True)
        gone = {"key": "a", "removed": True}
        self.assertEqual(socket.receive()["push"]["pub"], gone)

    def test_without_versions(self) -> None:
        """Without versions changed values are pushed."""
        channel = f"plain:{self.name}"
        self.set_backend_value(channel, "a", data=1)
        socket = self.connected()
        reply = socket.ask({"id": 2, "subscribe": {"channel": channel, "type": 4}})
        self.assertTrue(reply["subscribe"]["epoch"])
        self.track(socket, channel, "a")
        first = socket.receive()["push"]["pub"]
        self.assertEqual((first["data"], first["version"]), (1, 1))
        self.set_backend_value(channel, "a", data=2)
        second = socket.receive()["push"]["pub"]
        self.assertEqual((second["data"], second["version"]), (2, 2))

    def test_signatures(self) -> None:
        """A signature must be good, and is so until its end."""
        channel = f"versions:{self.name}"
        socket = self.connected()
        socket.ask({"id": 2, "subscribe": {"channel": channel, "type": 4}})
        now = int(time.time())
        reply = self.track(socket, channel, "a", exp=now + 100)
        self.assertTrue(reply["sub_refresh"]["expires"])
        self.assertGreater(reply["sub_refresh"]["ttl"], 90)
        reply = self.track(socket, channel, "a", exp=now - 60)
        self.assertEqual(reply["error"]["code"], 109)
        batch = {"signature": "1:0:ab", "items": [{"key": "a"}]}
        request = {"channel": channel, "type": 1, "track": [batch]}
        reply = socket.ask({"id": 3, "sub_refresh": request})
        self.assertEqual(reply["error"]["code"], 103)

    def test_types(self) -> None:
        """The type of the subscription must be the namespace's."""
        socket = self.connected()
        for code, request in (
            (107, {"channel": f"plain:{self.name}"}),
            (107, {"channel": f"plain:{self.name}", "type": 1}),
            (108, {"channel": "other", "type": 4}),
        ):
            reply = socket.ask({"id": 2, "subscribe": request})
            self.assertEqual(reply["error"]["code"], code, request)


class JavaScriptTests(PollCase):
    """centrifuge-js in JSON."""

    encoding = "json"

    def setUp(self) -> None:
        super().setUp()
        self.name = f"{self.name}_{self.encoding}"
        self.sdk = SDK(node_command("maps.mjs", self.encoding))
        self.addCleanup(self.sdk.close)

    def poll(self, channel: str, *keys: str, **options: Any) -> None:
        """Connect as ``ada`` and track keys."""
        token = connection_token("ada")
        self.sdk.order("connect", client="ada", url=self.server.url, token=token)
        self.sdk.expect("connected", client="ada")
        signature = self.signature(channel, keys, "ada", int(time.time()) + 600)
        self.sdk.order(
            "poll",
            **{"client": "ada", "channel": channel, **options},
            signature={"keys": keys, "signature": signature},
        )
        self.sdk.expect("subscribed", client="ada", channel=channel)

    def test_updates(self) -> None:
        """A client receives its keys, published ones too, until they are removed."""
        channel = f"versions:{self.name}"
        self.set_backend_value(channel, "a", data={"n": 1}, version=3)
        self.poll(channel, "a", "b")
        self.sdk.expect("update", key="a", data={"n": 1}, version=3)
        self.set_backend_value(channel, "a", data={"n": 2}, version=4)
        self.sdk.expect("update", key="a", data={"n": 2}, version=4)
        self.server.api(
            "shared_poll_publish", channel=channel, key="b", data=1, version=1
        )
        self.sdk.expect("update", key="b", data=1, version=1)
        self.set_backend_value(channel, "a", removed=True)
        self.sdk.expect("update", key="a", removed=True)

    def test_reconnect(self) -> None:
        """After a reconnect a client receives newer values."""
        channel = f"plain:{self.name}"
        self.set_backend_value(channel, "a", data=1)
        self.set_backend_value(channel, "b", data=1)
        self.poll(channel, "a", "b")
        for key in "ab":
            self.sdk.expect("update", key=key, data=1)
        self.sdk.order("disconnect", client="ada")
        self.set_backend_value(channel, "b", data=2)
        self.sdk.expect("subscribing", client="ada")
        self.sdk.order("reconnect", client="ada")
        self.sdk.expect("update", key="b", data=2)

    def test_epoch(self) -> None:
        """After a change of the epoch a client restarts by itself."""
        channel = f"versions:{self.name}"
        self.poll(channel, "a")
        self.server.api(
            "shared_poll_publish",
            **{"channel": channel, "key": "a", "data": 1, "version": 1},
            epoch="e",
        )
        self.sdk.expect("subscribing", client="ada", code=2500)
        self.sdk.expect("subscribed", client="ada")

    def test_delta(self) -> None:
        """With deltas a client receives the same values."""
        channel = f"plain:{self.name}"
        long = "x" * 200
        self.set_backend_value(channel, "a", data=long)
        self.poll(channel, "a", delta=True)
        self.sdk.expect("update", key="a", data=long)
        for end in "12":
            self.set_backend_value(channel, "a", data=long + end)
            self.sdk.expect("update", key="a", data=long + end)


class JavaScriptProtobufTests(JavaScriptTests):
    """centrifuge-js in Protobuf."""

    encoding = "protobuf"

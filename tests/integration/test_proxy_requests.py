"""The requests that the reference sends to a backend, and ours, side by side.

``CENTRIFUGO_REFERENCE`` names the reference's binary; otherwise the tests are skipped.
"""

import json
import time
from typing import Any, ClassVar

from twisted.trial.unittest import SynchronousTestCase

from .event_backends import FlaskBackend, Request
from .server import Server, connection_token, subscription_token
from .test_redis_nodes import ReferenceServer, reference
from .websocket import WebSocket

#: Headers whose values name the sender or the connection.
_OWN = {"user-agent", "host", "content-length"}

#: Seconds that the backend may be asked late.
PATIENCE = 60.0

EVENTS = ("connect", "subscribe", "publish", "rpc", "map_publish", "map_remove")


def options(backend: FlaskBackend) -> dict[str, Any]:
    """Return a configuration that asks *backend* about everything."""

    def proxy(event: str, **more: Any) -> dict[str, Any]:
        headers = {"X-Static": event, "x-real": "static", "Content-Type": "text/plain"}
        return {
            "endpoint": backend.url(event),
            "timeout": "30s",
            "http_headers": ["X-Real", "Cookie", "authorization"],
            "emulated_headers": ["Authorization", "X-Emulated"],
            "include_connection_meta": True,
            "http": {"static_headers": headers},
            **more,
        }

    both = {"subscribe_proxy_enabled": True, "publish_proxy_enabled": True}
    named = {"subscribe_proxy_name": "binary", "publish_proxy_name": "binary"}
    keys = {"publish_proxy_enabled": True, "remove_proxy_enabled": True}
    maps = {"mode": "recoverable", "key_ttl": "1m", **keys}
    kind = {"subscription_type": "map", "allow_subscribe_for_client": True}
    return {
        "client": {
            "proxy": {
                "connect": proxy("connect", enabled=True),
                "refresh": proxy("refresh", enabled=True),
            },
            "expired_sub_close_delay": "1s",
            "presence_update_interval": "1s",
        },
        "channel": {
            "proxy": {
                event: proxy(event)
                for event in (*EVENTS, "sub_refresh")
                if event not in ("connect", "rpc")
            },
            "without_namespace": both,
            "namespaces": [
                {"name": "binary", **both, **named},
                {"name": "slow", **both, "sub_refresh_proxy_enabled": True},
                {"name": "map", "map": maps, **kind},
            ],
        },
        "proxies": [
            {"name": "binary", **proxy("publish", binary_encoding=True)},
        ],
        "rpc": {
            "proxy": proxy("rpc"),
            "without_namespace": {"proxy_enabled": True},
        },
    }


class SideBySideTests(SynchronousTestCase):
    """The same bytes of clients make the same requests."""

    maxDiff = None
    backend: ClassVar[FlaskBackend]
    servers: ClassVar[list[Server]]

    @classmethod
    def setUpClass(cls) -> None:
        reference()
        cls.backend, cls.servers = FlaskBackend(), []
        cls.backend.answers["publish"] = {"result": {}}
        try:
            for kind in (Server, ReferenceServer):
                cls.servers.append(kind(options(cls.backend)).start())
        except BaseException:
            cls.tearDownClass()
            raise

    @classmethod
    def tearDownClass(cls) -> None:
        for server in cls.servers:
            server.close()
        cls.backend.close()

    def seen(self, server: Server, messages: list[bytes]) -> tuple[Any, Any]:
        """Return the requests and the replies that *messages* lead to."""
        self.backend.requests.clear()
        given = {"X-Real": "real", "Cookie": "a=b; c=d", "X-Other": "o"}
        socket = WebSocket(server.port, given)
        replies = []
        try:
            for message in messages:
                socket.send(message)
                number = json.loads(message)["id"]
                reply = socket.receive()
                while reply.get("id") != number:
                    reply = socket.receive()
                replies.append(reply)
        finally:
            socket.close()
        client = replies[0]["connect"]["client"]
        return [self.plain(each, client) for each in self.backend.requests], replies

    def plain(self, request: Request, client: str) -> dict[str, Any]:
        """Return a request as data, without what differs from run to run."""
        self.assertEqual(request.json.get("client"), client)
        fields = {**request.json, "client": "CLIENT"}
        headers = {
            name: value for name, value in request.headers.items() if name not in _OWN
        }
        present = sorted(_OWN & request.headers.keys())
        return {
            "path": request.path,
            "fields": fields,
            "order": list(fields),
            "headers": headers,
            "present": present,
        }

    def compare(self, *messages: bytes, replies: bool = True) -> None:
        """Make sure that requests, and replies but for connect's, are the same."""
        ours, theirs = (self.seen(server, list(messages)) for server in self.servers)
        self.assertEqual(ours[0], theirs[0])
        if replies:
            self.assertEqual(ours[1][1:], theirs[1][1:])

    def test_events(self) -> None:
        """Each event of a client."""
        headers = {"Authorization": "e", "X-Emulated": "e2", "Cookie": "forged"}
        connect = {"data": {"b": 1}, "name": "js", "version": "1.2", "headers": headers}
        connect["subs"] = {"news": {}}
        self.compare(
            json.dumps({"id": 1, "connect": connect}).encode(),
            b'{"id":2,"subscribe":{"channel":"a","data":{"why":[1,2]},"recoverable":true}}',
            b'{"id":3,"publish":{"channel":"a","data":{"big":12345678901234567890}}}',
            b'{"id":4,"rpc":{"method":"m","data":"text"}}',
            b'{"id":5,"rpc":{"data":{}}}',
            b'{"id":6,"rpc":{"method":"no data"}}',
            b'{"id":7,"publish":{"channel":"binary:a","data":{"x":1}}}',
        )

    def test_maps(self) -> None:
        """Changes of maps; the reference publishes them, and then replies with 107."""
        self.compare(
            b'{"id":1,"connect":{}}',
            b'{"id":2,"publish":{"channel":"map:a","type":1,"key":"k","data":{"x":1}}}',
            b'{"id":3,"publish":{"channel":"map:a","type":1,"key":"k","removed":true}}',
            replies=False,
        )

    def test_refreshes(self) -> None:
        """Connections and subscriptions that expire, in turn on both servers."""
        before = dict(self.backend.answers)
        self.addCleanup(self.backend.answers.update, before)
        first, second = (self.refreshed(server) for server in self.servers)
        self.assertEqual(first, second)

    def refreshed(self, server: Server) -> Any:
        """Return the requests for one client, and what it is told at the end."""
        soon, later = int(time.time()) + 2, int(time.time()) + 3600
        answers, meta = self.backend.answers, {"step": 2}
        connect = {"user": "anna", "expire_at": soon, "meta": {"step": 1}}
        answers["connect"] = {"result": connect}
        answers["refresh"] = {"result": {"expire_at": later, "meta": meta}}
        answers["subscribe"] = {"result": {"expire_at": soon}}
        self.backend.requests.clear()
        socket = WebSocket(server.port)
        self.addCleanup(socket.close)
        connected = socket.ask({"id": 1, "connect": {}})["connect"]
        self.assertNotIn("ttl", connected)
        subscribed = socket.ask({"id": 2, "subscribe": {"channel": "slow:a"}})
        self.assertNotIn("ttl", subscribed["subscribe"])
        told = socket.receive()
        while "push" not in told:
            socket.send({})
            told = socket.receive()
        deadline = time.monotonic() + PATIENCE
        while len(self.backend.requests) < 4 and time.monotonic() < deadline:
            time.sleep(0.02)
        client = connected["client"]
        requests = [self.plain(each, client) for each in self.backend.requests]
        return sorted(requests, key=lambda each: str(each["path"])), told

    def test_bare(self) -> None:
        """A connect command with nothing in it."""
        self.compare(b'{"id":1,"connect":{}}')

    def test_token(self) -> None:
        """With tokens, connect and subscribe are not asked about."""
        token = connection_token("t", meta={"m": 1})
        for_channel = subscription_token("t", "a")
        self.compare(
            json.dumps({"id": 1, "connect": {"token": token}}).encode(),
            json.dumps(
                {"id": 2, "subscribe": {"channel": "a", "token": for_channel}}
            ).encode(),
            b'{"id":3,"rpc":{"method":"m","data":null}}',
        )

    def test_failures(self) -> None:
        """What the backend's failures become."""
        good = dict(self.backend.answers)
        self.addCleanup(self.backend.answers.update, good)
        for answer in (
            *(500, 201, b"", b"{", b"[]", {}, {"result": None}),
            *({"error": {"code": 1000, "message": "x"}}, {"result": {"data": None}}),
            *(b'{"Result":{"DATA":1}}', b'{"result":{}} x', {"result": {"data": 1.50}}),
            *({"result": {"b64data": "MQ=="}}, {"result": {"b64data": "!"}}),
            {"error": {"code": 1000, "message": "x", "temporary": True}, "result": {}},
            {"result": {"unknown": 1}, "more": []},
        ):
            with self.subTest(answer=answer):
                self.backend.answers.update(
                    rpc=answer, subscribe=answer, publish=answer
                )
                self.compare(
                    b'{"id":1,"connect":{}}',
                    b'{"id":2,"rpc":{"method":"m","data":[1]}}',
                    b'{"id":3,"subscribe":{"channel":"a"}}',
                    b'{"id":4,"publish":{"channel":"b","data":{}}}',
                )

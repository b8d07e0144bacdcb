"""Event proxies with real backends, over every transport and encoding."""

import hmac
import json
import time
from http.client import HTTPConnection
from itertools import product
from typing import Any, ClassVar

from twisted.trial.unittest import SynchronousTestCase

from .event_backends import Backend, FastAPIBackend, FlaskBackend, KillableBackend
from .raw_clients import Client, open_client
from .redis_servers import free_port
from .server import Server, connection_token
from .test_matrix import undefined
from .websocket import WebSocket

SECRETS = ["the new secret", "the old secret"]


def options(backend: Backend, timeout: str = "30s", **client: Any) -> dict[str, Any]:
    """Return a configuration that asks *backend* about everything."""

    def proxy(event: str, **more: Any) -> dict[str, Any]:
        return {"endpoint": backend.url(event), "timeout": timeout, **more}

    signed = {"signature": {"secrets": SECRETS}, "static_headers": {"X-Static": "s"}}
    headers = {"http_headers": ["X-Real"], "emulated_headers": ["Authorization"]}
    connect = proxy("connect", enabled=True, http=signed, **headers)
    own = {"subscribe_proxy_enabled": True, "publish_proxy_enabled": True}
    keys = {"publish_proxy_enabled": True, "remove_proxy_enabled": True}
    return {
        "client": {
            "proxy": {"connect": connect, "refresh": proxy("refresh", enabled=True)},
            "expired_sub_close_delay": "1s",
            "presence_update_interval": "1s",
            **client,
        },
        "channel": {
            "proxy": {
                "subscribe": proxy("subscribe", include_connection_meta=True),
                "publish": proxy("publish", **headers),
                "sub_refresh": proxy("sub_refresh"),
                "map_publish": proxy("map_publish"),
                "map_remove": proxy("map_remove"),
            },
            "without_namespace": own,
            "namespaces": [
                {"name": "slow", "sub_refresh_proxy_enabled": True, **own},
                {
                    "name": "map",
                    "subscription_type": "map",
                    "allow_subscribe_for_client": True,
                    "map": {"mode": "recoverable", "key_ttl": "1m", **keys},
                },
            ],
        },
        "rpc": {
            "proxy": proxy("rpc", binary_encoding=False),
            "without_namespace": {"proxy_enabled": True},
        },
        "sse": {"enabled": True},
        "http_stream": {"enabled": True},
        "uni_sse": {"enabled": True},
        "prometheus": {"enabled": True},
    }


class FlaskTests(SynchronousTestCase):
    """A backend in Flask."""

    kind: ClassVar[type[Backend]] = FlaskBackend
    backend: ClassVar[Any]
    server: ClassVar[Server]

    @classmethod
    def setUpClass(cls) -> None:
        cls.backend = cls.kind()  # type: ignore[call-arg]
        try:
            cls.server = Server(options(cls.backend)).start()
        except BaseException:
            cls.backend.close()
            raise

    @classmethod
    def tearDownClass(cls) -> None:
        cls.server.close()
        cls.backend.close()

    def setUp(self) -> None:
        self.backend.requests.clear()
        before = dict(self.backend.answers)
        self.addCleanup(self.backend.answers.update, before)

    def client(self, *cell: str) -> Client:
        """Return a client of a version, an encoding and a transport."""
        version, encoding, transport = cell
        client = open_client(self.server.port, transport, encoding, version)
        self.addCleanup(client.close)
        return client

    def test_matrix(self) -> None:
        """Each version, encoding and transport passes through the backend."""
        for cell in product(
            ("v1", "v2"), ("json", "protobuf"), ("websocket", "http_stream", "sse")
        ):
            version, encoding, transport = cell
            if undefined(version, encoding, transport):
                continue
            with self.subTest(cell=cell):
                self.backend.requests.clear()
                client = self.client(*cell)
                connected = client.ask("connect", data={"d": 1})
                self.assertEqual(connected["data"], {"hello": 1})
                self.assertEqual(list(connected["subs"]), ["news"])
                [request] = self.backend.requests
                about = {"client": connected["client"], "transport": transport}
                said = {"protocol": encoding, "encoding": "json"}
                self.assertEqual(request.json, {**about, **said, "data": {"d": 1}})
                answer = client.ask("rpc", method="m", data=[1.5, "x"])
                self.assertEqual(answer["data"], {"answer": 42})
                [request] = self.backend.of("rpc")
                call = {"user": "anna", "method": "m", "data": [1.5, "x"]}
                self.assertEqual(request.json, {**about, **said, **call})
                client.close()

    def test_channels(self) -> None:
        """The backend permits, changes what is published, and refuses."""
        client = self.client("v2", "json", "websocket")
        client.ask("connect")
        subscribed = client.ask("subscribe", channel="a", data={"why": 1})
        self.assertEqual(subscribed["data"], {"topic": "t"})
        [request] = self.backend.of("subscribe")
        self.assertEqual(request.json["meta"], {"plan": "pro"})
        self.assertEqual(request.json["data"], {"why": 1})
        self.assertEqual(client.ask("publish", channel="a", data={"x": 1}), {})
        self.assertEqual(client.push("pub")["pub"]["data"], {"checked": True})
        self.backend.answers["publish"] = {"error": {"code": 1001, "message": "no"}}
        refused = client.ask("publish", channel="a", data={"x": 1})
        self.assertEqual(refused, {"error": 1001})
        self.backend.answers["subscribe"] = {}
        self.assertNotIn("error", client.ask("subscribe", channel="b"))
        self.backend.answers["subscribe"] = 500
        self.assertEqual(client.ask("subscribe", channel="c"), {"error": 100})
        self.backend.answers["subscribe"] = b"{"
        self.assertEqual(client.ask("subscribe", channel="c"), {"error": 100})
        self.backend.answers["rpc"] = {"disconnect": {"code": 4501, "reason": "bye"}}
        socket = WebSocket(self.server.port)
        socket.ask({"id": 1, "connect": {}})
        socket.send({"id": 2, "rpc": {"method": "m"}})
        self.assertEqual(socket.closing(), (4501, "bye"))

    def test_maps(self) -> None:
        """The backend decides about keys."""
        client = self.client("v2", "json", "websocket")
        client.ask("connect")
        client.ask("subscribe", channel="map:a", type=1, phase=2)
        answer = {"result": {"key": "theirs", "data": {"n": 2}}}
        self.backend.answers["map_publish"] = answer
        change = {"channel": "map:a", "type": 1, "key": "k"}
        self.assertEqual(client.ask("publish", **change, data={"n": 1}), {})
        [request] = self.backend.of("map_publish")
        self.assertEqual(request.json["key"], "k")
        pushed = client.push("pub")["pub"]
        self.assertEqual((pushed["key"], pushed["data"]), ("theirs", {"n": 2}))
        change["key"] = "theirs"
        self.assertEqual(client.ask("publish", **change, removed=True), {})
        self.assertTrue(client.push("pub")["pub"]["removed"])

    def test_unidirectional(self) -> None:
        """A unidirectional client connects, or is told why not."""
        path = "/connection/uni_sse?cf_connect=%7B%22data%22%3A%7B%22d%22%3A1%7D%7D"
        for answer, wanted in (
            (self.backend.answers["connect"], b'"data":{"hello": 1}'),
            (500, b'"code":3004'),
        ):
            self.backend.answers["connect"] = answer
            connection = HTTPConnection("127.0.0.1", self.server.port, timeout=60)
            self.addCleanup(connection.close)
            connection.request("GET", path)
            response, received = connection.getresponse(), b""
            while wanted not in received:
                line = response.readline()
                self.assertNotEqual(line, b"", received)
                received += line
        self.assertEqual(self.backend.requests[0].json["transport"], "uni_sse")

    def test_refreshes(self) -> None:
        """The backend prolongs what expires, or ends it."""
        soon, later = int(time.time()) + 1, int(time.time()) + 3600
        answers = self.backend.answers
        answers["connect"] = {"result": {"user": "anna", "expire_at": soon}}
        answers["subscribe"] = {"result": {"expire_at": soon}}
        answers["refresh"] = {"result": {"expire_at": later}}
        socket = WebSocket(self.server.port)
        self.addCleanup(socket.close)
        connected = socket.ask({"id": 1, "connect": {}})["connect"]
        self.assertNotIn("expires", connected)
        subscribe = {"id": 2, "subscribe": {"channel": "slow:a"}}
        self.assertNotIn("expires", socket.ask(subscribe)["subscribe"])
        told = {"code": 2501, "reason": "subscription expired"}
        pushed = socket.receive()["push"]
        self.assertEqual(pushed, {"channel": "slow:a", "unsubscribe": told})
        [request] = self.backend.of("sub_refresh")
        self.assertEqual(request.json["channel"], "slow:a")
        [request] = self.backend.of("refresh")
        self.assertEqual(request.json["user"], "anna")
        answers["connect"] = {"result": {"expire_at": int(time.time()) + 1}}
        answers["refresh"] = {"error": {"code": 1000, "message": "no"}}
        ending = WebSocket(self.server.port)
        ending.ask({"id": 1, "connect": {}})
        self.assertEqual(ending.closing()[0], 3005)

    def test_headers(self) -> None:
        """Allowed headers reach the backend, and requests are signed."""
        socket = WebSocket(self.server.port, {"X-Real": "r", "X-Other": "o"})
        self.addCleanup(socket.close)
        given = {"Authorization": "Bearer t", "X-Real": "forged"}
        socket.ask({"id": 1, "connect": {"headers": given}})
        [request] = self.backend.requests
        found = request.headers
        self.assertEqual(found["authorization"], "Bearer t")
        self.assertEqual((found["x-real"], found["x-static"]), ("r", "s"))
        self.assertNotIn("x-other", found)
        at, *digests = found["x-centrifugo-signature"].split(",")
        signed = at.removeprefix("t=").encode() + b"." + request.body
        wanted = [
            f"v1={hmac.digest(each.encode(), signed, 'sha256').hex()}"
            for each in SECRETS
        ]
        self.assertEqual(digests, wanted)
        socket.send({"id": 2, "publish": {"channel": "a", "data": {}}})
        self.assertEqual(socket.receive(), {"id": 2, "publish": {}})
        [request] = self.backend.of("publish")
        self.assertEqual(request.headers["authorization"], "Bearer t")
        self.assertEqual(request.headers["x-real"], "r")
        self.assertNotIn("x-static", request.headers)

    def test_token(self) -> None:
        """A client with a token is not the backend's to judge."""
        client = self.client("v2", "json", "websocket")
        self.assertIn("client", client.ask("connect", token=connection_token("t")))
        self.assertEqual(self.backend.requests, [])

    def test_metrics(self) -> None:
        """Calls are counted from the start, by event and proxy."""
        client = self.client("v2", "json", "websocket")
        client.ask("connect")
        text = self.server.request("GET", "/metrics")[1].decode()
        for line in (
            'proxy_inflight_requests{name="default",protocol="http",type="rpc"} 0',
            'proxy_errors{name="default",protocol="http",type="map_remove"} 0',
        ):
            self.assertIn(f"centrifugo_{line}\n", text)
        self.assertIn("# TYPE centrifugo_proxy_inflight_requests gauge", text)
        count = "centrifugo_proxy_duration_seconds_histogram_count"
        labels = 'name="default",protocol="http",type="connect"'
        [found] = [
            each for each in text.splitlines() if each.startswith(f"{count}{{{labels}")
        ]
        self.assertGreater(int(found.split(" ")[1]), 0)


class FastAPITests(FlaskTests):
    """A backend in FastAPI."""

    kind = FastAPIBackend
    test_refreshes: Any = None  # waits, and the framework makes no difference to it


class OutageTests(SynchronousTestCase):
    """A backend that dies under load."""

    def test_killed(self) -> None:
        """Calls fail while it is away, and work again; connections stay."""
        backend = KillableBackend(free_port())
        self.addCleanup(backend.kill)
        backend.start()
        endpoint = f"http://127.0.0.1:{backend.port}/rpc"
        server = Server(
            {
                "client": {"concurrency": 8},
                "rpc": {
                    "proxy": {"endpoint": endpoint, "timeout": "30s"},
                    "without_namespace": {"proxy_enabled": True},
                },
            }
        ).start()
        self.addCleanup(server.close)
        sockets = [WebSocket(server.port) for _ in range(4)]
        for socket in sockets:
            self.addCleanup(socket.close)
            socket.ask({"id": 1, "connect": {"token": connection_token("u")}})
        self.assertEqual(self.call_all(sockets, 2), {"answered"})
        for socket in sockets:
            socket.send(*self.calls(100, 50))
        backend.kill()
        outcomes = {self.outcome(s.receive()) for s in sockets for _ in range(50)}
        self.assertLessEqual(outcomes, {"answered", "error 100"})
        self.assertEqual(self.call_all(sockets, 1000), {"error 100"})
        backend.start()
        self.assertEqual(self.call_all(sockets, 2000), {"answered"})
        self.assertNotIn("Traceback", server.log())

    def calls(self, first: int, count: int) -> list[Any]:
        """Return calls whose data is their id."""
        return [
            {"id": first + n, "rpc": {"method": "m", "data": first + n}}
            for n in range(count)
        ]

    def call_all(self, sockets: list[WebSocket], first: int) -> set[str]:
        """Call by each client; return the different outcomes."""
        for socket in sockets:
            socket.send(*self.calls(first, 20))
        return {self.outcome(s.receive()) for s in sockets for _ in range(20)}

    def outcome(self, reply: Any) -> str:
        """Return what became of a call; its data must be its own."""
        if "error" in reply:
            return f"error {reply['error']['code']}"
        self.assertEqual(reply["rpc"]["data"], reply["id"], json.dumps(reply))
        return "answered"

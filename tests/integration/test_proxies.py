"""The server behind nginx and HAProxy, with the files under ``config/``."""

import json
import re
import socket
import ssl
import time
from collections.abc import Callable
from http.client import HTTPConnection
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.config.check import problems

from ..config.test_check import config_of
from . import proxies
from .certificates import Authority
from .listeners import (
    CONSUME,
    EventStream,
    LineStream,
    Listener,
    RemoteCall,
    UniWebSocket,
)
from .page import blocks_of
from .ports import free_port
from .proxies import Proxy
from .raw_clients import Client, open_client
from .redis_servers import shared, valkey
from .sdk import shared_sdk
from .server import API_KEY, Server, connection_token, shared_server
from .test_javascript_sdk import node_command
from .test_tls import HTTP2
from .websocket import Refused, WebSocket, frame

ROOT = Path(__file__).parents[2]
#: Seconds that anything may take.
PATIENCE = 60.0
GRPC = find_spec("grpc") is not None

#: Unidirectional transports, and whether the request is in the URL.
_LISTENERS: list[tuple[type[Any], bool]] = [
    *((UniWebSocket, True), (UniWebSocket, False)),
    *((EventStream, True), (EventStream, False), (LineStream, False)),
]
_ENDPOINTS = ("http_stream", "sse", "uni_websocket", "uni_sse", "uni_http_stream")
_OPTIONS: dict[str, Any] = {
    "client": {"user_id_http_header": "X-User-Id"},
    "channel": {
        "namespaces": [
            {
                "name": "room",
                "presence": True,
                "allow_subscribe_for_client": True,
                "allow_publish_for_subscriber": True,
            }
        ]
    },
    "prometheus": {"enabled": True},
    **{name: {"enabled": True} for name in _ENDPOINTS},
}


def request(
    port: int, method: str, path: str, body: bytes = b"", **headers: str
) -> tuple[int, bytes, str]:
    """Send a request; return status, body and where it leads to."""
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        response = connection.getresponse()
        return response.status, response.read(), response.getheader("Location", "")
    finally:
        connection.close()


def wait(condition: Callable[[], bool]) -> None:
    """Wait until *condition* holds."""
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


def _redirects(proxy: Proxy) -> tuple[str, str]:
    """Return the addresses to which a proxy may redirect a plain connection."""
    path = "localhost/connection/sse"
    with_port = path.replace("localhost", f"localhost:{proxy.tls_port}")
    return f"https://{path}", f"https://{with_port}"


class ProxyCase(SynchronousTestCase):
    """A server behind a proxy that runs for all tests of a class."""

    #: Makes the proxy; see `proxies`.
    make: ClassVar[Callable[..., Proxy]]
    #: Commented lines in the file.
    parts: ClassVar[dict[str, list[str]]]
    proxy: ClassVar[Proxy]

    @classmethod
    def ports(cls) -> list[int]:
        """Return where the nodes listen."""
        return [shared_server("proxies", _OPTIONS).port]

    @classmethod
    def setUpClass(cls) -> None:
        """Start a proxy with the file as it is."""
        cls.proxy = cls.make(cls.ports())
        cls.addClassCleanup(cls.proxy.close)
        cls.proxy.start()

    def setUp(self) -> None:
        self.server = shared_server("proxies", _OPTIONS)
        self.name = f"{self.id().rpartition('.')[2]}-{time.monotonic_ns()}"
        self.channel = f"room:{self.name}"

    def started(self, *parts: str, **how: Any) -> Proxy:
        """Start a proxy with a file of its own, in front of the same server.

        :param parts: what shall not be commented out.
        """
        chosen = [line for part in parts for line in self.parts[part]]
        proxy = type(self).make([self.server.port], parts=chosen, **how)
        self.addCleanup(proxy.close)
        return proxy.start()

    def client(self, transport: str, encoding: str = "json", port: int = 0) -> Client:
        """Return a client that has connected and subscribed."""
        client = open_client(port or self.proxy.port, transport, encoding, "v2")
        self.addCleanup(client.close)
        client.ask("connect", token=connection_token(self.name))
        self.assertNotIn("error", client.ask("subscribe", channel=self.channel))
        return client

    def publish(self, data: Any) -> None:
        """Publish, without the proxy."""
        self.server.api("publish", channel=self.channel, data=data)

    def dial(self, *offers: str) -> ssl.SSLSocket:
        """Return an encrypted connection for which these protocols were offered."""
        context = ssl.create_default_context(cadata=self.proxy.authority.pem)
        context.set_alpn_protocols(list(offers))
        plain = socket.create_connection(("127.0.0.1", self.proxy.tls_port), PATIENCE)
        dialled = context.wrap_socket(plain, server_hostname="localhost")
        self.addCleanup(dialled.close)
        return dialled


class FileTests(SynchronousTestCase):
    """The page and the files."""

    def test_page(self) -> None:
        """The configuration for TLS without a proxy is a good one."""
        text = (ROOT / "docs" / "proxies.rst").read_text()
        (block,) = [b.text for b in blocks_of(text) if b.language == "json"]
        cert, key = Authority().issue("example.com")
        tree = json.loads(block)
        tree["http_server"]["tls"].update(cert_pem=cert, key_pem=key)
        self.assertEqual(problems(config_of(tree)), [])

    def test_all_parts(self) -> None:
        """Each proxy accepts its file as it is, and with all that can be turned on."""
        for mixin in (Nginx, HAProxy, Caddy):
            for parts in ([], [part for each in mixin.parts.values() for part in each]):
                proxy = mixin.make([8000, 8001], parts=parts)
                self.addCleanup(proxy.close)
                self.assertEqual(proxy.check(), "")


class Nginx:
    """Mixin: behind nginx."""

    make = staticmethod(proxies.nginx)
    few: ClassVar = [("addresses 100", "addresses 3")]
    parts: ClassVar = {
        "limits": ["limit_conn_zone", "limit_conn addresses"],
        "api": ["location /api"],
        "grpc": ["location /centrifugal"],
    }


class HAProxy:
    """Mixin: behind HAProxy."""

    make = staticmethod(proxies.haproxy)
    few: ClassVar = [("conn_cur gt 100", "conn_cur gt 3")]
    parts: ClassVar = {
        "limits": [
            "stick-table",
            "tcp-request connection t",
            "tcp-request connection r",
        ],
        "api": ["use_backend centrifugo if { path_beg /api }"],
        "grpc": ["use_backend uni_grpc", "backend uni_grpc"],
    }


class Caddy:
    """Mixin: behind Caddy."""

    make = staticmethod(proxies.caddy)
    parts: ClassVar = {"api": ["@api", "handle @api"]}


class WebSocketTests:
    """Clients with WebSocket behind the proxy."""

    def carry(self: Any, transport: str, encoding: str) -> None:
        """Each publication comes before the next is made; commands are answered."""
        client = self.client(transport, encoding)
        for number in range(3):
            self.publish({"n": number})
            self.assertEqual(client.push("pub")["pub"]["data"], {"n": number})
        said = client.ask("publish", channel=self.channel, data={"text": "hé"})
        self.assertEqual(said, {})
        self.assertEqual(client.push("pub")["pub"]["data"], {"text": "hé"})
        self.server.api("disconnect", user=self.name)
        self.assertEqual(client.ending(), (3503, "force disconnect"))

    def test_websocket_json(self: Any) -> None:
        """WebSocket in JSON: publications at once, commands, the code of the end."""
        self.carry("websocket", "json")

    def test_websocket_protobuf(self: Any) -> None:
        """The same in Protobuf."""
        self.carry("websocket", "protobuf")

    def test_tls(self: Any) -> None:
        """WebSockets use TLS."""
        dialled = self.dial("http/1.1")
        dialled.sendall(
            b"GET /connection/websocket HTTP/1.1\r\nHost: localhost\r\n"
            b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        self.assertTrue(dialled.recv(65536).startswith(b"HTTP/1.1 101"))

    def test_redirect(self: Any) -> None:
        """Plain connections are redirected."""
        told = request(
            self.proxy.plain_port, "GET", "/connection/sse", Host="localhost"
        )
        self.assertIn(told[0], (301, 308))
        self.assertIn(told[2].partition("?")[0], _redirects(self.proxy))


class ClientTests(WebSocketTests):
    """All clients behind the proxy."""

    def test_http_stream_json(self: Any) -> None:
        """HTTP streaming in JSON, with emulation."""
        self.carry("http_stream", "json")

    def test_http_stream_protobuf(self: Any) -> None:
        """The same in Protobuf."""
        self.carry("http_stream", "protobuf")

    def test_sse(self: Any) -> None:
        """Server-sent events, with emulation."""
        self.carry("sse", "json")

    def test_listeners(self: Any) -> None:
        """A unidirectional client receives each publication at once, and the end."""
        for kind, in_url in _LISTENERS:
            token = connection_token(self.name, channels=[self.channel])
            listener: Listener = kind(self.proxy.port, {"token": token}, in_url)
            self.addCleanup(listener.close)
            self.assertIn("connect", listener.next())
            for number in range(3):
                self.publish(number)
                self.assertEqual(listener.next()["pub"]["data"], number, kind)
            self.server.api("disconnect", user=self.name)
            told = {"code": 3503, "reason": "force disconnect"}
            self.assertEqual(listener.next(), {"disconnect": told}, kind)
            self.assertIn(listener.end(), (3503, b""), kind)

    def test_leaving(self: Any) -> None:
        """The server notices at once when a client goes."""
        for transport in ("websocket", "http_stream", "sse"):
            client = self.client(transport)
            found = self.server.api("presence_stats", channel=self.channel)
            self.assertEqual(found["num_clients"], 1)
            client.close()
            wait(lambda: self.channel not in self.server.api("channels")["channels"])

    def outrun(self: Any, proxy: Proxy) -> None:
        """Publish to a stream that is not read, until the server closes it."""
        self.client("http_stream", port=proxy.port)
        for _ in range(100):
            self.publish("x" * 500_000)
            if self.channel not in self.server.api("channels")["channels"]:
                return
        self.fail("somebody keeps what the client does not read")

    def test_slow(self: Any) -> None:
        """The server detects a slow client, because the proxy does not buffer."""
        self.outrun(self.proxy)

    def test_http2(self: Any) -> None:
        """A browser's streams share a connection of HTTP/2, and each flows."""
        dialled = self.dial("h2", "http/1.1")
        self.assertEqual(dialled.selected_alpn_protocol(), "h2")
        client = HTTP2(dialled)
        token = connection_token(self.name, channels=[self.channel])
        body = json.dumps({"token": token}).encode()
        streams = [
            client.request("POST", "/connection/uni_http_stream", body)
            for _ in range(8)
        ]
        for stream in streams:
            client.until(stream, b'"connect"')
        for number in range(3):
            self.publish({"n": number})
            for stream in streams:
                client.until(stream, b'{"n": %d}' % number)


class LimitTests:
    """Limits of an address."""

    def test_limit(self: Any) -> None:
        """Where it is turned on an address has no more than so many connections."""
        proxy = self.started("limits", changes=self.few)
        kept = 0
        with self.assertRaises((Refused, EOFError, ConnectionError)):
            for _ in range(4):
                self.addCleanup(WebSocket(proxy.port).close)
                kept += 1
        # The probe that found the proxy listening may still count as a connection.
        self.assertIn(kept, (2, 3))


class BorderTests:
    """Forwarded and blocked requests."""

    def test_inside(self: Any) -> None:
        """Internal endpoints are blocked under any path."""
        self.assertEqual(self.server.request("GET", "/metrics")[0], 200)
        for path in (
            *("/health", "/metrics", "/", "/emulation/x", "//api/info", "/api"),
            *("/connection/../metrics", "/connection/%2e%2e/metrics"),
            *("/connection/..%2fmetrics", "/connection/./../metrics"),
            f"http://127.0.0.1:{self.server.port}/metrics",
        ):
            status, body, location = request(self.proxy.port, "GET", path)
            # Dots are redirected to a path that the proxy blocks as well.
            refused = status == 404 or (status, location) == (307, "/metrics")
            self.assertTrue(refused and b"centrifugo_" not in body, (path, status))
        status, body = self.call_api(self.proxy, size=1)
        self.assertEqual((status, b"result" in body), (404, False))

    def call_api(self: Any, proxy: Proxy, size: int) -> tuple[int, bytes]:
        """Publish so many bytes through a proxy."""
        data = {"channel": self.channel, "data": "x" * size}
        body = json.dumps(data).encode()
        found = request(proxy.port, "POST", "/api/publish", body, X_API_Key=API_KEY)
        return found[:2]

    def test_api(self: Any) -> None:
        """If enabled, the server API accepts its usual requests."""
        status, body = self.call_api(self.started("api"), size=2_000_000)
        self.assertEqual((status, json.loads(body)), (200, {"result": {}}))

    def test_headers(self: Any) -> None:
        """Address, scheme and user come from the proxy, not from clients."""
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        listening.settimeout(PATIENCE)
        proxy = type(self).make([listening.getsockname()[1]])
        self.addCleanup(proxy.close)
        proxy.start()
        lies = "".join(
            f"{name}: 203.0.113.7\r\n"
            for name in (
                "X-Real-IP",
                "X-Forwarded-For",
                "X-Forwarded-Proto",
                "X-User-Id",
            )
        )
        asked = "Origin: https://a.example\r\nAuthorization: x\r\nCookie: a=b\r\n"
        with socket.create_connection(("127.0.0.1", proxy.port), PATIENCE) as client:
            head = f"GET /connection/sse HTTP/1.1\r\nHost: a.example\r\n{lies}{asked}"
            client.sendall(f"{head}\r\n".encode())
            lines = self.head_received(listening).lower().splitlines()
        self.assertEqual([line for line in lines if "203.0.113.7" in line], [])
        self.assertLessEqual(
            {
                *("host: a.example", "x-real-ip: 127.0.0.1"),
                *("x-forwarded-for: 127.0.0.1", "x-forwarded-proto: http"),
                *asked.lower().splitlines(),
            },
            set(lines),
        )

    def head_received(self: Any, listening: socket.socket) -> str:
        """Return the head of the request that comes; health checks have none."""
        head = b""
        while not head:
            peer, _ = listening.accept()
            with peer:
                peer.settimeout(PATIENCE)
                while b"\r\n\r\n" not in head and (data := peer.recv(65536)):
                    head += data
        return head.decode()

    def test_log(self: Any) -> None:
        """The log shows address and path, and no tokens."""
        token = connection_token(self.name)
        EventStream(self.proxy.port, {"token": token}, True).close()
        wait(lambda: "/connection/uni_sse" in self.proxy.log())
        log = self.proxy.log()
        self.assertNotIn("cf_connect", log)
        self.assertNotIn(token, log)


class QuietTests:
    """Connections on which nothing happens."""

    def test_pings(self: Any) -> None:
        """Pings keep them, for longer than the proxy bears silence."""
        client = {"ping_interval": "500ms", "pong_timeout": "400ms"}
        self.server = shared_server("quick pings", {**_OPTIONS, "client": client})
        proxy = self.started(changes=[("60s", "1500ms")])
        token = connection_token(self.name)
        asked = {"token": token}
        streams = [kind(proxy.port, asked) for kind in (EventStream, LineStream)]
        for stream in streams:
            self.addCleanup(stream.close)
            self.assertIn("connect", stream.next())
        websocket = WebSocket(proxy.port)
        self.addCleanup(websocket.close)
        self.assertIn("connect", websocket.ask({"id": 1, "connect": asked}))
        for _ in range(4):
            self.assertEqual(websocket.receive(), {})
            websocket.send({})
            self.assertEqual([stream.next() for stream in streams], [{}, {}])


class RemoteTests:
    """Clients of ``uni_grpc``, where that is turned on."""

    @skipUnless(GRPC, "grpcio is not installed")
    def test_remote(self: Any) -> None:
        """Each push comes at once; no client can set its own user."""
        import grpc

        port = free_port()
        uni_grpc = {"enabled": True, "address": "127.0.0.1", "port": port}
        self.server = shared_server("grpc", {**_OPTIONS, "uni_grpc": uni_grpc})
        found = re.search(r"GRPC on 127\.0\.0\.1:(\d+)", self.server.log())
        assert found is not None, self.server.log()
        proxy = self.started("grpc", grpc=int(found[1]))
        token = connection_token(self.name, channels=[self.channel])
        call = RemoteCall(proxy.h2c_port, {"token": token})
        self.addCleanup(call.close)
        self.assertIn("connect", call.next())
        for number in range(3):
            self.publish(number)
            self.assertEqual(call.next()["pub"]["data"], number)
        with grpc.insecure_channel(f"127.0.0.1:{proxy.h2c_port}") as channel:
            consume = channel.unary_stream(CONSUME)
            told = b"".join(consume(b"", PATIENCE, (("x-user-id", "root"),)))
        self.assertIn(b"bad request", told)


class NodesTests:
    """Two nodes on one Valkey, of which the proxy chooses one for each request."""

    nodes: ClassVar[list[Server]]

    @classmethod
    def ports(cls) -> list[int]:
        """Start both, and wait until they know each other."""
        redis = {"address": [shared(valkey()).address], "prefix": "proxies"}
        options = {**_OPTIONS, "engine": {"type": "redis", "redis": redis}}
        cls.nodes = [shared_server(f"proxies{n}", options) for n in range(2)]
        for node in cls.nodes:
            wait(lambda node=node: len(node.api("info")["nodes"]) == 2)  # type: ignore[misc]
        return [node.port for node in cls.nodes]

    def setUp(self: Any) -> None:
        ProxyCase.setUp(self)
        self.server = self.nodes[0]

    def reached(self: Any, path: str, count: int) -> set[int]:
        """Return the ports of the nodes that *count* requests to *path* reached."""
        form = re.compile(rf"POST {path} .*(?:node|127\.0\.0\.1:)(\d+)(?: ..)?$", re.M)
        wait(lambda: len(form.findall(self.proxy.log())) >= count)
        return {int(port) for port in form.findall(self.proxy.log())[-count:]}

    def emulation(self: Any) -> None:
        """Commands reach the other node, and from there the client's."""
        client = self.client("http_stream")
        for number in range(3):
            client.ask("publish", channel=self.channel, data=number)
            self.assertEqual(client.push("pub")["pub"]["data"], number)
        client.close()
        beside = self.reached("/emulation", 4)
        mine = self.reached("/connection/http_stream", 1)
        self.assertEqual((len(mine), len(beside), mine & beside), (1, 1, set()))

    def stopping(self: Any) -> None:
        """When a node stops its clients are told, and all reconnect to the other."""
        clients = [self.client(name) for name in ("http_stream", "sse") * 2]
        self.nodes[1].stop()
        told = []
        for client in clients:
            # The node that keeps publishing; its subscribers are connected to it.
            self.publish("still here")
            try:
                client.push("pub")
            except EOFError:
                told.append(client.ending()[0])
        self.assertEqual(told, [3001, 3001])
        for transport in ("websocket", "http_stream", "sse") * 2:
            self.client(transport).close()
        self.nodes[1].start()

    def test_nodes(self: Any) -> None:
        """Nothing has to be sticky, and a node may go."""
        self.emulation()
        self.stopping()


class NginxTests(
    Nginx, ClientTests, BorderTests, LimitTests, QuietTests, RemoteTests, ProxyCase
):
    """All of it behind nginx, and what only nginx does."""

    def test_unconfigured_buffers(self) -> None:
        """By itself the server makes nginx keep nothing."""
        self.outrun(self.started(changes=[("proxy_buffering off;", "")]))

    def test_fallback(self) -> None:
        """Where WebSocket is blocked centrifuge-js takes the next transport."""
        command = node_command("javascript_sdk.mjs", "websocket", "json")
        proxy = self.started(changes=proxies.BLOCKED)
        with self.assertRaises(Refused) as refused:
            WebSocket(proxy.port)
        self.assertEqual(refused.exception.status, 403)
        sdk = shared_sdk(command)
        self.addCleanup(sdk.reset)
        url = f"ws://127.0.0.1:{proxy.port}/connection/websocket"
        wanted = {"url": url, "transports": ["websocket", "http_stream"]}
        token = connection_token(self.name)
        sdk.order("connect", client="a", token=token, **wanted)
        connected = sdk.expect("connected", client="a")
        self.assertEqual(connected["transport"], "http_stream")
        sdk.order("subscribe", client="a", channel=self.channel)
        sdk.expect("subscribed", client="a")
        for number in range(3):
            self.publish({"n": number})
            told = sdk.expect("publication", channel=self.channel)
            self.assertEqual(told["data"], {"n": number})


class HAProxyTests(
    HAProxy, ClientTests, BorderTests, LimitTests, QuietTests, RemoteTests, ProxyCase
):
    """All of it behind HAProxy, and what only HAProxy does."""

    def test_websocket_over_http2(self) -> None:
        """WebSockets share a connection of HTTP/2 (RFC 8441)."""
        client = Tunnels(self.dial("h2"))
        streams = [client.tunnel("/connection/websocket") for _ in range(2)]
        for stream in streams:
            for number, (method, asked) in enumerate(
                (
                    ("connect", {"token": connection_token(self.name)}),
                    ("subscribe", {"channel": self.channel}),
                ),
                1,
            ):
                command = {"id": number, method: asked}
                client.send(stream, frame(json.dumps(command).encode()))
                client.until(stream, f'"id":{number}'.encode())
        for number in range(3):
            self.publish({"n": number})
            for stream in streams:
                client.until(stream, b'{"n": %d}' % number)
        self.server.api("disconnect", user=self.name)
        for stream in streams:
            client.until(stream, (3503).to_bytes(2, "big") + b"force disconnect")


class Tunnels(HTTP2):
    """A client of HTTP/2 that opens WebSockets in it."""

    def tunnel(self, path: str) -> int:
        """Open a WebSocket; return the number of its stream."""
        stream: int = self._h2.get_next_available_stream_id()
        head = [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "https"),
            (":path", path),
            (":authority", "localhost"),
            ("sec-websocket-version", "13"),
        ]
        self._h2.send_headers(stream, head)
        self.bodies[stream] = b""
        self._flush()
        while stream not in self.status:
            self.read()
        assert self.status[stream] == 200, self.status
        return stream

    def send(self, stream: int, data: bytes) -> None:
        """Send bytes to the server."""
        self._h2.send_data(stream, data)
        self._flush()


class CaddyTests(Caddy, WebSocketTests, BorderTests, ProxyCase):
    """WebSocket behind Caddy.

    Streams do pass, but Caddy 2.6 ends some of them when another client leaves.
    """


class NginxNodesTests(Nginx, NodesTests, ProxyCase):
    """Two nodes behind nginx."""


class HAProxyNodesTests(HAProxy, NodesTests, ProxyCase):
    """Two nodes behind HAProxy."""

"""Clients whose commands go beside their stream, with a server as they meet it."""

import json
import signal
import socket
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.protocol.proto import client_pb2

from .redis_servers import shared, valkey
from .server import PATIENCE, Server, connection_token, shared_server
from .test_redis_nodes import ReferenceServer, reference

OCTETS = "application/octet-stream"
HTTP_STREAM, SSE = "/connection/http_stream", "/connection/sse"

_OPTIONS: dict[str, Any] = {
    "http_stream": {"enabled": True},
    "sse": {"enabled": True},
    "init": {"enabled": True},
    "client": {
        "ping_interval": "1s",
        "pong_timeout": "500ms",
        "queue_max_size": 100_000,
        "allowed_origins": ["http://good.example"],
    },
    "channel": {
        "without_namespace": {
            "allow_subscribe_for_client": True,
            "allow_publish_for_client": True,
        }
    },
}


def connect(user: str = "ada") -> bytes:
    """Return a connect command."""
    command = {"id": 1, "connect": {"token": connection_token(user)}}
    return json.dumps(command).encode()


@define(eq=False)
class RawStream:
    """A response that does not end, chunk by chunk."""

    _port: int
    _request: bytes
    #: Bytes that wait here at most while they are not read; 0: as the system wants.
    _buffer: int = 0
    peer: socket.socket = field(init=False)
    head: bytes = field(init=False)
    _data: bytes = b""

    def __attrs_post_init__(self) -> None:
        self.peer = socket.socket()
        self.peer.settimeout(PATIENCE)
        if self._buffer:
            self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._buffer)
        self.peer.connect(("127.0.0.1", self._port))
        self.peer.sendall(self._request)
        self.head = self._until(b"\r\n\r\n")

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._data:
            self._read()
        found, _, self._data = self._data.partition(mark)
        return found

    def _read(self) -> None:
        data = self.peer.recv(65536)
        if not data:
            raise EOFError
        self._data += data

    def chunk(self) -> bytes:
        """Return the next chunk; the last one is empty."""
        size = int(self._until(b"\r\n"), 16)
        while len(self._data) < size + 2:
            self._read()
        found, self._data = self._data[:size], self._data[size + 2 :]
        return found

    def rest(self) -> bytes:
        """Read until the server closes the connection."""
        try:
            while True:
                self._read()
        except (EOFError, ConnectionResetError):
            return self._data

    def close(self) -> None:
        """Go."""
        self.peer.close()


def post(path: str, body: bytes, **headers: str) -> bytes:
    """Return a request with these headers (``_`` for ``-``)."""
    lines = [f"{n.replace('_', '-')}: {value}\r\n" for n, value in headers.items()]
    return (
        f"POST {path} HTTP/1.1\r\nHost: a\r\n{''.join(lines)}"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


@define(eq=False)
class Client:
    """A JSON client, over either transport."""

    node: Server
    path: str = HTTP_STREAM
    user: str = "ada"
    buffer: int = 0
    stream: RawStream = field(init=False)
    session: dict[str, str] = field(init=False)
    _replies: list[Any] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        request = post(self.path, connect(self.user))
        self.stream = RawStream(self.node.port, request, self.buffer)
        if self.path == SSE:
            assert self.stream.chunk() == b"\r\n"
        found = self.next()["connect"]
        self.session = {"session": found["session"], "node": found["node"]}

    def next(self) -> Any:
        """Return the next message; None at the end."""
        if not self._replies:
            chunk = self.stream.chunk()
            if not chunk:
                return None
            events = chunk.replace(b"data: ", b"").split(b"\n")
            self._replies = [json.loads(line) for line in events if line]
        return self._replies.pop(0)

    def send_commands(self, text: str, by: Server | None = None) -> int:
        """Send commands, by the node that holds the stream or *by* another."""
        body = json.dumps({**self.session, "data": text}).encode()
        return (by or self.node).request("POST", "/emulation", body)[0]

    def ask(self, method: str, by: Server | None = None, **request: Any) -> Any:
        """Send a command; return its answer, passing over pings."""
        assert self.send_commands(json.dumps({"id": 9, method: request}), by) == 204
        while (reply := self.next()).get("id") != 9:
            assert reply == {}, reply
        return reply

    def push(self) -> Any:
        """Return the next push, passing over pings."""
        while (reply := self.next()) == {}:
            pass
        return reply["push"]

    def close(self) -> None:
        """Go."""
        self.stream.close()


def wait(condition: Callable[[], bool]) -> None:
    """Wait until *condition* holds."""
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


class StreamCase(SynchronousTestCase):
    """Has a server."""

    def setUp(self) -> None:
        self.server = shared_server("streams", _OPTIONS)

    def client(self, path: str = HTTP_STREAM, **more: Any) -> Client:
        """Connect."""
        client = Client(more.pop("node", self.server), path, **more)
        self.addCleanup(client.close)
        return client

    def num_clients(self) -> int:
        """Return how many clients the server has."""
        (node,) = self.server.api("info")["nodes"]
        count: int = node.get("num_clients", 0)
        return count


class StreamTests(StreamCase):
    """One server."""

    def test_commands(self) -> None:
        """Commands use separate requests, and their replies come in the stream."""
        for path in (HTTP_STREAM, SSE):
            client = self.client(path)
            self.assertEqual(client.ask("subscribe", channel="c")["subscribe"], {})
            self.server.api("publish", channel="c", data={"t": "grüße"})
            self.assertEqual(client.push()["pub"]["data"], {"t": "grüße"})
            client.close()

    def test_protobuf(self) -> None:
        """The same in Protobuf."""
        command = client_pb2.Command(id=1)
        command.connect.token = connection_token("ada")
        sent = command.SerializeToString()
        body = bytes([len(sent) & 127 | 128, len(sent) >> 7]) + sent
        stream = RawStream(
            self.server.port, post(HTTP_STREAM, body, Content_Type=OCTETS)
        )
        self.addCleanup(stream.close)
        reply = client_pb2.Reply.FromString(stream.chunk()[2:])
        command = client_pb2.Command(id=2)
        command.subscribe.channel = "c"
        sent = command.SerializeToString()
        asked = client_pb2.EmulationRequest(
            session=reply.connect.session,
            node=reply.connect.node,
            data=bytes([len(sent)]) + sent,
        ).SerializeToString()
        headers = {"Content-Type": OCTETS}
        status, _ = self.server.request("POST", "/emulation", asked, headers)
        self.assertEqual(status, 204)
        chunk = stream.chunk()
        self.assertEqual(client_pb2.Reply.FromString(chunk[1:]).id, 2)

    def test_in_url(self) -> None:
        """An EventSource has its connect command in the URL."""
        url = f"{SSE}?cf_connect={quote(connect())}"
        stream = RawStream(
            self.server.port, f"GET {url} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
        )
        self.addCleanup(stream.close)
        self.assertIn(b"Content-Type: text/event-stream; charset=utf-8", stream.head)
        self.assertEqual(stream.chunk(), b"\r\n")
        self.assertTrue(stream.chunk().startswith(b'data: {"id":1,"connect":{'))

    def test_ping(self) -> None:
        """A client that answers pings stays, others get 3012."""
        good, bad = self.client(), self.client(SSE)
        began = time.monotonic()
        while time.monotonic() < began + 2.5:
            self.assertEqual(good.next(), {})
            self.assertEqual(good.send_commands("{}"), 204)
        self.assertEqual(bad.push()["disconnect"]["code"], 3012)
        self.assertIsNone(bad.next())

    def test_disconnect(self) -> None:
        """A client disconnected by the API is told, and the connection stays open."""
        client = self.client(user="bob")
        self.server.api("disconnect", user="bob")
        self.assertEqual(
            client.push()["disconnect"], {"code": 3503, "reason": "force disconnect"}
        )
        self.assertIsNone(client.next())
        client.stream.peer.sendall(post("/emulation", b"{}"))
        self.assertIn(b"HTTP/1.1 404", client.stream._until(b"\r\n\r\n"))

    def test_going_away(self) -> None:
        """A client that closes its connection is gone for all others, too."""
        before = self.num_clients()
        client = self.client()
        self.assertEqual(self.num_clients(), before + 1)
        client.close()
        wait(lambda: self.num_clients() == before)
        self.assertEqual(client.send_commands("{}"), 204)

    def test_init(self) -> None:
        """The init endpoint answers."""
        self.assertEqual(self.server.request("GET", "/connection/init"), (200, b"{}"))

    def test_browser(self) -> None:
        """A page whose origin passes may read the stream and write beside it."""
        for origin, expected in (("http://good.example", True), ("http://x", False)):
            allowed = f"Access-Control-Allow-Origin: {origin}".encode()
            head = (
                f"OPTIONS /emulation HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\n\r\n"
            ).encode()
            requests = (head, post(HTTP_STREAM, connect(), Origin=origin))
            for request in requests:
                stream = RawStream(self.server.port, request)
                self.assertEqual(allowed in stream.head, expected)
                stream.close()


class SlowTests(StreamCase):
    """A server that seldom pings."""

    def setUp(self) -> None:
        options = {**_OPTIONS["client"], "ping_interval": "60s", "pong_timeout": "8s"}
        self.server = shared_server("slow streams", {**_OPTIONS, "client": options})

    def test_slow(self) -> None:
        """A client that does not read is dropped, without harm to the others."""
        channel, data = "slow", "x" * 50_000
        slow, quick = self.client(buffer=4096), self.client(SSE)
        for client in (slow, quick):
            client.ask("subscribe", channel=channel)
        before, sent = self.num_clients(), 0
        while self.num_clients() == before:
            self.server.api("publish", channel=channel, data=data)
            self.assertEqual(quick.push()["pub"]["data"], data)
            sent += 1
            self.assertLess(sent, 1000)
        rest = slow.stream.rest()
        self.assertLess(len(rest), sent * len(data))
        self.assertNotIn(b"disconnect", rest)


class StopTests(StreamCase):
    """A server that ends."""

    def test_stop(self) -> None:
        """At a stop clients are told, and their streams end before the process."""
        server = Server(_OPTIONS)
        self.addCleanup(server.close)
        server.start()
        clients = [self.client(path, node=server) for path in (HTTP_STREAM, SSE)]
        server.signal(signal.SIGTERM)
        for client in clients:
            self.assertEqual(
                client.push()["disconnect"], {"code": 3001, "reason": "shutdown"}
            )
            self.assertIsNone(client.next())
        self.assertEqual(server.wait(), 0)
        self.assertEqual(server.complaints(), [])


class TwoNodes(SynchronousTestCase):
    """Two nodes on one Valkey; commands go to the one that has no stream."""

    kinds: tuple[type[Server], type[Server]] = (Server, Server)

    @classmethod
    def setUpClass(cls) -> None:
        """Start both, and wait until they know each other."""
        redis = {"address": [shared(valkey()).address], "prefix": f"s{cls.__name__}"}
        options = {**_OPTIONS, "engine": {"type": "redis", "redis": redis}}
        started: list[Server] = []
        for kind in cls.kinds:
            server = kind(options)
            cls.addClassCleanup(server.close)
            started.append(server.start())
        cls.nodes = (started[0], started[1])
        for each in started:
            wait(lambda each=each: len(each.api("info")["nodes"]) == 2)  # type: ignore[misc]

    nodes: tuple[Server, Server]

    def client(self, node: Server, path: str, user: str = "ada") -> Client:
        """Connect."""
        client = Client(node, path, user)
        self.addCleanup(client.close)
        return client

    def test_commands(self) -> None:
        """A command finds its stream from the other node."""
        for near, far in (self.nodes, self.nodes[::-1]):
            for path in (HTTP_STREAM, SSE):
                client = self.client(near, path)
                reply = client.ask("subscribe", by=far, channel="c")
                self.assertEqual(reply["subscribe"], {})
                far.api("publish", channel="c", data=[path])
                self.assertEqual(client.push()["pub"]["data"], [path])
                client.close()

    def test_bad_commands(self) -> None:
        """So does one that ends it."""
        near, far = self.nodes
        client = self.client(near, HTTP_STREAM)
        self.assertEqual(client.send_commands("nonsense", far), 204)
        self.assertEqual(client.push()["disconnect"]["code"], 3501)

    def test_statuses(self) -> None:
        """An unknown session is not an error, an unknown node is."""
        near, far = self.nodes
        client = self.client(near, SSE)
        client.session["session"] = "gone"
        self.assertEqual(client.send_commands("{}", far), 204)
        client.session["node"] = "unknown"
        self.assertEqual(client.send_commands("{}", far), 404)


class MixedNodes(TwoNodes):
    """The reference and one of ours on one Valkey."""

    kinds = (ReferenceServer, Server)

    @classmethod
    def setUpClass(cls) -> None:
        """Look for the reference first."""
        reference()
        super().setUpClass()

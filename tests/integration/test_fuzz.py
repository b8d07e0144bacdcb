"""Arbitrary input neither stops the server nor affects other clients.

The whole server, without sockets, runs in this process.
"""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.api.methods import METHODS
from centrifugo_tx.config.load import load
from centrifugo_tx.config.model import Config
from centrifugo_tx.configured_ports import endpoints
from centrifugo_tx.core import Node
from centrifugo_tx.service import build
from centrifugo_tx.web.site import port_factory

from .server import connection_token
from .websocket import TEXT, frame

_NAMESPACE = {
    "presence": True,
    "join_leave": True,
    "force_push_join_leave": True,
    "history_size": 3,
    "history_ttl": "60s",
    "force_recovery": True,
}
_OPTIONS = {
    "client": {"insecure": True, "token": {"hmac_secret_key": "secret"}},
    "http_api": {"insecure": True},
    "health": {"enabled": True},
    "prometheus": {"enabled": True},
    "channel": {
        "without_namespace": _NAMESPACE,
        "namespaces": [
            {"name": "cache", **_NAMESPACE, "force_recovery_mode": "cache"},
            {"name": "plain"},
        ],
    },
}
_HANDSHAKE = (
    b"GET /connection/websocket HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)

Message = dict[str, Any]


class Stream(StringTransport):
    """A connection whose other end takes everything at once."""

    protocol: Any

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Accept it."""

    def unregisterProducer(self) -> None:
        """Forget the producer, if there is one, as real streams do."""
        self.producer = None

    def abortConnection(self) -> None:
        """Note it."""
        self.disconnecting = True

    def loseWriteConnection(self) -> None:
        """Note it; the peer will not answer."""
        self.disconnecting = True


@define(eq=False)
class House:
    """A server without sockets."""

    config: Config
    clock: Clock = field(factory=Clock)
    node: Node = field(init=False)
    port: Any = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.clock.advance(1_700_000_000)
        self.node = build(self.clock, self.config).node
        self.node.start()
        ((served, _),) = endpoints(self.clock, self.config, self.node).values()
        self.port = port_factory(self.clock, served)

    def connection(self) -> "Peer":
        """Return a new connection."""
        protocol = self.port.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        stream = Stream()
        stream.protocol = protocol
        protocol.makeConnection(stream)
        return Peer(stream)

    def websocket(self) -> "Peer":
        """Return a client that has connected and subscribed."""
        peer = self.connection()
        peer.send(_HANDSHAKE)
        peer.send(frame(b'{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"a"}}'))
        self.clock.advance(0)
        assert b'{"id":2,"subscribe":' in peer.taken()
        return peer

    def turn(self) -> None:
        """Let calls at the end of a turn happen."""
        self.clock.advance(0)


@define(eq=False)
class Peer:
    """The far end of a connection."""

    _stream: Stream

    def send(self, data: bytes) -> None:
        """Send bytes, unless the server has closed the connection."""
        if not self._stream.disconnecting:
            self._stream.protocol.dataReceived(data)

    def leave(self) -> None:
        """Close the connection."""
        self._stream.protocol.connectionLost(None)

    def taken(self) -> bytes:
        """Return the server's bytes since the last call."""
        data: bytes = self._stream.value()
        self._stream.clear()
        return data


def frames(data: bytes) -> list[tuple[int, bytes]]:
    """Return opcodes and payloads of the server's frames; fail if one is incomplete."""
    found = []
    while data:
        size, start = data[1], 2
        if size == 126:
            size, start = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10], "big"), 10
        assert data[0] & 0xF0 == 0x80 and len(data) >= start + size, data
        found.append((data[0] & 15, data[start : start + size]))
        data = data[start + size :]
    return found


_names = st.sampled_from(
    ["a", "b", "cache:x", "plain:x", "none:x", "#u", "$p", "", "é"]
)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
_numbers = st.sampled_from([-1, 0, 1, 2, 3, 300, 2**32, 2**63, 2**64]) | st.integers()
_position = st.fixed_dictionaries({"offset": _numbers, "epoch": st.text(max_size=4)})
_tokens = st.sampled_from(["", "x.y.z", connection_token("u"), connection_token("")])

#: Likely values of fields, by name.
_fields: dict[str, st.SearchStrategy[Any]] = {
    "channel": _names,
    "channels": st.lists(_names, max_size=3),
    "data": _json,
    "b64data": st.sampled_from(["", "e30=", "%", "/w=="]),
    "token": _tokens,
    "since": _position,
    "recover_since": _position,
    "offset": _numbers,
    "limit": _numbers,
    "epoch": st.text(max_size=4),
    "recover": st.booleans(),
    "recoverable": st.booleans(),
    "positioned": st.booleans(),
    "join_leave": st.booleans(),
    "reverse": st.booleans(),
    "flag": _numbers,
    "type": _numbers,
    "delta": st.sampled_from(["", "fossil", "x"]),
    "tf": _json,
    "subs": st.dictionaries(_names, _position, max_size=2),
    "method": st.text(max_size=4),
    "user": st.sampled_from(["", "u"]),
    "client": st.text(max_size=4),
    "session": st.text(max_size=4),
    "pattern": st.sampled_from(["", "*", "[", "{a,b}", "\\"]),
    "expire_at": _numbers,
    "expired": st.booleans(),
    "tags": st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
    "idempotency_key": st.text(max_size=3),
    "version": _numbers,
    "version_epoch": st.text(max_size=3),
    "skip_history": st.booleans(),
    "disconnect": st.fixed_dictionaries({"code": _numbers, "reason": st.text()}),
    "override": st.dictionaries(st.text(max_size=3), _json, max_size=2),
    "commands": st.lists(_json, max_size=2),
}
_request = st.fixed_dictionaries({}, optional=_fields) | st.fixed_dictionaries(
    {}, optional={name: _json | strategy for name, strategy in _fields.items()}
)
_METHODS_OF_CLIENTS = (
    *("connect", "subscribe", "unsubscribe", "publish", "presence", "presence_stats"),
    *("history", "ping", "send", "rpc", "refresh", "sub_refresh", "unknown"),
)
_command = st.builds(
    lambda id_, method, request: {"id": id_, method: request},
    st.integers(1, 9) | _numbers | _json,
    st.sampled_from(_METHODS_OF_CLIENTS),
    _request | _json,
)
_text = st.lists(_command, max_size=3).map(
    lambda commands: "\n".join(map(json.dumps, commands)).encode()
)
_payload = _text | st.binary(max_size=40) | st.just(b"{}")
_frame = st.builds(
    frame,
    _payload,
    st.just(0x80 | TEXT) | st.integers(0, 255),
    st.booleans() | st.just(True),
)


class FuzzTestCase(SynchronousTestCase):
    """Looks after each example whether the server is whole."""

    def setUp(self) -> None:
        path = Path(self.mktemp())
        path.parent.mkdir(exist_ok=True)
        path = path.with_suffix(".json")
        path.write_text(json.dumps(_OPTIONS))
        self.config = load(str(path), {}, {}).config

    def check(self, house: House, bystander: Peer) -> None:
        """See that nothing failed, and that the bystander is served."""
        house.clock.pump([1.0] * 10)
        self.assertEqual([str(each) for each in self.flushLoggedErrors()], [])
        bystander.taken()
        caller = house.connection()
        body = b'{"channel":"a","data":"still here"}'
        caller.send(
            b"POST /api/publish HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b"
            % (len(body), body)
        )
        house.turn()
        self.assertIn(b"HTTP/1.1 200 OK", caller.taken())
        last = frames(bystander.taken())[-1]
        self.assertEqual(json.loads(last[1])["push"]["pub"]["data"], "still here")


class WebSocketFuzz(FuzzTestCase):
    """Clients that send anything."""

    def talk(self, house: House, pieces: list[bytes]) -> None:
        """Send *pieces* to a new client's connection; check the answers."""
        peer = house.websocket()
        for piece in pieces:
            peer.send(piece)
            house.turn()
        house.clock.pump([1.0] * 10)
        answers = frames(peer.taken())
        for opcode, payload in answers:
            if opcode == TEXT:
                for line in payload.split(b"\n"):
                    json.loads(line)
        peer.leave()

    @settings(max_examples=150, deadline=None)
    @given(st.lists(_text, max_size=5))
    def test_commands(self, messages: list[bytes]) -> None:
        """Commands that are nearly right are answered or end the connection."""
        house = House(self.config)
        bystander = house.websocket()
        self.talk(house, [frame(message) for message in messages])
        self.check(house, bystander)

    @settings(max_examples=100, deadline=None)
    @given(st.lists(_frame, max_size=5), st.lists(st.integers(0, 200), max_size=5))
    def test_frames(self, sent: list[bytes], cuts: list[int]) -> None:
        """Frames of any kind, cut anywhere, are read or end the connection."""
        house = House(self.config)
        bystander = house.websocket()
        data = b"".join(sent)
        places = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
        pieces = [data[at:to] for at, to in pairwise(places)]
        self.talk(house, [piece for piece in pieces if piece])
        self.check(house, bystander)


class HTTPFuzz(FuzzTestCase):
    """Callers that send anything."""

    def post(self, house: House, path: str, body: bytes) -> bytes:
        """Return the answer to a request."""
        caller = house.connection()
        head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
        caller.send(head.encode() + body)
        house.turn()
        answer = caller.taken()
        caller.leave()
        return answer

    @settings(max_examples=150, deadline=None)
    @given(
        st.sampled_from(sorted(METHODS)),
        (_request | _json).map(lambda value: json.dumps(value).encode())
        | st.binary(max_size=30),
    )
    def test_methods(self, method: str, body: bytes) -> None:
        """Each method of the API answers any body with 200 or 400."""
        house = House(self.config)
        house.websocket()
        answer = self.post(house, f"/api/{method}", body)
        self.assertIn(answer[:12], (b"HTTP/1.1 200", b"HTTP/1.1 400"))
        head, _, content = answer.partition(b"\r\n\r\n")
        self.assertIn(b"Content-Length: %d" % len(content), head)
        if answer.startswith(b"HTTP/1.1 200"):
            json.loads(content)
        self.check(house, house.websocket())

    @settings(max_examples=80, deadline=None)
    @given(
        st.lists(
            st.fixed_dictionaries(
                {"method": st.sampled_from([*METHODS, "x"]) | _numbers},
                optional={"id": _numbers, "params": _request | _json},
            ).map(lambda value: json.dumps(value).encode())
            | st.binary(max_size=10),
            max_size=3,
        )
    )
    def test_old_style(self, commands: list[bytes]) -> None:
        """Commands of the old style answer anything with 200 or 400."""
        house = House(self.config)
        house.websocket()
        answer = self.post(house, "/api", b"\n".join(commands))
        self.assertIn(answer[:12], (b"HTTP/1.1 200", b"HTTP/1.1 400"))
        self.check(house, house.websocket())

    @settings(max_examples=100, deadline=None)
    @given(
        st.lists(
            st.sampled_from(
                [
                    *(b"GET ", b"POST ", b"/", b"/health", b"/metrics", b"/api/info"),
                    *(b"/connection/websocket", b" HTTP/1.1", b" HTTP/1.0", b"\r\n"),
                    *(b"Host: a\r\n", b"Upgrade: websocket\r\n", b"\r\n\r\n", b"{}"),
                    *(b"Connection: Upgrade\r\n", b"Content-Length: 2\r\n", b"\n"),
                    *(b"Transfer-Encoding: chunked\r\n", b"2\r\n{}\r\n0\r\n\r\n"),
                    *(b"Expect: 100-continue\r\n", b"Connection: close\r\n", b"%"),
                    *(b"Sec-WebSocket-Version: 13\r\n", b"Origin: x\r\n", b"\x00"),
                    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
                    b"Sec-WebSocket-Extensions: permessage-deflate\r\n",
                ]
            )
            | st.binary(max_size=6),
            max_size=14,
        )
    )
    def test_anything(self, pieces: list[bytes]) -> None:
        """Bytes that only resemble HTTP do no harm."""
        house = House(self.config)
        bystander = house.websocket()
        peer = house.connection()
        for piece in pieces:
            peer.send(piece)
            house.turn()
        peer.leave()
        self.check(house, bystander)

"""The real server's answers to input that no client should send."""

import json
import socket
import time
from collections.abc import Iterable
from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from .server import API_KEY, PATIENCE, Server, shared_server
from .websocket import BINARY, CLOSE, CONTINUATION, PING, TEXT, Refused, WebSocket
from .websocket import frame as _frame

_OPTIONS: dict[str, Any] = {
    "client": {
        "allow_anonymous_connect_without_token": True,
        "allowed_origins": ["http://good.example", "file://"],
        "stale_close_delay": "1s",
    },
    "channel": {
        "without_namespace": {
            "allow_subscribe_for_client": True,
            "allow_subscribe_for_anonymous": True,
        }
    },
}

_BAD_REQUEST = (3501, "bad request")
#: The server gave no code: the connection just ended.
_FIN = 0x80


def subscribe(id_: int, channel: str = "a") -> bytes:
    """Return a good command."""
    return json.dumps({"id": id_, "subscribe": {"channel": channel}}).encode()


class BadInputTestCase(SynchronousTestCase):
    """Looks after each test whether another client, or the server, was disturbed."""

    server: Server

    def setUp(self) -> None:
        self.server = shared_server("bad input", _OPTIONS)
        self.complaints = len(self.server.complaints())
        self.bystander = self.connected()
        self.addCleanup(self.bystander.close)
        self.bystander.ask({"id": 2, "subscribe": {"channel": "watched"}})
        self.addCleanup(self.check_undisturbed)

    def check_undisturbed(self) -> None:
        """See that the other client is served, and that nothing odd was logged."""
        self.server.api("publish", channel="watched", data=self.id())
        got = self.bystander.receive()["push"]["pub"]["data"]
        self.assertEqual(got, self.id())
        self.assertEqual(self.server.complaints()[self.complaints :], [])

    def connected(self) -> WebSocket:
        """Return a new connection that has connected."""
        socket = WebSocket(self.server.port)
        socket.ask({"id": 1, "connect": {}})
        return socket

    def closing_after(self, *frames: bytes, connect: bool = True) -> tuple[int, str]:
        """Return how the server closes a connection after these bytes."""
        socket = self.connected() if connect else WebSocket(self.server.port)
        for each in frames:
            socket.send_bytes(each)
        return socket.closing()

    def assertAllClose(
        self,
        rows: dict[str, bytes],
        expected: tuple[int, str],
        connect: bool = True,
    ) -> None:
        """Each of these messages, sent alone, closes the connection with the code."""
        got = {
            name: self.closing_after(_frame(row), connect=connect)
            for name, row in rows.items()
        }
        self.assertEqual(got, dict.fromkeys(rows, expected))

    def assertSurvives(self, message: bytes, expected: list[Any]) -> None:
        """A message is answered, and the connection stays usable."""
        socket = self.connected()
        self.addCleanup(socket.close)
        socket.send(message)
        self.assertEqual([socket.receive() for _ in expected], expected)
        answer = socket.ask({"id": 99, "rpc": {}})
        self.assertEqual((answer["id"], answer["error"]["code"]), (99, 108))


class MessageTests(BadInputTestCase):
    """Messages that are no commands (client protocol, "Batches")."""

    def test_malformed(self) -> None:
        """A message that is not a command ends in 3501."""
        rows = {
            "nothing": b"",
            "only a newline": b"\n",
            "no JSON": b"hello",
            "half an object": b'{"id":2,"subscribe":{"channel":"a"}',
            "a comma too much": b'{"id":2,"rpc":{},}',
            "an array": b"[]",
            "a string": b'"x"',
            "a number": b"1",
            "a control character": b'{"id":2,"rpc":{"data":"\x01"}}',
            "not a number": b'{"id":2,"rpc":{"data":NaN}}',
            "a byte order mark": b'\xef\xbb\xbf{"id":2,"rpc":{}}',
            "a number as channel": b'{"id":2,"subscribe":{"channel":5}}',
            "a list as request": b'{"id":2,"subscribe":[]}',
            "a string as id": b'{"id":"2","subscribe":{"channel":"a"}}',
            "a fraction as id": b'{"id":2.0,"subscribe":{"channel":"a"}}',
            "a negative id": b'{"id":-2,"subscribe":{"channel":"a"}}',
            "an id of 33 bits": b'{"id":4294967296,"subscribe":{"channel":"a"}}',
            "a negative offset": b'{"id":2,"subscribe":{"channel":"a","offset":-1}}',
            "an offset of 65 bits": b'{"id":2,"subscribe":{"channel":"a",'
            b'"offset":18446744073709551616}}',
            "an unknown delta": b'{"id":2,"subscribe":{"channel":"a","delta":"x"}}',
            "no channel": b'{"id":2,"subscribe":{}}',
            "much nesting": b'{"id":2,"rpc":{"data":' + b"[" * 30000,
            "closed nesting": b'{"id":2,"rpc":{"data":%b1%b}}'
            % (b"[" * 20000, b"]" * 20000),
        }
        self.assertAllClose(rows, _BAD_REQUEST)

    def test_commands_before(self) -> None:
        """The commands before a malformed one are carried out; then comes 3501."""
        rows = {
            "malformed": subscribe(2) + b'\n{"id":',
            "a blank line between": subscribe(2) + b"\n\n" + subscribe(3),
            "a blank line at the end": subscribe(2) + b"\n\n",
        }
        for name, row in rows.items():
            socket = self.connected()
            socket.send(row)
            self.assertEqual((name, socket.receive()["id"]), (name, 2))
            self.assertEqual((name, socket.closing()), (name, _BAD_REQUEST))

    def test_harmless(self) -> None:
        """Odd white space, unknown fields, nulls, odd case and trailers are read."""
        done = {"id": 2, "subscribe": {}}
        rows = {
            subscribe(2) + b"\n": [done],
            subscribe(2) + b"\r\n" + subscribe(3, "b"): [done, {**done, "id": 3}],
            subscribe(2) + b" x": [done],
            b'{"id":2,"subscribe":{"channel":"a","x":1},"y":{}}': [done],
            b'{"id":2,"subscribe":{"channel":"a"},"publish":null}': [done],
            b'{"ID":2,"Subscribe":{"CHANNEL":"a"}}': [done],
        }
        for row, expected in rows.items():
            self.assertSurvives(row, expected)

    def test_names(self) -> None:
        """Channel names that are too long or of odd characters are refused: 107."""
        refused = {"id": 2, "error": {"code": 107, "message": "bad request"}}
        for name in ("a" * 256, "\u00e9", "\ufffd"):
            self.assertSurvives(subscribe(2, name), [refused])
        lone = b'{"id":2,"subscribe":{"channel":"\\ud800"}}'
        self.assertSurvives(lone, [refused])


class IdTests(BadInputTestCase):
    """Ids, and commands at the wrong moment.

    See client protocol, "Ids and malformed commands".
    """

    def test_before_connect(self) -> None:
        """Anything but a connect with an id, as the first command, ends in 3501."""
        rows = {
            "subscribe": subscribe(1),
            "pong": b"{}",
            "send": b'{"send":{"data":{}}}',
            "connect without id": b'{"connect":{}}',
            "connect with id 0": b'{"id":0,"connect":{}}',
        }
        self.assertAllClose(rows, _BAD_REQUEST, connect=False)

    def test_after_connect(self) -> None:
        """Commands without an id or a method, and a second connect, end in 3501."""
        rows = {
            "subscribe without id": b'{"subscribe":{"channel":"a"}}',
            "a pong that nobody waits for": b"{}",
            "a null": b"null",
            "an unknown method": b'{"id":9,"foo":{}}',
            "only an id": b'{"id":9}',
            "only a ping": b'{"id":9,"ping":{}}',
            "a second connect": b'{"id":9,"connect":{}}',
        }
        self.assertAllClose(rows, _BAD_REQUEST)

    def test_send(self) -> None:
        """Nobody listens to messages without a reply: 3508."""
        rows = {"without id": b'{"send":{}}', "with id": b'{"id":2,"send":{}}'}
        self.assertAllClose(rows, (3508, "not available"))

    def test_duplicate_ids(self) -> None:
        """Commands that share an id are all answered with it."""
        error = {"id": 2, "error": {"code": 108, "message": "not available"}}
        presence = b'{"id":2,"presence":{"channel":"a"}}'
        self.assertSurvives(presence + b"\n" + presence, [error, error])

    def test_refused_connect(self) -> None:
        """After a refused connect nothing else of the message is looked at."""
        socket = WebSocket(self.server.port)
        socket.send({"id": 1, "connect": {"token": "x"}}, {"id": 2, "rpc": {}})
        self.assertEqual(socket.closing(), (3500, "invalid token"))

    def test_silent_client(self) -> None:
        """A client that never connects is stale: 3502."""
        self.assertEqual(self.closing_after(connect=False), (3502, "stale"))


class FrameTests(BadInputTestCase):
    """Frames that break the rules (RFC 6455)."""

    def assertCodes(self, rows: dict[str, tuple[Iterable[bytes], int]]) -> None:
        """Each of these series of frames makes the server close with this code."""
        got = {
            name: self.closing_after(*frames)[0] for name, (frames, _) in rows.items()
        }
        self.assertEqual(got, {name: code for name, (_, code) in rows.items()})

    def test_too_large(self) -> None:
        """A message over the limit ends in 1009, however it comes."""
        huge = b"\x81\xff" + (1 << 40).to_bytes(8, "big") + b"mask"
        rows: dict[str, tuple[Iterable[bytes], int]] = {
            "one frame": ([_frame(b"x" * 65537)], 1009),
            "two frames": (
                [_frame(b"x" * 40000, TEXT), _frame(b"x" * 40000, _FIN | CONTINUATION)],
                1009,
            ),
            "a frame that is only announced": ([huge], 1009),
        }
        self.assertCodes(rows)

    def test_largest(self) -> None:
        """A message just at the limit is read."""
        command = b'{"id":2,"rpc":{"data":"%b"}}' % (b"x" * (65536 - 26))
        self.assertEqual(len(command), 65536)
        error = {"code": 108, "message": "not available"}
        self.assertSurvives(command, [{"id": 2, "error": error}])

    def test_invalid_text(self) -> None:
        """Text that is not UTF-8 ends in 1007, in payloads and in fragments too."""
        bad = b'{"id":2,"rpc":{"data":"\xff"}}'
        rows: dict[str, tuple[Iterable[bytes], int]] = {
            "one frame": ([_frame(bad)], 1007),
            "two frames": (
                [_frame(bad[:24], TEXT), _frame(bad[24:], _FIN | CONTINUATION)],
                1007,
            ),
            "half a character": ([_frame(b'{"id":2,"rpc":{"data":"\xe2\x82')], 1007),
            "a surrogate": ([_frame(b'{"id":2,"rpc":{"data":"\xed\xa0\x80"}}')], 1007),
            "large": ([_frame(b'{"id":2,"rpc":{"data":"' + b"\xff" * 60000)], 1007),
        }
        self.assertCodes(rows)

    def test_protocol_errors(self) -> None:
        """Frames that RFC 6455 forbids end in 1002."""
        good = subscribe(2)
        rows: dict[str, Iterable[bytes]] = {
            "not masked": [_frame(good, masked=False)],
            "reserved opcode": [_frame(good, _FIN | 3)],
            "reserved control opcode": [_frame(b"", _FIN | 11)],
            "RSV1 without compression": [_frame(good, _FIN | 0x40 | TEXT)],
            "RSV2": [_frame(good, _FIN | 0x20 | TEXT)],
            "a ping in parts": [_frame(b"", PING)],
            "a long ping": [_frame(b"x" * 126, _FIN | PING)],
            "continuation of nothing": [_frame(good, _FIN | CONTINUATION)],
            "a text within a text": [_frame(b"{", TEXT), _frame(b"}", _FIN | TEXT)],
            "a close code of RFC 6455, 7.4.1": [_frame(b"\x03\xed", _FIN | CLOSE)],
        }
        self.assertCodes({name: (frames, 1002) for name, frames in rows.items()})

    def test_in_pieces(self) -> None:
        """A message is read whether it comes byte by byte, in fragments or binary."""
        command = subscribe(2)
        fragments = [_frame(command[:5], TEXT), _frame(b"hey", _FIN | PING)]
        fragments += [_frame(b"", CONTINUATION)]
        fragments += [_frame(command[5:], _FIN | CONTINUATION)]
        rows: list[list[bytes]] = [
            [bytes((byte,)) for byte in _frame(command)],
            [_frame(command, _FIN | BINARY)],
            fragments,
        ]
        for row in rows:
            socket = self.connected()
            self.addCleanup(socket.close)
            for piece in row:
                socket.send_bytes(piece)
            if row is fragments:
                self.assertEqual(socket.receive_frame()[1], b"hey")
            self.assertEqual(socket.receive(), {"id": 2, "subscribe": {}})

    def test_sudden_ends(self) -> None:
        """A client may vanish in the middle of anything."""
        whole = _frame(subscribe(2))
        for size in range(1, len(whole), 5):
            socket = self.connected()
            socket.send_bytes(whole[:size])
            socket.close()


class HandshakeTests(BadInputTestCase):
    """Requests that do not become a WebSocket."""

    def refusal(self, **headers: str) -> int:
        """Return the status for a handshake with these headers, 101 if it opened."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            WebSocket(self.server.port, named).close()
        except Refused as refused:
            return refused.status
        return 101

    def test_origin(self) -> None:
        """A foreign origin is refused with 403; no origin at all passes."""
        refused = [
            *("null", "http://bad.example", "http://good.example.evil"),
            *("http://good.example:80", "https://good.example"),
        ]
        got = {origin: self.refusal(Origin=origin) for origin in refused}
        self.assertEqual(got, dict.fromkeys(refused, 403))
        passed = ["http://good.example", "HTTP://GOOD.example", "file://"]
        got = {origin: self.refusal(Origin=origin) for origin in passed}
        self.assertEqual(got, dict.fromkeys(passed, 101))
        self.assertEqual(self.refusal(), 101)

    def test_headers(self) -> None:
        """A handshake that RFC 6455 forbids is answered with 400."""
        rows = {
            "no key": self.refusal(Sec_WebSocket_Key=""),
            "a short key": self.refusal(Sec_WebSocket_Key="abc"),
            "an old version": self.refusal(Sec_WebSocket_Version="12"),
            "no version": self.refusal(Sec_WebSocket_Version=""),
            "no host": self.refusal(Host=""),
            "no connection header": self.refusal(Connection="close"),
        }
        self.assertEqual(rows, dict.fromkeys(rows, 400))

    def test_unknown_subprotocol(self) -> None:
        """Unknown subprotocols and extensions are ignored."""
        self.assertEqual(self.refusal(Sec_WebSocket_Protocol="other"), 101)
        self.assertEqual(self.refusal(Sec_WebSocket_Extensions="other; x=1"), 101)

    def test_slow_heads(self) -> None:
        """Connections without a whole request are closed after ten seconds."""
        begun = [b"", b"GET ", b"GET /connection/websocket HTTP/1.1\r\nHost: a\r\n"]
        begun.append(b"POST /api/info HTTP/1.1\r\nHost: a\r\n")
        start = time.monotonic()
        sockets = []
        for data in begun:
            opened = socket.create_connection(("127.0.0.1", self.server.port), 20)
            self.addCleanup(opened.close)
            opened.sendall(data)
            sockets.append(opened)
        trickling = sockets[2]
        trickling.settimeout(1)
        with self.assertRaises((ConnectionError, EOFError)):
            while time.monotonic() < start + PATIENCE:
                trickling.sendall(b"X")
                try:
                    if not trickling.recv(1):
                        raise EOFError
                except TimeoutError:
                    pass
        self.assertGreater(time.monotonic() - start, 5)
        for opened in sockets[:2]:
            self.assertEqual(self.rest(opened), b"")

    @staticmethod
    def rest(opened: socket.socket) -> bytes:
        """Return what still comes before the end."""
        try:
            return opened.recv(4096)
        except ConnectionResetError:
            return b""


class HTTPTests(BadInputTestCase):
    """Requests to the server API that are wrong (server API, "HTTP")."""

    def post(
        self, body: bytes, path: str = "/api/publish", **headers: str
    ) -> tuple[int, bytes]:
        """Send a request with the right key, unless *headers* say otherwise."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named = named or {"X-API-Key": API_KEY}
        return self.server.request("POST", path, body, named)

    def test_keys(self) -> None:
        """Without the right key the answer is 401 with an empty body."""
        body = b'{"channel":"a","data":{}}'
        refused = [
            self.post(body, X_API_Key="wrong"),
            self.post(body, X_API_Key=API_KEY + "x"),
            self.post(body, X_API_Key="\u00e9"),
            self.post(body, X_API_Key="wrong", Authorization=f"apikey {API_KEY}"),
            self.post(body, Authorization="apikey wrong"),
            self.post(body, Authorization=f"bearer {API_KEY}"),
            self.post(body, Authorization=API_KEY),
            self.post(body, "/api/publish?api_key=wrong", Accept="*/*"),
            self.post(body, Accept="*/*"),
            self.post(body, "/api", Accept="*/*"),
        ]
        self.assertEqual(refused, [(401, b"")] * len(refused))
        passed = [
            self.post(body),
            self.post(body, Authorization=f"ApiKey  {API_KEY}"),
            self.post(body, f"/api/publish?api_key={API_KEY}", Accept="*/*"),
        ]
        self.assertEqual(passed, [(200, b'{"result":{}}')] * 3)

    def test_methods(self) -> None:
        """Any method other than POST gets 405, with or without the key."""
        for method in ("GET", "PUT", "DELETE", "OPTIONS", "PATCH"):
            answer = self.server.request(method, "/api/publish")
            self.assertEqual((method, answer), (method, (405, b"")))

    def test_broken_bodies(self) -> None:
        """A body that is not a request of the method gets 400."""
        rows = [
            b"",
            b"{",
            b"[]",
            b"1",
            b"hello",
            b'{"channel":5}',
            b'{"channel":"a","data":1}x',
            b'{"channel":"a","data":1,"tags":{"a":1}}',
            b'{"channel":"a","data":}',
            b'{"channel":"a","data":"\x01"}',
            b'{"channel":"a","data":1,"version":-1}',
            b'{"channel":"a","data":%b%b}' % (b"[" * 20000, b"]" * 20000),
            b'{"channel":"a","data":' + b"[" * 100000,
        ]
        got = {row[:40]: self.post(row) for row in rows}
        self.assertEqual(got, dict.fromkeys(got, (400, b"Bad Request\n")))
        for row in (b"", b"{", b"hello", b"\xff", b"[" * 100000):
            self.assertEqual(self.post(row, "/api"), (400, b"Bad Request\n"))

    def test_wrong_requests(self) -> None:
        """A request that cannot be done is answered with an error, in a 200."""
        rows = {
            b"{}": 107,
            b"null": 107,
            b'{"channel":"a"}': 107,
            b'{"channel":"","data":1}': 107,
            b'{"channel":"x:y","data":1}': 102,
            b'{"channel":"a","b64data":"%"}': 107,
        }
        for row, code in rows.items():
            status, body = self.post(row)
            answer = (status, json.loads(body)["error"]["code"])
            self.assertEqual((row, answer), (row, (200, code)))

    def test_unknown_paths(self) -> None:
        """Unknown paths get 404."""
        for path in ("/", "/api/unknown", "/api/publish/", "/connection/other"):
            answer = self.post(b"{}", path)
            self.assertEqual((path, answer), (path, (404, b"404 page not found\n")))
        self.assertEqual(self.post(b"{}", "//"), (307, b""))

    def raw(self, head: bytes, body: bytes = b"") -> bytes:
        """Send bytes; return the first line of the answer, as far as there is one."""
        with socket.create_connection(("127.0.0.1", self.server.port), 20) as opened:
            key = f"X-API-Key: {API_KEY}\r\n".encode()
            opened.sendall(head + key + b"\r\n" + body)
            return HandshakeTests.rest(opened).partition(b"\r\n")[0]

    def test_broken_heads(self) -> None:
        """A head that HTTP/1.1 forbids is answered with 400."""
        post = b"POST /api/info HTTP/1.1\r\nHost: a\r\n"
        heads = {
            "no HTTP at all": self.raw(b"\x00\x01\x02\r\n"),
            "a negative length": self.raw(post + b"Content-Length: -5\r\n"),
            "two lengths": self.raw(
                post + b"Content-Length: 2\r\nContent-Length: 3\r\n", b"{}x"
            ),
            "a word as length": self.raw(post + b"Content-Length: two\r\n", b"{}"),
            "no colon": self.raw(post + b"Nothing\r\n"),
            "a bad chunk": self.raw(
                post + b"Transfer-Encoding: chunked\r\n", b"zz\r\n{}\r\n0\r\n\r\n"
            ),
        }
        answers = {name: line[:12] for name, line in heads.items()}
        self.assertEqual(answers, dict.fromkeys(heads, b"HTTP/1.1 400"))

    def test_large_body(self) -> None:
        """A body over the limit is refused with 413 before it is sent."""
        head = b"POST /api/info HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999999\r\n"
        self.assertEqual(self.raw(head)[:12], b"HTTP/1.1 413")

    def test_abandoned_requests(self) -> None:
        """A caller may vanish in the middle of a request."""
        whole = b"POST /api/info HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"
        for size in range(1, len(whole), 7):
            with socket.create_connection(("127.0.0.1", self.server.port)) as opened:
                opened.sendall(whole[:size])


class RequestTests(BadInputTestCase):
    """Malformed requests, and too many requests."""

    GET = b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n"
    POST = b"POST /api/publish HTTP/1.1\r\nHost: h\r\nContent-Length: %b\r\n\r\n"
    PARTS = (
        *(b"GET ", b"POST ", b"/health", b"/api/publish", b"/connection/websocket"),
        *(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b"Host: h\r\n", b"\r\n", b"\r\n\r\n"),
        *(b"Content-Length: 5\r\n", b"Content-Length: ", b"9" * 5000, b"hello"),
        *(b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: identity\r\n"),
        *(b"5\r\nhello\r\n", b"ffffffffffffffffff\r\n", b"-1\r\n", b"0\r\n\r\n"),
        *(b"%zz", b"//..", b"?a=b", b"*", b"\0", b"\xff", b" ", b"\t", b":", b"\n"),
        *(b"Upgrade: websocket\r\n", b"Expect: 100-continue\r\n", b"x" * 17000),
        *(GET, GET * 100, POST % b"0", (POST % b"0") * 100),
    )

    def answer(self, *requests: bytes) -> bytes:
        """Send, and return all received bytes."""
        came = b""
        with socket.create_connection(("127.0.0.1", self.server.port), 5) as sock:
            try:
                for request in requests:
                    sock.sendall(request)
                sock.shutdown(socket.SHUT_WR)
                while data := sock.recv(65536):
                    came += data
            except OSError:
                pass  # it was sent away
        return came

    def test_lengths(self) -> None:
        """A length of 5,000 digits is 400, and no more is said."""
        answer = self.answer(self.POST % (b"9" * 5000))
        self.assertTrue(answer.startswith(b"HTTP/1.1 400 Bad Request\r\n"), answer)
        self.assertEqual(answer.count(b"HTTP/1.1"), 1)

    def test_pipelined(self) -> None:
        """Two thousand requests in one write are all answered."""
        with socket.create_connection(("127.0.0.1", self.server.port), 5) as sock:
            sock.sendall(self.GET * 2000)
            came = b""
            while came.count(b"HTTP/1.1 200 OK") < 2000:
                data = sock.recv(65536)
                self.assertTrue(data)
                came += data

    def test_random(self) -> None:
        """Whatever is sent, nothing is logged as an error of the server."""
        random = Random(9112)
        for _ in range(150):
            parts = random.choices(self.PARTS, k=random.randrange(1, 12))
            data = bytearray(b"".join(parts))
            for _ in range(random.randrange(3)):
                data[random.randrange(len(data))] = random.randrange(256)
            cut = random.randrange(len(data))
            self.answer(bytes(data[:cut]), bytes(data[cut:]))
        self.assertIn(b" 200 OK", self.answer(self.GET))

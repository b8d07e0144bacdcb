"""How connections end, seen from the other end of the real socket."""

import shutil
import socket
import ssl
import struct
import tempfile
import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from .certificates import Authority
from .server import PATIENCE, Server, connection_token, shared_server
from .websocket import CLOSE, WebSocket, frame

_CLOSE_1000 = frame(struct.pack(">H", 1000), 0x80 | CLOSE)
_OPTIONS: dict[str, Any] = {
    "client": {
        "allow_anonymous_connect_without_token": True,
        "stale_close_delay": "2s",
        # So that a client that reads nothing is not given up before its end.
        "queue_max_size": 20000000,
    },
    "websocket": {"write_timeout": "60s"},
    "channel": {
        "without_namespace": {
            "allow_subscribe_for_client": True,
            "allow_subscribe_for_anonymous": True,
        }
    },
    "http_stream": {"enabled": True},
}


class Connection:
    """A WebSocket whose stream is looked at byte by byte."""

    def __init__(self, server: Server, receive_buffer: int = 0) -> None:
        self._socket = socket.socket()
        if receive_buffer:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.settimeout(60)
        self._socket.connect(("127.0.0.1", server.port))
        if server.context is not None:
            self._socket = server.context.wrap_socket(
                self._socket, server_hostname="127.0.0.1"
            )
        self.send(
            b"GET /connection/websocket HTTP/1.1\r\nHost: a\r\n"
            b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        self.read(b"\r\n\r\n")

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self._socket.sendall(data)

    def command(self, text: bytes) -> None:
        """Send a command."""
        self.send(frame(text))

    def read(self, until: bytes) -> bytes:
        """Return the data up to these bytes."""
        data = b""
        while until not in data:
            piece = self._socket.recv(65536)
            assert piece, f"the stream has ended after {data!r}"
            data += piece
        return data

    def end(self) -> tuple[bytes, str]:
        """Return what still comes, and how the stream ends: FIN or RST."""
        data = b""
        try:
            while piece := self._socket.recv(65536):
                data += piece
        except (ConnectionResetError, BrokenPipeError):
            return data, "RST"
        except ssl.SSLEOFError:
            return data, "FIN without close_notify"
        return data, "FIN"

    def close(self) -> None:
        """Close this end."""
        self._socket.close()


class ClosingTests(SynchronousTestCase):
    """After a closing handshake a stream ends by FIN (RFC 6455, 7.1.1)."""

    def setUp(self) -> None:
        self.server = shared_server("closing", _OPTIONS)
        self.files = self.server.open_files()

    def open(self, server: Server | None = None, buffer: int = 0) -> Connection:
        """Return a connection that has connected."""
        connection = Connection(server or self.server, buffer)
        self.addCleanup(connection.close)
        connection.command(b'{"id":1,"connect":{}}')
        connection.read(b'"connect"')
        return connection

    def wait_for_files(self) -> None:
        """Wait until the server has no more files open than before."""
        end = time.monotonic() + PATIENCE
        while self.server.open_files() > self.files:
            self.assertLess(time.monotonic(), end, "connections stay open")
            time.sleep(0.05)

    def test_by_the_server(self) -> None:
        """The server closes, the client answers, both ends close."""
        connection = self.open()
        connection.command(b"nonsense")
        self.assertIn(b"\x88\x0d\x0d\xadbad request", connection.read(b"request"))
        connection.send(_CLOSE_1000)
        self.assertEqual(connection.end(), (b"", "FIN"))
        connection.close()
        self.wait_for_files()

    def test_talkative(self) -> None:
        """Bytes that come after the client's answer reset nothing."""
        connection = self.open()
        connection.command(b"nonsense")
        connection.read(b"request")
        connection.send(_CLOSE_1000 + frame(b"x" * 5000) * 20)
        self.assertEqual(connection.end(), (b"", "FIN"))

    def test_by_the_client(self) -> None:
        """The client closes and keeps sending; the reply comes, then the end."""
        connection = self.open()
        connection.send(_CLOSE_1000 + frame(b"x" * 5000) * 20)
        self.assertEqual(connection.end(), (b"\x88\x02\x03\xe8", "FIN"))

    def test_pending(self) -> None:
        """Queued data reaches a slow reader before the end."""
        connection = self.open(buffer=4096)
        connection.command(b'{"id":2,"subscribe":{"channel":"much"}}')
        connection.read(b'"subscribe"')
        for _ in range(8):
            self.server.api("publish", channel="much", data="x" * 100000)
        connection.command(b"nonsense")
        connection.send(_CLOSE_1000)
        data, end = connection.end()
        self.assertEqual((data.count(b"x" * 100000), end), (8, "FIN"))
        self.assertTrue(data.endswith(b"\x88\x0d\x0d\xadbad request"), data[-50:])

    def test_given_up(self) -> None:
        """Clients that do not do their part of the closing are given up.

        One reads nothing, one does not answer the close frame, one does not end.
        """
        unread, silent, half = self.open(buffer=4096), self.open(), self.open()
        unread.command(b'{"id":2,"subscribe":{"channel":"unread"}}')
        unread.read(b'"subscribe"')
        for _ in range(80):
            self.server.api("publish", channel="unread", data="x" * 100000)
        for each in (unread, silent, half):
            each.command(b"nonsense")
        for each in (unread, half):
            each.send(_CLOSE_1000)
        self.assertGreaterEqual(self.server.open_files(), self.files + 3)
        self.wait_for_files()

    def test_tls(self) -> None:
        """Over TLS close_notify and FIN end the stream, from either side."""
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        cert, key, ca = map(str, Authority().files(folder, "127.0.0.1"))
        tls = {"enabled": True, "cert_pem": cert, "key_pem": key}
        context = ssl.create_default_context(cafile=ca)
        context.set_alpn_protocols(["http/1.1"])
        options = {**_OPTIONS, "http_server": {"tls": tls}}
        server = Server(options, context)
        self.addCleanup(server.close)
        server.start()
        files = server.open_files()
        ours = self.open(server)
        ours.command(b"nonsense")
        ours.read(b"bad request")
        ours.send(_CLOSE_1000)
        self.assertEqual(ours.end(), (b"", "FIN"))
        theirs = self.open(server)
        theirs.send(_CLOSE_1000 + frame(b"x" * 5000) * 20)
        self.assertEqual(theirs.end(), (b"\x88\x02\x03\xe8", "FIN"))
        self.files, self.server = files, server
        self.wait_for_files()


class RefusedTests(SynchronousTestCase):
    """After an error reply to its connect a client is read on."""

    def setUp(self) -> None:
        self.server = shared_server("closing", _OPTIONS)
        self.socket = WebSocket(self.server.port)
        self.addCleanup(self.socket.close)
        token = connection_token("u", exp=1)
        reply = self.socket.ask({"id": 1, "connect": {"token": token}})
        self.assertEqual(reply["error"]["code"], 109)

    def test_close(self) -> None:
        """Its close frame is answered at once, also after other commands."""
        self.socket.send({"id": 2, "subscribe": {"channel": "a"}})
        self.socket.send(b"nonsense")
        self.socket.send_bytes(_CLOSE_1000)
        self.assertEqual(self.socket.receive_frame(), (CLOSE, b"\x03\xe8"))
        with self.assertRaises(EOFError):
            self.socket.receive_frame()

    def test_silence(self) -> None:
        """If it stays it is stale."""
        self.assertEqual(self.socket.closing(), (3502, "stale"))

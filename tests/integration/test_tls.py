"""Encrypted ports of the real server, over HTTP/1.1, HTTP/2 and WebSocket."""

import contextlib
import json
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import SkipTest

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamEnded, StreamReset
from twisted.trial.unittest import SynchronousTestCase

from .certificates import Authority
from .redis_servers import valkey
from .sdk import SDK
from .server import API_KEY, Server
from .test_python_sdk import PYTHON_SDK

PATIENCE = 60.0

_OPEN = {
    "allow_subscribe_for_client": True,
    "allow_subscribe_for_anonymous": True,
}


class TLSCase(SynchronousTestCase):
    """A server with certificates of its own."""

    def setUp(self) -> None:
        self.authority = Authority()
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        paths = self.authority.files(self.folder, "127.0.0.1", "localhost")
        self.cert, self.key, self.ca = map(str, paths)
        self.context = self.trusting()

    def trusting(self) -> ssl.SSLContext:
        """Return a client's context."""
        return ssl.create_default_context(cafile=self.ca)

    def start(self, **http: Any) -> Server:
        """Start a server; return it when it answers over TLS."""
        tls = {"enabled": True, "cert_pem": self.cert, "key_pem": self.key}
        options = {
            "http_server": {"tls": {**tls, **http.pop("tls", {})}, **http},
            "client": {"allow_anonymous_connect_without_token": True},
            "channel": {"without_namespace": _OPEN},
            "http_stream": {"enabled": True},
            "uni_sse": {"enabled": True},
            "emulation": {"max_request_body_size": 100},
        }
        server = Server(options, self.context)
        self.addCleanup(server.close)
        return server.start()

    def dial(self, port: int, *offers: str) -> ssl.SSLSocket:
        """Return a connection for which these protocols were offered."""
        self.context.set_alpn_protocols(list(offers))
        plain = socket.create_connection(("127.0.0.1", port), PATIENCE)
        dialled = self.context.wrap_socket(plain, server_hostname="127.0.0.1")
        self.addCleanup(dialled.close)
        return dialled


class HTTP2:
    """A client of HTTP/2."""

    def __init__(self, dialled: ssl.SSLSocket) -> None:
        self._socket = dialled
        self._h2 = H2Connection(H2Configuration(header_encoding="utf-8"))
        self._h2.initiate_connection()
        self.status: dict[int, int] = {}
        self.headers: dict[int, dict[str, str]] = {}
        self.bodies: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self._flush()

    def _flush(self) -> None:
        self._socket.sendall(self._h2.data_to_send())

    def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> int:
        """Send a request; return the number of its stream."""
        stream: int = self._h2.get_next_available_stream_id()
        head = [
            (":method", method),
            (":path", path),
            (":scheme", "https"),
            (":authority", "127.0.0.1"),
            *((name.replace("_", "-"), value) for name, value in headers.items()),
        ]
        self._h2.send_headers(stream, head, end_stream=not body)
        if body:
            self._h2.send_data(stream, body, end_stream=True)
        self.bodies[stream] = b""
        self._flush()
        return stream

    def read(self) -> None:
        """Receive the next data."""
        data = self._socket.recv(65536)
        if not data:
            raise EOFError
        for event in self._h2.receive_data(data):
            if isinstance(event, ResponseReceived):
                headers = dict(event.headers)
                self.status[event.stream_id] = int(headers[":status"])
                self.headers[event.stream_id] = headers
            elif isinstance(event, DataReceived):
                self.bodies[event.stream_id] += event.data
                self._h2.acknowledge_received_data(
                    event.flow_controlled_length, event.stream_id
                )
            elif isinstance(event, StreamEnded | StreamReset):
                self.ended.add(event.stream_id)
        self._flush()

    def answer(self, method: str, path: str, body: bytes = b"", **headers: str) -> Any:
        """Return status and body of a request."""
        stream = self.request(method, path, body, **headers)
        while stream not in self.ended:
            self.read()
        return self.status[stream], self.bodies[stream]

    def until(self, stream: int, text: bytes) -> None:
        """Read until the body of *stream* has *text*."""
        while text not in self.bodies[stream]:
            assert stream not in self.ended, self.bodies[stream]
            self.read()


class HTTP2Tests(TLSCase):
    """API and streams over HTTP/2, as the handshake chooses it."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self.start()

    def client(self) -> HTTP2:
        dialled = self.dial(self.server.port, "h2", "http/1.1")
        self.assertEqual(dialled.selected_alpn_protocol(), "h2")
        return HTTP2(dialled)

    def test_api(self) -> None:
        """Calls are answered, each on its stream; so are mistakes."""
        client = self.client()
        body = json.dumps({"channel": "news", "data": {}}).encode()
        status, answer = client.answer("POST", "/api/publish", body, x_api_key=API_KEY)
        self.assertEqual((status, json.loads(answer)), (200, {"result": {}}))
        self.assertEqual(client.answer("POST", "/api/publish", body)[0], 401)
        self.assertEqual(client.answer("GET", "/nowhere")[0], 404)
        self.assertEqual(client.answer("GET", "/health"), (200, b"{}"))
        streams = [
            client.request("POST", "/api/info", b"{}", x_api_key=API_KEY)
            for _ in range(20)
        ]
        while not client.ended.issuperset(streams):
            client.read()
        self.assertEqual({client.status[each] for each in streams}, {200})

    def test_large_body(self) -> None:
        """A body over the limit gets 413; the connection continues."""
        client = self.client()
        self.assertEqual(client.answer("POST", "/emulation", b"x" * 101)[0], 413)
        self.assertEqual(client.answer("GET", "/health")[0], 200)

    def test_floods(self) -> None:
        """Floods end with a goodbye, and leave no trace in the log."""
        complaints = len(self.server.complaints())
        preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
        head = b"\x82\x87\x04\x07/health\x01\x01h"
        resets, priorities = b"", b""
        for stream in range(1, 4001, 2):
            id = stream.to_bytes(4, "big")
            resets += len(head).to_bytes(3, "big") + b"\x01\x05" + id + head
            resets += b"\0\0\4\3\0" + id + b"\0\0\0\x08"
            priorities += b"\0\0\5\2\0" + id + b"\0\0\0\0\x10"
        pings = b"\0\0\x08\x06\0\0\0\0\0abcdefgh" * 3000
        settings = b"\0\0\0\4\0\0\0\0\0" * 3000
        for flood in (resets, priorities, pings, settings):
            dialled = self.dial(self.server.port, "h2")
            dialled.sendall(preface + flood)
            came = b""
            with contextlib.suppress(OSError):
                while data := dialled.recv(65536):
                    came += data
            # GOAWAY, which says ENHANCE_YOUR_CALM
            self.assertRegex(came, rb"(?s)\x07\0\0\0\0\0....\0\0\0\x0b")
        self.assertEqual(self.client().answer("GET", "/health"), (200, b"{}"))
        self.assertEqual(self.server.complaints()[complaints:], [])

    def test_streams(self) -> None:
        """Many streams on one connection each get each publication at once."""
        client = self.client()
        asked = {"id": 1, "connect": {"subs": {"news": {}}}}
        body = json.dumps(asked).encode()
        streams = [
            client.request("POST", "/connection/http_stream", body) for _ in range(5)
        ]
        for stream in streams:
            client.until(stream, b'"connect"')
            self.assertEqual(client.status[stream], 200)
            self.assertEqual(client.headers[stream]["x-accel-buffering"], "no")
        for number in range(3):
            body = json.dumps({"channel": "news", "data": {"n": number}}).encode()
            client.answer("POST", "/api/publish", body, x_api_key=API_KEY)
            for stream in streams:
                client.until(stream, b'{"n": %d}' % number)
        self.server.signal(signal.SIGTERM)
        for stream in streams:
            client.until(stream, b'"code":3001')
        self.assertEqual(self.server.wait(), 0)

    def test_websocket(self) -> None:
        """A client that offers only HTTP/1.1 gets it, and so WebSockets."""
        dialled = self.dial(self.server.port, "http/1.1")
        self.assertEqual(dialled.selected_alpn_protocol(), "http/1.1")
        sdk = SDK(["env", f"SSL_CERT_FILE={self.ca}", *PYTHON_SDK])
        self.addCleanup(sdk.close)
        url = f"wss://127.0.0.1:{self.server.port}/connection/websocket"
        sdk.order("connect", client="a", url=url)
        sdk.expect("connected", client="a")

    def test_curl(self) -> None:
        """curl speaks HTTP/2 with it."""
        curl = shutil.which("curl")
        if curl is None:
            raise SkipTest("curl is not installed")
        url = f"https://127.0.0.1:{self.server.port}/health"
        form = "%{http_version} %{http_code}"
        command = [curl, "-sS", "--http2", "--cacert", self.ca, "-w", form, url]
        said = subprocess.run(command, capture_output=True, text=True, check=True)
        self.assertEqual(said.stdout, "{}2 200")


class OptionTests(TLSCase):
    """The options of TLS."""

    def test_http2_disabled(self) -> None:
        """HTTP/2 can be turned off."""
        server = self.start(http2_disabled=True)
        dialled = self.dial(server.port, "h2", "http/1.1")
        self.assertEqual(dialled.selected_alpn_protocol(), "http/1.1")
        dialled.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertTrue(dialled.recv(65536).startswith(b"HTTP/1.1 200"))

    def test_client_certificates(self) -> None:
        """Without a certificate of the right authority a client is refused."""
        without, self.context = self.context, self.trusting()
        self.context.load_cert_chain(self.cert, self.key)
        server = self.start(tls={"client_ca_pem": self.ca})
        self.context, known = without, self.context
        dialled = self.dial(server.port, "http/1.1")
        with self.assertRaises(OSError):
            dialled.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            if not dialled.recv(65536):
                raise OSError
        self.context = known
        dialled = self.dial(server.port, "http/1.1")
        dialled.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertTrue(dialled.recv(65536).startswith(b"HTTP/1.1 200"))

    def test_mistakes(self) -> None:
        """A mistake stops the start, with one line that names the option."""
        for option, path in (("key_pem", self.ca), ("cert_pem", self.key)):
            tls = {"enabled": True, "cert_pem": self.cert, "key_pem": self.key}
            server = Server({"http_server": {"tls": {**tls, option: path}}})
            self.addCleanup(server.close)
            said = server.refusal()
            self.assertIn(f"http_server.tls.{option}: must be", said)
            self.assertNotIn("Traceback", said)


class RenewalTests(TLSCase):
    """Certificates that change while the server runs."""

    def serve(self, **options: Any) -> Server:
        """Start a server with metrics."""
        tls = {"enabled": True, "cert_pem": self.cert, "key_pem": self.key}
        http = {"http_server": {"tls": tls}, "prometheus": {"enabled": True}}
        server = Server({**http, **options}, self.context)
        self.addCleanup(server.close)
        return server.start()

    def renew(self) -> bytes:
        """Write a new certificate and key to the files; return the certificate."""
        texts = self.authority.issue("127.0.0.1", "localhost")
        for path, text in zip((self.cert, self.key), texts, strict=True):
            Path(path).write_text(text)
        return ssl.PEM_cert_to_DER_cert(texts[0])

    def shown(self, server: Server) -> bytes:
        """Return the certificate that a new connection is shown."""
        with self.dial(server.port, "http/1.1") as dialled:
            certificate = dialled.getpeercert(True)
        assert certificate is not None
        return certificate

    def wait_shown(self, server: Server, certificate: bytes) -> None:
        """Wait until new connections are shown a certificate."""
        end = time.monotonic() + PATIENCE
        while self.shown(server) != certificate:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.1)

    def ask(self, dialled: ssl.SSLSocket) -> None:
        """Check that an open connection is served."""
        dialled.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertTrue(dialled.recv(65536).startswith(b"HTTP/1.1 200"))

    def test_renewal(self) -> None:
        """New connections get the new certificate, open ones notice nothing."""
        server = self.serve()
        first = self.shown(server)
        opened = self.dial(server.port, "http/1.1")
        self.ask(opened)
        second = self.renew()
        self.assertNotEqual(first, second)
        self.wait_shown(server, second)
        self.ask(opened)
        # A broken file: one line, and the certificate stays.
        good = Path(self.cert).read_text()
        Path(self.cert).write_text("nothing")
        end = time.monotonic() + PATIENCE
        while "certificates not reloaded" not in server.log():
            self.assertLess(time.monotonic(), end)
            time.sleep(0.1)
        self.assertEqual(self.shown(server), second)
        self.ask(opened)
        # SIGHUP takes the next one over at once.
        Path(self.cert).write_text(good)
        third = self.renew()
        server.signal(signal.SIGHUP)
        self.wait_shown(server, third)
        self.ask(opened)
        _, metrics = server.request("GET", "/metrics")
        self.assertRegex(
            metrics,
            rb'centrifugo_tls_certificate_days_left{section="http_server.tls"} 0.0\d',
        )
        log = server.log()
        self.assertEqual(log.count("certificates not reloaded: http_server.tls"), 1)
        self.assertIn("the certificate of http_server.tls expires in 0 days", log)
        self.assertNotIn("Traceback", log)

    def test_workers(self) -> None:
        """All workers show the new certificate."""
        valkey()  # or this is skipped
        server = self.serve(workers=2)
        certificate = self.renew()
        self.wait_shown(server, certificate)
        end = time.monotonic() + PATIENCE
        while {self.shown(server) for _ in range(16)} != {certificate}:
            self.assertLess(time.monotonic(), end)

    def test_resumption(self) -> None:
        """A reconnecting client resumes its session, with TLS 1.2 and 1.3."""
        server = self.serve()
        for tls in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
            self.context = self.trusting()
            self.context.maximum_version = tls
            first = self.dial(server.port, "http/1.1")
            self.ask(first)
            plain = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
            with self.context.wrap_socket(
                plain, server_hostname="127.0.0.1", session=first.session
            ) as again:
                self.ask(again)
                self.assertTrue(again.session_reused, tls)

"""The official JavaScript client in a real browser."""

import json
import shutil
import subprocess
import tempfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any
from unittest import SkipTest
from urllib.parse import quote

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from .server import Server, connection_token, shared_server
from .test_javascript_sdk import node_command

_FOLDER = Path(__file__).parent
_BUILDS = _FOLDER / "js" / "node_modules" / "centrifuge" / "dist"
#: Seconds in which a browser must start and run a page.
PATIENCE = 60.0
#: A part of each payload that stays the same, so that deltas are worth their while.
_REST = {"city": "Zürich", "note": "the same in all publications " * 4}

OPTIONS: dict[str, Any] = {
    "client": {"allowed_origins": ["http://127.0.0.1:*"]},
    "sse": {"enabled": True},
    "http_stream": {"enabled": True},
    "uni_sse": {"enabled": True},
    "channel": {
        "namespaces": [
            {
                "name": "log",
                "presence": True,
                "force_recovery": True,
                "history_size": 100,
                "history_ttl": "300s",
                "allow_subscribe_for_client": True,
                "allow_publish_for_subscriber": True,
                "allow_presence_for_subscriber": True,
                "allow_history_for_subscriber": True,
                "allowed_delta_types": ["fossil"],
                "delta_publish": True,
            }
        ]
    },
}


@define(eq=False)
class Pages:
    """Serves the page and the client, publishes for it, and takes its report."""

    _server: Server
    reports: "Queue[dict[str, Any]]" = field(factory=Queue, init=False)
    _http: ThreadingHTTPServer = field(init=False)
    _thread: Thread = field(init=False)

    def __attrs_post_init__(self) -> None:
        pages = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.lstrip("/")
                known = {"centrifuge.js", "centrifuge.protobuf.js"}
                if name == "page.html":
                    self._answer((_FOLDER / "browser" / name).read_bytes(), "text/html")
                elif name in known:
                    self._answer((_BUILDS / name).read_bytes(), "text/javascript")
                else:
                    self.send_error(404)

            def do_POST(self) -> None:
                size = int(self.headers["content-length"])
                body = json.loads(self.rfile.read(size))
                if self.path == "/report":
                    pages.reports.put(body)
                else:
                    pages.publish(**body)
                self._answer(b"", "text/plain")

            def _answer(self, body: bytes, kind: str) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: Any) -> None:
                """Log nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._http.serve_forever)
        self._thread.start()

    def publish(self, channel: str, numbers: list[int]) -> None:
        """Publish by the server API."""
        for number in numbers:
            data = {"n": number, **_REST}
            self._server.api("publish", channel=channel, data=data)

    @property
    def url(self) -> str:
        """Return the address of the page."""
        return f"http://127.0.0.1:{self._http.server_port}/page.html"

    def close(self) -> None:
        """Serve no more."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class BrowserCase(SynchronousTestCase):
    """Leads a headless Chromium."""

    def setUp(self) -> None:
        browser = shutil.which("chromium") or shutil.which("chromium-browser")
        if browser is None:
            raise SkipTest("Chromium is not installed")
        self.browser = browser
        node_command("javascript_sdk.mjs")  # so that the client is installed
        self.server = shared_server("browser", OPTIONS)
        self.pages = Pages(self.server)
        self.addCleanup(self.pages.close)
        self.channel = f"log:{time.monotonic_ns()}"

    def visit(self, **order: Any) -> dict[str, Any]:
        """Let the browser perform an action; return its report."""
        order = {"channel": self.channel, "rest": _REST, **order}
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            command = [
                self.browser,
                *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
                *("--disable-background-networking", "--disable-component-update"),
                *(
                    "--disable-sync",
                    "--disable-dev-shm-usage",
                    "--remote-debugging-port=0",
                ),
                f"--user-data-dir={profile}",
                f"{self.pages.url}#{quote(json.dumps(order))}",
            ]
            quiet = subprocess.DEVNULL
            process = subprocess.Popen(command, stdout=quiet, stderr=quiet)
            try:
                report = self.pages.reports.get(timeout=PATIENCE)
            except Empty:
                raise AssertionError("the page has not reported") from None
            finally:
                process.terminate()
                process.wait(PATIENCE)
        self.assertNotIn("error", report)
        return report

    def transport(self, name: str) -> dict[str, str]:
        """Return where one transport is, as the client wants it."""
        scheme = "ws" if name == "websocket" else "http"
        host = f"127.0.0.1:{self.server.port}"
        return {"transport": name, "endpoint": f"{scheme}://{host}/connection/{name}"}

    def check(self, *transports: dict[str, str], **order: Any) -> dict[str, Any]:
        """Connect, publish, recover, read: nothing is lost, doubled or disordered."""
        report = self.visit(
            transports=transports,
            emulation=f"http://127.0.0.1:{self.server.port}/emulation",
            token=connection_token("browser"),
            **order,
        )
        self.assertEqual(report["numbers"], list(range(9)))
        self.assertEqual(report["history"], list(range(9)))
        self.assertEqual(report["recovered"], [False, True])
        self.assertEqual(report["stats"], {"numClients": 1, "numUsers": 1})
        return report


class TransportTests(BrowserCase):
    """Each transport and build, with recovery and deltas."""

    def test_websocket(self) -> None:
        """WebSocket in JSON."""
        report = self.check(self.transport("websocket"), delta=True)
        self.assertEqual(report["transports"], ["websocket", "websocket"])

    def test_websocket_protobuf(self) -> None:
        """WebSocket in Protobuf."""
        self.check(self.transport("websocket"), encoding="protobuf", delta=True)

    def test_http_stream(self) -> None:
        """HTTP streaming in JSON."""
        self.check(self.transport("http_stream"), delta=True)

    def test_http_stream_protobuf(self) -> None:
        """HTTP streaming in Protobuf."""
        self.check(self.transport("http_stream"), encoding="protobuf", delta=True)

    def test_sse(self) -> None:
        """Server-sent events, by the browser's own EventSource."""
        self.check(self.transport("sse"), delta=True)

    def test_fallback(self) -> None:
        """Where WebSocket does not pass the client takes the next transport."""
        blocked = {**self.transport("websocket")}
        blocked["endpoint"] = self.pages.url.replace("http:", "ws:")
        report = self.check(blocked, self.transport("http_stream"))
        self.assertEqual(report["transports"], ["http_stream", "http_stream"])

    def test_uni_sse(self) -> None:
        """An EventSource needs no client at all."""
        token = connection_token("browser", channels=[self.channel])
        endpoint = f"http://127.0.0.1:{self.server.port}/connection/uni_sse"
        report = self.visit(endpoint=endpoint, token=token)
        self.assertEqual(report["transports"], [self.channel])
        self.assertEqual(report["numbers"], [0, 1, 2])

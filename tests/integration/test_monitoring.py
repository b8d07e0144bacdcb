"""Metrics of a running server: in Graphite, and in ``info``."""

import re
import socket
import threading
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from .server import Server

#: One line of Graphite's plaintext protocol.
LINE = re.compile(rb"centrifugo\.[-\w]+(\.[^ .;]+)+ -?\d+(\.\d{6})? \d+\n")


class Sink(ThreadingTCPServer):
    """Takes lines as Graphite does."""

    daemon_threads = True

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.arrived = threading.Condition()
        super().__init__(("127.0.0.1", 0), _Connection)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def wait_for(self, pattern: bytes) -> bytes:
        """Return the first line that begins so."""
        found: list[bytes] = []

        def here() -> bool:
            found[:] = [line for line in self.lines if line.startswith(pattern)]
            return bool(found)

        with self.arrived:
            assert self.arrived.wait_for(here, 60), (pattern, self.lines[-20:])
        return found[0]


class _Connection(StreamRequestHandler):
    server: Sink

    def handle(self) -> None:
        """Keep every line."""
        for line in self.rfile:
            with self.server.arrived:
                self.server.lines.append(line)
                self.server.arrived.notify_all()


class ReportTests(SynchronousTestCase):
    """One server and one Graphite."""

    sink: Sink
    server: Server

    @classmethod
    def setUpClass(cls) -> None:
        cls.sink = Sink()
        cls.addClassCleanup(cls.sink.server_close)
        cls.addClassCleanup(cls.sink.shutdown)
        cls.server = Server(
            {
                "graphite": {
                    **{"enabled": True, "host": "127.0.0.1", "interval": "1s"},
                    "port": cls.sink.server_address[1],
                },
                "node": {"name": "n1", "info_metrics_aggregate_interval": "1s"},
                "prometheus": {"enabled": True, "instrument_http_handlers": True},
            }
        )
        cls.addClassCleanup(cls.server.close)
        cls.server.start()

    def test_graphite(self) -> None:
        """Graphite receives well-formed lines, counters as their growth."""
        self.server.api("publish", channel="a", data={})
        sent = b"centrifugo.n1.centrifugo.node.messages_sent_count.type.publication"
        self.assertEqual(self.sink.wait_for(sent + b" 1 ").split()[1], b"1")
        self.sink.wait_for(b"centrifugo.n1.process.resident.memory_bytes ")
        for line in self.sink.lines:
            self.assertRegex(line, LINE)

    def test_info(self) -> None:
        """``info`` shows the metrics of the latest interval."""
        metrics: dict[str, Any] = {}
        for _ in range(600):
            [node] = self.server.api("info")["nodes"]
            metrics = node["metrics"]
            if any(".method.info." in name for name in metrics["items"]):
                break
            threading.Event().wait(0.1)
        self.assertEqual(metrics["interval"], 1)
        items = metrics["items"]
        self.assertIn("centrifugo.node.num_clients", items)
        name = "centrifugo.api.command_duration_seconds.count"
        self.assertIn(f"{name}.method.info.protocol.http", items)
        self.assertEqual([name for name in items if "histogram" in name], [])

    def test_requests(self) -> None:
        """Requests are counted by endpoint, a WebSocket's handshake among them."""
        port = self.server.port
        with socket.create_connection(("127.0.0.1", port), 30) as client:
            client.sendall(
                b"GET /connection/websocket HTTP/1.1\r\nHost: a\r\n"
                b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            self.assertIn(b" 101 ", client.recv(100))
        _, text = self.server.request("GET", "/metrics")[:2]
        self.assertIn(
            b"centrifugo_node_incoming_http_requests_total"
            b'{method="GET",path="/connection/websocket",status="101"} 1\n',
            text,
        )

"""Traces of the server API, received as a collector receives them."""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from .server import API_KEY, Server

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


class Collector(ThreadingHTTPServer):
    """Takes spans over OTLP/HTTP."""

    daemon_threads = True

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.arrived = threading.Condition()
        super().__init__(("127.0.0.1", 0), _Request)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def wait_for(self, name: str) -> Any:
        """Return the first span of this name."""

        def here() -> Any:
            return next((span for span in self.spans if span.name == name), None)

        with self.arrived:
            found = self.arrived.wait_for(here, 60)
            assert found, (name, [span.name for span in self.spans])
        return found


class _Request(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        """Keep the spans of one export."""
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
            ExportTraceServiceRequest,
            ExportTraceServiceResponse,
        )

        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Content-Encoding"] == "gzip":
            import gzip

            body = gzip.decompress(body)
        request: Any = ExportTraceServiceRequest.FromString(body)
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.end_headers()
        self.wfile.write(ExportTraceServiceResponse().SerializeToString())
        with self.server.arrived:
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    self.server.spans += scope.spans
            self.server.arrived.notify_all()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class TraceTests(SynchronousTestCase):
    """A server with both APIs, and a collector."""

    def setUp(self) -> None:
        if find_spec("opentelemetry") is None:
            raise SkipTest("the extra opentelemetry is not installed")
        self.collector = Collector()
        self.addCleanup(self.collector.server_close)
        self.addCleanup(self.collector.shutdown)
        address = f"http://127.0.0.1:{self.collector.server_address[1]}"
        os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = address
        os.environ["OTEL_BSP_SCHEDULE_DELAY"] = "100"
        self.addCleanup(os.environ.pop, "OTEL_EXPORTER_OTLP_ENDPOINT")
        self.addCleanup(os.environ.pop, "OTEL_BSP_SCHEDULE_DELAY")

    def test_spans(self) -> None:
        """Calls over HTTP continue the caller's trace; stopping exports the last."""
        server = Server({"opentelemetry": {"enabled": True, "api": True}})
        self.addCleanup(server.close)
        server.start()
        body = json.dumps({"channel": "news", "data": 1}).encode()
        headers = {"X-API-Key": API_KEY, "traceparent": TRACEPARENT}
        self.assertEqual(server.request("POST", "/api/publish", body, headers)[0], 200)
        span = self.collector.wait_for("POST /api/publish")
        self.assertEqual(span.trace_id.hex(), TRACE)
        self.assertEqual(span.parent_span_id.hex(), PARENT)
        attributes = {
            each.key: each.value.string_value or each.value.int_value
            for each in span.attributes
        }
        self.assertEqual(
            attributes, {"centrifugo.channel": "news", "http.response.status_code": 200}
        )
        server.api("info")
        self.assertEqual(server.stop(), 0)
        self.collector.wait_for("POST /api/info")
        self.assertEqual(server.complaints(), [])

    def test_grpc(self) -> None:
        """Calls over gRPC do so, too."""
        import grpc

        from centrifugo_tx.protocol.proto import api_pb2

        from .redis_servers import free_port

        messages: Any = api_pb2
        port = free_port()
        server = Server(
            {
                "opentelemetry": {"enabled": True, "api": True},
                "grpc_api": {"enabled": True, "address": "127.0.0.1", "port": port},
            }
        )
        self.addCleanup(server.close)
        server.start()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            publish = channel.unary_unary(
                "/centrifugal.centrifugo.api.CentrifugoApi/Publish",
                messages.PublishRequest.SerializeToString,
                messages.PublishResponse.FromString,
            )
            publish(
                messages.PublishRequest(channel="news", data=b"1"),
                metadata=(("traceparent", TRACEPARENT),),
                wait_for_ready=True,
                timeout=60,
            )
        name = "centrifugal.centrifugo.api.CentrifugoApi/Publish"
        self.assertEqual(self.collector.wait_for(name).parent_span_id.hex(), PARENT)

"""Spans of calls, as the SDK of OpenTelemetry keeps them."""

from importlib.util import find_spec
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SkipTest

from centrifugo_tx.api import METHODS, Api, HTTPAPIOptions, http_handlers
from centrifugo_tx.api.api_messages import PublishRequest
from centrifugo_tx.protocol.messages import Raw

from .log_lines import LogTestCase
from .support import World

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Posted:
    """A request of a backend."""

    method = b"POST"

    def __init__(self, path: str, body: bytes, **headers: str) -> None:
        from io import BytesIO

        self.uri, self.content = path.encode(), BytesIO(body)
        self.headers = {name.encode(): text.encode() for name, text in headers.items()}

    def getHeader(self, name: bytes) -> bytes | None:
        """Return a header."""
        return self.headers.get(name)


class SpanTests(LogTestCase):
    """Recorded spans."""

    def setUp(self) -> None:
        super().setUp()
        if find_spec("opentelemetry") is None:
            raise SkipTest("the extra opentelemetry is not installed")
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import (
            InMemorySpanExporter,
        )

        from centrifugo_tx import tracing

        self.kept = InMemorySpanExporter()
        self.patch(tracing, "_exporter", lambda: self.kept)
        self.tracer = tracing.OpenTelemetry(None, "node-id")
        self.addCleanup(self.tracer._provider.shutdown)
        self.tracer._provider.add_span_processor(SimpleSpanProcessor(self.kept))
        self.world = World()
        self.api = Api(self.world.node, tracer=self.tracer)
        self.handlers = http_handlers(self.api, HTTPAPIOptions(insecure=True))

    def spans(self) -> list[Any]:
        """Return the finished spans."""
        return list(self.kept.get_finished_spans())

    def post(self, path: str, body: bytes, **headers: str) -> Any:
        """Send a request; return its only span."""
        self.handlers[path.encode()](Posted(path, body, **headers))
        [span] = self.spans()
        return span

    def test_call(self) -> None:
        """The span has the path, the channel, and the status; it has no parent."""
        span = self.post("/api/publish", b'{"channel":"a","data":{}}')
        self.assertEqual(span.name, "POST /api/publish")
        self.assertEqual(
            dict(span.attributes),
            {"centrifugo.channel": "a", "http.response.status_code": 200},
        )
        self.assertIsNone(span.parent)
        self.assertEqual(span.resource.attributes["service.instance.id"], "node-id")
        self.assertEqual(span.resource.attributes["service.name"], "centrifugo")

    def test_parent(self) -> None:
        """The caller's ``traceparent`` is the parent."""
        header = f"00-{TRACE}-{PARENT}-01"
        span = self.post("/api/info", b"{}", traceparent=header)
        self.assertEqual(f"{span.context.trace_id:032x}", TRACE)
        self.assertEqual(f"{span.parent.span_id:016x}", PARENT)

    def test_bad_parent(self) -> None:
        """A malformed ``traceparent`` begins a trace of its own."""
        self.assertIsNone(self.post("/api/info", b"{}", traceparent="00-x").parent)

    def test_error(self) -> None:
        """An error reply is an error of the span."""
        span = self.post("/api/publish", b'{"data":{}}')
        self.assertEqual(span.attributes["centrifugo.error.code"], 107)
        self.assertEqual(span.status.status_code.name, "ERROR")

    def test_malformed(self) -> None:
        """A request without a call has a span with its status."""
        span = self.post("/api/publish", b"{")
        self.assertEqual(span.attributes["http.response.status_code"], 400)

    def test_slow(self) -> None:
        """A span lasts until the answer is known."""
        waiting: Deferred[Raw] = Deferred()
        self.api.extensions["slow"] = lambda params: waiting
        self.handlers[b"/api/rpc"](Posted("/api/rpc", b'{"method":"slow"}'))
        self.assertEqual(self.spans(), [])
        waiting.callback(Raw(b"{}"))
        self.assertEqual(len(self.spans()), 1)

    def test_consumed(self) -> None:
        """A call from a queue has a span of its own."""
        api = Api(self.world.node, "consuming", tracer=self.tracer, traces_calls=True)
        api.call(METHODS["publish"], PublishRequest(channel="a", data=Raw(b"{}")))
        [span] = self.spans()
        self.assertEqual(span.name, "consuming publish")
        self.assertEqual(span.attributes["centrifugo.channel"], "a")

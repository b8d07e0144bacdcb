"""Traces of the server API for OpenTelemetry; needs the extra ``opentelemetry``.

Spans are exported by a thread of the SDK, which the standard ``OTEL_`` variables
configure.
"""

import logging
import os
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from .api import api_messages as m
from .bounded_log import BoundedLog
from .config.model import Config
from .errors import ConfigError

__all__ = ["OpenTelemetry", "tracing"]

#: Seconds in which the last spans must be exported when the server stops.
STOP_TIMEOUT = 5.0
#: Seconds between two log lines about spans that are not exported.
QUIET = 60.0
#: Characters of a channel name that a span keeps.
NAME_LIMIT = 255


@define(eq=False)
class _Span:
    """A span of the SDK."""

    _span: Any

    def watch(
        self, request: m.Request, outcome: "m.Result | Deferred[m.Result]"
    ) -> None:
        """Record channel and error of a call."""
        channel = getattr(request, "channel", None)
        if isinstance(channel, str):
            self._span.set_attribute("centrifugo.channel", channel[:NAME_LIMIT])
        channels = getattr(request, "channels", None)
        if isinstance(channels, list):
            self._span.set_attribute("centrifugo.num_channels", len(channels))
        if isinstance(outcome, Deferred):
            outcome.addCallback(self._note)
        else:
            self._note(outcome)

    def _note(self, result: m.Result) -> m.Result:
        if isinstance(result, m.Error):
            from opentelemetry.trace import Status, StatusCode

            self._span.set_attribute("centrifugo.error.code", result.code)
            self._span.set_status(Status(StatusCode.ERROR, result.message))
        return result

    def end(self, status: int | None = None) -> None:
        """End it."""
        if status is not None:
            self._span.set_attribute("http.response.status_code", status)
        self._span.end()


@define(eq=False)
class OpenTelemetry:
    """Makes spans, and exports them until it is stopped.

    :raises ConfigError: the environment requests an unavailable feature.
    """

    _reactor: Any
    _instance: str
    _provider: Any = field(init=False)
    _tracer: Any = field(init=False)
    _kind: Any = field(init=False)
    _extract: Any = field(init=False)
    _handler: "_ToTwisted" = field(init=False)

    def __attrs_post_init__(self) -> None:
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import (
            TraceContextTextMapPropagator,
        )

        self._handler = _ToTwisted(self._reactor)
        logger = logging.getLogger("opentelemetry")
        logger.addHandler(self._handler)
        logger.propagate = False
        own = {
            "service.name": "centrifugo",
            "service.instance.id": self._instance,
            "service.version": version("centrifugo-tx"),
        }
        environment = OTELResourceDetector().detect()
        resource = Resource.create().merge(Resource(own)).merge(environment)
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(_exporter()))
        self._tracer = self._provider.get_tracer("centrifugo_tx")
        self._kind = SpanKind.SERVER
        self._extract = TraceContextTextMapPropagator().extract

    def begin(self, name: str, headers: Mapping[str, str]) -> _Span:
        """Start a span."""
        parent = self._extract(headers) if headers else None
        return _Span(self._tracer.start_span(name, context=parent, kind=self._kind))

    def stop(self) -> "Deferred[None]":
        """Export the remaining spans; give up after `STOP_TIMEOUT`."""
        done: Deferred[Any] = deferToThreadPool(
            self._reactor, self._reactor.getThreadPool(), self._provider.shutdown
        )
        done.addTimeout(STOP_TIMEOUT, self._reactor)

        def finished(_: object) -> None:
            logging.getLogger("opentelemetry").removeHandler(self._handler)

        return done.addBoth(finished)


def tracing(reactor: Any, config: Config, node: str) -> OpenTelemetry | None:
    """Return the tracer that *config* enables, or None.

    :param node: the id of the node.
    :raises ConfigError: the environment requests an unavailable feature.
    """
    options = config.opentelemetry
    if not (options.enabled and (options.api or options.consuming)):
        return None
    return OpenTelemetry(reactor, node)


def _exporter() -> Any:
    """Return the exporter that ``OTEL_EXPORTER_OTLP_PROTOCOL`` names.

    :raises ConfigError: the exporter is unknown.
    """
    names = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"
    protocol = next(filter(None, map(os.environ.get, names)), "http/protobuf")
    if protocol == "http/protobuf":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
            OTLPSpanExporter as HTTPExporter,
        )

        return HTTPExporter()
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (
            OTLPSpanExporter as GRPCExporter,
        )

        return GRPCExporter()
    raise ConfigError(
        f"OTEL_EXPORTER_OTLP_PROTOCOL: {protocol!r} must be one of"
        ' "http/protobuf", "grpc"'
    )


class _ToTwisted(logging.Handler):
    """Passes the SDK's log lines from its thread to the log of the server."""

    def __init__(self, reactor: Any) -> None:
        super().__init__(logging.WARNING)
        self._reactor = reactor
        self._log = BoundedLog(Logger(namespace=__name__), reactor, 1, QUIET)

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record, in the reactor's thread."""
        self._reactor.callFromThread(self._warn, record.getMessage())

    def _warn(self, message: str) -> None:
        self._log.warn("traces are not exported", error=message[:256])

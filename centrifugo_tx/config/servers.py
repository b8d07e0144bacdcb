"""The sections of the servers, the process and its monitoring."""

import msgspec

from ..options import Duration, TLSOptions

__all__ = [
    "AutocertOptions",
    "DebugOptions",
    "GRPCAPIOptions",
    "GraphiteOptions",
    "HTTP3Options",
    "HTTPServerOptions",
    "HealthOptions",
    "InitOptions",
    "LogOptions",
    "NodeSection",
    "OpenTelemetryOptions",
    "PrometheusOptions",
    "Section",
    "ShutdownOptions",
    "SwaggerOptions",
    "TLSOptions",
    "UsageStatsOptions",
]


class Section(msgspec.Struct, frozen=True):
    """A group of options."""


class AutocertOptions(Section, frozen=True):
    """Certificates obtained by ACME."""

    enabled: bool = False
    """Obtain certificates; takes precedence over ``http_server.tls``."""
    host_whitelist: tuple[str, ...] = ()
    """Host names to obtain certificates for; empty: any."""
    cache_dir: str = ""
    """Directory in which certificates are stored."""
    email: str = ""
    """Email address of the account."""
    server_name: str = ""
    """Host name to assume when the client sends none."""
    http: bool = False
    """Also answer http-01 challenges."""
    http_addr: str = ":80"
    """Address on which these challenges are answered."""


class HTTP3Options(Section, frozen=True):
    """HTTP/3."""

    enabled: bool = False
    """Also serve HTTP/3; requires TLS."""


class HTTPServerOptions(Section, frozen=True):
    """Addresses and ports of the server."""

    address: str = ""
    """Address to listen on; empty: all addresses."""
    port: int = 8000
    """Port of the client endpoints and, without ``internal_port``, of all others."""
    internal_address: str = ""
    """Address of the internal endpoints; empty: ``address``."""
    internal_port: str = ""
    """Port of the internal endpoints; empty: ``port``."""
    tls: TLSOptions = TLSOptions()
    """TLS of both ports."""
    tls_external: bool = False
    """Use ``tls`` on the external port only."""
    internal_tls: TLSOptions = TLSOptions()
    """TLS of the internal port, when it differs from the external port."""
    tls_autocert: AutocertOptions = AutocertOptions()
    """Certificates obtained by ACME."""
    http3: HTTP3Options = HTTP3Options()
    """HTTP/3."""
    http2_disabled: bool = False
    """Do not offer HTTP/2 over TLS."""
    h2c_external: bool = False
    """Serve HTTP/2 without TLS on the external port."""


class LogOptions(Section, frozen=True):
    """Level and destination of the log."""

    level: str = "info"
    """One of none, trace, debug, info, warn, error, fatal."""
    file: str = ""
    """File to append to; empty: the console."""


class NodeSection(Section, frozen=True):
    """This process as a node of a cluster."""

    name: str = ""
    """Name of the node; empty: ``<host name>_<port>``."""
    info_metrics_aggregate_interval: Duration = 60.0
    """Interval over which the metrics in the API's ``info`` are aggregated; 0: ``info``
    has none."""


class ShutdownOptions(Section, frozen=True):
    """Graceful shutdown."""

    timeout: Duration = 30.0
    """Timeout after which the process exits regardless."""


class UsageStatsOptions(Section, frozen=True):
    """Statistics sent to the makers of Centrifugo; this server never sends any."""

    disabled: bool = False
    """Accepted for compatibility; has no effect."""


class HealthOptions(Section, frozen=True):
    """The health endpoint, on the internal port."""

    enabled: bool = False
    """Enable the endpoint."""
    handler_prefix: str = "/health"
    """Path of the endpoint."""


class InitOptions(Section, frozen=True):
    """An endpoint on the external port that answers ``{}``, for external probes."""

    enabled: bool = False
    """Enable the endpoint."""
    handler_prefix: str = "/connection/init"
    """Path of the endpoint."""


class PrometheusOptions(Section, frozen=True):
    """The metrics endpoint, on the internal port."""

    enabled: bool = False
    """Enable the endpoint."""
    handler_prefix: str = "/metrics"
    """Path of the endpoint."""
    instrument_http_handlers: bool = False
    """Count HTTP requests by endpoint, method and status; each request then takes
    longer."""
    recovered_publications_histogram: bool = False
    """Record how many publications each recovery delivered."""
    native_histograms: bool = False
    """Accepted for compatibility; has no effect."""


class GraphiteOptions(Section, frozen=True):
    """Metrics pushed to Graphite."""

    enabled: bool = False
    """Enable the export."""
    host: str = "localhost"
    """Host to push to."""
    port: int = 2003
    """Port to push to."""
    prefix: str = "centrifugo"
    """Prefix of every path."""
    interval: Duration = 10.0
    """Interval between pushes."""
    tags: bool = False
    """Send labels as tags."""


class SwaggerOptions(Section, frozen=True):
    """The page that describes the HTTP API, and its OpenAPI document, on the internal
    port."""

    enabled: bool = False
    """Enable the endpoint."""
    handler_prefix: str = "/swagger"
    """Path of the endpoint."""


class DebugOptions(Section, frozen=True):
    """Diagnostics of the process, on the internal port."""

    enabled: bool = False
    """Enable the endpoints."""
    handler_prefix: str = "/debug/pprof"
    """Path prefix of the endpoints."""


class OpenTelemetryOptions(Section, frozen=True):
    """Export of traces, configured by the standard ``OTEL_`` variables."""

    enabled: bool = False
    """Enable the export; requires the extra ``opentelemetry``."""
    api: bool = False
    """Trace calls of the server API."""
    consuming: bool = False
    """Trace consumers."""
    google_cloud_adc_auth: bool = False
    """Authenticate with Google's application default credentials."""


class GRPCAPIOptions(Section, frozen=True):
    """The server API over gRPC."""

    enabled: bool = False
    """Enable the endpoint; requires the extra ``grpc``."""
    error_mode: str = ""
    """``transport``: send errors as gRPC statuses; empty: as part of the reply."""
    address: str = ""
    """Address to listen on; empty: all addresses."""
    port: int = 10000
    """Port to listen on."""
    key: str = ""
    """API key that callers must send; empty: none is required."""
    tls: TLSOptions = TLSOptions()
    """TLS of the port."""
    reflection: bool = False
    """Enable server reflection, which requires no key."""
    max_receive_message_size: int = 0
    """Maximum size of a request, in bytes; 0: 4 MiB."""

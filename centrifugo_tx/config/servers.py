"""The sections of the servers, the process and what watches them."""

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
    """Certificates fetched by ACME."""

    enabled: bool = False
    """Fetch certificates; goes before ``http_server.tls``."""
    host_whitelist: tuple[str, ...] = ()
    """Host names to fetch certificates for; empty: any."""
    cache_dir: str = ""
    """Folder that keeps the certificates."""
    email: str = ""
    """Mail address of the account."""
    server_name: str = ""
    """Name to use when the client sends none."""
    http: bool = False
    """Answer http-01 challenges too."""
    http_addr: str = ":80"
    """Address on which these challenges are answered."""


class HTTP3Options(Section, frozen=True):
    """HTTP/3."""

    enabled: bool = False
    """Serve HTTP/3 too; needs TLS."""


class HTTPServerOptions(Section, frozen=True):
    """Where the server listens."""

    address: str = ""
    """Address to bind; empty: all."""
    port: int = 8000
    """Port of the endpoints for clients and, unless ``internal_port`` says
    otherwise, of all others."""
    internal_address: str = ""
    """Address of the internal endpoints; empty: the same as ``address``."""
    internal_port: str = ""
    """Port of the internal endpoints; empty: the same as ``port``."""
    tls: TLSOptions = TLSOptions()
    """Encryption of both ports."""
    tls_external: bool = False
    """Use ``tls`` on the external port only."""
    internal_tls: TLSOptions = TLSOptions()
    """Encryption of the internal port, when it is another one."""
    tls_autocert: AutocertOptions = AutocertOptions()
    """Certificates fetched by ACME."""
    http3: HTTP3Options = HTTP3Options()
    """HTTP/3."""
    http2_disabled: bool = False
    """Do not offer HTTP/2 over TLS."""
    h2c_external: bool = False
    """Serve HTTP/2 in clear text on the external port."""


class LogOptions(Section, frozen=True):
    """What is logged, and where to."""

    level: str = "info"
    """One of none, trace, debug, info, warn, error, fatal."""
    file: str = ""
    """File to append to; empty: the console."""


class NodeSection(Section, frozen=True):
    """This process among the nodes of a cluster."""

    name: str = ""
    """Name of the node; empty: ``<host name>_<port>``."""
    info_metrics_aggregate_interval: Duration = 60.0
    """Over how long the figures of the API's ``info`` are gathered."""


class ShutdownOptions(Section, frozen=True):
    """The graceful stop."""

    timeout: Duration = 30.0
    """How long a stop may take before the process ends regardless."""


class UsageStatsOptions(Section, frozen=True):
    """Statistics sent to the makers of Centrifugo; this server never sends any."""

    disabled: bool = False
    """Accepted for compatibility."""


class HealthOptions(Section, frozen=True):
    """The health endpoint, on the internal port."""

    enabled: bool = False
    """Serve it."""
    handler_prefix: str = "/health"
    """Its path."""


class InitOptions(Section, frozen=True):
    """An endpoint on the external port that answers ``{}``: a probe from outside."""

    enabled: bool = False
    """Serve it."""
    handler_prefix: str = "/connection/init"
    """Its path."""


class PrometheusOptions(Section, frozen=True):
    """The metrics endpoint, on the internal port."""

    enabled: bool = False
    """Serve it."""
    handler_prefix: str = "/metrics"
    """Its path."""
    instrument_http_handlers: bool = False
    """Count HTTP requests by path, method and status."""
    recovered_publications_histogram: bool = False
    """Count how many publications each recovery brought."""
    native_histograms: bool = False
    """Expose native histograms, and no summaries."""


class GraphiteOptions(Section, frozen=True):
    """Metrics pushed to Graphite."""

    enabled: bool = False
    """Push them."""
    host: str = "localhost"
    """Host to push to."""
    port: int = 2003
    """Port to push to."""
    prefix: str = "centrifugo"
    """First part of every path."""
    interval: Duration = 10.0
    """Time between pushes."""
    tags: bool = False
    """Send labels as tags."""


class SwaggerOptions(Section, frozen=True):
    """The description of the HTTP API, on the internal port."""

    enabled: bool = False
    """Serve it."""
    handler_prefix: str = "/swagger"
    """Its path."""


class DebugOptions(Section, frozen=True):
    """Diagnostics of the process, on the internal port."""

    enabled: bool = False
    """Serve them."""
    handler_prefix: str = "/debug/pprof"
    """Their path."""


class OpenTelemetryOptions(Section, frozen=True):
    """Export of traces; the endpoint comes from the standard ``OTEL_`` variables."""

    enabled: bool = False
    """Export them."""
    api: bool = False
    """Trace API calls."""
    consuming: bool = False
    """Trace consumers."""
    google_cloud_adc_auth: bool = False
    """Authenticate by Google's application default credentials."""


class GRPCAPIOptions(Section, frozen=True):
    """The server API over gRPC."""

    enabled: bool = False
    """Serve it; needs the extra ``grpc``."""
    error_mode: str = ""
    """``transport``: errors are gRPC statuses; empty: part of the reply."""
    address: str = ""
    """Address to bind; empty: all."""
    port: int = 10000
    """Port to bind."""
    key: str = ""
    """API key; empty: everybody may call."""
    tls: TLSOptions = TLSOptions()
    """Encryption."""
    reflection: bool = False
    """Describe the service to everyone who asks, key or not."""
    max_receive_message_size: int = 0
    """Largest request in bytes; 0: 4 MiB."""

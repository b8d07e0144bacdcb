"""Options without their documented effect, so that none is ignored silently.

Each entry says why.  ``*`` stands for any item of a list.
"""

from collections.abc import Iterator

from msgspec import Struct

from .model import Config
from .schema import options_of

__all__ = ["POINTLESS", "UNSUPPORTED", "ignored", "refused"]

_NO_BUFFERS = "a connection has no buffer of its own that could have a size"
_NO_QUIC = "no maintained library serves HTTP/3 on Twisted; a proxy in front can"

#: Options that mean nothing in this server, and why; it starts with them, and warns.
POINTLESS = {
    **{
        f"{socket}.{name}": _NO_BUFFERS
        for socket in ("websocket", "uni_websocket")
        for name in ("read_buffer_size", "write_buffer_size", "use_write_buffer_pool")
    },
    "http_server.http3.enabled": _NO_QUIC,
    "webtransport.enabled": f"it needs HTTP/3, and {_NO_QUIC}",
    "enable_unreleased_features": (
        'it unlocks nothing but the broker "redisnats", which this server does not have'
    ),
    "prometheus.native_histograms": (
        "metrics are served as text, which cannot hold native histograms; the classic"
        " ones, and the summaries, are served as without it"
    ),
}

#: Options that this server does not have, and why; it refuses to start with them.
UNSUPPORTED = {
    "http_server.tls_autocert.enabled": (
        "no maintained ACME client runs on Twisted; let one such as certbot write the"
        " files of http_server.tls, which are taken over while the server runs"
    ),
    "controller.enabled": (
        "nodes exchange messages through the engine; for several nodes set engine.type"
        ' to "redis"'
    ),
    "opentelemetry.google_cloud_adc_auth": (
        "give a token in OTEL_EXPORTER_OTLP_HEADERS, or export to a collector that has"
        " Google's credentials"
    ),
}

#: Types of brokers that this server does not have.
_BACKENDS = frozenset({"nats", "postgres", "redisnats"})
#: Types of consumers that can run.
_CONSUMERS = frozenset(
    {"aws_sqs", "kafka", "nats_jetstream", "postgresql", "redis_stream"}
)


def ignored(config: Config) -> list[str]:
    """Return one line for each option that is set but has no effect."""
    return [
        f"option {path} has no effect: {POINTLESS[general]}"
        for path, general in _changed(config)
        if general in POINTLESS
    ]


def refused(config: Config) -> list[str]:
    """Return one line for each option that keeps the server from starting."""
    lines = []
    for path, general in _changed(config):
        if general in UNSUPPORTED:
            lines.append(f"{path}: not supported, because {UNSUPPORTED[general]}")
    for section in dict.fromkeys(_used_backends(config)):
        kind = getattr(config, section).type
        if kind in _BACKENDS:
            lines.append(f'{section}.type: "{kind}" is not supported; use "redis"')
    lines += [
        f'consumers.[{index}].type: "{consumer.type}" is not supported; use one of'
        f" {', '.join(sorted(_CONSUMERS))}"
        for index, consumer in enumerate(config.consumers)
        if consumer.enabled and consumer.type not in _CONSUMERS
    ]
    return lines


def _used_backends(config: Config) -> Iterator[str]:
    """Yield the sections that say where data is kept."""
    for section in ("broker", "presence_manager"):
        yield section if getattr(config, section).enabled else "engine"
    yield "map_broker"


def _changed(
    section: Struct, path: str = "", general: str = ""
) -> Iterator[tuple[str, str]]:
    """Yield the path of each option that differs from its default.

    The second path of each pair has ``*`` in place of list indexes.
    """
    for option in options_of(type(section)):
        value = getattr(section, option.name)
        here = f"{path}.{option.name}".lstrip(".")
        where = f"{general}.{option.name}".lstrip(".")
        if option.kind == "section":
            yield from _changed(value, here, where)
        elif option.kind == "sections":
            for index, item in enumerate(value):
                yield from _changed(item, f"{here}.[{index}]", f"{where}.*")
        elif value != option.default:
            yield here, where

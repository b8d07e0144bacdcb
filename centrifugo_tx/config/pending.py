"""Options that are accepted but not implemented, so that none is silently ignored.

A change that implements an option deletes its entry here.  ``*`` stands for any item
of a list.
"""

from collections.abc import Iterator

from msgspec import Struct

from ..proxies.http_agent import HTTP_SCHEMES
from .model import Config
from .schema import options_of
from .used_proxies import proxy_references

__all__ = ["IGNORED", "POINTLESS", "REFUSED", "ignored", "refused"]

_CHANNEL = ("channel.without_namespace", "channel.namespaces.*")
_SOCKETS = ("websocket", "uni_websocket")
_BUFFERS = ("read_buffer_size", "write_buffer_size", "use_write_buffer_pool")

#: The server starts with these options, and warns that they have no effect.
IGNORED = frozenset(
    {
        *("http_server.h2c_external", "http_server.http3.enabled"),
        "webtransport.enabled",
        "debug.enabled",
        "opentelemetry.enabled",
        *(f"{path}.{name}" for path in _SOCKETS for name in _BUFFERS),
        "enable_unreleased_features",
    }
)

#: Options that will never have an effect here, each with the reason.
POINTLESS = {
    "prometheus.native_histograms": (
        "metrics are served as text, which cannot hold native histograms; the classic"
        " ones, and the summaries, are served as without it"
    ),
}

#: The server refuses to start with these options: ignoring them would be unsafe, or
#: would change behavior.
REFUSED = frozenset(
    {
        "http_server.tls_autocert.enabled",
        "controller.enabled",
        *(f"{path}.subscribe_stream_proxy_enabled" for path in _CHANNEL),
    }
)

#: Types of brokers that are to come.
_BACKENDS = frozenset({"nats", "postgres", "redisnats"})
#: Types of consumers that can run.
_CONSUMERS = frozenset(
    {"aws_sqs", "kafka", "nats_jetstream", "postgresql", "redis_stream"}
)


def ignored(config: Config) -> list[str]:
    """Return one line for each option that is set but has no effect."""
    lines = []
    for path, general in _changed(config):
        if general in IGNORED:
            lines.append(f"option {path} is not implemented yet and has no effect")
        elif general in POINTLESS:
            lines.append(f"option {path} has no effect: {POINTLESS[general]}")
    return lines


def refused(config: Config) -> list[str]:
    """Return one line for each option that keeps the server from starting."""
    found = [path for path, general in _changed(config) if general in REFUSED]
    for section in ("broker", "presence_manager"):
        user = section if getattr(config, section).enabled else "engine"
        path = f"{user}.type"
        if getattr(config, user).type in _BACKENDS and path not in found:
            found.append(path)
    if config.map_broker.type in _BACKENDS:
        found.append("map_broker.type")
    found += [
        f"consumers.[{index}].type"
        for index, consumer in enumerate(config.consumers)
        if consumer.enabled and consumer.type not in _CONSUMERS
    ]
    found += {
        f"{each.where}.endpoint": None
        for each in proxy_references(config)
        if each.enabled
        and each.options is not None
        and not each.options.endpoint.startswith(HTTP_SCHEMES)
    }
    return [
        f"{path}: not implemented; refusing to start, because ignoring it would change"
        " behavior"
        for path in found
    ]


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

"""Rules of the options for monitoring."""

from collections.abc import Iterator
from importlib.util import find_spec

from .model import Config

__all__ = ["check_monitoring"]


def check_monitoring(config: Config) -> Iterator[tuple[str, str]]:
    """Yield errors in the options for monitoring, with their paths."""
    graphite = config.graphite
    if graphite.enabled:
        if not 0 < graphite.port < 65536:
            yield "graphite.port", f"{graphite.port} is not a port from 1 to 65535"
        if graphite.interval < 1:
            yield "graphite.interval", "must be at least one second"
    traced = config.opentelemetry
    missing = traced.enabled and find_spec("opentelemetry") is None
    if missing and (traced.api or traced.consuming):
        yield (
            "opentelemetry.enabled",
            'needs the extra opentelemetry: pip install "centrifugo-tx[opentelemetry]"',
        )
    overload = config.overload
    if overload.max_reactor_lag < 0 or 0 < overload.max_reactor_lag < 0.05:
        yield "overload.max_reactor_lag", "must be at least 50ms, or 0 for no limit"
    if overload.max_memory < 0:
        yield "overload.max_memory", f"{overload.max_memory} must not be negative"
    if not 1 <= overload.retry_after <= 3600:
        yield "overload.retry_after", "must be from 1s to 1h"
    if 0 < config.node.info_metrics_aggregate_interval < 1:
        yield (
            "node.info_metrics_aggregate_interval",
            "must be at least one second, or 0 for no metrics",
        )

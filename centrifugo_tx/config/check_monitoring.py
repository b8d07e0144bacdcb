"""Rules of the options for monitoring."""

from collections.abc import Iterator
from importlib.util import find_spec

from ..durations import format_duration
from .model import Config

__all__ = ["check_monitoring"]


def check_monitoring(config: Config) -> Iterator[tuple[str, str]]:
    """Yield errors in the options for monitoring, with their paths."""
    graphite = config.graphite
    if graphite.enabled:
        if not 0 < graphite.port < 65536:
            yield "graphite.port", f"{graphite.port} is not a port from 1 to 65535"
        if graphite.interval < 1:
            interval = format_duration(graphite.interval)
            yield "graphite.interval", f"{interval} must be at least 1s"
    traced = config.opentelemetry
    missing = traced.enabled and find_spec("opentelemetry") is None
    if missing and (traced.api or traced.consuming):
        yield (
            "opentelemetry.enabled",
            'needs the extra opentelemetry: pip install "centrifugo-tx[opentelemetry]"',
        )
    overload = config.overload
    if overload.max_reactor_lag < 0 or 0 < overload.max_reactor_lag < 0.05:
        lag = format_duration(overload.max_reactor_lag)
        yield (
            "overload.max_reactor_lag",
            f"{lag} must be at least 50ms, or 0s: no limit",
        )
    if overload.max_memory < 0:
        yield "overload.max_memory", f"{overload.max_memory} must not be negative"
    if not 1 <= overload.retry_after <= 3600:
        delay = format_duration(overload.retry_after)
        yield "overload.retry_after", f"{delay} must be from 1s to 1h"
    if 0 < (period := config.node.info_metrics_aggregate_interval) < 1:
        yield (
            "node.info_metrics_aggregate_interval",
            f"{format_duration(period)} must be at least 1s, or 0s: no metrics",
        )

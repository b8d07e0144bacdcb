"""The queries of the public Grafana board 13039 to a Prometheus.

``BOARD`` has those that a server of the open source edition answers.  The board also
has panels for Centrifugo PRO (namespaces of channels, push notifications) and for Go's
runtime (``go_*``), which stay empty here.
"""

from collections.abc import Iterable

__all__ = ["BOARD"]

_WHERE = 'instance=~".+"'


def _metric(name: str, *labels: str) -> str:
    return f"centrifugo_{name}{{{','.join((*labels, _WHERE))}}}"


def _rate(name: str, by: str, *labels: str) -> str:
    """Return the query for the growth of a counter in a second, by labels."""
    return f"sum(rate({_metric(name, *labels)}[1m])) by ({by})"


def _quantile(name: str, by: str) -> str:
    """Return the query for a quantile of a summary, by labels."""
    shown = _metric(name, 'quantile="0.99"')
    return f"avg({shown}) by ({by})"


def _buckets(name: str, quantile: float, by: str = "") -> str:
    """Return the query for a quantile of a histogram, by labels."""
    labels = ", ".join(filter(None, ("le", by)))
    rate = _rate(f"{name}_bucket", labels)
    return f"histogram_quantile({quantile}, {rate})"


def _node() -> Iterable[str]:
    sizes = ("clients", "users", "subscriptions", "channels")
    yield 'max(time() - process_start_time_seconds{instance=~".+"})'
    yield from (f"sum({_metric(f'node_num_{size}')})" for size in sizes)
    yield from (_metric(f"node_num_{size}") for size in sizes)
    yield f"min({_metric('node_num_nodes')})"
    yield _rate("node_messages_sent_count", "type")
    yield _rate("node_messages_received_count", "type")
    yield _rate("node_action_count", "action")
    yield _buckets("node_pub_sub_lag_seconds", 0.5)
    yield _buckets("node_broadcast_duration_seconds", 0.5)
    yield _quantile("node_survey_duration_seconds", "op")
    yield _rate("node_incoming_http_requests_total", "method, path, status")


def _clients() -> Iterable[str]:
    yield _rate("client_command_duration_seconds_count", "method")
    yield _quantile("client_command_duration_seconds", "method")
    yield _rate("client_num_reply_errors", "method, code")
    yield _rate("client_num_server_disconnects", "code")
    yield _rate("client_num_server_unsubscribes", "code")
    yield f"sum({_metric('client_connections_inflight')}) by (transport)"
    yield f"sum({_metric('client_subscriptions_inflight')}) by (client_name)"
    yield (
        f"sum({_metric('client_subscriptions_inflight')})"
        " by (client_name, channel_namespace)"
    )
    for quantile in (0.5, 0.95, 0.99):
        yield _buckets("client_ping_pong_duration_seconds", quantile, "transport")
    succeeded = _metric("client_recover", 'recovered="yes"')
    every = _metric("client_recover")
    yield f"100 * (sum(rate({succeeded}[1m])) / sum(rate({every}[1m])))"


def _transports() -> Iterable[str]:
    for direction in ("sent", "received"):
        for by in ("transport", "frame_type"):
            yield _rate(f"transport_messages_{direction}", by)
    yield _rate(
        *("transport_messages_received", "frame_type, transport"),
        'frame_type="connect"',
    )


def _backends() -> Iterable[str]:
    yield _rate("api_command_duration_seconds_count", "protocol, method")
    yield _quantile("api_command_duration_seconds", "protocol, method")
    yield _rate("api_command_errors_total", "protocol, method, error")
    yield _rate("proxy_duration_seconds_count", "type, name")
    yield _quantile("proxy_duration_seconds", "type, name")
    yield _rate("proxy_errors", "type, name")
    yield _rate("proxy_inflight_requests", "type, name")
    yield _rate("consumers_messages_processed_total", "consumer_name")
    yield _rate("consumers_errors_total", "consumer_name")
    yield (
        f"sum({_metric('broker_redis_pub_sub_buffered_messages')})"
        " by (pub_sub_processor, channel_type)"
    )
    yield _rate("broker_redis_pub_sub_dropped_messages", "channel_type")
    yield _rate("broker_redis_pub_sub_errors", "error")


def _process() -> Iterable[str]:
    yield 'rate(process_cpu_seconds_total{instance=~".+"}[1m]) * 100'
    for name in ("resident_memory_bytes", "open_fds", "max_fds"):
        yield f'process_{name}{{instance=~".+"}}'


BOARD = (*_node(), *_clients(), *_transports(), *_backends(), *_process())

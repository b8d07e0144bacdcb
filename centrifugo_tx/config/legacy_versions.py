"""Detects the version of Centrifugo that a configuration file was written for."""

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen

from .legacy import VERSION, is_old

__all__ = ["CURRENT", "OLDEST", "Verdict", "detect"]

OLDEST, CURRENT = 2, 6

#: Options by which one version is recognized: only it had them, or it was the last.
_SIGNS: dict[int, frozenset[str]] = {
    2: frozenset(
        {
            *("secret", "history_lifetime", "history_recover", "server_side"),
            *("client_presence_ping_interval", "client_ping_interval"),
            *("client_message_write_timeout", "client_request_max_size"),
            *("client_presence_expire_interval", "memory_history_meta_ttl"),
            *("redis_history_meta_ttl", "redis_sequence_ttl", "redis_presence_ttl"),
            *("redis_host", "redis_port", "redis_url", "redis_cluster_addrs"),
            *("redis_sentinels", "redis_master_name", "v3_use_offset"),
            *("redis_streams", "redis_pubsub_num_workers", "sockjs_disable"),
            *("tls_autocert_force_rsa", "proxy_extra_http_headers"),
        }
    ),
    3: frozenset({"recover", "position", "use_unlimited_history_by_default"}),
    4: frozenset(
        {
            *("use_client_protocol_v1_by_default", "disable_client_protocol_v1"),
            "skip_user_check_in_subscription_token",
        }
    ),
    5: frozenset(
        {
            *("global_presence_ttl", "global_history_meta_ttl", "consumers"),
            *("opentelemetry", "allowed_delta_types", "delta_publish"),
            *("force_recovery_mode", "rpc_ping", "swagger", "rpc_ping_method"),
            *("separate_subscription_token_config", "allow_tags_filter"),
            *("client_connect_code_to_unidirectional_disconnect", "nats_raw_mode"),
            *("proxy_subscribe_stream", "subscribe_stream_proxy_name"),
            *("proxy_subscribe_stream_endpoint", "client_user_id_http_header"),
            *(
                "global_redis_presence_user_mapping",
                "nats_tls",
                "uni_grpc_tls_cert_pem",
            ),
        }
    ),
}
#: Options of v2 and v3, when channels were open by default.
_OPEN = frozenset(
    {
        *("publish", "subscribe_to_publish", "anonymous", "protected"),
        *("client_anonymous", "presence_disable_for_client"),
        *("history_disable_for_client", "redis_read_timeout", "redis_write_timeout"),
    }
)
#: Prefixes of options of v4 and v5, when channels were closed by default.
_CLOSED = (
    *("allow_subscribe_", "allow_publish_", "allow_presence_", "allow_history_"),
    *("allow_user_limited", "allow_positioning", "allow_recovery", "force_"),
    *("allow_anonymous_connect", "disallow_anonymous", "http_stream", "sse"),
    *("emulation_", "ping_interval", "pong_timeout", "webtransport", "http3"),
    *("channel_regex", "client_connection_limit", "client_connection_rate_limit"),
)


@frozen
class Verdict:
    """The version that a file was written for, 0 if unknown, and the reason."""

    version: int
    reason: str


def detect(tree: Mapping[str, Any]) -> Verdict:
    """Return the version of a file, judged by its options.

    :param tree: the whole file, names in lower case.
    """
    said = tree.get(VERSION)
    if isinstance(said, int) and OLDEST <= said < CURRENT:
        return Verdict(said, f"{VERSION} says so")
    old = {name: value for name, value in tree.items() if is_old(name, value)}
    if not old:
        return Verdict(CURRENT, "no option has an old name")
    names = list(dict.fromkeys(_names(old)))
    signs = {
        version: next((name for name in names if name in known), "")
        for version, known in _SIGNS.items()
    }
    opened = signs[3] or signs[2] or next((n for n in names if n in _OPEN), "")
    closed = signs[5] or signs[4]
    closed = closed or next((n for n in names if n.startswith(_CLOSED)), "")
    if opened and closed:
        return Verdict(0, f"{opened} is of v3 or older, {closed} of v4 or newer")
    for version in (3, 2) if opened else (5, 4):
        if signs[version]:
            return Verdict(version, f"it has {signs[version]}")
    if opened:
        return Verdict(3, f"it has {opened}, as v2 and v3 do")
    if closed:
        return Verdict(5, f"it has {closed}, as v4 and v5 do")
    return Verdict(0, "its options are those of several versions")


def _names(old: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names at the top and inside namespaces."""
    yield from old
    items = old.get("namespaces")
    for item in items if isinstance(items, list) else []:
        if isinstance(item, Mapping):
            yield from (str(key).lower() for key in item)

"""The table of old option names, with their current paths or why they are gone.

See configuration rules, "Old option names".  The server reads old files with this
table, and ``convertconfig`` rewrites them with it.
"""

from functools import cache

from .model import Config
from .schema import leaves

__all__ = ["flat_names", "is_flat_name", "path_of", "why_gone"]

#: Sections whose flat names are their paths, joined by underscores.
_SAME = [
    "websocket",
    "sse",
    "http_stream",
    "webtransport",
    "uni_websocket",
    "uni_sse",
    "uni_http_stream",
    "uni_grpc",
    "emulation",
    "grpc_api",
    "admin",
    "prometheus",
    "health",
    "swagger",
    "debug",
    "graphite",
    "opentelemetry",
    "client",
    "channel",
]

#: Prefixes of flat names, and the paths that replace them.
_PREFIXES = {
    "token_": "client.token.",
    "subscription_token_": "client.subscription_token.",
    "redis_": "engine.redis.",
    "nats_": "broker.nats.",
    "tls_autocert_": "http_server.tls_autocert.",
    "tls_": "http_server.tls.",
    "api_": "http_api.",
    "rpc_": "rpc.",
    "node_": "node.",
    "log_": "log.",
    "": "http_server.",
}

#: Prefixes of the flat names of TLS options, and the sections that they fill.
_TLS = {
    "tls_": "http_server.tls",
    "grpc_api_tls_": "grpc_api.tls",
    "uni_grpc_tls_": "uni_grpc.tls",
    "redis_tls_": "engine.redis.tls",
    "redis_sentinel_tls_": "engine.redis.sentinel_tls",
}
_TLS_OPTIONS = {
    "cert": "cert_pem",
    "key": "key_pem",
    "root_ca": "server_ca_pem",
    "root_ca_pem": "server_ca_pem",
    "client_ca": "client_ca_pem",
    "skip_verify": "insecure_skip_verify",
}

_RENAMED = {
    "secret": "client.token.hmac_secret_key",
    "separate_subscription_token_config": "client.subscription_token.enabled",
    "insecure_api": "http_api.insecure",
    "api_disable": "http_api.disabled",
    "insecure": "client.insecure",
    "client_anonymous": "client.allow_anonymous_connect_without_token",
    "allow_anonymous_connect_without_token": (
        "client.allow_anonymous_connect_without_token"
    ),
    "disallow_anonymous_connection_tokens": (
        "client.disallow_anonymous_connection_tokens"
    ),
    "allowed_origins": "client.allowed_origins",
    "user_subscribe_to_personal": "client.subscribe_to_user_personal_channel.enabled",
    "user_personal_channel_namespace": (
        "client.subscribe_to_user_personal_channel.personal_channel_namespace"
    ),
    "user_personal_single_connection": (
        "client.subscribe_to_user_personal_channel.single_connection"
    ),
    "client_connect_code_to_unidirectional_disconnect": (
        "client.connect_code_to_unidirectional_disconnect"
    ),
    "client_presence_ping_interval": "client.presence_update_interval",
    "client_presence_expire_interval": "engine.redis.presence_ttl",
    "presence_ttl": "engine.redis.presence_ttl",
    "global_presence_ttl": "engine.redis.presence_ttl",
    "ping_interval": "client.ping_interval",
    "pong_timeout": "client.pong_timeout",
    "client_message_write_timeout": "websocket.write_timeout",
    "client_request_max_size": "websocket.message_size_limit",
    "websocket_disable": "websocket.disabled",
    "http3": "http_server.http3.enabled",
    "admin_port": "http_server.internal_port",
    "api_port": "http_server.internal_port",
    "tls": "http_server.tls.enabled",
    "ssl": "http_server.tls.enabled",
    "ssl_cert": "http_server.tls.cert_pem",
    "ssl_key": "http_server.tls.key_pem",
    "tls_autocert": "http_server.tls_autocert.enabled",
    "insecure_admin": "admin.insecure",
    "insecure_web": "admin.insecure",
    "usage_stats_disable": "usage_stats.disabled",
    "name": "node.name",
    "node_metrics_interval": "node.info_metrics_aggregate_interval",
    "shutdown_timeout": "shutdown.timeout",
    "max_channel_length": "channel.max_length",
    "memory_history_meta_ttl": "channel.history_meta_ttl",
    "redis_history_meta_ttl": "channel.history_meta_ttl",
    "redis_sequence_ttl": "channel.history_meta_ttl",
    "global_history_meta_ttl": "channel.history_meta_ttl",
    "global_redis_presence_user_mapping": "engine.redis.presence_user_mapping",
    "rpc_ping": "rpc.ping.enabled",
    "engine": "engine.type",
    "redis_url": "engine.redis.address",
    "redis_use_lists": "engine.redis.history_use_lists",
    "redis_cluster_addrs": "engine.redis.cluster_address",
    "redis_sentinels": "engine.redis.sentinel_address",
    "redis_master_name": "engine.redis.sentinel_master_name",
    "redis_tls": "engine.redis.tls.enabled",
    "redis_sentinel_tls": "engine.redis.sentinel_tls.enabled",
}

_PINGS = (
    "the protocol's own pings replace those of the transport; see client.ping_interval"
)
_MIGRATION_AID = "it served clients of an older version, which need no option now"
_V1 = "it has had no counterpart since v2"
_PRO = "it belongs to Centrifugo PRO"

#: Names without a counterpart, and the reasons.
_GONE = {
    "skip_user_check_in_subscription_token": (
        "a subscription token must always name its user in sub"
    ),
    "client_ping_interval": _PINGS,
    "websocket_ping_interval": _PINGS,
    "uni_websocket_ping_interval": _PINGS,
    "node_ping_interval": "nodes announce themselves at a fixed interval",
    "shutdown_termination_delay": "the process ends when the last client has left",
    "gomaxprocs": "it set the number of Go threads; see workers",
    "use_unlimited_history_by_default": (
        "a history call without a limit returns no publications"
    ),
    "v3_use_offset": "positions are always offsets",
    "use_client_protocol_v1_by_default": _MIGRATION_AID,
    "disable_client_protocol_v1": (
        "protocol v1 is recognized by its commands and stays available"
    ),
    "redis_streams": "history uses streams unless engine.redis.history_use_lists",
    "redis_pubsub_num_workers": "one connection per shard receives everything",
    "redis_idle_timeout": "connections to Redis stay open",
    "grpc_api_insecure": "the gRPC API requires a key exactly if grpc_api.key is set",
    "tls_autocert_force_rsa": "the kind of key is no longer an option",
    "websocket_compression_prepared_message_cache_size": (
        "a message is compressed once for all of its subscribers"
    ),
    "connection_lifetime": _V1,
    "watch": _V1,
    "web": _V1,
    "history_drop_inactive": _V1,
    **dict.fromkeys(
        [
            *("license", "database", "channel_patterns", "use_singleflight"),
            *("brokers", "presence_managers", "cache", "push_notifications"),
            *("clickhouse_analytics", "user_tokens_invalidate", "user_block"),
            *("user_status", "token_revoke", "admin_oidc", "process_stats"),
            *("distributed_rate_limit", "client_error_limits"),
            *("client_command_rate_limit", "user_command_rate_limit"),
            *("redis_user_command_rate_limit", "client_command_throttling"),
            *("user_command_throttling", "redis_user_command_throttling"),
            *("client_write_delay", "client_reply_without_queue"),
            *("client_max_messages_in_frame", "client_queue_initial_cap"),
            *("state_vacated_event_delay", "partitioned_presence"),
            *("channel_state_events", "personal_feed"),
            "channel_namespace_for_transport_messages_sent",
            "channel_namespace_for_transport_messages_received",
        ],
        _PRO,
    ),
}
#: Prefixes of such names.
_GONE_PREFIXES = {
    "sockjs": "HTTP streaming and SSE replace SockJS",
    "tarantool_": "the Tarantool engine is gone; use Redis",
    "redis_api": _V1,
}
_PRO_CHANNEL_OPTIONS = frozenset(
    {
        *("subscribe_cel", "publish_cel", "presence_cel", "history_cel"),
        *("keep_latest_publication", "shared_position_sync", "state_events"),
        *("channel_state_events", "cache_empty_proxy_name", "broker_name"),
        *("presence_manager_name", "proxy_cache_empty", "batch_max_size"),
        *("batch_max_delay", "batch_flush_latest", "state_proxy_name"),
    }
)


def is_flat_name(name: str) -> bool:
    """Whether an old version of the open source server had this option."""
    return name in flat_names() or name in _RENAMED or why_gone(name) not in ("", _PRO)


def path_of(name: str) -> str | None:
    """Return the current path of a flat name, or None."""
    if why_gone(name):
        return None
    return _RENAMED.get(name) or flat_names().get(name)


def why_gone(name: str) -> str:
    """Return why a flat name has no counterpart; empty if it has or never existed."""
    reason = _GONE.get(name, "")
    if not reason and name in _PRO_CHANNEL_OPTIONS:
        reason = _PRO
    for prefix, why in _GONE_PREFIXES.items():
        if not reason and name.startswith(prefix):
            reason = why
    return reason


@cache
def flat_names() -> dict[str, str]:
    """Return the flat names that derive from current paths."""
    found: dict[str, str] = {
        prefix + name: f"{section}.{option}"
        for prefix, section in _TLS.items()
        for name, option in _TLS_OPTIONS.items()
    }
    for path, _ in leaves(Config):
        section = path.partition(".")[0]
        names = [
            prefix + path[len(start) :].replace(".", "_")
            for prefix, start in _PREFIXES.items()
            if path.startswith(start)
        ]
        if section in _SAME:
            names.append(path.replace(".", "_"))
        for name in names:
            found.setdefault(name, path)
            if path.endswith(".enabled"):
                found.setdefault(name.removesuffix("_enabled"), path)
    return found

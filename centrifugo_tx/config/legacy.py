"""The flat option names of Centrifugo v1 to v5, read as today's.

See configuration rules, "Old option names".

The reference took these names until v5 and ignores them now; here they still
work, with a line in the log for each.  A name of today in the same file wins.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from .legacy_channels import ChannelRules, channel_options, permissions_were_open
from .legacy_proxies import take_proxies, translate_rpc_item, translate_tls
from .model import Config
from .schema import leaves

__all__ = ["modernize"]

Tree = dict[str, Any]

#: Key of a file that says for which version it was written; only files of v1 to
#: v3 whose options do not tell need it.
VERSION = "legacy_version"

_TODAY = frozenset(Config.__struct_fields__)

#: Sections whose flat names are their paths with underscores.
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

#: Beginnings of flat names, and of the paths that they stand for.
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
    "tls_cert": "http_server.tls.cert_pem",
    "ssl_cert": "http_server.tls.cert_pem",
    "tls_key": "http_server.tls.key_pem",
    "ssl_key": "http_server.tls.key_pem",
    "tls_root_ca": "http_server.tls.server_ca_pem",
    "tls_root_ca_pem": "http_server.tls.server_ca_pem",
    "tls_client_ca": "http_server.tls.client_ca_pem",
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
    "redis_read_timeout": "engine.redis.io_timeout",
    "redis_write_timeout": "engine.redis.io_timeout",
    "redis_cluster_addrs": "engine.redis.cluster_address",
    "redis_sentinels": "engine.redis.sentinel_address",
    "redis_master_name": "engine.redis.sentinel_master_name",
    "redis_tls": "engine.redis.tls.enabled",
    "redis_tls_skip_verify": "engine.redis.tls.insecure_skip_verify",
    "redis_sentinel_tls": "engine.redis.sentinel_tls.enabled",
    "redis_sentinel_tls_skip_verify": "engine.redis.sentinel_tls.insecure_skip_verify",
}

#: Names that have no counterpart, or the beginnings of such names.
_GONE = [
    "skip_user_check_in_subscription_token",
    "client_ping_interval",
    "websocket_ping_interval",
    "uni_websocket_ping_interval",
    "shutdown_termination_delay",
    "gomaxprocs",
    "use_unlimited_history_by_default",
    "v3_use_offset",
    "use_client_protocol_v1_by_default",
    "disable_client_protocol_v1",
    "redis_streams",
    "redis_pubsub_num_workers",
    "redis_idle_timeout",
    "tls_autocert_force_rsa",
    "connection_lifetime",
    "watch",
    "web",
    "history_drop_inactive",
]
_GONE_PREFIXES = ("sockjs", "tarantool_", "redis_api")


def modernize(tree: Mapping[Any, Any]) -> tuple[Tree, list[str]]:
    """Return the tree in today's names, and one line per old name."""
    given = {str(key).lower(): value for key, value in tree.items()}
    old = {key: value for key, value in given.items() if _is_old(key, value)}
    if not old:
        return given, []
    if isinstance(given.get("consumers"), list):
        old["consumers"] = given["consumers"]
    migration = _Migration({k: v for k, v in given.items() if k not in old})
    version = old.pop(VERSION, None)
    rules = ChannelRules(
        version in (1, 2, 3) if version else permissions_were_open(old)
    )
    migration.redis_hosts(old)
    migration.proxies(old)
    migration.channels(old, rules)
    for name, value in old.items():
        migration.rename(name, value)
    return migration.tree, migration.lines


def _is_old(name: str, value: object) -> bool:
    """Whether a name at the top is of the flat world (by the type, if in both)."""
    if isinstance(value, list) and name in ("proxies", "consumers"):
        return any(map(_is_old_item, value))
    if name in ("pid_file", "enable_unreleased_features"):
        return False
    if name in _TODAY and (isinstance(value, Mapping) or value is None):
        return False
    return (
        name == VERSION
        or name in _RENAMED
        or name in _GONE
        or name.startswith(_GONE_PREFIXES)
        or name in _flat_names()
        or name
        in ("broker", "namespaces", "rpc_namespaces", "redis_host", "redis_port")
        or name.startswith(("proxy_", "granular_proxy"))
        or name.endswith("_proxy_name")
        or name in channel_options()
    )


def _is_old_item(item: object) -> bool:
    """Whether a proxy or consumer is written as v5 wrote it."""
    if not isinstance(item, Mapping):
        return False
    return "disabled" in item or any(
        str(key).startswith(("static_http_headers", "grpc_")) and key != "grpc_metadata"
        for key in item
    )


@cache
def _flat_names() -> dict[str, str]:
    """Return the flat names that follow from the paths of today."""
    found: dict[str, str] = {}
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


class _Migration:
    """Moves values from old names to today's places."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.lines: list[str] = []
        self._kinds = {path: option.kind for path, option in leaves(Config)}

    def rename(self, name: str, value: object) -> None:
        """Move one value, or say that it no longer has any effect."""
        if name == "broker" and isinstance(value, str):
            self._put(name, "broker.enabled", True)
            self._put(name, "broker.type", value)
            return
        path = _RENAMED.get(name) or _flat_names().get(name)
        if path is None or name in _GONE:
            self.lines.append(f"old option {name} no longer has any effect")
            return
        if path == "http_server.tls_autocert.host_whitelist" and isinstance(value, str):
            value = [host.strip() for host in value.split(",")]
        if isinstance(value, Mapping) and path.endswith(".enabled"):
            path, value = path.removesuffix(".enabled"), translate_tls(value)
        self._put(name, path, value)

    def redis_hosts(self, old: Tree) -> None:
        """Join the lists of hosts and ports into addresses."""
        host, port = old.pop("redis_host", ""), old.pop("redis_port", "")
        if host or port:
            hosts = str(host or "127.0.0.1").split(",")
            ports = str(port or "6379").split(",")
            ports += ports[-1:] * (len(hosts) - len(ports))
            addresses = [
                f"{name.strip()}:{number.strip()}"
                for name, number in zip(hosts, ports, strict=False)
            ]
            self._put("redis_host", "engine.redis.address", addresses)

    def proxies(self, old: Tree) -> None:
        """Move the proxies and the consumers."""
        for name, path, value in take_proxies(old):
            self._put(name, path, value)

    def channels(self, old: Tree, rules: "ChannelRules") -> None:
        """Move channel options and namespaces."""
        meta_ttl = old.get("history_meta_ttl")
        if meta_ttl is not None and "global_history_meta_ttl" not in old:
            # The name of the global value up to v4; v5 gave it to channels.
            self._put("history_meta_ttl", "channel.history_meta_ttl", meta_ttl)
            del old["history_meta_ttl"]
        top = {name: old.pop(name) for name in list(old) if name in channel_options()}
        if top or rules.were_open:
            for name, value in rules.translate(top).items():
                self._put_quietly(f"channel.without_namespace.{name}", value)
            self.lines += [
                f"old option {name} is read as channel.without_namespace"
                for name in top
            ]
        if "namespaces" in old:
            items = _each(rules.translate_item, old.pop("namespaces"))
            self._put("namespaces", "channel.namespaces", items)
        if "rpc_namespaces" in old:
            items = _each(translate_rpc_item, old.pop("rpc_namespaces"))
            self._put("rpc_namespaces", "rpc.namespaces", items)

    def _put(self, name: str, path: str, value: object) -> None:
        if isinstance(value, (int, float)) and self._kinds.get(path) == "duration":
            value = f"{value}s"
        if self._put_quietly(path, value):
            self.lines.append(f"old option {name} is read as {path}")
        else:
            self.lines.append(f"old option {name} is ignored in favor of {path}")

    def _put_quietly(self, path: str, value: object) -> bool:
        """Put a value where there is none; return whether it was put."""
        place: Any = self.tree
        *parents, last = path.split(".")
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                return False
        if last in place:
            return False
        place[last] = value
        return True


def _each(translate: Callable[[Any], Any], items: object) -> object:
    """Return a list with its items translated; what is none is refused later."""
    return list(map(translate, items)) if isinstance(items, list) else items

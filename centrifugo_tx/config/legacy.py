"""Reads the flat option names of Centrifugo v1 to v5 as current ones.

See configuration rules, "Old option names".

The reference accepted these names until v5 and ignores them now.  Here they still work,
and the log has a line for each.  A current name in the same file takes precedence.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ..durations import parse_duration
from .legacy_changes import Change, place
from .legacy_channels import ChannelRules, channel_options, permissions_were_open, today
from .legacy_names import is_flat_name, path_of, why_gone
from .legacy_proxies import take_proxies, translate_rpc_item, translate_tls
from .model import Config
from .schema import leaves

__all__ = ["VERSION", "is_old", "modernize"]

Tree = dict[str, Any]

#: Key by which a file names the version that it was written for.  Only files of v1 to
#: v3 need it, if their options do not reveal the version.
VERSION = "legacy_version"

_TODAY = frozenset(Config.__struct_fields__)
_LISTS = ("namespaces", "rpc_namespaces", "redis_host", "redis_port")
_TIMEOUTS = ("redis_read_timeout", "redis_write_timeout")


def modernize(tree: Mapping[Any, Any], version: int = 0) -> tuple[Tree, list[Change]]:
    """Return the tree with current names, and a change for each old name.

    :param version: the version that the file was written for; 0 detects it.
    """
    given = {str(key).lower(): value for key, value in tree.items()}
    old = {key: value for key, value in given.items() if is_old(key, value)}
    if not old and version not in (1, 2, 3):
        return given, []
    for name in ("consumers", "proxies"):
        if isinstance(given.get(name), list):
            old[name] = given[name]
    migration = _Migration({k: v for k, v in given.items() if k not in old})
    version = version or old.get(VERSION, 0)
    old.pop(VERSION, None)
    were_open = version in (1, 2, 3) if version else permissions_were_open(old)
    rules = ChannelRules(were_open, bool(old.get("granular_proxy_mode")))
    migration.redis(old)
    migration.grpc_tls(old)
    migration.proxies(old, version)
    migration.channels(old, rules)
    for name, value in old.items():
        migration.rename(name, value)
    return migration.tree, migration.changes


def is_old(name: str, value: object) -> bool:
    """Whether a name at the top level is an old one; its type decides if both exist."""
    if isinstance(value, list) and name in ("proxies", "consumers"):
        return any(map(_is_old_item, value))
    if name in ("pid_file", "enable_unreleased_features"):
        return False
    if name in _TODAY and (isinstance(value, Mapping) or value is None):
        return False
    return (
        name in (VERSION, "broker", *_LISTS, *_TIMEOUTS)
        or is_flat_name(name)
        or name.startswith(("proxy_", "granular_proxy"))
        or name.endswith(("_proxy_name", "_tls_disable"))
        or name in channel_options()
    )


def _is_old_item(item: object) -> bool:
    """Whether a proxy or consumer has the form of v5."""
    if not isinstance(item, Mapping):
        return False
    return "disabled" in item or any(
        str(key).startswith(("static_http_headers", "grpc_")) and key != "grpc_metadata"
        for key in item
    )


class _Migration:
    """Moves values from old names to current paths."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.changes: list[Change] = []
        self._kinds = {path: option.kind for path, option in leaves(Config)}

    def rename(self, name: str, value: object) -> None:
        """Move one value, or record why the option no longer has any effect."""
        if name == "broker" and isinstance(value, str):
            self._put(name, "broker.enabled", True)
            self._put(name, "broker.type", value)
            return
        path = path_of(name)
        if path is None:
            reason = why_gone(name) or "this option no longer exists"
            self.changes.append(Change("gone", name, reason))
            return
        if path == "http_server.tls_autocert.host_whitelist" and isinstance(value, str):
            value = [host.strip() for host in value.split(",")]
        if name == "redis_url" and isinstance(value, str):
            value = [url.strip() for url in value.split(",")]
        if isinstance(value, Mapping) and path.endswith(".enabled"):
            path, value = path.removesuffix(".enabled"), translate_tls(value)
        self._put(name, path, value)

    def redis(self, old: Tree) -> None:
        """Join lists of hosts and ports into addresses, and two timeouts into one."""
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
        timeouts = {name: old.pop(name) for name in _TIMEOUTS if name in old}
        if timeouts:
            longest = max(timeouts.values(), key=_seconds)
            self._put(", ".join(timeouts), "engine.redis.io_timeout", longest)

    def grpc_tls(self, old: Tree) -> None:
        """Give the gRPC ports the TLS options of the other ports, as before."""
        for section in ("grpc_api", "uni_grpc"):
            disabled = old.pop(f"{section}_tls_disable", False)
            if disabled or old.get(f"{section}_tls") or not old.get(section):
                continue
            own = {
                name: value
                for name, value in old.items()
                if name.startswith("tls_") and not name.startswith("tls_autocert")
            }
            if not old.get("tls"):
                continue
            self._put("tls", f"{section}.tls.enabled", True)
            for name, value in own.items():
                path = path_of(f"{section}_{name}")
                if path is not None:
                    self._put(name, path, value)

    def proxies(self, old: Tree, version: int) -> None:
        """Move the proxies and the consumers."""
        for name, path, value in take_proxies(old, version):
            if path:
                self._put(name, path, value)
            else:
                self.changes.append(Change("gone", name, str(value)))

    def channels(self, old: Tree, rules: "ChannelRules") -> None:
        """Move channel options and namespaces."""
        meta_ttl = old.get("history_meta_ttl")
        if meta_ttl is not None and "global_history_meta_ttl" not in old:
            # Up to v4 this name was the global value; v5 gave it to channels.
            self._put("history_meta_ttl", "channel.history_meta_ttl", meta_ttl)
            del old["history_meta_ttl"]
        top = {name: old.pop(name) for name in list(old) if name in channel_options()}
        if top or rules.were_open:
            for name, value in rules.translate(top).items():
                place(self.tree, f"channel.without_namespace.{name}", value)
            self.changes += [
                Change("moved", name, f"channel.without_namespace.{today(name)}")
                for name in top
                if today(name)
            ]
            self.changes += [
                Change(
                    "gone",
                    name,
                    "the permissions of channel.without_namespace replace it",
                )
                for name in top
                if not today(name)
            ]
        if "namespaces" in old:
            items = _each(rules.translate_item, old.pop("namespaces"))
            self._put("namespaces", "channel.namespaces", items)
        self.changes += rules.changes
        if "rpc_namespaces" in old:
            items = _each(translate_rpc_item, old.pop("rpc_namespaces"))
            self._put("rpc_namespaces", "rpc.namespaces", items)

    def _put(self, name: str, path: str, value: object) -> None:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if is_number and self._kinds.get(path) == "duration":
            value = f"{value}s"
        is_put = place(self.tree, path, value)
        self.changes.append(Change("moved" if is_put else "shadowed", name, path))


def _seconds(value: object) -> float:
    """Return an old duration in seconds; 0 if malformed, which is reported later."""
    if isinstance(value, (int, float)):
        return value
    try:
        return parse_duration(str(value))
    except ValueError:
        return 0.0


def _each(translate: Callable[[Any], Any], items: object) -> object:
    """Return a list with its items translated; malformed items are refused later."""
    return list(map(translate, items)) if isinstance(items, list) else items

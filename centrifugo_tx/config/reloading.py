"""Which options a reload applies, and which of the changed ones need a restart.

See configuration rules, "Reload".
"""

from collections.abc import Iterator
from typing import Any

from msgspec import Struct, structs

from .model import Config
from .schema import options_of

__all__ = ["FILES", "RELOADED", "need_restart", "reload_table", "with_reloaded"]

#: Options, and sections of them, that SIGHUP applies; ``*`` stands for any item.
RELOADED = (
    "client.token",
    "client.subscription_token",
    "client.insecure",
    "client.insecure_skip_token_signature_verify",
    "client.allow_anonymous_connect_without_token",
    "client.disallow_anonymous_connection_tokens",
    "client.subscribe_to_user_personal_channel",
    "client.history_max_publication_limit",
    "client.connection_limit",
    "client.connection_rate_limit",
    "channel.without_namespace",
    "channel.namespaces",
    "channel.publication_data_format",
    "channel.private_prefix",
    "channel.namespace_boundary",
    "channel.user_boundary",
    "channel.user_separator",
    "rpc.without_namespace",
    "rpc.namespaces",
    "rpc.namespace_boundary",
    "rpc.ping",
    "shared_poll.hmac_secret_key",
    "shared_poll.hmac_previous_secret_key",
    "shared_poll.hmac_previous_secret_key_valid_until",
)

#: Sections of TLS whose certificates, keys and authorities SIGHUP applies to new
#: connections, and so does a change of their files; not whether they are enabled.
FILES = (
    "http_server.tls",
    "http_server.internal_tls",
    "grpc_api.tls",
    "uni_grpc.tls",
    "engine.redis.tls",
    "engine.redis.sentinel_tls",
    "broker.redis.tls",
    "broker.redis.sentinel_tls",
    "presence_manager.redis.tls",
    "presence_manager.redis.sentinel_tls",
    "map_broker.redis.tls",
    "map_broker.redis.sentinel_tls",
    "client.proxy.connect.http.tls",
    "client.proxy.connect.grpc.tls",
    "client.proxy.refresh.http.tls",
    "client.proxy.refresh.grpc.tls",
    "channel.proxy.subscribe.http.tls",
    "channel.proxy.subscribe.grpc.tls",
    "channel.proxy.subscribe_stream.grpc.tls",
    "channel.proxy.publish.http.tls",
    "channel.proxy.publish.grpc.tls",
    "channel.proxy.sub_refresh.http.tls",
    "channel.proxy.sub_refresh.grpc.tls",
    "channel.proxy.map_publish.http.tls",
    "channel.proxy.map_publish.grpc.tls",
    "channel.proxy.map_remove.http.tls",
    "channel.proxy.map_remove.grpc.tls",
    "channel.proxy.shared_poll_refresh.http.tls",
    "channel.proxy.shared_poll_refresh.grpc.tls",
    "rpc.proxy.http.tls",
    "rpc.proxy.grpc.tls",
    "proxies.*.http.tls",
    "proxies.*.grpc.tls",
    "consumers.*.postgresql.tls",
    "consumers.*.nats_jetstream.tls",
    "consumers.*.kafka.tls",
    "consumers.*.redis_stream.tls",
    "consumers.*.redis_stream.sentinel_tls",
)


def with_reloaded(start: Config, new: Config) -> Config:
    """Return *start* with the values that a reload applies from *new*.

    Whether subscription tokens have separate keys stays as it was at the start.
    """
    applied: Any = start
    for path in RELOADED:
        applied = _with(applied, new, path.split("."))
    client = applied.client
    tokens = structs.replace(
        client.subscription_token, enabled=start.client.subscription_token.enabled
    )
    client = structs.replace(client, subscription_token=tokens)
    found: Config = structs.replace(applied, client=client)
    return found


def _with(part: Any, new: Any, path: list[str]) -> Any:
    """Return *part* with the value that *new* has at *path*."""
    first, *rest = path
    value = getattr(new, first)
    if rest:
        value = _with(getattr(part, first), value, rest)
    return structs.replace(part, **{first: value})


def need_restart(start: Config, new: Config) -> list[str]:
    """Return the paths of options that have changed, but not by a reload.

    :param start: the configuration with which the process started.
    """
    return [
        here for here, general in _changes(start, new, "", "") if not _applies(general)
    ]


def _applies(path: str) -> bool:
    """Whether a reload applies an option."""
    section, _, option = path.rpartition(".")
    if section in FILES or section == "client.subscription_token":
        return option != "enabled"
    return any(path == each or path.startswith(f"{each}.") for each in RELOADED)


def _changes(
    before: Struct, after: Struct, path: str, general: str
) -> Iterator[tuple[str, str]]:
    """Yield each changed option by its path, and by that with ``*`` for items."""
    for option in options_of(type(after)):
        old, new = getattr(before, option.name), getattr(after, option.name)
        here = f"{path}.{option.name}".lstrip(".")
        where = f"{general}.{option.name}".lstrip(".")
        if old == new:
            continue
        if option.kind == "section":
            yield from _changes(old, new, here, where)
        elif option.kind == "sections" and _same_names(old, new):
            for index, (first, second) in enumerate(zip(old, new, strict=True)):
                yield from _changes(first, second, f"{here}.[{index}]", f"{where}.*")
        else:
            yield here, where


def _same_names(old: Any, new: Any) -> bool:
    """Whether two lists hold the same items, by their names."""
    return [getattr(each, "name", "") for each in old] == [
        getattr(each, "name", "") for each in new
    ]


def reload_table() -> str:
    """Return a table of what a reload applies in each section, as reStructuredText."""
    rows = []
    for option in options_of(Config):
        applied = [
            path.removeprefix(f"{option.name}.")
            for path in (*RELOADED, *FILES)
            if path.partition(".")[0] == option.name
        ]
        names = ", ".join(f"``{name.removeprefix('*.')}``" for name in applied)
        rows.append(f"   * - ``{option.name}``\n     - {names or 'nothing'}\n")
    head = "   * - Section\n     - Reloads\n"
    return ".. list-table::\n   :header-rows: 1\n\n" + head + "".join(rows)

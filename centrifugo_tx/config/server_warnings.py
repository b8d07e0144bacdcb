"""Warnings of values that the server replaces, or that are expensive."""

from collections.abc import Iterator

from ..durations import format_duration
from ..transports.websocket import level_of
from .check_channels import uses_maps
from .model import Config

__all__ = ["server_warnings"]

_LEVELS = ("none", "trace", "debug", "info", "warn", "error", "fatal")
#: Seconds after which the memory engine forgets a client that was not renewed.
_MEMORY_PRESENCE = 60.0
_MIB = 1024 * 1024
#: Values above which one client can cost much.
_LARGE = {
    "client.queue_max_size": (64 * _MIB, "bytes for each slow client"),
    "client.history_max_publication_limit": (10000, "publications in one reply"),
    "client.recovery_max_publication_limit": (10000, "publications in one reply"),
    "client.channel_limit": (10000, "subscriptions of one client"),
    "websocket.message_size_limit": (16 * _MIB, "bytes of one message"),
    "uni_websocket.message_size_limit": (16 * _MIB, "bytes of one message"),
}


def server_warnings(config: Config) -> Iterator[str]:
    """Yield replaced values, maps that nodes do not share, and expensive limits."""
    for name in ("websocket", "uni_websocket"):
        level = getattr(config, name).compression_level
        if level != level_of(level):
            yield (
                f"{name}.compression_level: {level} is not a level from -1 to 9;"
                f" using {level_of(level)}"
            )
    if config.log.level.lower() not in _LEVELS:
        yield f"log.level: {config.log.level!r} is unknown; using info"
    yield from _maps(config)
    yield from _presence(config)
    for path, (limit, what) in _LARGE.items():
        section, _, name = path.partition(".")
        value: int = getattr(getattr(config, section), name)
        if value > limit:
            yield f"{path}: {value} allows that many {what}; at most {limit} is usual"


def _maps(config: Config) -> Iterator[str]:
    """Yield that nodes keep maps apart though they share channels."""
    engine = config.broker if config.broker.enabled else config.engine
    if config.map_broker.type != "memory" or engine.type == "memory":
        return
    if uses_maps(config):
        yield (
            'map_broker.type: maps are kept in memory ("memory"), so nodes that share'
            f' channels through "{engine.type}" each have maps of their own;'
            ' set "redis" to share them'
        )


def _presence(config: Config) -> Iterator[str]:
    """Yield that clients drop out of presence before they are renewed."""
    channel, interval = config.channel, config.client.presence_update_interval
    if not any(
        each.presence for each in (channel.without_namespace, *channel.namespaces)
    ):
        return
    section = "presence_manager" if config.presence_manager.enabled else "engine"
    options = getattr(config, section)
    in_redis = options.type == "redis"
    ttl = options.redis.presence_ttl if in_redis else _MEMORY_PRESENCE
    where = f"{section}.redis.presence_ttl" if in_redis else "the memory engine's limit"
    if interval >= ttl:
        yield (
            f"client.presence_update_interval: {format_duration(interval)} must be less"
            f" than {where} ({format_duration(ttl)}), or clients disappear from"
            " presence between two updates"
        )

"""The engine and the options of a node, as configured."""

import re
import socket
from importlib.metadata import version
from typing import Any

import msgspec

from .config.model import Config
from .engines import memory_engine, memory_maps
from .interfaces import Engine
from .metrics import Metrics
from .options import NodeOptions
from .protocol.codes import Disconnect

__all__ = ["engine", "node_name", "node_options", "reference_style_version"]


def engine(reactor: Any, config: Config, metrics: Metrics) -> Engine:
    """Return the engine, whose parts may be configured separately.

    See configuration rules, "Engine options".
    """
    shared = _engine_without_maps(reactor, config, metrics)
    if config.map_broker.type == "redis":
        from .engines.redis.engine import redis_maps

        return redis_maps(reactor, shared, config.map_broker.redis, metrics)
    return memory_maps(reactor, shared)


def _engine_without_maps(reactor: Any, config: Config, metrics: Metrics) -> Engine:
    broker = config.broker if config.broker.enabled else config.engine
    presence: Any = config.engine
    if config.presence_manager.enabled:
        presence = config.presence_manager
    ttl = config.channel.history_meta_ttl
    first = _engine_of(reactor, broker, ttl, metrics)
    if presence is broker or broker.type == presence.type == "memory":
        return first
    from .engines.redis.engine import combine

    return combine(first, _engine_of(reactor, presence, ttl, metrics))


def _engine_of(reactor: Any, section: Any, ttl: float, metrics: Metrics) -> Engine:
    if section.type == "memory":
        return memory_engine(reactor, ttl)
    # Imported late, because txredisapi imports the global reactor.
    from .engines.redis.engine import redis_engine
    from .engines.redis.options import EngineRedisOptions

    given = msgspec.structs.asdict(section.redis)
    options = EngineRedisOptions(**given)
    return redis_engine(reactor, options, ttl, metrics)


def node_name(config: Config) -> str:
    """Return the name of the node."""
    return config.node.name or f"{socket.gethostname()}_{config.http_server.port}"


def reference_style_version(release: str) -> str:
    """Return a version in the reference's format: three numbers, then a word.

    :param release: the version of the package (PEP 440).
    """
    numbers = re.match(r"[0-9.]*[0-9]", release.rpartition("!")[2])
    parts = numbers[0].split(".")[:3] if numbers else []
    return f"{'.'.join([*parts, '0', '0', '0'][:3])} OSS"


def node_options(config: Config) -> NodeOptions:
    """Return the options of the node."""
    client = config.client
    return NodeOptions(
        name=node_name(config),
        version=reference_style_version(version("centrifugo-tx")),
        ping_interval=client.ping_interval,
        pong_timeout=client.pong_timeout,
        stale_close_delay=client.stale_close_delay,
        expired_close_delay=client.expired_close_delay,
        expired_sub_close_delay=client.expired_sub_close_delay,
        presence_update_interval=client.presence_update_interval,
        position_check_delay=client.channel_position_check_delay,
        position_max_time_lag=client.channel_position_max_time_lag,
        channel_limit=client.channel_limit,
        channel_max_length=config.channel.max_length,
        user_connection_limit=client.user_connection_limit,
        concurrency=max(1, client.concurrency),
        queue_max_size=client.queue_max_size,
        recovery_limit=client.recovery_max_publication_limit,
        include_server_time=client.connect_include_server_time,
        metrics_interval=config.node.info_metrics_aggregate_interval,
        recovered_publications_histogram=(
            config.prometheus.recovered_publications_histogram
        ),
        disconnects=connect_disconnects(config),
    )


def connect_disconnects(config: Config) -> dict[int, Disconnect]:
    """Return the disconnects for connect errors of unidirectional clients."""
    special = config.client.connect_code_to_unidirectional_disconnect
    if not special.enabled:
        return {}
    return {
        each.code: Disconnect(each.to.code, each.to.reason)
        for each in special.transforms
    }

"""Builds an engine of which all or some parts use Redis."""

from typing import cast

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ...interfaces import Engine
from ...metrics import Metrics
from .addresses import shard_addresses
from .broker import RedisBroker
from .controller import RedisController
from .endpoints import IRedisReactor
from .layout import Layout
from .map_broker import RedisMapBroker
from .options import EngineRedisOptions, MapBrokerRedisOptions
from .presence_manager import RedisPresenceManager
from .receipt_store import RedisReceiptStore
from .sharding import Shards
from .topology import Shard

__all__ = ["combine", "redis_engine", "redis_maps"]


def redis_engine(
    reactor: IReactorTime,
    options: EngineRedisOptions,
    history_meta_ttl: float = 2592000.0,
    metrics: Metrics | None = None,
) -> Engine:
    """Return an engine that many nodes share.

    The start fails with `BrokerUnavailable` if a shard is unreachable.  Later, calls
    that need an unreachable shard fail with it until the shard is back.

    :param reactor: one with TCP, Unix sockets and names, as any real one has.
    :param history_meta_ttl: seconds for which an unused stream keeps its position; 0:
        forever.
    :raises ConfigError: an address is malformed.
    """
    full = cast(IRedisReactor, reactor)
    counts = metrics or Metrics()
    layout = Layout(options.prefix, lists=options.history_use_lists)
    shards = Shards([Shard(full, each, layout) for each in shard_addresses(options)])
    broker = RedisBroker(full, shards, history_meta_ttl, counts)
    presence = RedisPresenceManager(
        full,
        shards,
        options.presence_ttl,
        options.presence_user_mapping,
        options.presence_hash_field_ttl,
    )
    controller = RedisController(full, shards, counts)

    async def stop() -> None:
        """Stop all parts; the shards come last."""
        await broker.stop()
        await controller.stop()
        await shards.stop()

    async def start() -> None:
        """Start all parts; if one fails, stop those that have started."""
        try:
            await shards.start()
            await broker.start()
            await presence.start()
            await controller.start()
        except Exception:
            await stop()
            raise

    return Engine(
        broker,
        presence,
        controller,
        start=lambda: Deferred.fromCoroutine(start()),
        stop=lambda: Deferred.fromCoroutine(stop()),
        receipts=RedisReceiptStore(shards),
    )


def redis_maps(
    reactor: IReactorTime,
    engine: Engine,
    options: MapBrokerRedisOptions,
    metrics: Metrics | None = None,
) -> Engine:
    """Return *engine* with maps that many nodes share, on separate connections.

    :raises ConfigError: an address is malformed.
    """
    full = cast(IRedisReactor, reactor)
    layout = Layout(options.prefix)
    shards = Shards([Shard(full, each, layout) for each in shard_addresses(options)])
    maps = RedisMapBroker(
        full,
        shards,
        metrics or Metrics(),
        options.cleanup_interval or 1.0,
        max(1, options.cleanup_batch_size),
        options.idempotent_result_ttl or 300.0,
        options.skip_pub_sub,
    )

    async def stop_maps() -> None:
        """Stop the map broker alone."""
        await maps.stop()
        await shards.stop()

    async def start() -> None:
        """Start the engine, then its maps."""
        await engine.start()
        try:
            await shards.start()
            await maps.start()
        except Exception:
            await stop_maps()
            await engine.stop()
            raise

    async def stop() -> None:
        """Stop the maps, then the engine."""
        await stop_maps()
        await engine.stop()

    return evolve(
        engine,
        maps=maps,
        start=lambda: Deferred.fromCoroutine(start()),
        stop=lambda: Deferred.fromCoroutine(stop()),
    )


def combine(broker: Engine, presence: Engine) -> Engine:
    """Return *broker* with the presence manager of the engine *presence*."""

    async def start() -> None:
        """Start the broker, then presence."""
        await broker.start()
        try:
            await presence.start()
        except Exception:
            await broker.stop()
            raise

    async def stop() -> None:
        """Stop the broker and presence."""
        await broker.stop()
        await presence.stop()

    return Engine(
        broker.broker,
        presence.presence,
        broker.controller,
        start=lambda: Deferred.fromCoroutine(start()),
        stop=lambda: Deferred.fromCoroutine(stop()),
        maps=broker.maps,
        receipts=broker.receipts,
    )

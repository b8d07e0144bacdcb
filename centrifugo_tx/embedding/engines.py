"""The engine of many nodes, for applications."""

from msgspec.structs import replace

from ..engines.redis.options import EngineRedisOptions, MapBrokerRedisOptions
from ..engines.redis.options import RedisConnectionOptions as ConnectionOptions
from ..interfaces import Engine
from ..reactors import clock_or_reactor
from ..typing import Clock

__all__ = ["redis_engine"]

_DEFAULTS = EngineRedisOptions()


def redis_engine(
    *addresses: str,
    reactor: Clock | None = None,
    options: EngineRedisOptions = _DEFAULTS,
    history_meta_ttl: float = 2592000.0,
) -> Engine:
    """Return an engine that many nodes share, with maps.

    The start of the node fails with `BrokerUnavailable` if a Redis is unreachable.
    Later, calls that need it fail so until it is back.

    :param addresses: ``host:port`` or URLs, across which channels are sharded; none:
        those of *options*.
    :param reactor: the reactor that runs; None selects the global one.
    :param history_meta_ttl: seconds for which an unused stream keeps its position; 0:
        forever.
    :raises ConfigError: an address is malformed.
    """
    # Imported late, because txredisapi imports the global reactor.
    from ..engines.redis.engine import redis_engine, redis_maps

    clock = clock_or_reactor(reactor)
    if addresses:
        options = replace(options, address=addresses)
    shared = {
        name: getattr(options, name) for name in ConnectionOptions.__struct_fields__
    }
    maps = MapBrokerRedisOptions(**shared, prefix=options.prefix)
    return redis_maps(clock, redis_engine(clock, options, history_meta_ttl), maps)

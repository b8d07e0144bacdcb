"""The sections of engines, brokers, presence managers and controllers."""

import msgspec

from ..engines.redis.options import (
    BrokerRedisOptions,
    EngineRedisOptions,
    MapBrokerRedisOptions,
    PresenceRedisOptions,
    RedisConnectionOptions,
    RedisOptions,
    ReplicaClientOptions,
)
from ..options import Duration
from .servers import Section, TLSOptions

__all__ = [
    "BrokerOptions",
    "BrokerRedisOptions",
    "ControllerOptions",
    "ControllerPostgresOptions",
    "EngineOptions",
    "EngineRedisOptions",
    "MapBrokerOptions",
    "MapBrokerPostgresOptions",
    "MapBrokerRedisOptions",
    "NatsOptions",
    "OutboxOptions",
    "PostgresOptions",
    "PresenceManagerOptions",
    "PresenceRedisOptions",
    "RawModeOptions",
    "RedisConnectionOptions",
    "RedisNatsOptions",
    "RedisOptions",
    "ReplicaClientOptions",
    "SharedPollOptions",
]


class EngineOptions(Section, frozen=True):
    """The engine: broker and presence manager in one."""

    type: str = "memory"
    """``memory`` (one node) or ``redis``; used unless ``broker`` or
    ``presence_manager`` is enabled."""
    redis: EngineRedisOptions = EngineRedisOptions()
    """Options of the Redis engine."""


class RawModeOptions(Section, frozen=True):
    """Publications of other NATS clients, delivered unchanged."""

    enabled: bool = False
    """Enable raw mode."""
    channel_replacements: dict[str, str] = msgspec.field(default_factory=dict)
    """Parts of channel names to replace, with their replacements."""
    prefix: str = ""
    """Prefix of every subject in raw mode."""


class NatsOptions(Section, frozen=True):
    """NATS as the broker, without history and recovery."""

    prefix: str = "centrifugo"
    """Prefix of every subject."""
    url: str = "nats://localhost:4222"
    """URL of NATS."""
    dial_timeout: Duration = 1.0
    """Timeout of connecting."""
    write_timeout: Duration = 1.0
    """Timeout of writing."""
    tls: TLSOptions = TLSOptions()
    """TLS of the connections."""
    allow_wildcards: bool = False
    """Allow wildcards in channel names."""
    raw_mode: RawModeOptions = RawModeOptions()
    """Raw mode."""


class RedisNatsOptions(Section, frozen=True):
    """History in Redis, PUB/SUB over NATS."""

    redis: BrokerRedisOptions = BrokerRedisOptions()
    """Accepted for compatibility; ``broker.redis`` is used instead."""
    nats: NatsOptions = NatsOptions()
    """Accepted for compatibility; ``broker.nats`` is used instead."""


class OutboxOptions(Section, frozen=True):
    """Reading of the table of publications."""

    poll_interval: Duration = 0.1
    """Interval between reads."""
    batch_size: int = 1000
    """Rows per read."""


class PostgresOptions(Section, frozen=True):
    """PostgreSQL as the broker."""

    dsn: str = ""
    """Connection string of the database."""
    tls: TLSOptions = TLSOptions()
    """TLS of the connections."""
    pool_size: int = 16
    """Size of the connection pool."""
    num_shards: int = 8
    """Number of shards that the channels are divided into."""
    cleanup_interval: Duration = 60.0
    """Interval between removals of expired entries."""
    idempotent_result_ttl: Duration = 300.0
    """How long a result is remembered by its idempotency key."""
    binary_data: bool = False
    """Store payloads as bytes instead of JSON."""
    stream_retention: Duration = 86400.0
    """Maximum age of a row."""
    use_notify: bool = False
    """Learn of publications through LISTEN and NOTIFY."""
    notify_dsn: str = ""
    """Connection string for LISTEN, when ``dsn`` leads to a pooler."""
    table_prefix: str = "cf"
    """Prefix of every table name."""
    skip_schema_init: bool = False
    """Do not create the tables."""
    outbox: OutboxOptions = OutboxOptions()
    """Reading of the table of publications."""
    partition_lookahead_days: int = 2
    """Days for which partitions are created ahead."""
    partition_retention_days: int = 7
    """Days for which partitions are kept."""


class BrokerOptions(Section, frozen=True):
    """A broker other than the engine's."""

    enabled: bool = False
    """Use this broker."""
    type: str = "memory"
    """``memory``, ``redis``, ``nats``, ``postgres`` or ``redisnats``."""
    redis: BrokerRedisOptions = BrokerRedisOptions()
    """Options of the Redis broker."""
    nats: NatsOptions = NatsOptions()
    """Options of the NATS broker."""
    redisnats: RedisNatsOptions = RedisNatsOptions()
    """Options of Redis and NATS together."""
    postgres: PostgresOptions = PostgresOptions()
    """Options of PostgreSQL."""


class PresenceManagerOptions(Section, frozen=True):
    """A presence manager other than the engine's."""

    enabled: bool = False
    """Use this presence manager."""
    type: str = "memory"
    """``memory`` or ``redis``."""
    redis: PresenceRedisOptions = PresenceRedisOptions()
    """Options of the Redis broker."""


class MapBrokerPostgresOptions(PostgresOptions, frozen=True):
    """PostgreSQL as the map broker."""

    ttl_check_interval: Duration = 1.0
    """Interval between searches for expired keys."""


class MapBrokerOptions(Section, frozen=True):
    """The broker of map channels."""

    type: str = "memory"
    """``memory``, ``redis`` or ``postgres``."""
    redis: MapBrokerRedisOptions = MapBrokerRedisOptions()
    """Options of the Redis broker."""
    postgres: MapBrokerPostgresOptions = MapBrokerPostgresOptions()
    """Options of PostgreSQL."""


class ControllerPostgresOptions(Section, frozen=True):
    """PostgreSQL as the controller."""

    dsn: str = ""
    """Connection string of the database."""
    tls: TLSOptions = TLSOptions()
    """TLS of the connections."""
    pool_size: int = 8
    """Size of the connection pool."""
    num_shards: int = 1
    """Number of shards that the messages are divided into."""
    table_prefix: str = "cf"
    """Prefix of every table name."""
    poll_interval: Duration = 0.05
    """Interval between reads."""
    batch_size: int = 1000
    """Rows per read."""
    use_notify: bool = False
    """Learn of messages through LISTEN and NOTIFY."""
    notify_dsn: str = ""
    """Connection string for LISTEN, when ``dsn`` leads to a pooler."""
    partition_retention_days: int = 1
    """Days for which partitions are kept."""
    partition_lookahead_days: int = 2
    """Days for which partitions are created ahead."""
    partition_cleanup_interval: Duration = 60.0
    """Interval between removals of old partitions."""
    skip_schema_init: bool = False
    """Do not create the tables."""


class ControllerOptions(Section, frozen=True):
    """A controller, which carries messages between nodes, other than the engine's."""

    enabled: bool = False
    """Use this controller."""
    type: str = ""
    """``postgres``."""
    postgres: ControllerPostgresOptions = ControllerPostgresOptions()
    """Options of PostgreSQL."""


class SharedPollOptions(Section, frozen=True):
    """Shared polling: signatures of keys, and calls to the backend."""

    hmac_secret_key: str = ""
    """Secret key of the signatures."""
    hmac_previous_secret_key: str = ""
    """Previous secret key, still accepted."""
    hmac_previous_secret_key_valid_until: int = 0
    """Unix time until which the previous key is accepted; 0: no limit."""
    concurrency_limit: int = 0
    """Maximum number of concurrent calls to the backend; 0: 64."""

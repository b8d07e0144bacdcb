"""The sections of what crosses nodes: engines, brokers, presence, controllers."""

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
    """Broker and presence manager in one."""

    type: str = "memory"
    """``memory`` (one node) or ``redis``; used for what ``broker`` and
    ``presence_manager`` leave open."""
    redis: EngineRedisOptions = EngineRedisOptions()
    """Settings of the Redis engine."""


class RawModeOptions(Section, frozen=True):
    """Publications of others, taken from NATS as they are."""

    enabled: bool = False
    """Use raw mode."""
    channel_replacements: dict[str, str] = msgspec.field(default_factory=dict)
    """Parts of channel names to replace, and by what."""
    prefix: str = ""
    """First part of every subject in raw mode."""


class NatsOptions(Section, frozen=True):
    """NATS as the broker: no history, no recovery."""

    prefix: str = "centrifugo"
    """First part of every subject."""
    url: str = "nats://localhost:4222"
    """Where NATS is."""
    dial_timeout: Duration = 1.0
    """How long connecting may take."""
    write_timeout: Duration = 1.0
    """How long writing may take."""
    tls: TLSOptions = TLSOptions()
    """Encryption."""
    allow_wildcards: bool = False
    """Let channel names hold wildcards."""
    raw_mode: RawModeOptions = RawModeOptions()
    """Publications of others."""


class RedisNatsOptions(Section, frozen=True):
    """History in Redis, PUB/SUB over NATS."""

    redis: BrokerRedisOptions = BrokerRedisOptions()
    """Accepted for compatibility; ``broker.redis`` is what counts."""
    nats: NatsOptions = NatsOptions()
    """Accepted for compatibility; ``broker.nats`` is what counts."""


class OutboxOptions(Section, frozen=True):
    """How the table of publications is read."""

    poll_interval: Duration = 0.1
    """Time between reads."""
    batch_size: int = 1000
    """Rows per read."""


class PostgresOptions(Section, frozen=True):
    """PostgreSQL as the broker."""

    dsn: str = ""
    """Where the database is."""
    tls: TLSOptions = TLSOptions()
    """Encryption."""
    pool_size: int = 16
    """Connections to keep."""
    num_shards: int = 8
    """Parts that the channels are divided into."""
    cleanup_interval: Duration = 60.0
    """Time between removals of what has expired."""
    idempotent_result_ttl: Duration = 300.0
    """How long results stay known by their idempotency keys."""
    binary_data: bool = False
    """Keep payloads as bytes, not as JSON."""
    stream_retention: Duration = 86400.0
    """How long rows are kept at most."""
    use_notify: bool = False
    """Learn of publications by LISTEN and NOTIFY."""
    notify_dsn: str = ""
    """Own connection for that, past a pooler."""
    table_prefix: str = "cf"
    """First part of every table name."""
    skip_schema_init: bool = False
    """Do not create the tables."""
    outbox: OutboxOptions = OutboxOptions()
    """How the table of publications is read."""
    partition_lookahead_days: int = 2
    """Days for which partitions are made ahead."""
    partition_retention_days: int = 7
    """Days for which partitions are kept."""


class BrokerOptions(Section, frozen=True):
    """The broker, when it is not the engine's."""

    enabled: bool = False
    """Use this broker."""
    type: str = "memory"
    """``memory``, ``redis``, ``nats``, ``postgres`` or ``redisnats``."""
    redis: BrokerRedisOptions = BrokerRedisOptions()
    """Settings of Redis."""
    nats: NatsOptions = NatsOptions()
    """Settings of NATS."""
    redisnats: RedisNatsOptions = RedisNatsOptions()
    """Settings of both together."""
    postgres: PostgresOptions = PostgresOptions()
    """Settings of PostgreSQL."""


class PresenceManagerOptions(Section, frozen=True):
    """The presence manager, when it is not the engine's."""

    enabled: bool = False
    """Use this presence manager."""
    type: str = "memory"
    """``memory`` or ``redis``."""
    redis: PresenceRedisOptions = PresenceRedisOptions()
    """Settings of Redis."""


class MapBrokerPostgresOptions(PostgresOptions, frozen=True):
    """PostgreSQL as the broker of maps."""

    ttl_check_interval: Duration = 1.0
    """Time between looks for expired keys."""


class MapBrokerOptions(Section, frozen=True):
    """The broker of channels that hold a map."""

    type: str = "memory"
    """``memory``, ``redis`` or ``postgres``."""
    redis: MapBrokerRedisOptions = MapBrokerRedisOptions()
    """Settings of Redis."""
    postgres: MapBrokerPostgresOptions = MapBrokerPostgresOptions()
    """Settings of PostgreSQL."""


class ControllerPostgresOptions(Section, frozen=True):
    """PostgreSQL as the bus between nodes."""

    dsn: str = ""
    """Where the database is."""
    tls: TLSOptions = TLSOptions()
    """Encryption."""
    pool_size: int = 8
    """Connections to keep."""
    num_shards: int = 1
    """Parts that the messages are divided into."""
    table_prefix: str = "cf"
    """First part of every table name."""
    poll_interval: Duration = 0.05
    """Time between reads."""
    batch_size: int = 1000
    """Rows per read."""
    use_notify: bool = False
    """Learn of messages by LISTEN and NOTIFY."""
    notify_dsn: str = ""
    """Own connection for that, past a pooler."""
    partition_retention_days: int = 1
    """Days for which partitions are kept."""
    partition_lookahead_days: int = 2
    """Days for which partitions are made ahead."""
    partition_cleanup_interval: Duration = 60.0
    """Time between removals of old partitions."""
    skip_schema_init: bool = False
    """Do not create the tables."""


class ControllerOptions(Section, frozen=True):
    """The bus between nodes, when it is not the engine's."""

    enabled: bool = False
    """Use this controller."""
    type: str = ""
    """``postgres``."""
    postgres: ControllerPostgresOptions = ControllerPostgresOptions()
    """Settings of PostgreSQL."""


class SharedPollOptions(Section, frozen=True):
    """Signatures of the keys that clients may poll together."""

    hmac_secret_key: str = ""
    """Key that signs them."""
    hmac_previous_secret_key: str = ""
    """Former key, still accepted."""
    hmac_previous_secret_key_valid_until: int = 0
    """Unix time until which it is; 0: always."""
    concurrency_limit: int = 0
    """Calls to the backend at a time; 0: 64."""

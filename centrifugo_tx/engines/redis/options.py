"""The options of Redis; importing them loads no Redis client.

See configuration rules, "Engine options".
"""

import msgspec

from ...options import Duration, TLSOptions

__all__ = [
    "BrokerRedisOptions",
    "EngineRedisOptions",
    "MapBrokerRedisOptions",
    "PresenceRedisOptions",
    "RedisConnectionOptions",
    "RedisOptions",
    "ReplicaClientOptions",
]


class ReplicaClientOptions(msgspec.Struct, frozen=True):
    """Reads from replicas."""

    enabled: bool = False
    """Accepted for compatibility; all reads go to masters."""


class RedisConnectionOptions(msgspec.Struct, frozen=True):
    """Connections to Redis."""

    address: tuple[str, ...] = ("redis://127.0.0.1:6379",)
    """``host:port`` or URL; channels are sharded across several, in this order."""
    connect_timeout: Duration = 1.0
    """Timeout of connecting."""
    io_timeout: Duration = 4.0
    """Timeout of a reply."""
    db: int = 0
    """Number of the database."""
    user: str = ""
    """User name."""
    password: str = ""
    """Password."""
    client_name: str = ""
    """Client name of the connections."""
    force_resp2: bool = False
    """Accepted for compatibility; the connections always use RESP2."""
    cluster_address: tuple[str, ...] = ()
    """Addresses of Redis Cluster, separated by commas; one entry per cluster."""
    tls: TLSOptions = TLSOptions()
    """TLS of the connections."""
    sentinel_address: tuple[str, ...] = ()
    """Addresses of Sentinel, separated by commas; one entry per master."""
    sentinel_user: str = ""
    """User name for Sentinel."""
    sentinel_password: str = ""
    """Password for Sentinel."""
    sentinel_master_name: str = ""
    """Name under which Sentinel monitors the master."""
    sentinel_client_name: str = ""
    """Client name of the connections to Sentinel."""
    sentinel_tls: TLSOptions = TLSOptions()
    """TLS of the connections to Sentinel."""
    replica_client: ReplicaClientOptions = ReplicaClientOptions()
    """Reads from replicas."""


class RedisOptions(RedisConnectionOptions, frozen=True):
    """Connections to Redis, and the prefix of its keys."""

    prefix: str = "centrifugo"
    """Prefix of every key and PUB/SUB channel."""


class BrokerRedisOptions(RedisOptions, frozen=True):
    """Redis as the broker."""

    history_use_lists: bool = False
    """Store history in lists instead of streams."""


class PresenceRedisOptions(RedisOptions, frozen=True):
    """Redis as the presence manager."""

    presence_ttl: Duration = 60.0
    """How long an entry lives without renewal, in whole seconds."""
    presence_hash_field_ttl: bool = False
    """Let Redis 7.4 or newer expire the entries."""
    presence_user_mapping: bool = False
    """Keep the number of users in Redis."""


class EngineRedisOptions(PresenceRedisOptions, frozen=True):
    """Redis as the whole engine."""

    history_use_lists: bool = False
    """Store history in lists instead of streams."""


class MapBrokerRedisOptions(RedisOptions, frozen=True):
    """Redis as the map broker."""

    cleanup_interval: Duration = 1.0
    """Interval between removals of expired keys."""
    cleanup_batch_size: int = 100
    """Maximum number of keys removed in one step."""
    idempotent_result_ttl: Duration = 300.0
    """How long a result is remembered by its idempotency key."""
    skip_pub_sub: bool = False
    """Store changes without publishing them to subscribers."""

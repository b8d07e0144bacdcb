"""How Redis is reached and used; imports nothing heavy.

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
    """Reading from replicas."""

    enabled: bool = False
    """Accepted for compatibility; everything is read from masters."""


class RedisConnectionOptions(msgspec.Struct, frozen=True):
    """How Redis is reached."""

    address: tuple[str, ...] = ("redis://127.0.0.1:6379",)
    """``host:port`` or URL; several share the channels among them, in this order."""
    connect_timeout: Duration = 1.0
    """How long connecting may take."""
    io_timeout: Duration = 4.0
    """How long an answer may take."""
    db: int = 0
    """Number of the database."""
    user: str = ""
    """User name."""
    password: str = ""
    """Password."""
    client_name: str = ""
    """Name of the connections, as Redis lists them."""
    force_resp2: bool = False
    """Accepted for compatibility; version 2 of the protocol is always spoken."""
    cluster_address: tuple[str, ...] = ()
    """Addresses of Redis Cluster, separated by commas; one entry per cluster."""
    tls: TLSOptions = TLSOptions()
    """Encryption."""
    sentinel_address: tuple[str, ...] = ()
    """Addresses of Sentinel, separated by commas; one entry per master."""
    sentinel_user: str = ""
    """User name at Sentinel."""
    sentinel_password: str = ""
    """Password at Sentinel."""
    sentinel_master_name: str = ""
    """Name of the master at Sentinel."""
    sentinel_client_name: str = ""
    """Name of the connections to Sentinel."""
    sentinel_tls: TLSOptions = TLSOptions()
    """Encryption of the connections to Sentinel."""
    replica_client: ReplicaClientOptions = ReplicaClientOptions()
    """Reading from replicas."""


class RedisOptions(RedisConnectionOptions, frozen=True):
    """How Redis is reached, and under which names it is used."""

    prefix: str = "centrifugo"
    """First part of every key and PUB/SUB channel."""


class BrokerRedisOptions(RedisOptions, frozen=True):
    """Redis as the broker."""

    history_use_lists: bool = False
    """Keep history in lists, not in streams."""


class PresenceRedisOptions(RedisOptions, frozen=True):
    """Redis as the presence manager."""

    presence_ttl: Duration = 60.0
    """How long an entry stays without renewal, in whole seconds."""
    presence_hash_field_ttl: bool = False
    """Let Redis expire the entries (7.4 and newer)."""
    presence_user_mapping: bool = False
    """Count users on the side of Redis."""


class EngineRedisOptions(PresenceRedisOptions, frozen=True):
    """Redis as the whole engine."""

    history_use_lists: bool = False
    """Keep history in lists, not in streams."""


class MapBrokerRedisOptions(RedisOptions, frozen=True):
    """Redis as the broker of maps."""

    cleanup_interval: Duration = 1.0
    """Time between removals of what has expired."""
    cleanup_batch_size: int = 100
    """Keys removed at a time."""
    idempotent_result_ttl: Duration = 300.0
    """How long results stay known by their idempotency keys."""
    skip_pub_sub: bool = False
    """Store only; tell no subscribers."""

"""Assigns channels to shards (engines, "Redis sharding").

Nodes in every language must assign a channel to the same shard, so both functions are
exact.
"""

from functools import lru_cache
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred, gatherResults

from .topology import Shard

__all__ = ["Shards", "fnv1a64", "jump_hash", "shard_index"]

_MASK = 2**64 - 1


def fnv1a64(data: bytes) -> int:
    """Return the 64-bit FNV-1a hash of *data*."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & _MASK
    return value


def jump_hash(key: int, count: int) -> int:
    """Return the bucket of *key* among *count* buckets, by Jump Consistent Hash."""
    bucket, candidate = -1, 0
    while candidate < count:
        bucket = candidate
        key = (key * 2862933555777941757 + 1) & _MASK
        candidate = int((bucket + 1) * (float(1 << 31) / float((key >> 33) + 1)))
    return bucket


@lru_cache(maxsize=65536)
def shard_index(channel: str, count: int) -> int:
    """Return the index of the shard of *channel* among *count* shards."""
    return jump_hash(fnv1a64(channel.encode()), count)


@define(eq=False)
class Shards:
    """The shards of all channels, in the order of the configuration."""

    all: list[Shard]

    def of(self, channel: str) -> Shard:
        """Return the shard of *channel*."""
        shards = self.all
        return shards[shard_index(channel, len(shards)) if len(shards) > 1 else 0]

    async def start(self) -> None:
        """Connect to all shards.

        :raises BrokerUnavailable: a shard is unreachable.
        """
        for shard in self.all:
            await shard.start()

    def stop(self) -> "Deferred[Any]":
        """Close; fires when the reactor has no connections or timers of theirs left."""
        return gatherResults([shard.stop() for shard in self.all])

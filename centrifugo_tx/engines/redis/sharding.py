"""Which of several shards a channel belongs to (engines, "Redis sharding").

The same channel must come to the same shard on every node of every language, so
both functions are exact.
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
    """Return the bucket of *key* among *count*: Jump Consistent Hash."""
    bucket, candidate = -1, 0
    while candidate < count:
        bucket = candidate
        key = (key * 2862933555777941757 + 1) & _MASK
        candidate = int((bucket + 1) * (float(1 << 31) / float((key >> 33) + 1)))
    return bucket


@lru_cache(maxsize=65536)
def shard_index(channel: str, count: int) -> int:
    """Return which of *count* shards *channel* belongs to."""
    return jump_hash(fnv1a64(channel.encode()), count)


@define(eq=False)
class Shards:
    """The shards that share the channels, in the order of the configuration."""

    all: list[Shard]

    def of(self, channel: str) -> Shard:
        """Return the shard of *channel*."""
        shards = self.all
        return shards[shard_index(channel, len(shards)) if len(shards) > 1 else 0]

    async def start(self) -> None:
        """Connect to all of them.

        :raises BrokerUnavailable: one is away.
        """
        for shard in self.all:
            await shard.start()

    def stop(self) -> "Deferred[Any]":
        """Close; fires when nothing is left in the reactor."""
        return gatherResults([shard.stop() for shard in self.all])

"""Presence in Redis (engines, "Redis keys" and "Redis scripts")."""

from collections.abc import Callable
from typing import TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from ...errors import BrokerUnavailable, DecodeError
from ...interfaces import IPresenceManager
from ...options import PresenceStats
from ...protocol.messages import ClientInfo
from . import scripts
from .connection import Refused, Reply, bulk, ignore_result
from .envelope import decode_client_info, encode_client_info
from .sharding import Shards
from .topology import Shard

__all__ = ["RedisPresenceManager"]

T = TypeVar("T")

_FLAG = {False: b"0", True: b"1"}


@implementer(IPresenceManager)
@define(eq=False)
class RedisPresenceManager:
    """Presence of channels on all nodes that use the same Redis.

    Entries hold the time at which they expire, so the nodes' clocks must agree.

    :param count_users: keep the number of users of each channel in Redis.
    :param field_ttl: let Redis expire the entries (7.4 and newer).
    """

    _clock: IReactorTime
    _shards: Shards
    _ttl: float = 60.0
    _count_users: bool = False
    _field_ttl: bool = False
    _log = Logger()
    _flags: tuple[bytes, bytes] = field(init=False)
    _whole_ttl: int = field(init=False)
    #: The last arguments of `ADD_PRESENCE`.
    _settings: bytes = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._flags = _FLAG[self._count_users], _FLAG[self._field_ttl]
        self._whole_ttl = max(1, int(self._ttl))
        self._settings = bulk(b"%d" % self._whole_ttl, *self._flags)

    async def start(self) -> None:
        """Check that the servers have the features needed.

        :raises BrokerUnavailable: a server lacks a feature.
        """
        for shard in self._shards.all if self._field_ttl else ():
            await self._check_server(shard)

    async def _check_server(self, shard: Shard) -> None:
        key = f"{shard.layout.prefix}.__.check.presence".encode()
        try:
            await shard.send(key, b"HEXPIRE", key, b"1", b"FIELDS", b"1", b"f")
        except Refused as error:
            raise BrokerUnavailable(
                f"Redis cannot expire fields of hashes: {error}"
            ) from None

    def add(self, channel: str, client: str, info: ClientInfo) -> "Deferred[None]":
        """Add or renew a client."""
        shard = self._shards.of(channel)
        keys = shard.layout.presence(channel.encode())
        entry = bulk(
            *keys,
            client.encode(),
            encode_client_info(info),
            info.user.encode(),
            b"%d" % (int(self._clock.seconds()) + self._whole_ttl),
        )
        return shard.run_encoded(
            scripts.ADD_PRESENCE, ignore_result, keys[0], 11, entry + self._settings
        )

    def remove(self, channel: str, client: str, user: str) -> "Deferred[None]":
        """Remove a client."""
        shard = self._shards.of(channel)
        return shard.run(
            scripts.REMOVE_PRESENCE,
            ignore_result,
            *shard.layout.presence(channel.encode()),
            client.encode(),
            user.encode(),
            *self._flags,
        )

    def presence(self, channel: str) -> "Deferred[dict[str, ClientInfo]]":
        """Return the present clients by client id."""
        return self._read(channel, scripts.PRESENCE, self._entries)

    def stats(self, channel: str) -> "Deferred[PresenceStats]":
        """Return the numbers of present clients and users."""
        if self._count_users:
            return self._read(
                channel, scripts.PRESENCE_STATS, lambda reply: PresenceStats(*reply)
            )
        return self.presence(channel).addCallback(_count)

    def _read(
        self, channel: str, script: scripts.Script, then: Callable[[Reply], T]
    ) -> "Deferred[T]":
        shard = self._shards.of(channel)
        return shard.run(
            script,
            then,
            *shard.layout.presence(channel.encode()),
            b"%d" % int(self._clock.seconds()),
            self._flags[1],
        )

    def _entries(self, reply: Reply) -> dict[str, ClientInfo]:
        present = {}
        for client, info in zip(reply[::2], reply[1::2], strict=True):
            try:
                present[client.decode()] = decode_client_info(info)
            except (DecodeError, UnicodeDecodeError) as error:
                self._log.warn(
                    "skipped a malformed presence entry: {reason}", reason=error
                )
        return present


def _count(present: dict[str, ClientInfo]) -> PresenceStats:
    return PresenceStats(len(present), len({info.user for info in present.values()}))

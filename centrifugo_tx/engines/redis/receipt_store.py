"""What users had received when they left, in Redis."""

from attrs import define
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from ...interfaces import IReceiptStore
from ...options import Departures, Proof
from . import scripts
from .connection import Reply, ignore_result
from .sharding import Shards

__all__ = ["RedisReceiptStore"]

#: How many departures Redis is asked for at once.
PAGE = b"1000"


@implementer(IReceiptStore)
@define(eq=False)
class RedisReceiptStore:
    """Departures that all nodes with the same Redis share: a hash for each channel.

    Fields are users; a value is offset, floor, milliseconds since 1970 and epoch,
    separated by spaces.
    """

    _shards: Shards
    _log = Logger()

    def left(
        self, channel: str, user: str, proof: Proof, ttl: float
    ) -> "Deferred[None]":
        """Remember a departure."""
        shard = self._shards.of(channel)
        return shard.run(
            scripts.STORE_DEPARTURE,
            ignore_result,
            shard.layout.receipts(channel.encode()),
            user.encode(),
            _encode(proof),
            b"%d" % max(1, int(ttl)),
        )

    def returned(self, channel: str, user: str) -> "Deferred[None]":
        """Forget a departure."""
        shard = self._shards.of(channel)
        key = shard.layout.receipts(channel.encode())
        return shard.send(key, b"HDEL", key, user.encode()).addCallback(ignore_result)

    def departures(self, channel: str, cursor: str) -> "Deferred[Departures]":
        """Read about a thousand departures."""
        shard = self._shards.of(channel)
        key = shard.layout.receipts(channel.encode())
        start = cursor.encode() or b"0"
        page = shard.send(key, b"HSCAN", key, start, b"COUNT", PAGE)
        return page.addCallback(self._page)

    def _page(self, reply: Reply) -> Departures:
        cursor, entries = reply
        users = {}
        for user, value in zip(entries[::2], entries[1::2], strict=True):
            try:
                users[user.decode()] = _decode(value)
            except ValueError as error:
                self._log.warn("skipped a malformed departure: {reason}", reason=error)
        return Departures(users, "" if cursor == b"0" else cursor.decode())


def _encode(proof: Proof) -> bytes:
    numbers = proof.received, proof.floor, int(proof.at * 1000)
    return b"%d %d %d " % numbers + proof.epoch.encode()


def _decode(value: bytes) -> Proof:
    received, floor, at, epoch = value.split(b" ", 3)
    return Proof(epoch.decode(), int(floor), int(received), int(at) / 1000)

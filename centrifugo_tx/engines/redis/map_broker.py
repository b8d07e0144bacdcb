"""Maps in Redis (engines, "Other keys in Redis")."""

from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredList, fail, gatherResults, succeed
from twisted.logger import Logger
from zope.interface import implementer

from ...errors import BrokerUnavailable, ReplyError
from ...interfaces import IMapBroker, IMapEventHandler
from ...metrics import Metrics
from ...options import (
    History,
    HistoryQuery,
    MapChange,
    MapChanged,
    MapPage,
    MapQuery,
)
from ...protocol.codes import BAD_REQUEST
from ...protocol.errors import DecodeError
from ...protocol.messages import Payload, Publication
from ..memory_stream import new_epoch
from . import map_scripts as scripts
from .connection import Refused, Reply, ignore_result
from .endpoints import IRedisReactor
from .history_replies import first_offset, position
from .map_envelope import (
    encode_removal,
    encode_value,
    parse_change,
    parse_entry,
    placed,
)
from .map_expiry import MapExpiry, stream_limits
from .map_layout import MapKeys, MapLayout
from .pubsub import Subscriber
from .script_arguments import ChangeMap, PublishKey, ReadStream
from .scripts import Script
from .shard_listener import ShardListener, listen_to_shard
from .sharding import Shards
from .topology import Shard

__all__ = ["RedisMapBroker"]

#: Entries per page when all entries are read.
PAGE = 1000


@implementer(IMapBroker)
@define(eq=False)
class RedisMapBroker:
    """Maps, their changes and PUB/SUB, for all nodes that use the same Redis.

    Every node searches for expired keys, but Redis lets only one node remove a key and
    announce it.

    :param expiry_interval: seconds between two searches; not positive: no searches.
    :param expiry_batch: maximum number of keys that one script removes.
    :param result_ttl: seconds for which changes are remembered by idempotency keys.
    :param silent: store changes without publishing them.
    """

    _reactor: IRedisReactor
    _shards: Shards
    _metrics: Metrics = field(factory=Metrics)
    expiry_interval: float = 1.0
    expiry_batch: int = 100
    result_ttl: float = 300.0
    silent: bool = False
    expiry: MapExpiry | None = field(default=None, init=False)
    _receiver: IMapEventHandler | None = field(default=None, init=False)
    _layouts: dict[Shard, MapLayout] = field(factory=dict, init=False)
    _subscribers: dict[Shard, Subscriber] = field(factory=dict, init=False)
    _shard_listeners: list[ShardListener] = field(factory=list, init=False)
    _log = Logger()

    def listen(self, receiver: IMapEventHandler) -> None:
        """Set the receiver of events."""
        self._receiver = receiver

    # --- Life ------------------------------------------------------------------

    async def start(self) -> None:
        """Check that the servers have the necessary features, and start listening.

        :raises BrokerUnavailable: a server lacks a feature.
        """
        receiver = self._receiver
        assert receiver is not None
        for shard in self._shards.all:
            layout = MapLayout(shard.layout.prefix, shard.layout.cluster)
            self._layouts[shard] = layout
            await self._check_server(shard)
            if not self.silent:
                self._subscribers[shard] = self._listen(shard, layout, receiver)
        # Unreachable servers are tried again in the background.
        started = [each.start() for each in self._subscribers.values()]
        await DeferredList(started, consumeErrors=True)
        self.expiry = MapExpiry(
            self._reactor,
            self._layouts,
            receiver.rules,
            self._metrics,
            self.expiry_batch,
            self.silent,
        )
        self.expiry.start(self.expiry_interval)

    async def _check_server(self, shard: Shard) -> None:
        key = f"{shard.layout.prefix}.__.check.stream".encode()
        try:
            await shard.send(key, b"XRANGE", key, b"-", b"+", b"COUNT", b"1")
        except Refused as error:
            raise BrokerUnavailable(f"Redis cannot keep streams: {error}") from None

    def _listen(
        self, shard: Shard, layout: MapLayout, receiver: IMapEventHandler
    ) -> Subscriber:
        def channel_of(name: bytes) -> str | None:
            return "" if name == layout.cleared else layout.channel(name)

        def take(channel: str, payload: bytes) -> None:
            if channel:
                _deliver(receiver, channel, payload)
            else:
                receiver.handle_clear(payload.decode(errors="replace"))

        listener, subscriber = listen_to_shard(
            self._reactor,
            shard,
            channel_of,
            take,
            receiver.handle_gap,
            self._metrics,
            "map_broker",
            (layout.cleared,),
        )
        self._shard_listeners.append(listener)
        return subscriber

    def stop(self) -> "Deferred[Any]":
        """Close; fires when all connections and timers are gone."""
        if self.expiry is not None:
            self.expiry.stop()
        for listener in self._shard_listeners:
            listener.stop()
        return gatherResults([each.stop() for each in self._subscribers.values()])

    def _locate(self, channel: str) -> tuple[Shard, MapKeys]:
        """Return the shard of *channel*, and the keys of the map.

        :raises BrokerUnavailable: the broker is not started.
        """
        shard = self._shards.of(channel)
        layout = self._layouts.get(shard)
        if layout is None:
            raise BrokerUnavailable("not started")
        return shard, layout.keys(channel)

    # --- Subscribing -----------------------------------------------------------

    def subscribe(self, channel: str) -> "Deferred[None]":
        """Make this node a receiver of *channel*."""
        if self.silent:
            return succeed(None)
        try:
            shard, keys = self._locate(channel)
            return self._subscribers[shard].subscribe(keys.messages)
        except BrokerUnavailable as error:
            return fail(error)

    def unsubscribe(self, channel: str) -> "Deferred[None]":
        """Undo `subscribe`."""
        if self.silent:
            return succeed(None)
        try:
            shard, keys = self._locate(channel)
            return self._subscribers[shard].unsubscribe(keys.messages)
        except BrokerUnavailable as error:
            return fail(error)

    # --- Changes ---------------------------------------------------------------

    def publish(
        self, channel: str, key: str, data: Payload, change: MapChange
    ) -> "Deferred[MapChanged]":
        """Set a key, append the change to the stream, and deliver it."""
        now, ttl = int(self._reactor.seconds() * 1000), change.rules.key_ttl
        payload = encode_value(key, data, change, now)
        return self._change(
            scripts.PUBLISH_KEY,
            channel,
            key,
            payload,
            change,
            *PublishKey(
                key_ttl=_milliseconds(ttl),
                expires_at=b"%d" % (now + int(ttl * 1000)),
                now=b"%d" % now,
                delta=b"1" if change.delta else b"0",
                version=b"%d" % change.version,
                version_epoch=change.version_epoch.encode(),
                key_mode=change.key_mode.encode(),
                renew=b"1" if change.renew else b"0",
            ),
        )

    def remove(
        self, channel: str, key: str, change: MapChange
    ) -> "Deferred[MapChanged]":
        """Remove a key, append the change to the stream, and deliver it."""
        now = int(self._reactor.seconds() * 1000)
        payload = encode_removal(key, change.tags, now)
        own = b"0" if change.tags else b"1"
        return self._change(scripts.REMOVE_KEY, channel, key, payload, change, own)

    def _change(
        self,
        script: Script,
        channel: str,
        key: str,
        payload: bytes,
        change: MapChange,
        *rest: bytes,
    ) -> "Deferred[MapChanged]":
        try:
            shard, keys = self._locate(channel)
        except BrokerUnavailable as error:
            return fail(error)
        once, expected = change.idempotency_key, change.expected
        ttl = change.idempotent_result_ttl or self.result_ttl
        stream_size, stream_ttl, meta_ttl = stream_limits(change.rules)
        return shard.run(
            script,
            _change_result,
            *_common_keys(keys),
            # A key that exists: while a Cluster migrates a slot, commands with missing
            # keys have to wait.
            self._layouts[shard].result(channel, once) if once else keys.meta,
            *ChangeMap(
                key=key.encode(),
                payload=payload,
                messages=b"" if self.silent else keys.messages,
                channel=channel.encode(),
                epoch=new_epoch().encode(),
                stream_size=stream_size,
                stream_ttl=stream_ttl,
                meta_ttl=meta_ttl,
                result_ttl=_milliseconds(ttl) if once else b"",
                expected_offset=b"" if expected is None else b"%d" % expected.offset,
                expected_epoch=b"" if expected is None else expected.epoch.encode(),
            ),
            *rest,
        )

    def clear(self, channel: str) -> "Deferred[None]":
        """Remove all data and announce it to nodes of this server; others see the new
        epoch.
        """
        try:
            shard, keys = self._locate(channel)
        except BrokerUnavailable as error:
            return fail(error)
        return shard.run(
            scripts.CLEAR_MAP,
            ignore_result,
            *_common_keys(keys),
            keys.order,
            channel.encode(),
            b"" if self.silent else self._layouts[shard].cleared,
        )

    # --- Reading ---------------------------------------------------------------

    def state(self, channel: str, query: MapQuery) -> "Deferred[MapPage]":
        """Read entries; create the map if there is none."""
        cursor = query.cursor or "0"
        if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 20):
            return fail(ReplyError(BAD_REQUEST))
        if query.limit < 0 and not query.key:
            return Deferred.fromCoroutine(self._whole(channel, query))
        return self._page(channel, query, cursor, query.limit)

    def _page(
        self, channel: str, query: MapQuery, cursor: str, count: int
    ) -> "Deferred[MapPage]":
        try:
            shard, keys = self._locate(channel)
        except BrokerUnavailable as error:
            return fail(error)
        return shard.run(
            scripts.READ_STATE,
            self._entries,
            *_common_keys(keys)[:5],
            _milliseconds(query.meta_ttl),
            new_epoch().encode(),
            cursor.encode(),
            b"%d" % count,
            query.key.encode(),
            b"1" if query.streamless else b"0",
        )

    async def _whole(self, channel: str, query: MapQuery) -> MapPage:
        """Read all entries page by page; Redis may return an entry twice.

        The position is that of the first page, so recovery repeats changes made
        meanwhile.
        """
        found: dict[str, Publication] = {}
        first: MapPage | None = None
        cursor = "0"
        while True:
            page = await self._page(channel, query, cursor, PAGE)
            if first is None or page.position.epoch != first.position.epoch:
                found, first = {}, page  # the map was recreated
            for entry in page.entries:
                found[entry.key] = entry
            cursor = page.cursor
            if not cursor:
                break
        entries = sorted(found.values(), key=lambda entry: entry.key)
        return MapPage(entries, first.position)

    def _entries(self, reply: Reply) -> MapPage:
        pairs = reply[3]
        entries = []
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            try:
                entries.append(parse_entry(value, key.decode()))
            except (DecodeError, UnicodeDecodeError) as error:
                self._log.warn(
                    "skipped a malformed entry of a map: {reason}", reason=error
                )
        cursor = reply[2].decode()
        return MapPage(entries, position(reply), "" if cursor == "0" else cursor)

    def stream(self, channel: str, query: HistoryQuery) -> "Deferred[History]":
        """Read changes and the top; create the map if there is none."""
        try:
            shard, keys = self._locate(channel)
        except BrokerUnavailable as error:
            return fail(error)
        return shard.run(
            scripts.READ_CHANGES,
            _stream_part,
            *(keys.stream, keys.meta),
            *ReadStream(
                meta_ttl=_milliseconds(query.meta_ttl),
                epoch=new_epoch().encode(),
                first=first_offset(query),
                limit=b"0" if query.limit < 0 else b"%d" % query.limit,
                reverse=b"1" if query.reverse else b"0",
            ),
        )

    def size(self, channel: str) -> "Deferred[int]":
        """Return the number of keys."""
        try:
            shard, keys = self._locate(channel)
        except BrokerUnavailable as error:
            return fail(error)
        return shard.send(keys.state, b"HLEN", keys.state)


def _common_keys(keys: MapKeys) -> tuple[bytes, ...]:
    """Return the keys that are the first ones of every script."""
    stream, meta, state, expire, state_meta, _, due, _ = keys
    return stream, meta, state, expire, state_meta, due


def _milliseconds(ttl: float) -> bytes:
    return b"%d" % int(ttl * 1000)


def _change_result(reply: Reply) -> MapChanged:
    reason = reply[2].decode()
    current = None
    if reason == "position_mismatch" and reply[3]:
        current = parse_entry(reply[3])
    return MapChanged(position(reply), reason, current)


def _stream_part(reply: Reply) -> History:
    top = position(reply)
    changes = []
    for entry, fields in reply[2]:
        offset = int(entry.partition(b"-")[0])
        data = dict(zip(fields[::2], fields[1::2], strict=True))[b"d"]
        changes.append(placed(data, offset, top.epoch))
    return History(changes, top)


def _deliver(receiver: IMapEventHandler, channel: str, payload: bytes) -> None:
    message = parse_change(payload)
    if message.publication is not None:
        receiver.handle_change(
            channel,
            message.publication,
            message.position,
            message.previous,
        )
    elif message.join is not None:
        receiver.handle_join(channel, message.join)
    elif message.leave is not None:
        receiver.handle_leave(channel, message.leave)

"""PUB/SUB and history in Redis (engines, "Redis keys" and "Redis scripts")."""

from functools import lru_cache
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredList, fail, gatherResults
from zope.interface import implementer

from ...errors import BrokerUnavailable, ReplyError
from ...interfaces import IBroker, IBrokerEventHandler
from ...metrics import Metrics
from ...options import History, HistoryQuery, Published, PublishOptions
from ...protocol.messages import ClientInfo, Payload
from ..memory_stream import new_epoch
from . import scripts
from .connection import Refused, Reply, bulk, ignore_result
from .endpoints import IRedisReactor
from .envelope import (
    JOIN,
    LEAVE,
    encode_client_info,
    encode_publication,
    parse,
)
from .history_replies import first_offset, from_list, from_stream, position
from .pubsub import Subscriber
from .script_arguments import ReadStream, StreamSettings
from .shard_listener import ShardListener, listen_to_shard
from .sharding import Shards
from .topology import Shard

__all__ = ["RedisBroker"]

#: Seconds for which a publish with an idempotency key is remembered by default.
RESULT_TTL = 300.0


@implementer(IBroker)
@define(eq=False)
class RedisBroker:
    """Streams (or lists) and PUB/SUB, for all nodes that use the same Redis.

    Subscriptions survive a lost connection: they are restored in batches, and channels
    that may have missed publications are reported as gaps.
    """

    _reactor: IRedisReactor
    _shards: Shards
    _history_meta_ttl: float
    _metrics: Metrics = field(factory=Metrics)
    _receiver: IBrokerEventHandler | None = field(default=None, init=False)
    _subscribers: dict[Shard, Subscriber] = field(factory=dict, init=False)
    _shard_listeners: list[ShardListener] = field(factory=list, init=False)

    def listen(self, receiver: IBrokerEventHandler) -> None:
        """Set the receiver of events."""
        self._receiver = receiver

    # --- Life ------------------------------------------------------------------

    async def start(self) -> None:
        """Check that the servers have the necessary features, and start listening.

        :raises BrokerUnavailable: a server lacks a feature.
        """
        for shard in self._shards.all:
            await self._check_server(shard)
            if self._receiver is not None:
                self._subscribers[shard] = self._listen(shard, self._receiver)
        # Unreachable servers are tried again in the background.
        started = [each.start() for each in self._subscribers.values()]
        await DeferredList(started, consumeErrors=True)

    async def _check_server(self, shard: Shard) -> None:
        if shard.layout.lists:
            return
        key = f"{shard.layout.prefix}.__.check.stream".encode()
        try:
            await shard.send(key, b"XRANGE", key, b"-", b"+", b"COUNT", b"1")
        except Refused as error:
            raise BrokerUnavailable(f"Redis cannot keep streams: {error}") from None

    def _listen(self, shard: Shard, receiver: IBrokerEventHandler) -> Subscriber:
        def take(channel: str, payload: bytes) -> None:
            _deliver(receiver, channel, payload)

        listener, subscriber = listen_to_shard(
            self._reactor,
            shard,
            shard.layout.channel,
            take,
            receiver.handle_gap,
            self._metrics,
            "broker",
        )
        self._shard_listeners.append(listener)
        return subscriber

    def stop(self) -> "Deferred[Any]":
        """Close; fires when all connections and timers are gone."""
        for listener in self._shard_listeners:
            listener.stop()
        return gatherResults([each.stop() for each in self._subscribers.values()])

    # --- Subscribing -----------------------------------------------------------

    def subscribe(self, channel: str) -> "Deferred[None]":
        """Make this node a receiver of *channel*."""
        shard = self._shards.of(channel)
        subscriber = self._subscribers.get(shard)
        if subscriber is None:
            return fail(BrokerUnavailable("not started"))
        try:
            name = shard.layout.encode(channel)
        except ReplyError as error:
            return fail(error)
        return subscriber.subscribe(shard.layout.messages(name))

    def unsubscribe(self, channel: str) -> "Deferred[None]":
        """Undo `subscribe`."""
        shard = self._shards.of(channel)
        subscriber = self._subscribers.get(shard)
        if subscriber is None:
            return fail(BrokerUnavailable("not started"))
        return subscriber.unsubscribe(shard.layout.messages(channel.encode()))

    # --- Publishing ------------------------------------------------------------

    @property
    def publishes_in_order(self) -> bool:
        """Whether all commands go to the same server, in one connection."""
        shards = self._shards.all
        return len(shards) == 1 and not shards[0].layout.cluster

    def publish(
        self, channel: str, data: Payload, options: PublishOptions
    ) -> "Deferred[Published]":
        """Append to the stream, if the channel has one, and publish."""
        shard = self._shards.of(channel)
        layout = shard.layout
        try:
            name = layout.encode(channel)
        except ReplyError as error:
            return fail(error)
        history = options.history_size > 0 and options.history_ttl > 0
        payload = encode_publication(
            data,
            options,
            int(self._reactor.seconds() * 1000),
            options.delta and not history,
        )
        if history:
            return self._append(shard, name, payload, options)
        messages, key = layout.messages(name), options.idempotency_key
        if not key:
            return shard.request(_published, messages, b"PUBLISH", messages, payload)
        ttl = _whole_seconds(options.idempotent_result_ttl or RESULT_TTL)
        return shard.run(
            scripts.PUBLISH_ONCE,
            _published,
            layout.result(name, key),
            *(payload, messages, b"PUBLISH", ttl),
        )

    def _append(
        self, shard: Shard, name: bytes, payload: bytes, options: PublishOptions
    ) -> "Deferred[Published]":
        layout, key = shard.layout, options.idempotency_key
        history, meta = layout.history(name), layout.meta(name)
        publication = bulk(
            history,
            meta,
            # A key that exists: while a Cluster migrates a slot, commands with missing
            # keys have to wait.
            layout.result(name, key) if key else meta,
            payload,
            layout.messages(name),
            new_epoch().encode(),
            b"%d" % options.version,
            options.version_epoch.encode(),
        )
        settings = _stream_settings(
            options.history_size,
            options.history_ttl,
            options.history_meta_ttl or self._history_meta_ttl,
            (options.idempotent_result_ttl or RESULT_TTL) if key else 0.0,
            options.delta,
        )
        return shard.run_encoded(
            scripts.PUBLISH_LIST if layout.lists else scripts.PUBLISH_STREAM,
            _append_result,
            history,
            14,
            publication + settings,
        )

    def _meta_ttl(self, ttl: float) -> bytes:
        return _whole_seconds_or_none(ttl or self._history_meta_ttl)

    def publish_join(self, channel: str, info: ClientInfo) -> "Deferred[None]":
        """Announce on all nodes that a client subscribed."""
        return self._announce(channel, JOIN, info)

    def publish_leave(self, channel: str, info: ClientInfo) -> "Deferred[None]":
        """Announce on all nodes that a client left."""
        return self._announce(channel, LEAVE, info)

    def _announce(
        self, channel: str, header: bytes, info: ClientInfo
    ) -> "Deferred[None]":
        shard = self._shards.of(channel)
        messages = shard.layout.messages(channel.encode())
        payload = header + encode_client_info(info)
        return shard.request(ignore_result, messages, b"PUBLISH", messages, payload)

    # --- History ---------------------------------------------------------------

    def history(self, channel: str, query: HistoryQuery) -> "Deferred[History]":
        """Read part of the stream and its top; create the stream if there is none."""
        shard = self._shards.of(channel)
        layout = shard.layout
        try:
            name = layout.encode(channel)
        except ReplyError as error:
            return fail(error)
        first = first_offset(query)
        ttl, epoch = self._meta_ttl(query.meta_ttl), new_epoch().encode()
        if layout.lists:
            return shard.run(
                scripts.HISTORY_LIST,
                lambda reply: from_list(reply, query),
                *(layout.history(name), layout.meta(name), ttl, epoch, first),
            )
        return shard.run(
            scripts.HISTORY_STREAM,
            from_stream,
            *(layout.history(name), layout.meta(name)),
            *ReadStream(
                meta_ttl=ttl,
                epoch=epoch,
                first=first,
                limit=b"0" if query.limit < 0 else b"%d" % query.limit,
                reverse=b"1" if query.reverse else b"0",
            ),
        )

    def remove_history(self, channel: str) -> "Deferred[None]":
        """Remove the publications; offset and epoch continue."""
        shard = self._shards.of(channel)
        key = shard.layout.history(channel.encode())
        return shard.request(ignore_result, key, b"DEL", key)


def _deliver(receiver: IBrokerEventHandler, channel: str, payload: bytes) -> None:
    message = parse(payload)
    if message.publication is not None:
        receiver.handle_publication(
            channel,
            message.publication,
            message.position,
            message.previous,
        )
    elif message.join is not None:
        receiver.handle_join(channel, message.join)
    elif message.leave is not None:
        receiver.handle_leave(channel, message.leave)


def _whole_seconds(ttl: float) -> bytes:
    """Return a TTL in whole seconds, at least one."""
    return b"%d" % max(1, int(ttl))


def _whole_seconds_or_none(ttl: float) -> bytes:
    """Return a TTL in whole seconds; 0 is none."""
    return _whole_seconds(ttl) if ttl else b"0"


@lru_cache(maxsize=1024)
def _stream_settings(
    size: int, ttl: float, meta_ttl: float, result_ttl: float, delta: bool
) -> bytes:
    """Encode the arguments that all publishes with the same options have in common.

    :param result_ttl: 0 without an idempotency key.
    """
    return bulk(
        *StreamSettings(
            size=b"%d" % size,
            ttl=_whole_seconds(ttl),
            meta_ttl=_whole_seconds_or_none(meta_ttl),
            publish=b"PUBLISH",
            result_ttl=_whole_seconds(result_ttl) if result_ttl else b"",
            delta=b"1" if delta else b"",
        )
    )


def _published(reply: Reply) -> Published:
    return Published()


def _append_result(reply: Reply) -> Published:
    top = position(reply)
    if reply[2] == b"1":
        return Published(top, "idempotency")
    return Published(top, "version" if reply[3] == b"1" else "")

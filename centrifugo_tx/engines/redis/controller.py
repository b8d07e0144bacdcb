"""Messages between nodes over Redis PUB/SUB (engines, "Control messages")."""

from collections.abc import Sequence
from itertools import cycle
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredList, gatherResults
from zope.interface import implementer

from ...interfaces import IControlEventHandler, IController
from ...metrics import Counter, Metrics
from .connection import Reply, ignore_result
from .endpoints import IRedisReactor
from .pubsub import Subscriber
from .sharding import Shards
from .topology import Shard

__all__ = ["RedisController"]


@define(eq=False)
class _ControlListener:
    """Delivers the node messages that one shard publishes."""

    _shard: Shard
    _receiver: IControlEventHandler
    _probed: bytes

    def probe(self) -> "Deferred[Reply]":
        """Publish a probe that only this connection receives."""
        return self._shard.send(self._probed, b"PUBLISH", self._probed, b"probe")

    def deliver(self, name: bytes, payload: bytes) -> None:
        """Pass a message to the receiver."""
        self._receiver.handle_control(payload)

    def missed(self, names: Sequence[bytes]) -> None:
        """Do nothing: nodes repeat their messages, or work without them."""


@implementer(IController)
@define(eq=False)
class RedisController:
    """Publishes to the shards in turn, and listens to all of them."""

    _reactor: IRedisReactor
    _shards: Shards
    _metrics: Metrics = field(factory=Metrics)
    _receiver: IControlEventHandler | None = field(default=None, init=False)
    _node: str = field(default="", init=False)
    _subscribers: list[Subscriber] = field(factory=list, init=False)
    _turns: "cycle[Shard]" = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._turns = cycle(self._shards.all)

    def listen(self, receiver: IControlEventHandler, node: str) -> None:
        """Set the receiver of messages and the id of this node."""
        self._receiver, self._node = receiver, node

    async def start(self) -> None:
        """Start listening."""
        if self._receiver is None:
            return
        for shard in self._shards.all:
            self._subscribers.append(self._listen(shard, self._receiver))
        # Unreachable servers are tried again in the background.
        started = [each.start() for each in self._subscribers]
        await DeferredList(started, consumeErrors=True)

    def _listen(self, shard: Shard, receiver: IControlEventHandler) -> Subscriber:
        layout = shard.layout
        service = layout.probe(self._node)
        listener = _ControlListener(shard, receiver, service)
        subscriber = Subscriber(
            self._reactor,
            service,
            listener.probe,
            listener.deliver,
            listener.missed,
            self._dropped(),
            (layout.control, layout.node(self._node)),
            self._metrics.counter(
                "broker_redis_pub_sub_buffered_messages",
                broker_name="",
                channel_type="control",
                pub_sub_processor="0",
            ),
        )
        shard.listen(subscriber)
        return subscriber

    def _dropped(self) -> Counter:
        return self._metrics.counter(
            "broker_redis_pub_sub_dropped_messages",
            broker_name="",
            channel_type="control",
        )

    def stop(self) -> "Deferred[Any]":
        """Close; fires when all connections and timers are gone."""
        return gatherResults([each.stop() for each in self._subscribers])

    def publish(self, message: bytes, node: str = "") -> "Deferred[None]":
        """Send to one node, or to all of them including this one."""
        shard = next(self._turns)
        name = shard.layout.node(node) if node else shard.layout.control
        return shard.request(ignore_result, name, b"PUBLISH", name, message)

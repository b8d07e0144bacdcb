"""Converts the PUB/SUB messages of one shard to events, and reports lost messages."""

from collections.abc import Callable, Sequence

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from ...errors import DecodeError
from ...metrics import Counter, Metrics
from .connection import Reply
from .pubsub import Subscriber
from .topology import Shard

__all__ = ["ShardListener", "listen_to_shard"]

#: Seconds between two checks of unreachable storage.
GAP_RETRY_INTERVAL = 0.5


@define(eq=False)
class ShardListener:
    """Converts the messages of one shard to events.

    :param channel_of: returns the channel of a PUB/SUB channel, None if it has none.
    :param take: takes a channel and a payload; may raise `DecodeError`.
    :param gap: takes the channels that may have lost messages.
    """

    _clock: IReactorTime
    _shard: Shard
    _channel_of: Callable[[bytes], str | None]
    _take: Callable[[str, bytes], None]
    _gap: Callable[[Sequence[str]], None]
    _malformed: Counter
    #: Channels that may have lost messages and cannot be compared with storage yet.
    _gaps: dict[bytes, None] = field(factory=dict, init=False)
    _retry: IDelayedCall | None = field(default=None, init=False)
    _log = Logger()

    def probe(self) -> "Deferred[Reply]":
        """Publish a probe that only this connection receives."""
        service = self._shard.layout.service
        return self._shard.send(service, b"PUBLISH", service, b"probe")

    def deliver(self, name: bytes, payload: bytes) -> None:
        """Pass a message to the receiver; drop a malformed one."""
        channel = self._channel_of(name)
        if channel is None:
            self._malformed.value += 1
            return
        try:
            self._take(channel, payload)
        except DecodeError as error:
            self._malformed.value += 1
            self._log.warn("dropped a malformed message: {reason}", reason=error)

    def missed(self, names: Sequence[bytes]) -> None:
        """Report the channels that may have lost messages.

        Channels whose storage is unreachable are reported later, because the receiver
        compares them with storage.
        """
        self._gaps.update(dict.fromkeys(names))
        if self._retry is None:
            self._report_gaps()

    def _report_gaps(self) -> None:
        self._retry = None
        names = [name for name in self._gaps if self._shard.can_reach(name)]
        for name in names:
            del self._gaps[name]
        if self._gaps:
            self._retry = self._clock.callLater(GAP_RETRY_INTERVAL, self._report_gaps)
        channels = map(self._channel_of, names)
        self._gap([each for each in channels if each is not None])

    def stop(self) -> None:
        """Cancel the timer."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None


def listen_to_shard(
    clock: IReactorTime,
    shard: Shard,
    channel_of: Callable[[bytes], str | None],
    take: Callable[[str, bytes], None],
    gap: Callable[[Sequence[str]], None],
    metrics: Metrics,
    family: str,
    always: tuple[bytes, ...] = (),
) -> tuple[ShardListener, Subscriber]:
    """Return a `ShardListener` and its `Subscriber`, which listens once started.

    :param family: the first part of the names of the metrics.
    :param always: PUB/SUB channels that are subscribed to all the time.
    """
    malformed = metrics.counter(
        f"{family}_redis_pub_sub_errors", broker_name="", error="handle_client_message"
    )
    dropped = metrics.counter(
        f"{family}_redis_pub_sub_dropped_messages",
        broker_name="",
        channel_type="client",
    )
    listener = ShardListener(clock, shard, channel_of, take, gap, malformed)
    subscriber = Subscriber(
        clock,
        shard.layout.service,
        listener.probe,
        listener.deliver,
        listener.missed,
        dropped,
        always,
        metrics.counter(
            f"{family}_redis_pub_sub_buffered_messages",
            broker_name="",
            channel_type="client",
            pub_sub_processor="0",
        ),
    )
    shard.listen(subscriber)
    return listener, subscriber

"""The engine of a single node, which keeps all data in this process.

See engines, "Memory engine".

Every call completes immediately.  Expiry may be up to a second late (up to a minute for
the position of a stream); one reactor call serves all entries.
"""

from collections.abc import Callable
from math import ceil

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from ..core.timer_wheel import TimerWheel
from ..interfaces import (
    Engine,
    IBroker,
    IBrokerEventHandler,
    IControlEventHandler,
    IController,
    IPresenceManager,
)
from ..options import (
    NOWHERE,
    History,
    HistoryQuery,
    PresenceStats,
    Published,
    PublishOptions,
)
from ..protocol.messages import ClientInfo, Payload, Publication, StreamPosition
from ..reactors import clock_or_reactor
from ..typing import Clock
from .event_queue import EventQueue
from .memory_map_broker import MemoryMapBroker
from .memory_receipt_store import MemoryReceiptStore
from .memory_stream import MemoryStream
from .recent_results import RecentResults

__all__ = [
    "LocalController",
    "MemoryBroker",
    "MemoryPresenceManager",
    "memory_engine",
    "memory_maps",
]

#: The result of a publication into a channel without history.
_NOT_STORED = Published()
#: Expiry checks per second.
WHEEL_RESOLUTION = 1


@define(eq=False, weakref_slot=False)
class _StoredStream(MemoryStream):
    """A channel's stream, and its expiry times.

    The wheel holds only the first deadline, so a renewal is an assignment.
    """

    channel: str = ""
    #: When the publications expire; 0: the stream holds none.
    history_ends: float = 0.0
    #: When the stream itself expires; 0: never.
    ends: float = 0.0
    tick: int = 0
    scheduled: float = 0.0
    broker: "MemoryBroker | None" = None

    def wake(self, now: float) -> None:
        """Remove expired publications, or the expired stream."""
        assert self.broker is not None
        self.scheduled = 0.0
        self.broker.expire(self, now)


@implementer(IBroker)
@define(eq=False)
class MemoryBroker:
    """PUB/SUB and history within one process.

    `publish` appends and delivers a publication before it returns.  A publication that
    arrives while another is being delivered waits until that is finished, so that
    subscribers see the publications of a channel in the order of their offsets.
    """

    _clock: IReactorTime
    _history_meta_ttl: float
    _receiver: IBrokerEventHandler = field(init=False)
    _streams: dict[str, _StoredStream] = field(factory=dict, init=False)
    _results: RecentResults = field(init=False)
    _wheel: TimerWheel = field(init=False)
    _events: EventQueue = field(factory=EventQueue, init=False)
    publishes_in_order: bool = field(default=True, init=False)

    def __attrs_post_init__(self) -> None:
        self._wheel = TimerWheel(self._clock, WHEEL_RESOLUTION)
        self._results = RecentResults(self._wheel)

    def listen(self, receiver: IBrokerEventHandler) -> None:
        """Set the receiver of events."""
        self._receiver = receiver

    def subscribe(self, channel: str) -> "Deferred[None]":
        """Do nothing: the only node receives everything."""
        return succeed(None)

    def unsubscribe(self, channel: str) -> "Deferred[None]":
        """Do nothing."""
        return succeed(None)

    def publish(
        self, channel: str, data: Payload, options: PublishOptions
    ) -> Published:
        """Append to the stream, if the channel has one, and deliver."""
        key = options.idempotency_key
        if key:
            result = self._results.get(channel, key, self._clock.seconds())
            if result is not None:
                return Published(result, "idempotency")
        position = NOWHERE
        previous = None
        if options.history_size > 0 and options.history_ttl > 0:
            ttl, meta_ttl = options.history_ttl, options.history_meta_ttl
            stream = self._renew_stream(channel, ttl, meta_ttl)
            if stream.supersedes(options.version, options.version_epoch):
                return Published(stream.position, "version")
            if options.delta:
                previous = stream.newest
            publication = stream.append(data, options)
            position = stream.position
        else:
            publication = Publication(
                data=data,
                info=options.info,
                tags=options.tags,
                key=options.key,
                version=options.version,
            )
            if options.epoch:
                position = StreamPosition(epoch=options.epoch)
        if key:
            now, ttl = self._clock.seconds(), options.idempotent_result_ttl
            self._results.put(channel, key, position, now, ttl)
        self._events.run(
            self._receiver.handle_publication, channel, publication, position, previous
        )
        return Published(position) if position.offset else _NOT_STORED

    def publish_join(self, channel: str, info: ClientInfo) -> "Deferred[None]":
        """Deliver a join."""
        self._events.run(self._receiver.handle_join, channel, info)
        return succeed(None)

    def publish_leave(self, channel: str, info: ClientInfo) -> "Deferred[None]":
        """Deliver a leave."""
        self._events.run(self._receiver.handle_leave, channel, info)
        return succeed(None)

    def history(self, channel: str, query: HistoryQuery) -> "Deferred[History]":
        """Read part of the stream and its top; create the stream if there is none."""
        stream = self._renew_stream(channel, 0.0, query.meta_ttl)
        return succeed(History(stream.read(query), stream.position))

    def remove_history(self, channel: str) -> "Deferred[None]":
        """Remove the publications; offset and epoch continue."""
        stream = self._streams.get(channel)
        if stream is not None:
            stream.clear()
        return succeed(None)

    def stop(self) -> None:
        """Cancel all timers."""
        self._wheel.stop()

    def _renew_stream(
        self, channel: str, history_ttl: float, meta_ttl: float
    ) -> _StoredStream:
        """Return the stream of *channel*, and extend its life."""
        stream = self._streams.get(channel)
        if stream is None:
            stream = self._streams[channel] = _StoredStream(
                channel=channel, broker=self
            )
        now = self._clock.seconds()
        if history_ttl > 0:
            stream.history_ends = now + history_ttl
        meta_ttl = meta_ttl or self._history_meta_ttl
        if meta_ttl > 0:
            stream.ends = _round_deadline(now + meta_ttl, meta_ttl)
        self._schedule(stream)
        return stream

    def expire(self, stream: _StoredStream, now: float) -> None:
        """Remove the expired publications of a stream, or the expired stream."""
        if stream.ends and stream.ends <= now:
            del self._streams[stream.channel]
            return
        if stream.history_ends and stream.history_ends <= now:
            stream.history_ends = 0.0
            stream.clear()
        self._schedule(stream)

    def _schedule(self, stream: _StoredStream) -> None:
        due = min(
            stream.history_ends or stream.ends, stream.ends or stream.history_ends
        )
        if due and (not stream.scheduled or due < stream.scheduled):
            stream.scheduled = due
            self._wheel.set(stream, due)


def _round_deadline(due: float, ttl: float) -> float:
    """Round a deadline up by at most a thousandth of *ttl*, so that streams share it.

    Each distinct deadline takes 250 bytes of the wheel.
    """
    step = min(60.0, ttl // 1000)
    return ceil(due / step) * step if step else due


@define(eq=False)
class _PresenceEntry:
    """One client in one channel; it expires unless it is renewed."""

    info: ClientInfo
    due: float
    expire_entry: Callable[[str, str], None]
    wheel: TimerWheel
    channel: str
    client: str
    tick: int = 0

    def wake(self, now: float) -> None:
        """Expire, unless the entry was renewed."""
        if self.due > now:
            self.wheel.set(self, self.due)
        else:
            self.expire_entry(self.channel, self.client)


@implementer(IPresenceManager)
@define(eq=False)
class MemoryPresenceManager:
    """Presence of channels within one process."""

    _clock: IReactorTime
    _ttl: float = 60.0
    _channels: dict[str, dict[str, _PresenceEntry]] = field(factory=dict, init=False)
    _wheel: TimerWheel = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._wheel = TimerWheel(self._clock, WHEEL_RESOLUTION)

    def add(self, channel: str, client: str, info: ClientInfo) -> "Deferred[None]":
        """Add or renew a client."""
        clients = self._channels.get(channel)
        if clients is None:
            clients = self._channels[channel] = {}
        due = self._clock.seconds() + self._ttl
        entry = clients.get(client)
        if entry is None:
            entry = _PresenceEntry(
                info, due, self._remove_entry, self._wheel, channel, client
            )
            clients[client] = entry
            self._wheel.set(entry, due)
        else:
            entry.info = info
            entry.due = due
        return succeed(None)

    def remove(self, channel: str, client: str, user: str) -> "Deferred[None]":
        """Remove a client."""
        entry = self._channels.get(channel, {}).get(client)
        if entry is not None:
            self._remove_entry(channel, client)
            self._wheel.forget(entry)
            if not self._channels:
                self._wheel.stop()
        return succeed(None)

    def presence(self, channel: str) -> "Deferred[dict[str, ClientInfo]]":
        """Return the present clients by client id."""
        clients = self._channels.get(channel, {})
        return succeed({client: entry.info for client, entry in clients.items()})

    def stats(self, channel: str) -> "Deferred[PresenceStats]":
        """Return the numbers of present clients and users."""
        clients = self._channels.get(channel, {})
        users = {entry.info.user for entry in clients.values()}
        return succeed(PresenceStats(len(clients), len(users)))

    def stop(self) -> None:
        """Cancel all timers."""
        self._wheel.stop()

    def _remove_entry(self, channel: str, client: str) -> None:
        clients = self._channels[channel]
        del clients[client]
        if not clients:
            del self._channels[channel]


@implementer(IController)
@define(eq=False)
class LocalController:
    """The controller of a single node."""

    _receiver: IControlEventHandler = field(init=False)
    _node: str = field(default="", init=False)

    def listen(self, receiver: IControlEventHandler, node: str) -> None:
        """Set the receiver of messages."""
        self._receiver = receiver
        self._node = node

    def publish(self, message: bytes, node: str = "") -> "Deferred[None]":
        """Deliver *message*, unless it is addressed to another node."""
        if not node or node == self._node:
            self._receiver.handle_control(message)
        return succeed(None)


def memory_engine(
    clock: Clock | IReactorTime | None = None,
    history_meta_ttl: float = 2592000.0,
    presence_ttl: float = 60.0,
) -> Engine:
    """Return an engine that keeps everything in this process.

    :param clock: the reactor that runs; None selects the global one.
    :param history_meta_ttl: seconds an unused stream keeps its position; 0: for good.
    :param presence_ttl: seconds until a client that is not renewed expires.
    """
    source = clock_or_reactor(clock)
    broker = MemoryBroker(source, history_meta_ttl)
    presence = MemoryPresenceManager(source, presence_ttl)
    receipts = MemoryReceiptStore(source)

    def stop() -> "Deferred[None]":
        broker.stop()
        presence.stop()
        receipts.stop()
        return succeed(None)

    engine = Engine(
        broker,
        presence,
        LocalController(),
        stop=stop,
        receipts=receipts,
    )
    return memory_maps(source, engine)


def memory_maps(clock: IReactorTime, engine: Engine) -> Engine:
    """Return *engine* with maps in this process if it has no maps."""
    if engine.maps is not None:
        return engine
    maps = MemoryMapBroker(clock)

    def stop() -> "Deferred[None]":
        maps.stop()
        return engine.stop()

    return evolve(engine, maps=maps, stop=stop)

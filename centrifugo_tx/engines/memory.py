"""The engine of a single node: everything in this process (engines, B)."""

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

from ..interfaces import (
    Engine,
    IBroker,
    IBrokerEventHandler,
    IControlEventHandler,
    IController,
    IPresenceManager,
)
from ..options import (
    History,
    HistoryQuery,
    PresenceStats,
    Published,
    PublishOptions,
)
from ..protocol.messages import ClientInfo, Publication, Raw
from .streams import MemoryStream

__all__ = ["LocalController", "MemoryBroker", "MemoryPresenceManager", "memory_engine"]

#: Seconds between two looks at what has expired.
TICK = 1.0


@define(eq=False)
class Expiries:
    """Calls back when something has expired; looks once a second while it waits."""

    _clock: IReactorTime
    _heap: list[tuple[float, int, Callable[[float], float]]] = field(
        factory=list, init=False
    )
    _count: int = field(default=0, init=False)
    _call: IDelayedCall | None = field(default=None, init=False)

    def watch(self, at: float, expire: Callable[[float], float]) -> None:
        """Call ``expire(now)`` at *at*; it returns when to call it again, 0: never."""
        self._count += 1
        heappush(self._heap, (at, self._count, expire))
        if self._call is None:
            self._call = self._clock.callLater(TICK, self._look)

    def stop(self) -> None:
        """Leave nothing behind in the reactor."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _look(self) -> None:
        self._call = None
        now = self._clock.seconds()
        while self._heap and self._heap[0][0] <= now:
            _, count, expire = heappop(self._heap)
            again = expire(now)
            if again:
                heappush(self._heap, (again, count, expire))
        if self._heap:
            self._call = self._clock.callLater(TICK, self._look)


@implementer(IBroker)
@define(eq=False)
class MemoryBroker:
    """Streams and delivery within one process.

    ``history_meta_ttl`` seconds after the last use a stream's offset and epoch are
    forgotten; 0 keeps them for ever.
    """

    _clock: IReactorTime
    history_meta_ttl: float = 2592000.0
    _receiver: IBrokerEventHandler | None = field(default=None, init=False)
    _streams: dict[str, MemoryStream] = field(factory=dict, init=False)
    _results: dict[tuple[str, str], Published] = field(factory=dict, init=False)
    _expiries: Expiries = field(init=False)
    _deliveries: deque[Callable[[], None]] = field(factory=deque, init=False)
    _delivering: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._expiries = Expiries(self._clock)

    def listen(self, receiver: IBrokerEventHandler) -> None:
        """Deliver to *receiver*."""
        self._receiver = receiver

    def stop(self) -> "Deferred[None]":
        """Leave nothing behind in the reactor."""
        self._expiries.stop()
        return succeed(None)

    def subscribe(self, channel: str) -> "Deferred[None]":
        """Do nothing: everything is delivered here anyway."""
        return succeed(None)

    def unsubscribe(self, channel: str) -> "Deferred[None]":
        """Do nothing."""
        return succeed(None)

    def publish(
        self, channel: str, data: Raw, options: PublishOptions
    ) -> "Deferred[Published]":
        """Append and deliver in one step."""
        key = options.idempotency_key
        if key and (known := self._results.get((channel, key))) is not None:
            return succeed(Published(known.position, "idempotency"))
        if options.history_size > 0 and options.history_ttl > 0:
            published, publication, previous = self._append(channel, data, options)
            if publication is None:
                return succeed(published)
        else:
            published, previous = Published(), None
            publication = Publication(data, options.info, tags=options.tags)
        if key:
            self._remember((channel, key), published, options.idempotent_result_ttl)
        self._deliver(
            lambda receiver: receiver.handle_publication(
                channel, publication, published.position, options.delta, previous
            )
        )
        return succeed(published)

    def _append(
        self, channel: str, data: Raw, options: PublishOptions
    ) -> tuple[Published, Publication | None, Publication | None]:
        """Store a publication; none is returned if its version is outdated."""
        stream = self._used(channel, options.history_meta_ttl)
        now = self._clock.seconds()
        watched = bool(stream.expires)
        stream.expires = now + options.history_ttl
        if not watched:
            self._expiries.watch(stream.expires, lambda now: _clear(stream, now))
        if stream.outdated(options.version, options.version_epoch):
            return Published(stream.position, "version"), None, None
        previous = stream.latest if options.delta else None
        epoch = stream.epoch

        def make(offset: int) -> Publication:
            return Publication(
                data,
                options.info,
                offset,
                options.tags,
                epoch=epoch if offset == 1 else "",
                version=options.version,
            )

        publication = stream.append(
            make, options.history_size, options.version, options.version_epoch
        )
        return Published(stream.position), publication, previous

    def _used(self, channel: str, meta_ttl: float) -> MemoryStream:
        """Return the channel's stream, a new one if need be, for *meta_ttl* more."""
        stream = self._streams.get(channel)
        if stream is None:
            stream = self._streams[channel] = MemoryStream()
        ttl = meta_ttl or self.history_meta_ttl
        watched = bool(stream.removed)
        stream.removed = self._clock.seconds() + ttl if ttl > 0 else 0.0
        if stream.removed and not watched:
            self._expiries.watch(
                stream.removed, lambda now: self._remove(channel, stream, now)
            )
        return stream

    def _remove(self, channel: str, stream: MemoryStream, now: float) -> float:
        if stream.removed > now:
            return stream.removed
        if stream.removed and self._streams.get(channel) is stream:
            del self._streams[channel]
        return 0.0

    def _remember(self, key: tuple[str, str], result: Published, ttl: float) -> None:
        self._results[key] = result

        def forget(now: float) -> float:
            del self._results[key]
            return 0.0

        self._expiries.watch(self._clock.seconds() + ttl, forget)

    def _deliver(self, event: Callable[[IBrokerEventHandler], None]) -> None:
        """Hand an event up; one that arises meanwhile comes after it."""
        receiver = self._receiver
        if receiver is None:
            return
        if self._delivering:
            self._deliveries.append(lambda: event(receiver))
            return
        self._delivering = True
        try:
            event(receiver)
            while self._deliveries:
                self._deliveries.popleft()()
        finally:
            self._delivering = False

    def publish_join(self, channel: str, info: ClientInfo) -> "Deferred[None]":
        """Deliver a join."""
        self._deliver(lambda receiver: receiver.handle_join(channel, info))
        return succeed(None)

    def publish_leave(self, channel: str, info: ClientInfo) -> "Deferred[None]":
        """Deliver a leave."""
        self._deliver(lambda receiver: receiver.handle_leave(channel, info))
        return succeed(None)

    def history(self, channel: str, query: HistoryQuery) -> "Deferred[History]":
        """Read from the stream, which begins to exist by that."""
        return succeed(self._used(channel, query.meta_ttl).read(query))

    def remove_history(self, channel: str) -> "Deferred[None]":
        """Forget the publications."""
        stream = self._streams.get(channel)
        if stream is not None:
            stream.clear()
        return succeed(None)


def _clear(stream: MemoryStream, now: float) -> float:
    """Forget the publications of a stream if nothing was published lately."""
    if stream.expires > now:
        return stream.expires
    stream.clear()
    stream.expires = 0.0
    return 0.0


@implementer(IPresenceManager)
@define(eq=False)
class MemoryPresenceManager:
    """Who is in a channel; an entry fades ``ttl`` seconds after its last renewal."""

    _clock: IReactorTime
    ttl: float = 60.0
    _channels: dict[str, dict[str, tuple[ClientInfo, float]]] = field(
        factory=dict, init=False
    )
    _expiries: Expiries = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._expiries = Expiries(self._clock)

    def stop(self) -> None:
        """Leave nothing behind in the reactor."""
        self._expiries.stop()

    def add(self, channel: str, client: str, info: ClientInfo) -> "Deferred[None]":
        """Enter or renew a client."""
        present = self._channels.get(channel)
        if present is None:
            present = self._channels[channel] = {}
            self._expiries.watch(
                self._clock.seconds() + self.ttl, lambda now: self._fade(channel, now)
            )
        # Taken out first, so that the entries stand in the order of their renewal.
        present.pop(client, None)
        present[client] = info, self._clock.seconds() + self.ttl
        return succeed(None)

    def _fade(self, channel: str, now: float) -> float:
        """Take out who was not renewed; return when the next one is due."""
        present = self._channels.get(channel)
        if present is None:
            return 0.0
        for client, (_, until) in list(present.items()):
            if until > now:
                return until
            del present[client]
        del self._channels[channel]
        return 0.0

    def remove(self, channel: str, client: str, user: str) -> "Deferred[None]":
        """Take a client out."""
        present = self._channels.get(channel)
        if present is not None:
            present.pop(client, None)
        return succeed(None)

    def presence(self, channel: str) -> "Deferred[dict[str, ClientInfo]]":
        """Return who is there."""
        return succeed(self._present(channel))

    def stats(self, channel: str) -> "Deferred[PresenceStats]":
        """Return how many are there."""
        present = self._present(channel)
        users = {info.user for info in present.values()}
        return succeed(PresenceStats(len(present), len(users)))

    def _present(self, channel: str) -> dict[str, ClientInfo]:
        now = self._clock.seconds()
        entries = self._channels.get(channel, {})
        return {
            client: info for client, (info, until) in entries.items() if until > now
        }


@implementer(IController)
@define(eq=False)
class LocalController:
    """The controller of a node that is alone: what it says, only it hears."""

    _receiver: IControlEventHandler | None = field(default=None, init=False)
    _node: str = field(default="", init=False)

    def listen(self, receiver: IControlEventHandler, node: str) -> None:
        """Deliver to *receiver*."""
        self._receiver, self._node = receiver, node

    def publish(self, message: bytes, node: str = "") -> "Deferred[None]":
        """Hand *message* back if it is for all, or for this node."""
        if self._receiver is not None and node in ("", self._node):
            self._receiver.handle_control(message)
        return succeed(None)


def memory_engine(
    clock: IReactorTime,
    history_meta_ttl: float = 2592000.0,
    presence_ttl: float = 60.0,
) -> Engine:
    """Return an engine that keeps everything in this process."""
    broker = MemoryBroker(clock, history_meta_ttl)
    presence = MemoryPresenceManager(clock, presence_ttl)

    def stop() -> "Deferred[None]":
        presence.stop()
        return broker.stop()

    return Engine(broker, presence, LocalController(), stop=stop)

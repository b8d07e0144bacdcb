"""The verbs: what one can do with channels, clients and the other nodes."""

from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ..errors import BrokerUnavailable, DisconnectClient, ReplyError
from ..interfaces import (
    Engine,
    IBrokerEventHandler,
    IPolicy,
    ITransport,
)
from ..metrics import Metrics
from ..options import (
    History,
    HistoryQuery,
    NodeOptions,
    PresenceStats,
    Published,
    PublishOptions,
    SubscribeOptions,
)
from ..protocol.codes import (
    BAD_REQUEST,
    CONNECTION_LIMIT,
    FORCE_DISCONNECT,
    SERVER_ERROR,
    SERVER_UNSUBSCRIBE,
    SHUTDOWN,
    UNRECOVERABLE_POSITION,
    Disconnect,
    Unsubscribe,
)
from ..protocol.messages import (
    EMPTY,
    ClientInfo,
    Join,
    Leave,
    Publication,
    Push,
    Raw,
    StreamPosition,
    raw,
)
from . import server_side
from .channel.lanes import FanOut
from .channel.listening import Listening
from .channel.positions import Positions
from .client import Client
from .counts import Counts
from .driver import drive
from .emulation import Emulation
from .hub import Hub
from .journal import Journal
from .maps import Maps
from .notices import Notices
from .outage import Outage
from .peers import NodeInfo, Peers
from .polls import Polls
from .scheduler import Scheduler
from .timers import TimerWheel

if TYPE_CHECKING:
    from .subscription import Subscription

__all__ = ["Node"]

#: Seconds that clients have to take leave when the node stops.
FAREWELL = 6.0


@implementer(IBrokerEventHandler)
@define(eq=False)
class Node:
    """One server among those that share an engine.

    The one object that APIs, transports and embedding applications call.  Every
    verb that reaches for the engine may fail with `BrokerUnavailable`.
    """

    engine: Engine
    policy: IPolicy
    clock: IReactorTime
    options: NodeOptions = field(factory=NodeOptions)
    metrics: Metrics = field(factory=Metrics)
    journal: Journal = field(factory=Journal)
    id: str = field(factory=lambda: str(uuid4()), init=False)
    stopping: bool = field(default=False, init=False)
    counts: Counts = field(init=False)
    hub: Hub = field(init=False)
    scheduler: Scheduler = field(init=False)
    wheel: TimerWheel = field(init=False)
    outage: Outage = field(init=False)
    notices: Notices = field(init=False)
    listening: Listening = field(init=False)
    positions: Positions = field(init=False)
    maps: Maps | None = field(default=None, init=False)
    polls: Polls = field(init=False)
    peers: Peers = field(init=False)
    emulation: Emulation = field(init=False)
    _gone: "Deferred[None] | None" = field(default=None, init=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self.counts = Counts(self.metrics)
        counts, limit = self.counts, self.options.broadcast_slice
        fan_out = FanOut(self.clock, limit, counts.traffic, counts.unwanted)
        self.hub = Hub(fan_out)
        self.scheduler = Scheduler(self.clock)
        self.wheel = TimerWheel(self.clock)
        self.notices = Notices(self.clock)
        self.outage = Outage(self.clock, self.wheel)
        self.listening = Listening(self.engine.broker, self.hub.channels, self.clock)
        self.positions = Positions(
            self, lambda name, query: self.engine.broker.history(name, query)
        )
        if self.engine.maps is not None:
            self.maps = Maps(self, self.engine.maps)
        self.polls = Polls(self)
        self.peers = Peers(self)
        self.emulation = Emulation(self)

    # --- Life ------------------------------------------------------------------

    def start(self) -> "Deferred[None]":
        """Connect to the engine and make the node known to the others."""
        self.engine.broker.listen(self)
        self.engine.controller.listen(self.peers, self.id)
        if self.maps is not None:
            self.maps.start()
        return self.engine.start().addCallback(lambda _: self.peers.start())

    def stop(self) -> "Deferred[None]":
        """Send every client away with 3001, then leave the engine.

        :return: fires when the connections are closed, 6 seconds later at most.
        """
        self.stopping = True
        told = self.peers.stop()
        for client in list(self.hub.open):
            client.close(SHUTDOWN)
        gone: Deferred[None] = succeed(None)
        if self.hub.open:
            gone = self._gone = Deferred()
            gone.addTimeout(FAREWELL, self.clock, lambda _, __: None)
        gone.addCallback(lambda _: told)
        return gone.addCallback(lambda _: self._leave())

    def _leave(self) -> "Deferred[None]":
        self._gone = None
        self.listening.stop()
        if self.maps is not None:
            self.maps.stop()
        self.polls.stop()
        self.wheel.end()
        self.notices.log.flush()
        return self.engine.stop()

    # --- Connections -----------------------------------------------------------

    def connect(self, transport: ITransport) -> Client:
        """Take a new connection; its transport then calls the client it gets."""
        client = Client(self, transport)
        self.hub.open[client] = None
        self.journal.opened(client)
        if self.stopping:
            client.close(SHUTDOWN)
        else:
            client.deadlines.opened()
        return client

    def disconnected(self, client: Client) -> None:
        """Take note that a connection is gone."""
        self.hub.open.pop(client, None)
        self.journal.completed(client)
        if self._gone is not None and not self.hub.open:
            self._gone.callback(None)

    async def make_room(self, client: Client, channel: str) -> None:
        """Close the user's other connections if one of them is in *channel*."""
        try:
            stats = await self.engine.presence.stats(channel)
            if stats.num_clients:
                await self.disconnect(
                    user=client.user,
                    disconnect=CONNECTION_LIMIT,
                    whitelist=[client.id],
                )
        except BrokerUnavailable as reason:
            self.outage.failed("making room for a user", str(reason))
            raise DisconnectClient(SERVER_ERROR) from None

    # --- Channels --------------------------------------------------------------

    def publish(
        self, channel: str, data: Raw | bytes, options: PublishOptions | None = None
    ) -> "Deferred[Published]":
        """Publish *data* (JSON, or any bytes) into *channel*."""
        self.counts.published.value += 1
        payload = raw(data) if isinstance(data, bytes) else data
        return self.engine.broker.publish(channel, payload, options or PublishOptions())

    def history(self, channel: str, query: HistoryQuery) -> "Deferred[History]":
        """Read part of a stream (engines, "Reading history").

        Fails with `ReplyError`: 107, backwards from offset 0; 112, another epoch.
        """
        self.counts.action("history")
        since = query.since
        if since is not None and query.reverse and not since.offset:
            return _failed(ReplyError(BAD_REQUEST))
        found = self.engine.broker.history(channel, query)
        if since is None or not since.epoch:
            return found
        epoch = since.epoch

        def compare(history: History) -> History:
            if history.position.epoch != epoch:
                raise ReplyError(UNRECOVERABLE_POSITION)
            return history

        return found.addCallback(compare)

    def remove_history(self, channel: str) -> "Deferred[None]":
        """Forget a channel's publications; its position goes on."""
        self.counts.action("history_remove")
        return self.engine.broker.remove_history(channel)

    def presence(self, channel: str) -> "Deferred[dict[str, ClientInfo]]":
        """Return who is in *channel*, by client id."""
        self.counts.action("presence")
        return self.engine.presence.presence(channel)

    def presence_stats(self, channel: str) -> "Deferred[PresenceStats]":
        """Return how many are in *channel*."""
        self.counts.action("presence_stats")
        return self.engine.presence.stats(channel)

    def channels(self, pattern: str = "") -> "Deferred[dict[str, int]]":
        """Return how many subscribers each channel has, over all nodes.

        :raises ValueError: (as a failure) *pattern* is no glob.
        """
        return self.peers.channels(pattern)

    def info(self) -> "Deferred[list[NodeInfo]]":
        """Return what is known of all nodes, this one first."""
        return succeed(self.peers.info())

    def survey(
        self, op: str, data: bytes, node: str = ""
    ) -> "Deferred[dict[str, tuple[int, bytes]]]":
        """Ask all nodes, or one; returns code and answer by node id."""
        return self.peers.survey(op, data, node)

    # --- Clients, wherever they are --------------------------------------------

    def subscribe(
        self,
        channel: str,
        options: SubscribeOptions,
        user: str = "",
        client: str = "",
        session: str = "",
        since: StreamPosition | None = None,
    ) -> "Deferred[None]":
        """Subscribe the connections of *user* to *channel*, on all nodes."""
        told = self.peers.tell_subscribe(channel, options, user, client, session, since)
        return told.addCallback(
            lambda _: self.subscribe_here(
                channel, options, user, client, session, since
            )
        )

    def subscribe_here(
        self,
        channel: str,
        options: SubscribeOptions,
        user: str,
        client: str,
        session: str,
        since: StreamPosition | None,
    ) -> None:
        """Subscribe those who are connected to this node."""
        for each in self.hub.find(user, client, session):
            self._detach(
                server_side.subscribe(each, channel, options, since), each, "subscribe"
            )

    def unsubscribe(
        self,
        channel: str,
        user: str = "",
        client: str = "",
        session: str = "",
        reason: Unsubscribe = SERVER_UNSUBSCRIBE,
    ) -> "Deferred[None]":
        """Take the connections of *user* out of *channel*, on all nodes."""
        told = self.peers.tell_unsubscribe(channel, user, client, session, reason)
        return told.addCallback(
            lambda _: self.unsubscribe_here(channel, user, client, session, reason)
        )

    def unsubscribe_here(
        self, channel: str, user: str, client: str, session: str, reason: Unsubscribe
    ) -> None:
        """Take those out who are connected to this node."""
        for each in self.hub.find(user, client, session):
            self._detach(
                server_side.unsubscribe(each, channel, reason), each, "unsubscribe"
            )

    def disconnect(
        self,
        user: str = "",
        client: str = "",
        session: str = "",
        disconnect: Disconnect = FORCE_DISCONNECT,
        whitelist: Sequence[str] = (),
    ) -> "Deferred[None]":
        """Close the connections of *user*, but for the client ids in *whitelist*."""
        told = self.peers.tell_disconnect(user, client, session, disconnect, whitelist)
        return told.addCallback(
            lambda _: self.disconnect_here(user, client, session, disconnect, whitelist)
        )

    def disconnect_here(
        self,
        user: str,
        client: str,
        session: str,
        disconnect: Disconnect,
        whitelist: Sequence[str],
    ) -> None:
        """Close those that are connected to this node."""
        for each in self.hub.find(user, client, session):
            if each.id not in whitelist:
                each.close(disconnect)

    def refresh(
        self,
        user: str = "",
        client: str = "",
        session: str = "",
        expired: bool = False,
        expire_at: int = 0,
        info: Raw = EMPTY,
    ) -> "Deferred[None]":
        """Move the expiry of the connections of *user*, on all nodes."""
        told = self.peers.tell_refresh(user, client, session, expired, expire_at, info)
        return told.addCallback(
            lambda _: self.refresh_here(user, client, session, expired, expire_at, info)
        )

    def refresh_here(
        self,
        user: str,
        client: str,
        session: str,
        expired: bool,
        expire_at: int,
        info: Raw,
    ) -> None:
        """Move the expiry of those that are connected to this node."""
        for each in self.hub.find(user, client, session):
            server_side.refresh(each, expired, expire_at, info)

    def _detach(
        self,
        coroutine: Coroutine["Deferred[Any]", Any, None],
        client: Client,
        doing: str,
    ) -> None:
        """Run what nobody waits for."""
        try:
            result = drive(coroutine)
        except Exception:
            client.fail(Failure(), doing)
            return
        if isinstance(result, Deferred):
            result.addErrback(client.fail, doing)

    # --- Events of the broker --------------------------------------------------

    def handle_publication(
        self,
        channel: str,
        publication: Publication,
        position: StreamPosition,
        delta: bool,
        previous: Publication | None,
    ) -> None:
        """Deliver to the subscribers here; those who missed something are told."""
        self.counts.received("publication")
        found = self.hub.channels.get(channel)
        if found is None or not found.subscribers:
            return
        began = self.clock.seconds()
        if publication.time and self._lags(publication, began):
            self.lose(found.forget_position())
        epoch = position.epoch if position.offset == 1 else ""
        if publication.time or publication.epoch != epoch:
            publication = Publication(
                data=publication.data,
                info=publication.info,
                offset=publication.offset,
                tags=publication.tags,
                channel=publication.channel,
                key=publication.key,
                removed=publication.removed,
                score=publication.score,
                epoch=epoch,
                version=publication.version,
            )
        base = previous if delta else None
        self.lose(found.deliver(publication, position, base))
        self.counts.broadcast.observe(self.clock.seconds() - began)

    def _lags(self, publication: Publication, now: float) -> bool:
        """Whether a publication took too long to come here.

        See client protocol, "Live positions".
        """
        lag = now - publication.time / 1000
        self.counts.lag.observe(max(0.0, lag))
        return 0 < self.options.position_max_time_lag < lag

    def handle_join(self, channel: str, info: ClientInfo) -> None:
        """Tell the subscribers here that somebody came."""
        self.counts.received("join")
        self._announce(Push(channel=channel, join=Join(info)))

    def handle_leave(self, channel: str, info: ClientInfo) -> None:
        """Tell the subscribers here that somebody left."""
        self.counts.received("leave")
        self._announce(Push(channel=channel, leave=Leave(info)))

    def _announce(self, push: Push) -> None:
        for channels in (self.hub.channels, self.hub.maps):
            found = channels.get(push.channel)
            if found is not None:
                found.announce(push)

    def handle_gap(self, channels: Sequence[str]) -> None:
        """Compare channels with storage; those who missed something are told."""
        for name in channels:
            found = self.hub.channels.get(name)
            if found is not None:
                self.positions.check(found)

    # --- What subscriptions need -----------------------------------------------

    def lose(self, lost: "Sequence[Subscription]") -> None:
        """Tell those who lost their place in the stream."""
        for subscription in lost:
            subscription.lose_place()

    def publish_join(self, channel: str, info: ClientInfo) -> None:
        """Tell everybody that somebody came; nobody waits for it."""
        self.counts.sent("join")
        done = self.engine.broker.publish_join(channel, info)
        done.addErrback(self.log_failure, "join", channel)

    def publish_leave(self, channel: str, info: ClientInfo) -> None:
        """Tell everybody that somebody left; nobody waits for it."""
        self.counts.sent("leave")
        done = self.engine.broker.publish_leave(channel, info)
        done.addErrback(self.log_failure, "leave", channel)

    def add_presence(self, channel: str, info: ClientInfo) -> None:
        """Renew a presence; nobody waits for it."""
        self.counts.action("add_presence")
        done = self.engine.presence.add(channel, info.client, info)
        done.addErrback(self.log_failure, "presence", channel)

    def remove_presence(self, channel: str, info: ClientInfo) -> None:
        """Take out a presence; nobody waits for it."""
        self.counts.action("remove_presence")
        done = self.engine.presence.remove(channel, info.client, info.user)
        done.addErrback(self.log_failure, "presence", channel)

    def log_failure(self, failure: Failure, doing: str, about: str) -> None:
        """Write down a failure that nobody waits for."""
        if failure.check(BrokerUnavailable):
            self.outage.failed(doing, failure.getErrorMessage())
        else:
            self._log.failure(
                "{doing} failed for {about}", failure, doing=doing, about=about
            )


def _failed(error: Exception) -> "Deferred[History]":
    failed: Deferred[History] = Deferred()
    failed.errback(error)
    return failed

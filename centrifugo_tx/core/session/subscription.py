"""One client in one channel."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from attrs import define
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from ...errors import BrokerUnavailable, DisconnectClient, EncodeError, ReplyError
from ...interfaces import ITransport
from ...options import History, HistoryQuery, SubscribeOptions
from ...protocol.codes import (
    CONNECTION_CLOSED,
    INAPPROPRIATE_PROTOCOL,
    INSUFFICIENT_STATE,
    LOST_POSITION,
    SERVER_ERROR,
    UNRECOVERABLE_POSITION,
)
from ...protocol.messages import (
    EMPTY,
    ClientInfo,
    Publication,
    Push,
    Raw,
    StreamPosition,
    SubscribeRequest,
    SubscribeResult,
)
from ..channel.channel import Channel
from ..channel.editions import Edition
from ..channel.lanes import Lane
from ..channel.recovery import Held, Recovery, fresh, recover_latest, recover_stream
from ..channel.specials import Special, special
from ..keyed import map_presence as presence

if TYPE_CHECKING:
    from ..channel.listening import Listening
    from ..channel.positions import Positions
    from .client import Client

__all__ = ["Subscription"]

#: The flag by which a client would rather have an error than lose publications.
REJECT_UNRECOVERED = 2

#: Seconds an unsubscribe waits for a subscribe that is under way.
DECISION = 5.0

_UNDECIDED = SubscribeOptions()


@define(eq=False)
class Subscription:
    """What a client is to one channel, and what it may do there.

    Made when the wish is heard; *begun* when the policy agreed, *settled* in the
    turn in which the client is told.
    """

    client: "Client"
    name: str
    server_side: bool = False
    options: SubscribeOptions = _UNDECIDED
    info: ClientInfo | None = None
    expire_at: int = 0
    channel: Channel | None = None
    lane: Lane | None = None
    special: Special | None = None
    settled: bool = False
    ended: bool = False
    _told: bool = False
    _announced: bool = False
    _present: bool = False
    _mirrored: bool = False
    _history: History | None = None
    _deciding: "list[Deferred[None]] | None" = None

    @property
    def positioned(self) -> bool:
        """Whether it relies on a place in the stream."""
        return self.options.positioned or self.options.recoverable

    @property
    def found(self) -> Sequence[Publication]:
        """What recovery found in storage, until it is settled."""
        return () if self._history is None else self._history.publications

    @property
    def listening(self) -> "Listening[Channel]":
        """What makes the node a receiver of the channel."""
        return self.client.node.listening

    @property
    def positions(self) -> "Positions":
        """What compares the channel with storage."""
        return self.client.node.positions

    def _local(self) -> Channel:
        return self.client.node.hub.channel(self.name)

    async def begin(self, options: SubscribeOptions, request: SubscribeRequest) -> None:
        """Do all that has to be waited for.

        :raises DisconnectClient: 3004, the engine failed.
        :raises ReplyError: 107, the filter asked for is not allowed, or none.
        """
        self._go_on()
        self.special = special(options, request)
        client = self.client
        node = client.node
        self.options = options
        self.expire_at = options.expire_at
        self.present(options.info)
        self.channel = channel = self._local()
        channel.arrive(self)
        node.hub.num_subscriptions += 1
        node.counts.subscribed(client.standing)
        try:
            if not channel.listening:
                await self.listening.start(channel)
                self._go_on()
            if options.presence:
                assert self.info is not None
                self._present = True
                await node.presences.add(self.name, self.info)
                self._go_on()
            if self.positioned:
                self._history = await self._read(request)
        except (DisconnectClient, ReplyError):
            raise
        except BrokerUnavailable as reason:
            node.outage.failed("subscribe", str(reason))
            raise DisconnectClient(SERVER_ERROR) from None
        self._go_on()

    def present(self, chan_info: Raw | None = None) -> None:
        """Let others see the client as it is now, with *chan_info*.

        :param chan_info: None leaves it as it is.
        """
        if chan_info is None:
            if self.info is None:
                return
            chan_info = self.info.chan_info
        self.info = seen = self.client.info
        if chan_info is not EMPTY:
            self.info = ClientInfo(seen.user, seen.client, seen.conn_info, chan_info)

    def _go_on(self) -> None:
        """Stop here if it was ended meanwhile, and leave nothing behind."""
        if self.ended:
            raise DisconnectClient(CONNECTION_CLOSED)

    def _read(self, request: SubscribeRequest) -> "Deferred[History]":
        """Read as much of the stream as recovery needs.

        See client protocol, "Recovery" and "Cache recovery".
        """
        options, node = self.options, self.client.node
        ttl = options.history_meta_ttl
        if not self._recovering(request):
            node.counts.action("history_stream_top")
            query = HistoryQuery(meta_ttl=ttl)
        elif options.recovery_mode == "cache":
            filtered = self.special is not None and self.special.passes is not None
            limit = node.options.recovery_limit if filtered else 1
            node.counts.action("history_recover_cache")
            query = HistoryQuery(limit, reverse=True, meta_ttl=ttl)
        else:
            since = StreamPosition(request.offset, request.epoch)
            node.counts.action("history_recover")
            query = HistoryQuery(node.options.recovery_limit, since, meta_ttl=ttl)
        return node.engine.broker.history(self.name, query)

    def _recovering(self, request: SubscribeRequest) -> bool:
        return self.options.recoverable and (
            request.recover or self.options.auto_recover
        )

    def settle(
        self, request: SubscribeRequest
    ) -> tuple[SubscribeResult, Callable[[], None]]:
        """Take the place in the channel; the caller writes the reply at once.

        :return: what the client is told, and what must follow in the same turn.
        :raises DisconnectClient: 3010, no place can be given.
        :raises ReplyError: 112, not recovered, and the client had rather know.
        """
        assert self.channel is not None
        held = self.channel.held(self)
        stored = [each for each in held if each[1].offset]
        if not self.positioned:
            self._enter(None)
            late = [each[0] for each in held]
            return self._result(request, None), lambda: self._follow_up(late)
        recovery = self._recover(request, stored)
        self.client.check_size(recovery.publications)
        if (
            request.flag & REJECT_UNRECOVERED
            and request.recover
            and self.options.recoverable
            and self.options.recovery_mode == "stream"
            and not recovery.recovered
        ):
            raise ReplyError(UNRECOVERABLE_POSITION)
        late = [each[0] for each in held if not each[1].offset]
        if self.special is not None:
            self.special.linked = bool(recovery.publications) and not late
        self._enter(recovery)
        return self._result(request, recovery), lambda: self._follow_up(late)

    def give(self, edition: Edition) -> None:
        """Send *edition* to this subscriber alone."""
        client, special = self.client, self.special
        wire = client.transport.wire
        push: Push | None = None
        try:
            if special is None:
                push = edition.plain(wire)
            else:
                push = special.push(edition, wire)
        except EncodeError:
            client.close(INAPPROPRIATE_PROTOCOL)
        if push is not None:
            client.push(push)

    def _follow_up(self, late: Sequence[Publication]) -> None:
        """Send what had to wait for the reply, and tell the others."""
        self._told = True
        self.client.node.journal.subscribed(self)
        for publication in late:
            if not self.ended:
                self.give(Edition(self.name, publication))
        if self.options.presence_maps is not None and not self.ended:
            self._mirrored = True
            presence.appear(self)
        if self.options.join_leave and not self.ended:
            assert self.info is not None
            self._announced = True
            self.client.node.streams.publish_join(self.name, self.info)
        self._decide()

    def _recover(self, request: SubscribeRequest, held: Sequence[Held]) -> Recovery:
        assert self._history is not None
        history, self._history = self._history, None
        if not self._recovering(request):
            return fresh(history, held)
        since = StreamPosition(request.offset, request.epoch)
        special = self.special
        passes = None if special is None else special.passes
        if self.options.recovery_mode == "cache":
            chain = special is not None and special.delta
            recovery = recover_latest(since, history, held, passes, chain)
        else:
            recovery = recover_stream(since, history, held, passes)
        self.client.node.counts.recovery(
            recovery.recovered, bool(recovery.publications)
        )
        return recovery

    def _enter(self, recovery: Recovery | None) -> None:
        assert self.channel is not None
        placed, lost = self.channel.settle(self, recovery)
        self.client.node.lose(lost)
        if not placed:
            # What this node saw does not fit what storage says: find out who is right.
            self.positions.check(self.channel)
            raise DisconnectClient(INSUFFICIENT_STATE)
        self.settled = True

    def _decide(self) -> None:
        deciding, self._deciding = self._deciding, None
        for waiting in deciding or ():
            waiting.callback(None)

    def decided(self) -> "Deferred[None]":
        """Return a Deferred that fires when the client was told, or it is over.

        It fails with `DisconnectClient` (3004) when that takes too long.
        """
        if self._told or self.ended:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        if self._deciding is None:
            self._deciding = []
        self._deciding.append(waiting)

        def late(_: object, timeout: float) -> Failure:
            return Failure(DisconnectClient(SERVER_ERROR))

        return waiting.addTimeout(DECISION, self.client.node.clock, late)

    def _result(
        self, request: SubscribeRequest, recovery: Recovery | None
    ) -> SubscribeResult:
        options = self.options
        expires = bool(
            self.expire_at and not options.server_side_refresh and not self.server_side
        )
        was_recovering = request.recover or bool(recovery and options.auto_recover)
        ttl = self.client.ttl(self.expire_at) if expires else 0
        delta = self.special is not None and self.special.delta
        if recovery is None:
            return SubscribeResult(
                expires=expires,
                ttl=ttl,
                data=options.data,
                was_recovering=was_recovering,
                delta=delta,
            )
        return SubscribeResult(
            expires=expires,
            ttl=ttl,
            recoverable=options.recoverable,
            epoch=recovery.epoch,
            publications=self._given(recovery.publications),
            recovered=recovery.recovered,
            offset=recovery.offset,
            positioned=True,
            data=options.data,
            was_recovering=was_recovering,
            delta=delta,
        )

    def _given(self, publications: Sequence[Publication]) -> list[Publication]:
        """Return *publications* in the forms in which this client is given them."""
        if self.special is None or not self.special.delta:
            return list(publications)
        assert self.channel is not None
        try:
            return self.channel.recovered(publications, self.client.transport.wire)
        except EncodeError:
            raise DisconnectClient(INAPPROPRIATE_PROTOCOL) from None

    def end(self) -> None:
        """Leave the channel, whatever was reached; tell the others."""
        if self.ended:
            return
        self.ended = True
        if self._told:
            self.client.node.journal.unsubscribed(self)
        self._decide()
        if self.channel is None:
            return
        node = self.client.node
        assert self.info is not None
        self.channel.leave(self)
        node.hub.num_subscriptions -= 1
        node.counts.unsubscribed(self.client.standing)
        self.listening.vacate(self.channel)
        if self._present:
            node.presences.remove(self.name, self.info)
        if self._mirrored:
            presence.vanish(self)
        if self._announced:
            node.streams.publish_leave(self.name, self.info)

    @property
    def transport(self) -> ITransport:
        """Where its frames go."""
        return self.client.transport

    @property
    def observes_presence(self) -> bool:
        """Whether it is sent the joins and leaves of others."""
        return self.options.push_join_leave

    def undeliverable(self) -> None:
        """End the connection: its encoding cannot say a publication."""
        self.client.close(INAPPROPRIATE_PROTOCOL)

    def lose_position(self) -> None:
        """Tell the client that it missed something.

        See client protocol, "Live positions"; client protocol v1, "Differences".
        """
        if self.server_side or self.client.speaks_v1:
            self.client.close(INSUFFICIENT_STATE)
        else:
            self.client.drop(self, LOST_POSITION)

    def renew_presence(self) -> None:
        """Enter again before the entry fades."""
        if self._present and self.settled:
            assert self.info is not None
            self.client.node.presences.renew(self.name, self.info)
        if self._mirrored and self.settled:
            presence.appear(self)

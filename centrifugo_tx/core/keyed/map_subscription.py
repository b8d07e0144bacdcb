"""One client in one map channel."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
from attrs import define
from twisted.internet.defer import Deferred, succeed

from ...errors import DisconnectClient, EncodeError, ReplyError
from ...options import History, HistoryQuery, MapQuery, MapRules, SubscribeOptions
from ...protocol.codes import (
    BAD_REQUEST,
    INAPPROPRIATE_PROTOCOL,
    INTERNAL,
    PERMISSION_DENIED,
    SERVER_ERROR,
    UNRECOVERABLE_POSITION,
)
from ...protocol.messages import (
    Publication,
    StreamPosition,
    SubscribeRequest,
    SubscribeResult,
)
from ..channel.channel import Channel
from ..channel.editions import whole
from ..channel.recovery import Held, Recovery, recover_stream
from ..channel.specials import Special, special
from ..session.subscription import Subscription
from ..session.told import Told
from . import map_presence as presence
from .maps import Maps, shown

if TYPE_CHECKING:
    from ..channel.listening import Listening
    from ..channel.positions import Positions

__all__ = ["LIVE", "MAP", "STATE", "STREAM", "MapSubscription"]

#: The type of subscriptions, publications and results of maps (client protocol,
#: "Requests").
MAP = 1
#: How far a subscriber has come: it reads the state, then what changed since, then
#: it is told of changes.
LIVE, STREAM, STATE = 0, 1, 2

_NOWHERE = StreamPosition()
_PLAIN = MapRules()


@define(eq=False)
class MapSubscription(Subscription):
    """A subscription that reads the map in pages before it is one.

    The position of the first page holds for all of them: entries that changed since
    are left out, and come with the changes.  Where a map has no stream, changes are
    held back from the first page on.
    """

    rules: MapRules = _PLAIN
    #: Whether the client may go on: it was let in, and is not live yet.
    loading: bool = False
    #: Whether a page is on its way.
    busy: bool = False
    #: Whether it took too long.
    late: bool = False
    tick: int = 0
    _frozen: StreamPosition | None = None
    #: The top of the stream when the client began to read it.
    _goal: int | None = None
    _recovers: bool = False
    _wish: Special | None = None
    _since: StreamPosition = _NOWHERE
    _entries: Sequence[Publication] = ()

    @property
    def maps(self) -> Maps:
        """The node's maps."""
        maps = self.client.node.maps
        assert maps is not None
        return maps

    @property
    def listening(self) -> "Listening[Channel]":
        """What makes the node a receiver of the channel."""
        return self.maps.listening

    @property
    def positions(self) -> "Positions":
        """What compares the channel with storage."""
        return self.maps.positions

    def _local(self) -> Channel:
        return self.client.node.hub.map(self.name)

    def let_in(
        self, options: SubscribeOptions, rules: MapRules, request: SubscribeRequest
    ) -> None:
        """Take note that the policy agreed; from now on there is a time limit.

        :raises ReplyError: 107, the filter asked for is not allowed, or none.
        """
        streamed = rules.stream_size > 0
        self.rules = rules
        self.special = self._wish = special(options, request)
        self.options = msgspec.structs.replace(
            options,
            positioned=streamed,
            recoverable=streamed,
            recovery_mode="stream",
            auto_recover=False,
        )
        self.loading = True
        if rules.catch_up >= 0:
            node = self.client.node
            node.wheel.set(self, node.clock.seconds() + rules.catch_up)

    def wake(self, now: float) -> None:
        """Hold nothing back any more for a client that takes too long."""
        self.late = True
        self.end()

    def end(self) -> None:
        """Leave the channel, whatever was reached; tell the others."""
        self.client.node.wheel.forget(self)
        owned = self.rules.own_keys and self.settled and not self.ended
        super().end()
        if owned:
            presence.remove(self.client.node, self.name, self.client.id)

    async def begin(self, options: SubscribeOptions, request: SubscribeRequest) -> None:
        """Do all that has to be waited for; what the first page asked for holds.

        :raises ReplyError: 100, storage is away; the client keeps its connection, as
            it does when a page cannot be read.
        """
        try:
            await super().begin(options, request)
        except DisconnectClient as error:
            if error.disconnect == SERVER_ERROR:
                raise ReplyError(INTERNAL, error.cause, **error.details) from None
            raise
        self.special = self._wish

    def decided(self) -> "Deferred[None]":
        """Return a Deferred that fires when no page is on its way."""
        if self.loading and not self.busy:
            return succeed(None)
        return super().decided()

    # --- Steps -----------------------------------------------------------------

    async def proceed(self, request: SubscribeRequest) -> Told | SubscribeResult:
        """Answer with a page, or let the client live.

        :raises ReplyError: 103 or 107, that is no step from here; 112, the position
            is lost, so the client must begin anew.
        """
        self.busy = True
        try:
            if request.phase == STATE:
                return await self._read_state(request)
            if request.phase == STREAM:
                return await self._read_stream(request)
            if request.phase == LIVE:
                return await self._go_live(request, _since(request))
            raise ReplyError(BAD_REQUEST)
        finally:
            self.busy = False
            if self.loading:
                self._decide()

    async def _read_state(self, request: SubscribeRequest) -> Told | SubscribeResult:
        limit = self.rules.page(request.limit)
        if not self.positioned and self.channel is None:
            await self.begin(self.options, request)
        query = MapQuery(
            limit,
            request.cursor,
            meta_ttl=self.rules.meta_ttl,
            streamless=not self.positioned,
        )
        page = await self.maps.state(self.name, query, request.epoch)
        if self._frozen is None:
            self._frozen = page.position
        frozen = self._frozen
        if page.position.epoch != frozen.epoch:
            raise ReplyError(UNRECOVERABLE_POSITION)
        entries = self._wanted(
            [entry for entry in page.entries if entry.offset <= frozen.offset]
        )
        self.client.check_size(entries)
        if not page.cursor and await self._is_close(frozen.offset + limit):
            return await self._go_live(request, frozen, entries)
        return SubscribeResult(
            epoch=frozen.epoch,
            offset=frozen.offset,
            type=MAP,
            phase=STATE,
            cursor=page.cursor,
            state=entries,
        )

    async def _is_close(self, reach: int) -> bool:
        """Whether the changes up to now need no page of their own."""
        if not self.positioned:
            return True
        query = HistoryQuery(meta_ttl=self.rules.meta_ttl)
        history = await self.maps.stream(self.name, query)
        return reach >= history.position.offset

    async def _read_stream(self, request: SubscribeRequest) -> Told | SubscribeResult:
        if not self.positioned:
            raise ReplyError(BAD_REQUEST)
        self._recovers = self._recovers or request.recover
        if self._frozen is None and not self._recovers:
            raise ReplyError(PERMISSION_DENIED)
        since, limit = _since(request), self.rules.page(request.limit)
        ttl = self.rules.meta_ttl
        if self._goal is None:
            history = await self.maps.stream(self.name, HistoryQuery(meta_ttl=ttl))
            self._goal = history.position.offset
        if since.offset + limit >= self._goal:
            return await self._go_live(request, since)
        history = await self.maps.stream(
            self.name, HistoryQuery(limit, since, meta_ttl=ttl)
        )
        changes = history.publications
        if not changes or changes[0].offset != since.offset + 1:
            raise ReplyError(UNRECOVERABLE_POSITION)
        self.client.check_size(changes)
        return SubscribeResult(
            epoch=history.position.epoch,
            publications=self._wanted(changes),
            offset=changes[-1].offset,
            type=MAP,
            phase=STREAM,
        )

    async def _go_live(
        self,
        request: SubscribeRequest,
        since: StreamPosition,
        entries: Sequence[Publication] = (),
    ) -> Told:
        self._since, self._entries = since, entries
        if self.channel is None:
            await self.begin(self.options, request)
        assert self.channel is not None
        if len(self.channel.held(self)) > self.rules.live_limit:
            raise ReplyError(UNRECOVERABLE_POSITION)
        result, follow_up = self.settle(request)
        self.loading = False
        self.client.node.wheel.forget(self)
        return Told(result, follow_up)

    def _wanted(self, publications: Sequence[Publication]) -> list[Publication]:
        """Return what the client wants to see of a page, in the form it wants."""
        wish, wire = self.special, self.client.transport.wire
        found = map(shown, publications)
        if wish is None:
            return list(found)
        if wish.passes is not None:
            return [each for each in found if wish.passes(each.tags)]
        try:
            return [whole(each, wire) for each in found]
        except EncodeError:
            raise DisconnectClient(INAPPROPRIATE_PROTOCOL) from None

    # --- What becomes of a subscription's own steps ----------------------------

    def _read(self, request: SubscribeRequest) -> "Deferred[History]":
        """Read what changed since; one more than allowed shows that it is too much."""
        rules = self.rules
        query = HistoryQuery(rules.live_limit + 1, self._since, meta_ttl=rules.meta_ttl)
        return self.maps.broker.stream(self.name, query)

    def _recover(self, request: SubscribeRequest, held: Sequence[Held]) -> Recovery:
        assert self._history is not None
        history, self._history = self._history, None
        since = self._since
        if (
            history.position.epoch != since.epoch
            or len(history.publications) > self.rules.live_limit
        ):
            raise ReplyError(UNRECOVERABLE_POSITION)
        wish = self.special
        passes = None if wish is None else wish.passes
        recovery = recover_stream(since, history, held, passes)
        if request.recover:
            self.client.node.counts.recovery(
                recovery.recovered, bool(recovery.publications)
            )
        if not recovery.recovered and not recovery.broken:
            raise ReplyError(UNRECOVERABLE_POSITION)
        return recovery

    def _enter(self, recovery: Recovery | None) -> None:
        if self.special is not None:
            # It has what each key holds, so the next change may be a delta to that.
            self.special.linked = recovery is not None
        super()._enter(recovery)

    def _result(
        self, request: SubscribeRequest, recovery: Recovery | None
    ) -> SubscribeResult:
        entries, self._entries = list(self._entries), ()
        expires = bool(self.expire_at and not self.options.server_side_refresh)
        result = SubscribeResult(
            expires=expires,
            ttl=self.client.ttl(self.expire_at) if expires else 0,
            epoch=self._since.epoch,
            data=self.options.data,
            delta=self.special is not None and self.special.delta,
            type=MAP,
            state=entries,
        )
        if recovery is None:
            return result
        return msgspec.structs.replace(
            result,
            recoverable=True,
            publications=self._given([*map(shown, recovery.publications)]),
            recovered=request.recover,
            offset=recovery.upto,
            was_recovering=request.recover,
        )


def _since(request: SubscribeRequest) -> StreamPosition:
    return StreamPosition(request.offset, request.epoch)

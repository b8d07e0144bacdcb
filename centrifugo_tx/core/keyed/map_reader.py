"""One client's subscription to a map, which it reads in pages."""

from collections.abc import Sequence

import msgspec
from attrs import define
from twisted.internet.defer import Deferred

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
    SubRefreshRequest,
    SubscribeRequest,
    SubscribeResult,
)
from ...protocol.payloads import checked
from ..channel.encoded_publication import full
from ..channel.recovery import Held, Recovery, recover_stream
from ..channel.variants import Variant, variant_of
from ..runtime import Runtime
from ..session.outcome import Outcome, ReplyThen
from ..session.subscription import Subscription
from .map_presence import MapPresence
from .maps import Maps, shown

__all__ = ["LIVE", "MAP", "MAP_CLIENTS", "MAP_USERS", "STATE", "STREAM", "MapReader"]

#: The type of subscriptions, publications and results of maps (client protocol,
#: "Requests").
MAP = 1
#: The types of subscriptions to maps that mirror the clients and users of a channel.
MAP_CLIENTS, MAP_USERS = 2, 3
#: The phases of a subscriber: it reads the state, then the changes since, and then it
#: receives changes live.
LIVE, STREAM, STATE = 0, 1, 2

_NOWHERE = StreamPosition()
_PLAIN = MapRules()


@define(eq=False)
class MapReader:
    """Reads a map for one subscription, page by page, before it becomes live.

    The position of the first page applies to all pages: entries that changed later are
    left out and follow with the changes.  If a map has no stream, changes are buffered
    from the first page on.
    """

    _runtime: Runtime
    source: Maps
    _presence: MapPresence
    holds_state: bool = True
    rules: MapRules = _PLAIN
    #: Whether the client is admitted and not live yet.
    loading: bool = False
    #: Whether a page is being read.
    busy: bool = False
    #: Whether the client has exceeded the time limit.
    late: bool = False
    tick: int = 0
    #: The subscription that the deadline ends; None without a deadline.
    _timed: Subscription | None = None
    _frozen: StreamPosition | None = None
    #: The offset of the stream's top when the client began to read it.
    _goal: int | None = None
    _recovers: bool = False
    _wish: Variant | None = None
    _since: StreamPosition = _NOWHERE
    _entries: Sequence[Publication] = ()

    @property
    def waits_for_client(self) -> bool:
        """Whether the client must request the next page."""
        return self.loading and not self.busy

    def admit(
        self,
        subscription: Subscription,
        options: SubscribeOptions,
        rules: MapRules,
        request: SubscribeRequest,
    ) -> None:
        """Start reading and its time limit; the policy has permitted it.

        :raises ReplyError: 107, the requested filter is invalid or not permitted.
        """
        streamed = rules.stream_size > 0
        self.rules = rules
        subscription.variant = self._wish = variant_of(options, request)
        subscription.options = msgspec.structs.replace(
            options,
            positioned=streamed,
            recoverable=streamed,
            recovery_mode="stream",
            auto_recover=False,
        )
        self.loading = True
        if rules.catch_up >= 0:
            self._timed = subscription
            now = self._runtime.clock.seconds()
            self._runtime.wheel.set(self, now + rules.catch_up)

    def wake(self, now: float) -> None:
        """End a subscription that has exceeded the time limit."""
        self.late = True
        if self._timed is not None:
            self._timed.end()

    def ended(self, subscription: Subscription) -> None:
        """Remove the client's key if the keys of the map are client ids."""
        self._stop_timer()
        if self.rules.own_keys and subscription.active:
            self._presence.remove(subscription.name, subscription.client.id)

    def renew(self, subscription: Subscription) -> None:
        """Do nothing."""

    async def sub_refresh(
        self, subscription: Subscription, request: SubRefreshRequest
    ) -> None:
        """Return None: maps add no type of sub_refresh."""

    def _stop_timer(self) -> None:
        self._timed = None
        self._runtime.wheel.forget(self)

    async def _begin(
        self, subscription: Subscription, request: SubscribeRequest
    ) -> None:
        """Start the subscription with the filter and deltas of the first request.

        :raises ReplyError: 100, storage is unavailable; the client stays connected, as
            it does when a page cannot be read.
        """
        try:
            running = subscription.begin(subscription.options, request)
            if running is not None:
                await running
        except DisconnectClient as error:
            if error.disconnect == SERVER_ERROR:
                raise ReplyError(INTERNAL, error.cause, **error.details) from None
            raise
        subscription.variant = self._wish

    # --- Steps -----------------------------------------------------------------

    async def proceed(
        self, subscription: Subscription, request: SubscribeRequest
    ) -> Outcome:
        """Return the requested page, or make the subscription live.

        :raises ReplyError: 103 or 107, the requested phase cannot follow; 112, the
            position is lost, so the client must subscribe again.
        """
        self.busy = True
        try:
            if request.phase == STATE:
                return await self._read_state(subscription, request)
            if request.phase == STREAM:
                return await self._read_stream(subscription, request)
            if request.phase == LIVE:
                return await self._go_live(subscription, request, _since(request))
            raise ReplyError(BAD_REQUEST)
        finally:
            self.busy = False
            if self.loading:
                subscription.subscribe_finished()

    async def _read_state(
        self, subscription: Subscription, request: SubscribeRequest
    ) -> Outcome:
        limit = self.rules.page(request.limit)
        if not subscription.positioned and subscription.channel is None:
            await self._begin(subscription, request)
        query = MapQuery(
            limit,
            request.cursor,
            meta_ttl=self.rules.meta_ttl,
            streamless=not subscription.positioned,
        )
        page = await self.source.state(subscription.name, query, request.epoch)
        if self._frozen is None:
            self._frozen = page.position
        frozen = self._frozen
        if page.position.epoch != frozen.epoch:
            raise ReplyError(UNRECOVERABLE_POSITION)
        entries = self._visible_entries(
            subscription,
            [entry for entry in page.entries if entry.offset <= frozen.offset],
        )
        subscription.client.check_size(entries)
        if not page.cursor and await self._is_close(
            subscription, frozen.offset + limit
        ):
            return await self._go_live(subscription, request, frozen, entries)
        return SubscribeResult(
            epoch=frozen.epoch,
            offset=frozen.offset,
            type=MAP,
            phase=STATE,
            cursor=page.cursor,
            state=entries,
        )

    async def _is_close(self, subscription: Subscription, reach: int) -> bool:
        """Whether the changes since the first page fit into the live reply."""
        if not subscription.positioned:
            return True
        query = HistoryQuery(meta_ttl=self.rules.meta_ttl)
        history = await self.source.stream(subscription.name, query)
        return reach >= history.position.offset

    async def _read_stream(
        self, subscription: Subscription, request: SubscribeRequest
    ) -> Outcome:
        if not subscription.positioned:
            raise ReplyError(BAD_REQUEST)
        self._recovers = self._recovers or request.recover
        if self._frozen is None and not self._recovers:
            raise ReplyError(PERMISSION_DENIED)
        since, limit = _since(request), self.rules.page(request.limit)
        ttl = self.rules.meta_ttl
        if self._goal is None:
            history = await self.source.stream(
                subscription.name, HistoryQuery(meta_ttl=ttl)
            )
            self._goal = history.position.offset
        if since.offset + limit >= self._goal:
            return await self._go_live(subscription, request, since)
        history = await self.source.stream(
            subscription.name, HistoryQuery(limit, since, meta_ttl=ttl)
        )
        changes = history.publications
        if not changes or changes[0].offset != since.offset + 1:
            raise ReplyError(UNRECOVERABLE_POSITION)
        subscription.client.check_size(changes)
        return SubscribeResult(
            epoch=history.position.epoch,
            publications=self._visible_entries(subscription, changes),
            offset=changes[-1].offset,
            type=MAP,
            phase=STREAM,
        )

    async def _go_live(
        self,
        subscription: Subscription,
        request: SubscribeRequest,
        since: StreamPosition,
        entries: Sequence[Publication] = (),
    ) -> ReplyThen:
        self._since, self._entries = since, entries
        if subscription.channel is None:
            await self._begin(subscription, request)
        assert subscription.channel is not None
        if len(subscription.channel.held(subscription)) > self.rules.live_limit:
            raise ReplyError(UNRECOVERABLE_POSITION)
        result, follow_up = subscription.activate(request)
        self.loading = False
        self._stop_timer()
        return ReplyThen(result, follow_up)

    def _visible_entries(
        self, subscription: Subscription, publications: Sequence[Publication]
    ) -> list[Publication]:
        """Return the entries that pass the client's filter, in the client's form."""
        wish, wire = subscription.variant, subscription.client.transport.wire
        found = map(shown, publications)
        if wish is None:
            return list(found)
        if wish.passes is not None:
            return [each for each in found if wish.passes(each.tags)]
        try:
            return [full(each, wire) for each in found]
        except EncodeError:
            raise DisconnectClient(INAPPROPRIATE_PROTOCOL) from None

    # --- What is different about this kind -------------------------------------

    def read(
        self, subscription: Subscription, request: SubscribeRequest
    ) -> "Deferred[History]":
        """Read the changes since, one more than the limit permits."""
        rules = self.rules
        query = HistoryQuery(rules.live_limit + 1, self._since, meta_ttl=rules.meta_ttl)
        return self.source.broker.stream(subscription.name, query)

    def recover(
        self,
        subscription: Subscription,
        request: SubscribeRequest,
        history: History,
        held: Sequence[Held],
    ) -> Recovery:
        """Merge the changes that were read with the buffered ones.

        :raises ReplyError: 112, too many changes, or the map has another epoch.
        """
        since = self._since
        if (
            history.position.epoch != since.epoch
            or len(history.publications) > self.rules.live_limit
        ):
            raise ReplyError(UNRECOVERABLE_POSITION)
        wish = subscription.variant
        passes = None if wish is None else wish.passes
        recovery = recover_stream(since, history, held, passes)
        if request.recover:
            self._runtime.metrics.count_recovery(
                recovery.recovered, len(recovery.publications)
            )
        if not recovery.recovered and not recovery.broken:
            raise ReplyError(UNRECOVERABLE_POSITION)
        return recovery

    def result(
        self,
        subscription: Subscription,
        request: SubscribeRequest,
        recovery: Recovery | None,
    ) -> SubscribeResult:
        """Return the result for the command that made the subscription live."""
        entries, self._entries = list(self._entries), ()
        expires = bool(
            subscription.expire_at and not subscription.options.server_side_refresh
        )
        result = SubscribeResult(
            expires=expires,
            ttl=subscription.client.ttl(subscription.expire_at) if expires else 0,
            epoch=self._since.epoch,
            data=checked(subscription.options.data),
            delta=subscription.variant is not None and subscription.variant.delta,
            type=MAP,
            state=entries,
        )
        if recovery is None:
            return result
        return msgspec.structs.replace(
            result,
            recoverable=True,
            publications=subscription.as_sent_to_client(
                [*map(shown, recovery.publications)]
            ),
            recovered=request.recover,
            offset=recovery.upto,
            was_recovering=request.recover,
        )


def _since(request: SubscribeRequest) -> StreamPosition:
    return StreamPosition(request.offset, request.epoch)

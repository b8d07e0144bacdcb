"""Subscriptions to streams, the default kind."""

from collections.abc import Sequence

from attrs import define
from twisted.internet.defer import Deferred

from ...errors import DisconnectClient, ReplyError
from ...options import History, HistoryQuery, SubscribeOptions
from ...protocol.codes import ALREADY_SUBSCRIBED, MALFORMED, UNRECOVERABLE_POSITION
from ...protocol.messages import (
    EMPTY,
    StreamPosition,
    SubRefreshRequest,
    SubscribeRequest,
    SubscribeResult,
)
from ...protocol.payloads import checked
from ..channel.recovery import Held, Recovery, fresh, recover_latest, recover_stream
from ..channel.streams import Streams
from ..runtime import Runtime
from .outcome import ReplyThen
from .subscription import Subscriber, Subscription

__all__ = ["StreamKind"]

#: Flag of requests that ask for an error instead of an incomplete recovery.
REJECT_UNRECOVERED = 2


@define(eq=False)
class StreamKind:
    """Recovers subscriptions from history; one object serves all of them."""

    _runtime: Runtime
    source: Streams
    waits_for_client: bool = False
    holds_state: bool = False

    # --- Subscribing -----------------------------------------------------------

    def open(self, client: Subscriber, request: SubscribeRequest) -> Subscription:
        """Return a new subscription that has not started.

        :raises DisconnectClient: 3501, the requested delta type is unknown.
        """
        if request.delta not in ("", "fossil"):
            raise DisconnectClient(MALFORMED, "unknown delta type")
        return Subscription(client, request.channel, self)

    def open_server_side(self, client: Subscriber, name: str) -> Subscription:
        """Return a new server-side subscription."""
        return Subscription(client, name, self, server_side=True)

    def admit(
        self,
        subscription: Subscription,
        options: SubscribeOptions,
        request: SubscribeRequest,
    ) -> "ReplyThen | Deferred[ReplyThen]":
        """Start a subscription that the policy has permitted."""
        running = subscription.begin(options, request)
        if running is None:
            return ReplyThen(*subscription.activate(request))
        return running.addCallback(_activate, subscription, request)

    def resumes(self, known: Subscription, request: SubscribeRequest) -> bool:
        """Return False: a command never continues a subscription to a stream."""
        return False

    def resume(self, known: Subscription, request: SubscribeRequest) -> ReplyThen:
        """Refuse a second subscription."""
        raise ReplyError(ALREADY_SUBSCRIBED)

    # --- The protocol of all kinds ---------------------------------------------

    def read(
        self, subscription: Subscription, request: SubscribeRequest
    ) -> Deferred[History]:
        """Read the part of the stream that recovery needs.

        See client protocol, "Recovery" and "Cache recovery".
        """
        options, limit = subscription.options, self._runtime.options.recovery_limit
        ttl = options.history_meta_ttl
        if not _recovers(subscription, request):
            action, query = "history_stream_top", HistoryQuery(meta_ttl=ttl)
        elif options.recovery_mode == "cache":
            variant = subscription.variant
            filtered = variant is not None and variant.passes is not None
            action = "history_recover_cache"
            query = HistoryQuery(limit if filtered else 1, reverse=True, meta_ttl=ttl)
        else:
            since = StreamPosition(request.offset, request.epoch)
            action = "history_recover"
            query = HistoryQuery(limit, since, meta_ttl=ttl)
        self._runtime.metrics.actions[action].value += 1
        assert subscription.channel is not None
        return self.source.read(subscription.channel, query)

    def recover(
        self,
        subscription: Subscription,
        request: SubscribeRequest,
        history: History,
        held: Sequence[Held],
    ) -> Recovery:
        """Merge history and the buffered publications.

        :raises ReplyError: 112, not recovered, and the client asked for an error.
        """
        recovery = self._recover(subscription, request, history, held)
        options = subscription.options
        if (
            request.flag & REJECT_UNRECOVERED
            and request.recover
            and options.recoverable
            and options.recovery_mode == "stream"
            and not recovery.recovered
        ):
            raise ReplyError(UNRECOVERABLE_POSITION)
        return recovery

    def _recover(
        self,
        subscription: Subscription,
        request: SubscribeRequest,
        history: History,
        held: Sequence[Held],
    ) -> Recovery:
        if not _recovers(subscription, request):
            return fresh(history, held)
        since = StreamPosition(request.offset, request.epoch)
        variant = subscription.variant
        passes = None if variant is None else variant.passes
        if subscription.options.recovery_mode == "cache":
            chain = variant is not None and variant.delta
            recovery = recover_latest(since, history, held, passes, chain)
        else:
            recovery = recover_stream(since, history, held, passes)
        given = len(recovery.publications)
        self._runtime.metrics.count_recovery(recovery.recovered, given)
        return recovery

    def result(
        self,
        subscription: Subscription,
        request: SubscribeRequest,
        recovery: Recovery | None,
    ) -> SubscribeResult:
        """Return the reply to a subscribe command."""
        options, expire_at = subscription.options, subscription.expire_at
        data = EMPTY if options.data is EMPTY else checked(options.data)
        expires = bool(
            expire_at
            and not options.server_side_refresh
            and not subscription.server_side
        )
        was_recovering = request.recover or bool(recovery and options.auto_recover)
        ttl = subscription.client.ttl(expire_at) if expires else 0
        variant = subscription.variant
        delta = variant is not None and variant.delta
        if recovery is None:
            return SubscribeResult(
                expires=expires,
                ttl=ttl,
                data=data,
                was_recovering=was_recovering,
                delta=delta,
            )
        return SubscribeResult(
            expires=expires,
            ttl=ttl,
            recoverable=options.recoverable,
            epoch=recovery.epoch,
            publications=subscription.as_sent_to_client(recovery.publications),
            recovered=recovery.recovered,
            offset=recovery.offset,
            positioned=True,
            data=data,
            was_recovering=was_recovering,
            delta=delta,
        )

    async def sub_refresh(
        self, subscription: Subscription, request: SubRefreshRequest
    ) -> None:
        """Return None: streams add no type of sub_refresh."""

    def renew(self, subscription: Subscription) -> None:
        """Do nothing."""

    def ended(self, subscription: Subscription) -> None:
        """Do nothing."""


def _activate(
    begun: None, subscription: Subscription, request: SubscribeRequest
) -> ReplyThen:
    return ReplyThen(*subscription.activate(request))


def _recovers(subscription: Subscription, request: SubscribeRequest) -> bool:
    options = subscription.options
    return options.recoverable and (request.recover or options.auto_recover)

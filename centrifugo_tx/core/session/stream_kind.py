"""Subscriptions to streams: the ordinary kind."""

from collections.abc import Sequence

from attrs import define
from twisted.internet.defer import Deferred

from ...errors import DisconnectClient, ReplyError
from ...options import History, HistoryQuery, SubscribeOptions
from ...protocol.codes import ALREADY_SUBSCRIBED, MALFORMED, UNRECOVERABLE_POSITION
from ...protocol.messages import (
    StreamPosition,
    SubRefreshRequest,
    SubscribeRequest,
    SubscribeResult,
)
from ..channel.recovery import Held, Recovery, fresh, recover_latest, recover_stream
from ..channel.streams import Streams
from ..runtime import Runtime
from .outcome import ReplyThen
from .subscription import Subscriber, Subscription

__all__ = ["StreamKind"]

#: The flag of clients that prefer an error to a subscription that is not recovered.
REJECT_UNRECOVERED = 2


@define(eq=False)
class StreamKind:
    """Reads and recovers from history; one object for all subscriptions."""

    _runtime: Runtime
    source: Streams
    idle: bool = False
    holds_state: bool = False

    # --- Subscribing -----------------------------------------------------------

    def open(self, client: Subscriber, request: SubscribeRequest) -> Subscription:
        """Return a subscription that has not begun.

        :raises DisconnectClient: 3501, there is no such type of deltas.
        """
        if request.delta not in ("", "fossil"):
            raise DisconnectClient(MALFORMED, "unknown delta type")
        return Subscription(client, request.channel, self)

    def open_server_side(self, client: Subscriber, name: str) -> Subscription:
        """Return one that the server makes for the client."""
        return Subscription(client, name, self, server_side=True)

    async def admit(
        self,
        subscription: Subscription,
        options: SubscribeOptions,
        request: SubscribeRequest,
    ) -> ReplyThen:
        """Begin a subscription that the policy agreed to."""
        await subscription.begin(options, request)
        return ReplyThen(*subscription.activate(request))

    def resumes(self, known: Subscription, request: SubscribeRequest) -> bool:
        """Whether a command continues with the subscription *known*; none does."""
        return False

    async def resume(self, known: Subscription, request: SubscribeRequest) -> ReplyThen:
        """Refuse to subscribe twice."""
        raise ReplyError(ALREADY_SUBSCRIBED)

    # --- What is different about this kind -------------------------------------

    def read(
        self, subscription: Subscription, request: SubscribeRequest
    ) -> Deferred[History]:
        """Read as much of the stream as recovery needs.

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
        self._runtime.metrics.count_action(action)
        return self.source.read(subscription.name, query)

    def recover(
        self,
        subscription: Subscription,
        request: SubscribeRequest,
        history: History,
        held: Sequence[Held],
    ) -> Recovery:
        """Put history and held publications together.

        :raises ReplyError: 112, not recovered, and the client prefers an error.
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
        given = bool(recovery.publications)
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
                data=options.data,
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
            data=options.data,
            was_recovering=was_recovering,
            delta=delta,
        )

    async def sub_refresh(
        self, subscription: Subscription, request: SubRefreshRequest
    ) -> None:
        """Know no types of its own."""

    def renew(self, subscription: Subscription) -> None:
        """Keep nothing that has to be renewed."""

    def ended(self, subscription: Subscription) -> None:
        """Keep nothing to clean up."""


def _recovers(subscription: Subscription, request: SubscribeRequest) -> bool:
    options = subscription.options
    return options.recoverable and (request.recover or options.auto_recover)

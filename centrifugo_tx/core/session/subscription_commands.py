"""The commands subscribe and unsubscribe."""

from typing import Any, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ...errors import DisconnectClient, ReplyError
from ...options import SubscribeOptions
from ...protocol.codes import (
    ALREADY_SUBSCRIBED,
    BAD_REQUEST,
    CONNECTION_CLOSED,
    EXPIRED,
    LIMIT_EXCEEDED,
    MALFORMED,
    NOT_AVAILABLE,
)
from ...protocol.messages import (
    SubscribeRequest,
    UnsubscribeRequest,
    UnsubscribeResult,
)
from ..run_or_defer import waits, when_known
from ..runtime import Runtime
from .client import Client
from .outcome import Answer, Outcome
from .subscription import Subscriber, Subscription

__all__ = ["Kind", "SubscriptionCommands"]


class Kind(Protocol):
    """One kind of subscription, registered by the protocol's type number."""

    def open(self, client: Subscriber, request: SubscribeRequest) -> Subscription:
        """Return a new subscription that has not started.

        :raises ReplyError: the request cannot start a subscription.
        """

    def admit(
        self,
        subscription: Subscription,
        options: SubscribeOptions,
        request: SubscribeRequest,
    ) -> "Outcome | Deferred[Any]":
        """Start a subscription that the policy has permitted."""

    def resumes(self, known: Subscription, request: SubscribeRequest) -> bool:
        """Whether *request* continues the subscription *known*."""

    def resume(self, known: Subscription, request: SubscribeRequest) -> Answer:
        """Continue the subscription *known*."""


@define(eq=False)
class SubscriptionCommands:
    """Starts and ends the subscriptions of clients.

    ``kinds`` are the kinds of subscription by the protocol's type number.
    """

    _runtime: Runtime
    kinds: dict[int, Kind] = field(factory=dict)

    def subscribe(self, client: Client, request: SubscribeRequest) -> Answer:
        """Subscribe the client to a channel (client protocol, "Subscribe")."""
        name, options = request.channel, self._runtime.options
        if not name:
            raise DisconnectClient(MALFORMED, "channel required for subscribe")
        if len(name.encode()) > options.channel_max_length:
            raise ReplyError(BAD_REQUEST, "channel too long")
        kind = self.kinds.get(request.type)
        if kind is None:
            raise ReplyError(NOT_AVAILABLE, "unknown type of subscription")
        known = client.subscriptions.get(name)
        if known is not None:
            if kind.resumes(known, request):
                return kind.resume(known, request)
            raise ReplyError(ALREADY_SUBSCRIBED, "client already subscribed on channel")
        if len(client.subscriptions) >= options.channel_limit:
            client.forget_ended()
        if len(client.subscriptions) >= options.channel_limit:
            raise ReplyError(
                LIMIT_EXCEEDED,
                "maximum limit of channels per client reached",
                limit=options.channel_limit,
            )
        subscription = client.subscriptions[name] = kind.open(client, request)
        try:
            decided = self._runtime.policy.subscribe(client, request)
            admitted = when_known(decided, self._admit, kind, subscription, request)
        except BaseException:
            client.forget(subscription)
            raise
        if waits(admitted):
            admitted.addErrback(_forget, client, subscription)
        return admitted

    def _admit(
        self,
        granted: SubscribeOptions,
        kind: Kind,
        subscription: Subscription,
        request: SubscribeRequest,
    ) -> "Outcome | Deferred[Any]":
        if granted.stream is not None:
            subscription.attach(granted.stream)
        if subscription.ended:
            raise DisconnectClient(CONNECTION_CLOSED)
        if 0 < granted.expire_at <= self._runtime.clock.seconds():
            raise ReplyError(
                EXPIRED, "subscription expiration must be greater than now"
            )
        return kind.admit(subscription, granted, request)

    async def unsubscribe(
        self, client: Client, request: UnsubscribeRequest
    ) -> UnsubscribeResult:
        """Unsubscribe the client, also from a server-side subscription.

        See client protocol, "Unsubscribe".
        """
        if not request.channel:
            raise DisconnectClient(MALFORMED, "channel required for unsubscribe")
        subscription = client.subscriptions.get(request.channel)
        while subscription is not None:
            await subscription.when_subscribe_finished()
            client.forget(subscription)
            # The server may have replaced the subscription meanwhile.
            subscription = client.subscriptions.get(request.channel)
        return UnsubscribeResult()


def _forget(failure: Failure, client: Client, subscription: Subscription) -> Failure:
    """End a subscription that failed while it started."""
    client.forget(subscription)
    return failure

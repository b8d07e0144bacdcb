"""What happens when a connection or a subscription has reached its end.

See client protocol, "Connection expiry" and "Subscription expiry".

Either the client refreshes, by a command; or the server asks its policy.
"""

from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ...errors import DisconnectClient, ReplyError
from ...interfaces import IClient
from ...options import Expiry
from ...protocol.codes import (
    CONNECTION_EXPIRED,
    EXPIRED,
    SUBSCRIPTION_EXPIRED,
    SUBSCRIPTION_OVER,
)
from ...protocol.messages import (
    EMPTY,
    Raw,
    RefreshRequest,
    SubRefreshRequest,
)
from .subscription import Subscriber, Subscription

__all__ = [
    "ExpiringClient",
    "connection_due",
    "prolong",
    "prolong_subscription",
    "tend",
]

#: Seconds a connection or subscription lives on when the policy could not be asked.
GRACE = 60


class ExpiringClient(Subscriber, Protocol):
    """What is used of a client whose connection and subscriptions may end."""

    meta: Raw
    server_side_refresh: bool
    subscriptions: dict[str, Subscription]

    def update_info(self, conn_info: Raw) -> None:
        """Let others see *conn_info* of it from now on, in every channel."""

    def expire(self, expire_at: int) -> None:
        """Let the connection end at *expire_at* (seconds since 1970); 0: never."""

    def fail(self, failure: Failure, doing: str) -> None:
        """End the connection after an unexpected error outside any command."""


def tend(client: ExpiringClient, now: float) -> None:
    """Renew presence, and see to subscriptions that are over or out of place."""
    delay = client.runtime.options.expired_sub_close_delay
    for subscription in list(client.subscriptions.values()):
        if not subscription.active:
            continue
        if subscription.expire_at and now > subscription.expire_at + delay:
            _subscription_due(subscription)
        if client.closed:
            return
        subscription.renew_presence()
        if subscription.positioned and subscription.channel is not None:
            position_check = subscription.kind.source.position_check
            position_check.check_if_silent(subscription.channel)


def prolong(client: ExpiringClient, expiry: Expiry) -> None:
    """Apply what the policy said of the connection.

    :raises DisconnectClient: 3005, it is over.
    :raises ReplyError: 110, the new end is in the past.
    """
    if expiry.expired:
        raise DisconnectClient(CONNECTION_EXPIRED)
    if 0 < expiry.expire_at <= client.runtime.clock.seconds():
        raise ReplyError(EXPIRED)
    if expiry.info is not EMPTY:
        client.update_info(expiry.info)
    if expiry.meta is not EMPTY:
        client.meta = expiry.meta
    client.expire(expiry.expire_at)


def prolong_subscription(subscription: Subscription, expiry: Expiry) -> None:
    """Apply what the policy said of a subscription.

    :raises ReplyError: 110, it is over.
    """
    client = subscription.client
    if expiry.expired or 0 < expiry.expire_at <= client.runtime.clock.seconds():
        raise ReplyError(EXPIRED)
    subscription.expire_at = expiry.expire_at
    if expiry.info is not EMPTY:
        subscription.update_info(expiry.info)


def connection_due(client: ExpiringClient) -> None:
    """Ask the policy about a connection at its end, or close it."""
    if not client.server_side_refresh:
        client.close(CONNECTION_EXPIRED)
        return

    def answered(expiry: Expiry) -> None:
        now = client.runtime.clock.seconds()
        if client.closed:
            return
        if expiry.expired or expiry.expire_at <= now:
            client.close(CONNECTION_EXPIRED)
        else:
            prolong(client, expiry)

    def failed(failure: Failure) -> None:
        if client.closed:
            return
        if failure.check(DisconnectClient):
            client.fail(failure, "refresh")
        else:
            client.runtime.log_failure(failure, "refresh", client.id)
            client.expire(int(client.runtime.clock.seconds()) + GRACE)

    policy = client.runtime.policy
    asked: Deferred[Expiry] = policy.refresh(IClient(client), RefreshRequest())
    asked.addCallback(answered).addErrback(failed)


def _subscription_due(subscription: Subscription) -> None:
    """Ask the policy about a subscription at its end, or end it."""
    client = subscription.client
    if not subscription.options.server_side_refresh:
        _end(subscription)
        return
    # Not asked again while the answer is on its way.
    was, subscription.expire_at = subscription.expire_at, 0

    def answered(expiry: Expiry) -> None:
        if not client.closed and not subscription.ended:
            try:
                prolong_subscription(subscription, expiry)
            except ReplyError:
                _end(subscription)

    def failed(failure: Failure) -> None:
        client.runtime.log_failure(failure, "sub_refresh", client.id)
        delay = client.runtime.options.expired_sub_close_delay
        later = int(client.runtime.clock.seconds() - delay) + GRACE
        subscription.expire_at = max(was, later)

    request = SubRefreshRequest(channel=subscription.name)
    asked: Deferred[Expiry] = client.runtime.policy.sub_refresh(
        IClient(client), request
    )
    asked.addCallback(answered).addErrback(failed)


def _end(subscription: Subscription) -> None:
    client = subscription.client
    if subscription.server_side or client.speaks_v1:
        client.close(SUBSCRIPTION_EXPIRED)
    else:
        client.unsubscribe(subscription.name, SUBSCRIPTION_OVER)

"""Expiry and refresh of connections and subscriptions.

Either the client refreshes by a command, or the server asks its policy.  See client
protocol, "Connection expiry" and "Subscription expiry".
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
    "connection_expired",
    "extend",
    "extend_subscription",
    "renew_subscriptions",
]

#: Seconds by which the expiry is postponed when the policy fails to answer.
GRACE = 60


class ExpiringClient(Subscriber, Protocol):
    """What this module uses of a client."""

    meta: Raw
    server_side_refresh: bool
    subscriptions: dict[str, Subscription]

    def update_info(self, conn_info: Raw) -> None:
        """Set the ``conn_info`` that subscribers of all its channels see."""

    def expire(self, expire_at: int) -> None:
        """Set the connection's expiry to *expire_at* (seconds since 1970; 0: never)."""

    def fail(self, failure: Failure, doing: str) -> None:
        """End the connection after an unexpected error outside any command."""


def renew_subscriptions(client: ExpiringClient, now: float) -> None:
    """Renew presence, end expired subscriptions and check silent channels."""
    delay = client.runtime.options.expired_sub_close_delay
    for subscription in list(client.subscriptions.values()):
        if not subscription.active:
            continue
        if subscription.expire_at and now > subscription.expire_at + delay:
            _subscription_expired(subscription)
        if client.closed:
            return
        subscription.renew_presence()
        if subscription.positioned and subscription.channel is not None:
            position_check = subscription.kind.source.position_check
            position_check.check_if_silent(subscription.channel)


def extend(client: ExpiringClient, expiry: Expiry) -> None:
    """Apply the policy's new expiry to a connection.

    :raises DisconnectClient: 3005, the connection has expired.
    :raises ReplyError: 110, the new expiry is in the past.
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


def extend_subscription(subscription: Subscription, expiry: Expiry) -> None:
    """Apply the policy's new expiry to a subscription.

    :raises ReplyError: 110, the subscription has expired.
    """
    client = subscription.client
    if expiry.expired or 0 < expiry.expire_at <= client.runtime.clock.seconds():
        raise ReplyError(EXPIRED)
    subscription.expire_at = expiry.expire_at
    if expiry.info is not EMPTY:
        subscription.update_info(expiry.info)


def connection_expired(client: ExpiringClient) -> None:
    """Ask the policy about a connection that has expired, or close it."""
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
            extend(client, expiry)

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


def _subscription_expired(subscription: Subscription) -> None:
    """Ask the policy about a subscription that has expired, or end it."""
    client = subscription.client
    if not subscription.options.server_side_refresh:
        _end_subscription(subscription)
        return
    # Do not ask again while the answer is outstanding.
    was, subscription.expire_at = subscription.expire_at, 0

    def answered(expiry: Expiry) -> None:
        if not client.closed and not subscription.ended:
            try:
                extend_subscription(subscription, expiry)
            except ReplyError:
                _end_subscription(subscription)

    def failed(failure: Failure) -> None:
        if client.closed or subscription.ended:
            return
        client.runtime.log_failure(failure, "sub_refresh", client.id)
        delay = client.runtime.options.expired_sub_close_delay
        later = int(client.runtime.clock.seconds() - delay) + GRACE
        subscription.expire_at = max(was, later)

    request = SubRefreshRequest(channel=subscription.name)
    asked: Deferred[Expiry] = client.runtime.policy.sub_refresh(
        IClient(client), request
    )
    asked.addCallback(answered).addErrback(failed)


def _end_subscription(subscription: Subscription) -> None:
    client = subscription.client
    if subscription.server_side or client.speaks_v1:
        client.close(SUBSCRIPTION_EXPIRED)
    else:
        client.unsubscribe(subscription.name, SUBSCRIPTION_OVER)

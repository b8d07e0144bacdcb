"""The commands that extend a connection or a subscription by a new token."""

from ...errors import DisconnectClient, ReplyError
from ...options import Source
from ...protocol.codes import (
    BAD_REQUEST,
    INSUFFICIENT_STATE,
    MALFORMED,
    PERMISSION_DENIED,
)
from ...protocol.messages import (
    RefreshRequest,
    RefreshResult,
    SubRefreshRequest,
    SubRefreshResult,
)
from . import expiry
from .client import Client
from .outcome import Outcome
from .subscription import Subscription

__all__ = ["refresh", "sub_refresh"]


async def refresh(client: Client, request: RefreshRequest) -> RefreshResult:
    """Extend the connection by a new token.

    See client protocol, "Connection expiry".
    """
    if not request.token or client.server_side_refresh:
        raise DisconnectClient(
            MALFORMED, "token required to refresh, and client-side refresh"
        )
    extended = await client.runtime.policy.refresh(client, request)
    client.ensure_open()
    if extended.channels is not None and _differ(client, extended.channels):
        raise DisconnectClient(
            INSUFFICIENT_STATE, "refresh token changes server-side subscriptions"
        )
    expiry.extend(client, extended)
    expires = bool(extended.expire_at)
    return RefreshResult(
        client=client.id,
        version=client.runtime.options.version,
        expires=expires,
        ttl=client.ttl(extended.expire_at) if expires else 0,
    )


async def sub_refresh(client: Client, request: SubRefreshRequest) -> Outcome:
    """Extend a subscription by a new token.

    See client protocol, "Subscription expiry".  The channel may be missing, as in
    centrifuge-python; then the token names it.
    """
    name = request.channel
    if request.type and name:
        known = client.subscriptions.get(name)
        if known is not None and known.active:
            outcome = await known.kind.sub_refresh(known, request)
            if outcome is not None:
                return outcome
    if name:
        _refreshable(client, name)
    if not request.token:
        if not name:
            raise DisconnectClient(MALFORMED, "channel required for sub refresh")
        raise ReplyError(BAD_REQUEST, "subscription refresh token required")
    extended = await client.runtime.policy.sub_refresh(client, request)
    client.ensure_open()
    if not name:
        name = next(iter(extended.channels or ()), "")
    subscription = _refreshable(client, name)
    expiry.extend_subscription(subscription, extended)
    subscription.update_info(extended.info)  # possibly with no info any more
    expires = bool(extended.expire_at)
    return SubRefreshResult(
        expires=expires, ttl=client.ttl(extended.expire_at) if expires else 0
    )


def _differ(client: Client, channels: frozenset[str]) -> bool:
    """Whether a new token grants other channels than the old one."""
    by_token = {
        name
        for name, subscription in client.subscriptions.items()
        if subscription.options.source == Source.CONNECTION_TOKEN
    }
    return bool(by_token - channels or channels - client.subscriptions.keys())


def _refreshable(client: Client, name: str) -> Subscription:
    subscription = client.subscriptions.get(name)
    if subscription is None or not subscription.active:
        raise ReplyError(PERMISSION_DENIED, "client not subscribed to channel")
    if subscription.options.server_side_refresh or subscription.server_side:
        raise DisconnectClient(MALFORMED, "server-side sub refresh expected")
    return subscription

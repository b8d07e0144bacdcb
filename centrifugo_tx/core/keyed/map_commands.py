"""The client's commands in map channels (client protocol, "Maps")."""

from typing import TYPE_CHECKING

import msgspec

from ...errors import DisconnectClient, ReplyError
from ...options import MapChange
from ...protocol.codes import (
    ALREADY_SUBSCRIBED,
    BAD_REQUEST,
    CONCURRENT_PAGINATION,
    EXPIRED,
    LIMIT_EXCEEDED,
    MALFORMED,
    NOT_AVAILABLE,
    PERMISSION_DENIED,
    SLOW,
)
from ...protocol.messages import (
    PublishRequest,
    PublishResult,
    SubscribeRequest,
    SubscribeResult,
)
from ..session.told import Told, still_there
from .map_subscription import MAP, STATE, MapSubscription

if TYPE_CHECKING:
    from ..session.client import Client

__all__ = ["MAP", "publish", "subscribe"]


async def subscribe(
    client: "Client", request: SubscribeRequest
) -> Told | SubscribeResult:
    """Begin to read a map, or go on with it."""
    node, name = client.node, request.channel
    if not name:
        raise DisconnectClient(MALFORMED, "channel required for subscribe")
    if len(name.encode()) > node.options.channel_max_length:
        raise ReplyError(BAD_REQUEST, "channel too long")
    known = client.subscriptions.get(name)
    if isinstance(known, MapSubscription) and known.loading and _goes_on(request):
        return await _go_on(known, request)
    if known is not None:
        raise ReplyError(ALREADY_SUBSCRIBED, "client already subscribed on channel")
    _forget_late(client)
    if len(client.subscriptions) >= node.options.channel_limit:
        raise ReplyError(
            LIMIT_EXCEEDED,
            "maximum limit of channels per client reached",
            limit=node.options.channel_limit,
        )
    if request.cursor:
        raise ReplyError(PERMISSION_DENIED)
    subscription = MapSubscription(client, name)
    client.subscriptions[name] = subscription
    try:
        options = await node.policy.subscribe(client, request)
        still_there(client)
        if 0 < options.expire_at <= node.clock.seconds():
            raise ReplyError(
                EXPIRED, "subscription expiration must be greater than now"
            )
        rules = node.policy.channel(name).map
        if rules is None or node.maps is None:
            raise ReplyError(NOT_AVAILABLE)
        subscription.let_in(options, rules, request)
        return await subscription.proceed(request)
    except BaseException:
        client.forget(subscription)
        raise


def _goes_on(request: SubscribeRequest) -> bool:
    return bool(request.cursor) or request.phase != STATE


async def _go_on(
    subscription: MapSubscription, request: SubscribeRequest
) -> Told | SubscribeResult:
    """Take the next step; the policy was asked at the first."""
    if subscription.busy:
        raise ReplyError(CONCURRENT_PAGINATION)
    client = subscription.client
    if subscription.late:
        client.forget(subscription)
        raise DisconnectClient(SLOW)
    try:
        return await subscription.proceed(request)
    except BaseException:
        client.forget(subscription)
        raise


def _forget_late(client: "Client") -> None:
    """Forget what the client began to read and gave up."""
    for subscription in list(client.subscriptions.values()):
        if isinstance(subscription, MapSubscription) and subscription.late:
            client.forget(subscription)


async def publish(client: "Client", request: PublishRequest) -> PublishResult:
    """Set or remove a key for the client, if the policy lets it."""
    node, name = client.node, request.channel
    if not name:
        raise DisconnectClient(MALFORMED)
    granted: tuple[str, MapChange] = await node.policy.change_map(client, request)
    key, change = granted
    if not key:
        raise ReplyError(BAD_REQUEST)
    if node.maps is None:
        raise ReplyError(NOT_AVAILABLE)
    if request.removed:
        await node.maps.remove(name, key, change)
        return PublishResult()
    if change.info is None:
        change = msgspec.structs.replace(change, info=client.info_in(name))
    await node.maps.publish(name, key, request.data.copy(), change)
    return PublishResult()

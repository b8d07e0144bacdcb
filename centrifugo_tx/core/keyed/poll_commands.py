"""The client's commands in polled channels (client protocol, "Shared poll")."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from twisted.internet.defer import FirstError

from ...errors import DisconnectClient, ReplyError
from ...protocol.codes import (
    ALREADY_SUBSCRIBED,
    BAD_REQUEST,
    EXPIRED,
    LIMIT_EXCEEDED,
    MALFORMED,
    NOT_AVAILABLE,
)
from ...protocol.messages import (
    SubRefreshRequest,
    SubRefreshResult,
    SubscribeRequest,
)
from ..session.told import Told, still_there
from .poll_subscription import SHARED_POLL, PollSubscription

if TYPE_CHECKING:
    from ..session.client import Client

__all__ = ["SHARED_POLL", "TRACK", "UNTRACK", "subscribe", "track", "untrack"]

#: The types of sub_refresh that are none.
TRACK, UNTRACK = 1, 2


async def subscribe(client: "Client", request: SubscribeRequest) -> Told:
    """Subscribe the client to a polled channel; it says later what it tracks."""
    node, name = client.node, request.channel
    if not name:
        raise DisconnectClient(MALFORMED, "channel required for subscribe")
    if len(name.encode()) > node.options.channel_max_length:
        raise ReplyError(BAD_REQUEST, "channel too long")
    if name in client.subscriptions:
        raise ReplyError(ALREADY_SUBSCRIBED, "client already subscribed on channel")
    if len(client.subscriptions) >= node.options.channel_limit:
        raise ReplyError(
            LIMIT_EXCEEDED,
            "maximum limit of channels per client reached",
            limit=node.options.channel_limit,
        )
    subscription = PollSubscription(client, name)
    client.subscriptions[name] = subscription
    try:
        options = await node.policy.subscribe(client, request)
        still_there(client)
        if 0 < options.expire_at <= node.clock.seconds():
            raise ReplyError(
                EXPIRED, "subscription expiration must be greater than now"
            )
        rules = node.policy.channel(name).poll
        if rules is None:
            raise ReplyError(NOT_AVAILABLE)
        await subscription.begin(options, request)
        subscription.follow(node.polls.channel(name, rules))
        result, follow_up = subscription.settle(request)
    except BaseException:
        client.forget(subscription)
        raise
    return Told(result, follow_up)


async def track(
    subscription: PollSubscription, request: SubRefreshRequest
) -> SubRefreshResult:
    """Track keys, and untrack others, if the policy finds the signatures good.

    The same key in several batches counts as in the last one.
    """
    client = subscription.client
    last = {
        item.key: (number, item.version)
        for number, batch in enumerate(request.track)
        for item in batch.items
    }
    if not last:
        raise ReplyError(BAD_REQUEST)
    polled = subscription.polled
    assert polled is not None
    kept = (subscription.tracked.keys() | last.keys()) - set(request.untrack)
    if len(kept) > polled.rules.max_keys:
        raise ReplyError(LIMIT_EXCEEDED)
    expiries: list[int] = await client.node.policy.track(client, request)
    still_there(client)
    if subscription.ended:
        raise ReplyError(BAD_REQUEST)
    wanted = {
        key: (version, expiries[number])
        for key, (number, version) in last.items()
        if key not in request.untrack
    }
    if polled.rules.publish:
        await _follow(subscription, wanted)
    items = subscription.track(wanted)
    for key in request.untrack:
        subscription.untrack(key)
    ends = [expire_at for expire_at in expiries if expire_at]
    return SubRefreshResult(
        expires=bool(ends), ttl=client.ttl(min(ends)) if ends else 0, items=items
    )


async def _follow(subscription: PollSubscription, keys: Collection[str]) -> None:
    """Receive what is published into *keys*, before their values are asked for."""
    feeds = subscription.client.node.polls.feeds
    try:
        await feeds.join(subscription.name, keys, subscription)
        still_there(subscription.client)
        if subscription.ended:
            raise ReplyError(BAD_REQUEST)
    except BaseException as error:
        fresh = [key for key in keys if key not in subscription.tracked]
        feeds.leave(subscription.name, fresh, subscription)
        if isinstance(error, FirstError):
            error.subFailure.raiseException()
        raise


def untrack(
    subscription: PollSubscription, request: SubRefreshRequest
) -> SubRefreshResult:
    """Track keys no more."""
    if not request.untrack:
        raise ReplyError(BAD_REQUEST)
    for key in request.untrack:
        subscription.untrack(key)
    return SubRefreshResult()

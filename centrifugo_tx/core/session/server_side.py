"""Server-side subscribe, unsubscribe and refresh of one client.

See server API, "Subscribe and unsubscribe" and "Refresh".
"""

from ...errors import DisconnectClient
from ...options import SubscribeOptions
from ...protocol.codes import CHANNEL_LIMIT, CONNECTION_EXPIRED, Unsubscribe
from ...protocol.messages import (
    EMPTY,
    Push,
    Raw,
    Refresh,
    StreamPosition,
    Subscribe,
    SubscribeRequest,
)
from ...protocol.payloads import checked
from .client import Client
from .subscription import Subscription

__all__ = ["refresh", "subscribe", "unsubscribe"]


async def subscribe(
    client: Client,
    name: str,
    options: SubscribeOptions,
    since: StreamPosition | None,
) -> None:
    """Subscribe *client* to the channel *name* and tell it by a push.

    An existing subscription is replaced, as in the reference server.
    """
    await client.when_connect_finished()
    old = await _finished_subscription(client, name)
    if client.closed or client.refused:
        return
    if old is not None:
        client.forget(old)
    if len(client.subscriptions) >= client.runtime.options.channel_limit:
        client.close(CHANNEL_LIMIT)
        return
    subscription = client.sessions.streams.open_server_side(client, name)
    client.subscriptions[name] = subscription
    request = SubscribeRequest()
    if since is not None:
        request = SubscribeRequest(recover=True, offset=since.offset, epoch=since.epoch)
    try:
        running = subscription.begin(options, request)
        if running is not None:
            await running
        result, follow_up = subscription.activate(request)
    except DisconnectClient as error:
        client.forget(subscription)
        client.close(error.disconnect)
        return
    except BaseException:
        client.forget(subscription)
        raise
    push = Subscribe(
        recoverable=result.recoverable,
        epoch=result.epoch,
        offset=result.offset,
        positioned=result.positioned,
        data=checked(options.data),
    )
    client.push(Push(channel=name, subscribe=push))
    for publication in result.publications:
        client.push(Push(channel=name, pub=publication))
    follow_up()


async def _finished_subscription(client: Client, name: str) -> Subscription | None:
    """Wait for a running subscribe; return the subscription to *name*.

    :return: None if there is none, or the client was closed.
    """
    found = client.subscriptions.get(name)
    while found is not None:
        try:
            await found.when_subscribe_finished()
        except DisconnectClient as error:
            client.close(error.disconnect)
        current = client.subscriptions.get(name)
        if current is found:
            return found
        found = current  # it was replaced meanwhile
    return None


async def unsubscribe(client: Client, name: str, reason: Unsubscribe) -> None:
    """Unsubscribe *client* from the channel *name* and tell it by a push."""
    if await _finished_subscription(client, name) is not None:
        client.unsubscribe(name, reason)


def refresh(client: Client, expired: bool, expire_at: int, info: Raw) -> None:
    """Set the expiry of *client*'s connection and tell it by a push."""
    now = client.runtime.clock.seconds()
    if expired or 0 < expire_at <= now:
        client.close(CONNECTION_EXPIRED)
        return
    if info is not EMPTY and expire_at:
        client.update_info(info)
    client.expire(expire_at)
    ttl = client.ttl(expire_at) if expire_at else 0
    client.push(Push(refresh=Refresh(expires=bool(expire_at), ttl=ttl)))

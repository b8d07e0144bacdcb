"""The methods of the server API that act on the connections of a user."""

from ..errors import ReplyError
from ..options import ChannelOptions, Source, SubscribeOptions
from ..protocol.codes import BAD_REQUEST, FORCE_DISCONNECT, Disconnect
from ..protocol.messages import Raw
from . import api_messages as m
from .api import Api
from .api_json import payload

__all__ = ["disconnect", "refresh", "subscribe", "unsubscribe"]

_EMPTY = m.Empty()


async def subscribe(api: Api, request: m.SubscribeRequest) -> m.Empty:
    """Subscribe the connections of a user.

    See server API, "Subscribe and unsubscribe".
    """
    if not request.channel:
        raise ReplyError(BAD_REQUEST, "channel required for subscribe")
    info = payload(request.info, request.b64info)
    data = payload(request.data, request.b64data)
    options = api.node.policy.channel(request.channel)
    await api.node.subscribe(
        request.channel,
        _subscribe_options(options, request, info, data),
        request.user,
        request.client,
        request.session,
        request.recover_since,
    )
    return _EMPTY


async def unsubscribe(api: Api, request: m.UnsubscribeRequest) -> m.Empty:
    """Unsubscribe the connections of a user from a channel.

    See server API, "Subscribe and unsubscribe".
    """
    if request.channel:
        api.node.policy.channel(request.channel)
        await api.node.unsubscribe(
            request.channel, request.user, request.client, request.session
        )
    return _EMPTY


async def disconnect(api: Api, request: m.DisconnectRequest) -> m.Empty:
    """Close the connections of a user (server API, "Disconnect")."""
    wanted, disconnect = request.disconnect, FORCE_DISCONNECT
    if wanted is not None and wanted.code:
        disconnect = Disconnect(wanted.code, wanted.reason)
    await api.node.disconnect(
        request.user,
        request.client,
        request.session,
        disconnect,
        request.whitelist or (),
    )
    return _EMPTY


async def refresh(api: Api, request: m.RefreshRequest) -> m.Empty:
    """Change the expiry of a user's connections (server API, "Refresh")."""
    await api.node.refresh(
        request.user,
        request.client,
        request.session,
        request.expired,
        request.expire_at,
        request.info.copy(),
    )
    return _EMPTY


def _subscribe_options(
    options: ChannelOptions, request: m.SubscribeRequest, info: Raw, data: Raw
) -> SubscribeOptions:
    """Return the channel's options, with the overrides of *request*.

    See server API, "Subscribe and unsubscribe".
    """
    subscription = SubscribeOptions(
        expire_at=max(0, request.expire_at),
        info=info,
        data=data,
        presence=options.presence,
        join_leave=options.join_leave,
        push_join_leave=options.force_push_join_leave,
        positioned=options.force_positioning or options.receipts,
        recoverable=options.force_recovery,
        history_meta_ttl=options.history_meta_ttl,
        source=Source.SERVER_API,
        presence_maps=options.presence_maps,
        receipts_ttl=options.receipts_ttl,
        receipts_ping=options.receipts_ping,
    )
    if request.override is None:
        return subscription
    return request.override.apply(subscription)

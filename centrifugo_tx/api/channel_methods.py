"""The methods of the server API that read or clear the state of channels."""

from ..errors import ReplyError
from ..options import ChannelOptions, HistoryQuery
from ..protocol.codes import BAD_REQUEST, INTERNAL, NOT_AVAILABLE
from . import api_messages as m
from .api import Api

__all__ = ["channels", "history", "history_remove", "presence", "presence_stats"]

_NOT_ENABLED = {
    "history": "history is not enabled for channel",
    "presence": "presence is not enabled for channel",
}


def _options_with(api: Api, channel: str, feature: str) -> ChannelOptions:
    """Return the channel's options if it has *feature*.

    See server API, "Presence" and "History in the API".
    """
    if not channel:
        raise ReplyError(BAD_REQUEST, "channel required")
    options = api.node.policy.channel(channel)
    if not getattr(options, feature):
        raise ReplyError(NOT_AVAILABLE, _NOT_ENABLED[feature])
    return options


async def presence(api: Api, request: m.PresenceRequest) -> m.PresenceResult:
    """Return the subscribers of a channel."""
    _options_with(api, request.channel, "presence")
    return m.PresenceResult(await api.node.presence(request.channel))


async def presence_stats(
    api: Api, request: m.PresenceStatsRequest
) -> m.PresenceStatsResult:
    """Return the number of subscribers of a channel."""
    _options_with(api, request.channel, "presence")
    stats = await api.node.presence_stats(request.channel)
    return m.PresenceStatsResult(stats.num_clients, stats.num_users)


async def history(api: Api, request: m.HistoryRequest) -> m.HistoryResult:
    """Read a channel's stream (server API, "History in the API")."""
    options = _options_with(api, request.channel, "history")
    since = request.since
    if since is not None and request.reverse and not since.offset:
        # The error of the reference.
        raise ReplyError(INTERNAL, "reverse history since offset 0")
    query = HistoryQuery(
        -1 if request.limit < 0 else request.limit,
        since,
        request.reverse,
        options.history_meta_ttl,
    )
    found = await api.node.history(request.channel, query)
    publications = [
        m.Publication(each.data, each.info, each.offset, each.tags)
        for each in found.publications
    ]
    position = found.position
    return m.HistoryResult(publications, position.epoch, position.offset)


async def history_remove(api: Api, request: m.HistoryRemoveRequest) -> m.Empty:
    """Remove a channel's publications."""
    _options_with(api, request.channel, "history")
    await api.node.remove_history(request.channel)
    return m.Empty()


async def channels(api: Api, request: m.ChannelsRequest) -> m.ChannelsResult:
    """Return the channels with subscribers (server API, "Channels")."""
    try:
        found = await api.node.channels(request.pattern)
    except ValueError:
        raise ReplyError(INTERNAL, "malformed pattern") from None
    return m.ChannelsResult(
        {name: m.ChannelInfo(count) for name, count in found.items()}
    )

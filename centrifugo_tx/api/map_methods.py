"""The server API's methods for keys of maps and for shared poll keys.

See server API, "Maps and keys".
"""

from collections.abc import Sequence
from typing import Literal, cast

from ..core.keyed.maps import Maps
from ..errors import ReplyError
from ..options import HistoryQuery, MapChange, MapChanged, MapQuery, MapRules
from ..protocol.codes import (
    BAD_REQUEST,
    INTERNAL,
    NOT_AVAILABLE,
    UNRECOVERABLE_POSITION,
)
from ..protocol.messages import Publication
from . import map_messages as m
from .api import Api
from .api_json import payload
from .api_messages import Empty

__all__ = [
    "clear",
    "publish",
    "publish_polled",
    "read_state",
    "read_stream",
    "remove",
    "stats",
]

_KEY_MODES = ("", "if_new", "if_exists")


def _map(api: Api, channel: str) -> tuple[Maps, MapRules]:
    """Return the node's maps, and the rules of *channel*, which must be a map."""
    rules = api.node.policy.channel(channel).map if channel else None
    if rules is None or api.node.maps is None:
        raise ReplyError(BAD_REQUEST, "map method called on non-map namespace")
    return api.node.maps, rules


async def publish(api: Api, request: m.MapPublishRequest) -> m.MapResult:
    """Set a key of a map."""
    if not request.key:
        raise ReplyError(BAD_REQUEST, "key required")
    maps, rules = _map(api, request.channel)
    data = payload(request.data, request.b64data)
    if request.key_mode not in _KEY_MODES:
        raise ReplyError(BAD_REQUEST, "invalid key_mode")
    if request.version and not rules.stream_size:
        # The error of the reference.
        raise ReplyError(INTERNAL, "version on a map without stream")
    change = MapChange(
        rules,
        tags=request.tags or {},
        idempotency_key=request.idempotency_key,
        delta=request.delta or api.node.policy.channel(request.channel).delta_publish,
        version=request.version,
        version_epoch=request.version_epoch,
        key_mode=cast('Literal["", "if_new", "if_exists"]', request.key_mode),
    )
    return _result(await maps.publish(request.channel, request.key, data, change))


async def remove(api: Api, request: m.MapRemoveRequest) -> m.MapResult:
    """Remove a key from a map."""
    if not request.key:
        raise ReplyError(BAD_REQUEST, "key required")
    maps, rules = _map(api, request.channel)
    change = MapChange(rules, idempotency_key=request.idempotency_key)
    return _result(await maps.remove(request.channel, request.key, change))


async def read_state(api: Api, request: m.MapReadStateRequest) -> m.MapReadStateResult:
    """Read entries of a map."""
    maps, rules = _map(api, request.channel)
    if request.revision_offset and not request.revision_epoch:
        raise ReplyError(UNRECOVERABLE_POSITION)  # epochs of maps are never empty
    limit = max(-1, request.limit)
    streamless = not rules.stream_size
    query = MapQuery(limit, request.cursor, request.key, rules.meta_ttl, streamless)
    page = await maps.state(request.channel, query, request.revision_epoch)
    position = page.position
    return m.MapReadStateResult(
        _entries(page.entries), position.offset, position.epoch, page.cursor
    )


async def read_stream(
    api: Api, request: m.MapReadStreamRequest
) -> m.MapReadStreamResult:
    """Read changes of a map."""
    maps, rules = _map(api, request.channel)
    query = HistoryQuery(
        max(-1, request.limit), request.since, request.reverse, rules.meta_ttl
    )
    history = await maps.stream(request.channel, query)
    position = history.position
    return m.MapReadStreamResult(
        _entries(history.publications), position.offset, position.epoch
    )


async def stats(api: Api, request: m.MapStatsRequest) -> m.MapStatsResult:
    """Return the number of keys of a map."""
    maps, _ = _map(api, request.channel)
    return m.MapStatsResult(await maps.size(request.channel))


async def clear(api: Api, request: m.MapClearRequest) -> Empty:
    """Remove all keys of a map."""
    maps, _ = _map(api, request.channel)
    await maps.clear(request.channel)
    return Empty()


async def publish_polled(api: Api, request: m.SharedPollPublishRequest) -> Empty:
    """Set a shared poll key."""
    if not (request.channel and request.key and request.version):
        raise ReplyError(BAD_REQUEST, "channel, key and version required")
    rules = api.node.policy.channel(request.channel).poll
    if rules is None:
        raise ReplyError(BAD_REQUEST, "no shared poll namespace")
    if not rules.publish:
        raise ReplyError(NOT_AVAILABLE, "shared poll publish is not enabled")
    data = payload(request.data, request.b64data)
    await api.node.polls.publish(
        request.channel, request.key, data, request.version, request.epoch
    )
    return Empty()


def _result(changed: MapChanged) -> m.MapResult:
    reason, position = changed.suppressed, changed.position
    return m.MapResult(position.offset, position.epoch, bool(reason), reason)


def _entries(publications: Sequence[Publication]) -> tuple[m.MapEntry, ...]:
    return tuple(
        m.MapEntry(p.key, p.data, p.tags or None, p.offset, p.removed, p.time)
        for p in publications
    )

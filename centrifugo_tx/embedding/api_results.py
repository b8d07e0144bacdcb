"""Turns results of the server API's methods into those of the node's verbs."""

from collections.abc import Sequence
from typing import cast

from ..api import api_messages as m
from ..api import map_messages as maps
from ..protocol.codes import Error
from .results import (
    ClientInfo,
    History,
    MapChanges,
    MapEntry,
    MapState,
    MapUpdate,
    Publication,
    PublishResult,
)

__all__ = [
    "broadcast_results",
    "history",
    "map_changes",
    "map_state",
    "map_update",
    "presence",
    "publish_result",
]


def publish_result(result: m.PublishResult) -> PublishResult:
    """Return the position of a publication."""
    return PublishResult(result.offset, result.epoch)


def broadcast_results(result: m.BroadcastResult) -> list[PublishResult | Error]:
    """Return the result, or the error, of each channel."""
    return [
        Error(each.error.code, each.error.message)
        if each.error is not None
        else publish_result(cast(m.PublishResult, each.result))
        for each in result.responses
    ]


def history(result: m.HistoryResult) -> History:
    """Return part of a stream."""
    publications = [
        Publication(
            bytes(each.data),
            each.offset,
            each.tags,
            None if each.info is None else ClientInfo.of(each.info),
        )
        for each in result.publications
    ]
    return History(publications, result.offset, result.epoch)


def presence(result: m.PresenceResult) -> dict[str, ClientInfo]:
    """Return the clients of a channel by client id."""
    return {id: ClientInfo.of(info) for id, info in result.presence.items()}


def map_update(result: maps.MapResult) -> MapUpdate:
    """Return the outcome of a change of a map."""
    return MapUpdate(result.offset, result.epoch, result.suppress_reason)


def _map_entries(entries: Sequence[maps.MapEntry]) -> list[MapEntry]:
    return [
        MapEntry(
            each.key,
            bytes(each.data),
            each.tags or {},
            each.offset,
            each.removed,
            each.time / 1000,
        )
        for each in entries
    ]


def map_state(result: maps.MapReadStateResult) -> MapState:
    """Return a page of a map."""
    entries = _map_entries(result.entries)
    return MapState(entries, result.offset, result.epoch, result.cursor)


def map_changes(result: maps.MapReadStreamResult) -> MapChanges:
    """Return changes of a map."""
    return MapChanges(_map_entries(result.entries), result.offset, result.epoch)

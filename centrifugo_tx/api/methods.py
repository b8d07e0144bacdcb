"""The table of the server API's methods, which all access to the API shares."""

from . import api_messages as m
from . import (
    channel_methods,
    client_methods,
    map_messages,
    map_methods,
    node_methods,
    publication_methods,
    receipt_methods,
)
from .api import Method
from .batches import BatchRequest, BatchRunner

__all__ = ["IN_BATCH", "METHODS"]

_TABLE = (
    Method("publish", m.PublishRequest, 0, publication_methods.publish),
    Method("broadcast", m.BroadcastRequest, 1, publication_methods.broadcast),
    Method("subscribe", m.SubscribeRequest, 11, client_methods.subscribe),
    Method("unsubscribe", m.UnsubscribeRequest, 2, client_methods.unsubscribe),
    Method("disconnect", m.DisconnectRequest, 3, client_methods.disconnect),
    Method("history", m.HistoryRequest, 6, channel_methods.history),
    Method("history_remove", m.HistoryRemoveRequest, 7, channel_methods.history_remove),
    Method("presence", m.PresenceRequest, 4, channel_methods.presence),
    Method("presence_stats", m.PresenceStatsRequest, 5, channel_methods.presence_stats),
    Method("info", m.InfoRequest, 9, node_methods.info),
    Method("rpc", m.RPCRequest, 10, node_methods.rpc),
    Method("refresh", m.RefreshRequest, 12, client_methods.refresh),
    Method("channels", m.ChannelsRequest, 8, channel_methods.channels),
    Method("map_publish", map_messages.MapPublishRequest, 33, map_methods.publish),
    Method("map_remove", map_messages.MapRemoveRequest, 34, map_methods.remove),
    Method(
        "map_read_state", map_messages.MapReadStateRequest, 35, map_methods.read_state
    ),
    Method(
        "map_read_stream",
        map_messages.MapReadStreamRequest,
        36,
        map_methods.read_stream,
    ),
    Method("map_stats", map_messages.MapStatsRequest, 37, map_methods.stats),
    Method("map_clear", map_messages.MapClearRequest, 38, map_methods.clear),
    Method(
        "shared_poll_publish",
        map_messages.SharedPollPublishRequest,
        39,
        map_methods.publish_polled,
    ),
    Method("receipts", m.ReceiptsRequest, None, receipt_methods.receipts),
)

#: In the order in which a batch searches for them (server API, "Batch").
IN_BATCH = {method.name: method for method in _TABLE}
METHODS = {
    **IN_BATCH,
    "batch": Method("batch", BatchRequest, None, BatchRunner(IN_BATCH).run),
}

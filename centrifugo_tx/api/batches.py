"""Batches of server API requests (server API, "Batch")."""

from .api_messages import (
    BroadcastRequest,
    ChannelsRequest,
    DisconnectRequest,
    HistoryRemoveRequest,
    HistoryRequest,
    InfoRequest,
    PresenceRequest,
    PresenceStatsRequest,
    PublishRequest,
    RefreshRequest,
    Request,
    RPCRequest,
    SubscribeRequest,
    UnsubscribeRequest,
)
from .map_messages import (
    MapClearRequest,
    MapPublishRequest,
    MapReadStateRequest,
    MapReadStreamRequest,
    MapRemoveRequest,
    MapStatsRequest,
    SharedPollPublishRequest,
)

__all__ = ["BatchRequest", "Command"]


class Command(Request, frozen=True):
    """One command of a batch: the first member that is set, in this order, is run.

    See server API, "Batch".
    """

    publish: PublishRequest | None = None
    broadcast: BroadcastRequest | None = None
    subscribe: SubscribeRequest | None = None
    unsubscribe: UnsubscribeRequest | None = None
    disconnect: DisconnectRequest | None = None
    history: HistoryRequest | None = None
    history_remove: HistoryRemoveRequest | None = None
    presence: PresenceRequest | None = None
    presence_stats: PresenceStatsRequest | None = None
    info: InfoRequest | None = None
    rpc: RPCRequest | None = None
    refresh: RefreshRequest | None = None
    channels: ChannelsRequest | None = None
    map_publish: MapPublishRequest | None = None
    map_remove: MapRemoveRequest | None = None
    map_read_state: MapReadStateRequest | None = None
    map_read_stream: MapReadStreamRequest | None = None
    map_stats: MapStatsRequest | None = None
    map_clear: MapClearRequest | None = None
    shared_poll_publish: SharedPollPublishRequest | None = None


class BatchRequest(Request, frozen=True):
    """Several commands."""

    commands: list[Command | None] | None = None
    parallel: bool = False

"""Batches of server API requests (server API, "Batch")."""

from collections.abc import Mapping
from functools import partial
from itertools import groupby

from attrs import frozen
from twisted.internet.defer import Deferred

from ..core import waits
from ..protocol.codes import BAD_REQUEST
from . import api_messages as m
from .api import NOT_FOUND, Api, Method
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
    ReceiptsRequest,
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
from .parallel import in_parallel, in_sequence

__all__ = ["BatchRequest", "BatchRunner", "Command"]


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
    receipts: ReceiptsRequest | None = None


class BatchRequest(Request, frozen=True):
    """Several commands."""

    commands: list[Command | None] | None = None
    parallel: bool = False


#: One result or error, under its name.
_Reply = dict[str, m.Result]


@frozen
class BatchRunner:
    """Runs the commands of batches.

    :param methods: the methods of commands, in the order in which a batch searches for
        the member that is set.
    """

    methods: Mapping[str, Method]

    async def run(self, api: Api, request: BatchRequest) -> m.BatchResult:
        """Run several commands, one after another or in parallel.

        Consecutive publish commands take effect in order without waiting for each
        other, unless the broker might reorder them.  See server API, "Batch".
        """
        commands, slices = request.commands or (), api.slices()
        in_order = api.node.streams.broker.publishes_in_order

        def concurrent(command: Command | None) -> bool:
            """Whether *command* may run while another one of its kind waits."""
            publishes = command is not None and command.publish is not None
            return request.parallel or (publishes and in_order)

        replies: list[_Reply] = []
        start = partial(self._start, api)
        for together, group in groupby(commands, concurrent):
            run = in_parallel if together else in_sequence
            replies += await run(start, [*group], slices)
        return m.BatchResult(replies)

    def _start(self, api: Api, command: Command | None) -> "_Reply | Deferred[_Reply]":
        """Run one command of a batch."""
        if command is None:
            return {"error": m.Error(BAD_REQUEST.code, BAD_REQUEST.message)}
        for name, method in self.methods.items():
            request = getattr(command, name)
            if request is None:
                continue
            outcome = api.call(method, request)
            if waits(outcome):
                return outcome.addCallback(_reply, name)
            return _reply(outcome, name)
        api.count_error("unknown", str(NOT_FOUND.code))
        api.log_error("unknown", NOT_FOUND, cause="no known command in batch")
        return {"error": NOT_FOUND}


def _reply(outcome: m.Result, name: str) -> _Reply:
    return {"error" if isinstance(outcome, m.Error) else name: outcome}

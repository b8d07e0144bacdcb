"""The methods of the server API: one table for HTTP and batches."""

from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from time import perf_counter
from typing import Any, get_type_hints

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..bounded_log import BoundedLog
from ..core import Node, run_or_defer
from ..core.time_slices import RoundRobin, Slices
from ..errors import BrokerUnavailable, CentrifugoError, ReplyError
from ..options import (
    ChannelOptions,
    HistoryQuery,
    PublishOptions,
    Source,
    SubscribeOptions,
)
from ..protocol.codes import (
    BAD_REQUEST,
    FORCE_DISCONNECT,
    INTERNAL,
    NOT_AVAILABLE,
    Disconnect,
    Error,
)
from ..protocol.messages import Raw
from ..publication_format import matches_format
from . import api_messages as m
from . import map_messages, map_methods
from .api_json import payload
from .batches import BatchRequest, Command

__all__ = ["METHODS", "NOT_FOUND", "Api", "Extension", "Method"]

#: The API's counterpart of "method not found" (server API, "API errors").
NOT_FOUND = m.Error(104, "not found")

#: Channels of a broadcast, or commands of a batch, that run at the same time.
PARALLEL = 1024

#: Answers an ``rpc`` call.
Extension = Callable[[Raw], "Deferred[Raw]"]


@frozen
class Method:
    """One method: its name, its request type, and its number in legacy requests."""

    name: str
    request: type[m.Request]
    code: int | None
    call: Callable[["Api", Any], Coroutine[Any, Any, m.Result]]

    @property
    def result(self) -> type[m.Result]:
        """Return the type of the results."""
        result: type[m.Result] = get_type_hints(self.call)["return"]
        return result

    @property
    def grpc_name(self) -> str:
        """Return the name over gRPC, which messages begin with, too."""
        if self.name == "rpc":
            return "RPC"
        return "".join(part.capitalize() for part in self.name.split("_"))


@define(eq=False)
class Api:
    """The methods for backends, to which permissions of clients do not apply.

    See server API, "Methods".
    """

    node: Node
    #: The label ``protocol`` of the metrics.
    protocol: str = "http"
    extensions: dict[str, Extension] = field(factory=dict)
    _log: BoundedLog = field(init=False)
    _robin: RoundRobin = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._log = BoundedLog(Logger(), self.node.clock)
        self._robin = RoundRobin(self.node.clock)

    def slices(self) -> Slices:
        """Return slices that spread a long call over turns of the reactor."""
        return Slices(self._robin, self.node.clock)

    def call(
        self, method: Method, request: m.Request, counted: bool = True
    ) -> "m.Result | Deferred[m.Result]":
        """Run *method*; return its result or an `messages.Error`.

        A cancelled batch or broadcast starts no further command or channel, and those
        already running complete.  Other methods cannot be cancelled.

        :param counted: whether to count an error in the metrics.
        """
        began = perf_counter()
        try:
            outcome = run_or_defer(method.call(self, request))
        except Exception:
            return self._finish(Failure(), method.name, request, counted, began)
        if isinstance(outcome, Deferred):
            return outcome.addBoth(self._finish, method.name, request, counted, began)
        return self._finish(outcome, method.name, request, counted, began)

    def _finish(
        self,
        outcome: m.Result | Failure,
        name: str,
        request: m.Request,
        counted: bool,
        began: float,
    ) -> m.Result:
        if name != "batch":  # its commands are observed themselves
            self.node.metrics.histogram(
                "api_command_duration_seconds_histogram",
                protocol=self.protocol,
                method=name,
            ).observe(perf_counter() - began)
        if not isinstance(outcome, Failure):
            return outcome
        error = self._error(outcome, name, getattr(request, "channel", ""))
        if counted:
            self.count_error(name, str(error.code))
        return error

    def count_error(self, method: str, error: str) -> None:
        """Count an error: a code, or ``read_body``, ``unmarshal``, ``marshal``."""
        self.node.metrics.counter(
            "api_command_errors_total",
            protocol=self.protocol,
            method=method,
            error=error,
        ).value += 1

    def _error(self, failure: Failure, name: str, channel: str) -> m.Error:
        value = failure.value
        if isinstance(value, ReplyError):
            error = m.Error(value.error.code, value.error.message)
            self.log_error(name, error, channel=channel, cause=value.cause)
            return error
        if isinstance(value, CancelledError):
            pass  # the caller is gone
        elif isinstance(value, BrokerUnavailable):
            self.node.runtime.outage.failed(name, str(value))
        elif isinstance(value, CentrifugoError):
            self._log.warn(
                "API call failed", ("method",), method=name, cause=str(value)
            )
        else:
            self._log.failure("API call failed", failure, ("method",), method=name)
        return m.Error(INTERNAL.code, INTERNAL.message)

    def log_error(self, method: str, error: m.Error, **fields: str) -> None:
        """Log the error that a call returns, with its cause."""
        shown = {name: value for name, value in fields.items() if value}
        self._log.warn(
            "API command error",
            ("method", "code"),
            method=method,
            code=error.code,
            error=error.message,
            **shown,
        )

    # --- Publishing ------------------------------------------------------------

    async def publish(self, request: m.PublishRequest) -> m.PublishResult:
        """Publish into one channel (server API, "Publish")."""
        if not request.channel:
            raise ReplyError(BAD_REQUEST, "channel required for publish")
        data = payload(request.data, request.b64data)
        options = self.node.policy.channel(request.channel)
        if options.subscription_type not in ("", "stream"):
            raise ReplyError(BAD_REQUEST, "publish called on non-stream namespace")
        return await self._publish(request.channel, data, options, request)

    async def _publish(
        self,
        channel: str,
        data: Raw,
        options: ChannelOptions,
        request: m.PublishRequest | m.BroadcastRequest,
    ) -> m.PublishResult:
        if not matches_format(data, options.publication_data_format):
            raise ReplyError(BAD_REQUEST, "publish data validation failed")
        published = await self.node.publish(
            channel, data, _publish_options(options, request)
        )
        return m.PublishResult(published.position.offset, published.position.epoch)

    async def broadcast(self, request: m.BroadcastRequest) -> m.BroadcastResult:
        """Publish into several channels (server API, "Broadcast")."""
        if not request.channels:
            raise ReplyError(BAD_REQUEST, "channels required for broadcast")
        data = payload(request.data, request.b64data)

        async def publish_to(channel: str) -> m.PublishResponse:
            """Publish into one of the channels."""
            try:
                if not channel:
                    raise ReplyError(BAD_REQUEST, "channel required for broadcast")
                options = self.node.policy.channel(channel)
                result = await self._publish(channel, data, options, request)
            except Exception:
                error = self._error(Failure(), "broadcast_publish", channel)
                self.count_error("broadcast_publish", str(error.code))
                return m.PublishResponse(error=error)
            return m.PublishResponse(result=result)

        made = [partial(_start, publish_to, channel) for channel in request.channels]
        return m.BroadcastResult(await in_parallel(made, self.slices()))

    # --- Clients ---------------------------------------------------------------

    async def subscribe(self, request: m.SubscribeRequest) -> m.Empty:
        """Subscribe the connections of a user.

        See server API, "Subscribe and unsubscribe".
        """
        if not request.channel:
            raise ReplyError(BAD_REQUEST, "channel required for subscribe")
        info = payload(request.info, request.b64info)
        data = payload(request.data, request.b64data)
        options = self.node.policy.channel(request.channel)
        await self.node.subscribe(
            request.channel,
            _subscribe_options(options, request, info, data),
            request.user,
            request.client,
            request.session,
            request.recover_since,
        )
        return _EMPTY

    async def unsubscribe(self, request: m.UnsubscribeRequest) -> m.Empty:
        """Unsubscribe the connections of a user from a channel.

        See server API, "Subscribe and unsubscribe".
        """
        if request.channel:
            self.node.policy.channel(request.channel)
            await self.node.unsubscribe(
                request.channel, request.user, request.client, request.session
            )
        return _EMPTY

    async def disconnect(self, request: m.DisconnectRequest) -> m.Empty:
        """Close the connections of a user (server API, "Disconnect")."""
        wanted, disconnect = request.disconnect, FORCE_DISCONNECT
        if wanted is not None and wanted.code:
            disconnect = Disconnect(wanted.code, wanted.reason)
        await self.node.disconnect(
            request.user,
            request.client,
            request.session,
            disconnect,
            request.whitelist or (),
        )
        return _EMPTY

    async def refresh(self, request: m.RefreshRequest) -> m.Empty:
        """Change the expiry of a user's connections (server API, "Refresh")."""
        await self.node.refresh(
            request.user,
            request.client,
            request.session,
            request.expired,
            request.expire_at,
            request.info.copy(),
        )
        return _EMPTY

    # --- Channels --------------------------------------------------------------

    def _options_with(self, channel: str, feature: str) -> ChannelOptions:
        """Return the channel's options if it has *feature*.

        See server API, "Presence" and "History in the API".
        """
        if not channel:
            raise ReplyError(BAD_REQUEST, "channel required")
        options = self.node.policy.channel(channel)
        if not getattr(options, feature):
            raise ReplyError(NOT_AVAILABLE, _NOT_ENABLED[feature])
        return options

    async def presence(self, request: m.PresenceRequest) -> m.PresenceResult:
        """Return the subscribers of a channel."""
        self._options_with(request.channel, "presence")
        return m.PresenceResult(await self.node.presence(request.channel))

    async def presence_stats(
        self, request: m.PresenceStatsRequest
    ) -> m.PresenceStatsResult:
        """Return the number of subscribers of a channel."""
        self._options_with(request.channel, "presence")
        stats = await self.node.presence_stats(request.channel)
        return m.PresenceStatsResult(stats.num_clients, stats.num_users)

    async def history(self, request: m.HistoryRequest) -> m.HistoryResult:
        """Read a channel's stream (server API, "History in the API")."""
        options = self._options_with(request.channel, "history")
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
        found = await self.node.history(request.channel, query)
        publications = [
            m.Publication(each.data, each.info, each.offset, each.tags)
            for each in found.publications
        ]
        position = found.position
        return m.HistoryResult(publications, position.epoch, position.offset)

    async def history_remove(self, request: m.HistoryRemoveRequest) -> m.Empty:
        """Remove a channel's publications."""
        self._options_with(request.channel, "history")
        await self.node.remove_history(request.channel)
        return _EMPTY

    async def channels(self, request: m.ChannelsRequest) -> m.ChannelsResult:
        """Return the channels with subscribers (server API, "Channels")."""
        try:
            found = await self.node.channels(request.pattern)
        except ValueError:
            raise ReplyError(INTERNAL, "malformed pattern") from None
        return m.ChannelsResult(
            {name: m.ChannelInfo(count) for name, count in found.items()}
        )

    async def info(self, request: m.InfoRequest) -> m.InfoResult:
        """Return the nodes (server API, "Info")."""
        nodes = await self.node.info()
        return m.InfoResult(
            [
                m.NodeResult(
                    uid=node.uid,
                    name=node.name,
                    version=node.version,
                    num_clients=node.num_clients,
                    num_users=node.num_users,
                    num_channels=node.num_channels,
                    num_subs=node.num_subs,
                    uptime=node.uptime,
                    metrics=None
                    if node.metrics is None
                    else m.Metrics(
                        self.node.options.metrics_interval, dict(node.metrics)
                    ),
                )
                for node in nodes
            ]
        )

    async def rpc(self, request: m.RPCRequest) -> m.RPCResult:
        """Call an extension (server API, "RPC")."""
        if not request.method:
            raise ReplyError(BAD_REQUEST, "rpc method required")
        extension = self.extensions.get(request.method)
        if extension is None:
            error = Error(NOT_FOUND.code, NOT_FOUND.message)
            raise ReplyError(error, "unknown rpc method")
        return m.RPCResult(await extension(request.params))

    async def batch(self, request: BatchRequest) -> m.BatchResult:
        """Run several commands, one after another or in parallel.

        See server API, "Batch".
        """
        commands, slices = request.commands or (), self.slices()
        if request.parallel:
            made = [partial(self._command, each) for each in commands]
            return m.BatchResult(await in_parallel(made, slices))
        replies = []
        for command in commands:
            if slices.over():
                await slices.next()
            reply = self._command(command)
            replies.append(
                await _shielded(reply) if isinstance(reply, Deferred) else reply
            )
        return m.BatchResult(replies)

    def _command(self, command: Command | None) -> "_Reply | Deferred[_Reply]":
        """Run one command of a batch."""
        if command is None:
            return {"error": m.Error(BAD_REQUEST.code, BAD_REQUEST.message)}
        for name, method in IN_BATCH.items():
            request = getattr(command, name)
            if request is None:
                continue
            outcome = self.call(method, request)
            if isinstance(outcome, Deferred):
                return outcome.addCallback(partial(_reply, name))
            return _reply(name, outcome)
        self.count_error("unknown", str(NOT_FOUND.code))
        self.log_error("unknown", NOT_FOUND, cause="no known command in batch")
        return {"error": NOT_FOUND}


_EMPTY = m.Empty()
_NOT_ENABLED = {
    "history": "history is not enabled for channel",
    "presence": "presence is not enabled for channel",
}

#: One result or error, under its name.
_Reply = dict[str, m.Result]


def _reply(name: str, outcome: m.Result) -> _Reply:
    return {"error" if isinstance(outcome, m.Error) else name: outcome}


def _shielded(deferred: "Deferred[_Reply]") -> "Deferred[_Reply]":
    """Return a Deferred with the result of *deferred* that does not cancel it.

    A command that has begun finishes, because the effect of a cancelled command would
    be unknown.
    """
    result: Deferred[_Reply] = Deferred()
    deferred.chainDeferred(result)
    return result


def _start(work: Callable[[str], Coroutine[Any, Any, Any]], channel: str) -> Any:
    return run_or_defer(work(channel))


async def in_parallel(makers: Sequence[Callable[[], Any]], slices: Slices) -> list[Any]:
    """Call all *makers*, with at most `PARALLEL` pending; return results in order.

    A maker returns a result, or a Deferred that fires with one and does not fail.
    """
    results: list[Any] = [None] * len(makers)
    under_way = 0
    ended: Deferred[None] | None = None

    def store_result(result: Any, index: int) -> None:
        """Store a result, and let the next maker start."""
        nonlocal under_way, ended
        results[index] = result
        under_way -= 1
        if ended is not None:
            waiting, ended = ended, None
            waiting.callback(None)

    for index, make in enumerate(makers):
        if slices.over():
            await slices.next()
        result = make()
        if not isinstance(result, Deferred):
            results[index] = result
            continue
        under_way += 1
        result.addCallback(store_result, index)
        while under_way >= PARALLEL:
            ended = Deferred()
            await ended
    while under_way:
        ended = Deferred()
        await ended
    return results


def _publish_options(
    options: ChannelOptions, request: m.PublishRequest | m.BroadcastRequest
) -> PublishOptions:
    keep = not request.skip_history
    return PublishOptions(
        history_size=options.history_size if keep else 0,
        history_ttl=options.history_ttl if keep else 0.0,
        history_meta_ttl=options.history_meta_ttl,
        tags=request.tags or {},
        idempotency_key=request.idempotency_key,
        delta=request.delta or options.delta_publish,
        version=request.version,
        version_epoch=request.version_epoch,
    )


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
        positioned=options.force_positioning,
        recoverable=options.force_recovery,
        history_meta_ttl=options.history_meta_ttl,
        source=Source.SERVER_API,
        presence_maps=options.presence_maps,
    )
    if request.override is None:
        return subscription
    return request.override.apply(subscription)


_TABLE = (
    Method("publish", m.PublishRequest, 0, Api.publish),
    Method("broadcast", m.BroadcastRequest, 1, Api.broadcast),
    Method("subscribe", m.SubscribeRequest, 11, Api.subscribe),
    Method("unsubscribe", m.UnsubscribeRequest, 2, Api.unsubscribe),
    Method("disconnect", m.DisconnectRequest, 3, Api.disconnect),
    Method("history", m.HistoryRequest, 6, Api.history),
    Method("history_remove", m.HistoryRemoveRequest, 7, Api.history_remove),
    Method("presence", m.PresenceRequest, 4, Api.presence),
    Method("presence_stats", m.PresenceStatsRequest, 5, Api.presence_stats),
    Method("info", m.InfoRequest, 9, Api.info),
    Method("rpc", m.RPCRequest, 10, Api.rpc),
    Method("refresh", m.RefreshRequest, 12, Api.refresh),
    Method("channels", m.ChannelsRequest, 8, Api.channels),
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
)

#: In the order in which a batch searches for them (server API, "Batch").
IN_BATCH = {method.name: method for method in _TABLE}
METHODS = {**IN_BATCH, "batch": Method("batch", BatchRequest, None, Api.batch)}

"""The client's commands (client protocol, "Commands"): one handler each.

A handler returns the result of the reply, a `ReplyThen` if something must follow the
reply in the same turn, or None if there is no reply.  If it has to wait, it returns a
coroutine or a Deferred of these.  It raises `ReplyError` or `DisconnectClient`.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from attrs import define, field
from msgspec.structs import replace
from twisted.internet.defer import Deferred

from ...errors import DisconnectClient, ReplyError
from ...options import PresenceStats, Published, PublishOptions
from ...protocol.codes import MALFORMED, NOT_AVAILABLE, NOT_SERVED
from ...protocol.messages import (
    HistoryRequest,
    HistoryResult,
    PingRequest,
    PingResult,
    PresenceRequest,
    PresenceResult,
    PresenceStatsRequest,
    PresenceStatsResult,
    PublishRequest,
    PublishResult,
    RPCRequest,
    RPCResult,
    SendRequest,
    checked_info,
)
from ...protocol.payloads import Raw, checked, detached
from ..channel.streams import Streams
from ..run_or_defer import when_known
from ..runtime import Runtime
from .client import Client, Handler, Sessions
from .connect_command import ConnectCommand
from .outcome import Answer
from .refresh_commands import refresh, sub_refresh
from .services import Services
from .subscription_commands import Kind, SubscriptionCommands

__all__ = ["Commands"]

_PUBLISHED = PublishResult()


@define(eq=False)
class Commands:
    """Handles the commands of all clients of a node.

    Kinds of subscription and handlers of publish commands are found by the protocol's
    type number; `register` adds those of maps and shared polls.
    """

    _sessions: Sessions
    _make_room: Callable[[str, str, str], Coroutine[Deferred[Any], Any, None]]
    _subscriptions: SubscriptionCommands = field(init=False)
    _publishers: dict[int, Handler] = field(factory=dict, init=False)
    _runtime: Runtime = field(init=False)
    _services: Services = field(init=False)
    _streams: Streams = field(init=False)

    def __attrs_post_init__(self) -> None:
        sessions = self._sessions
        self._runtime, self._services = sessions.runtime, sessions.services
        self._streams = self._services.streams
        self._subscriptions = SubscriptionCommands(self._runtime, {0: sessions.streams})
        sessions.methods.handlers = {
            "connect": ConnectCommand(sessions, self._make_room).handle,
            "ping": self.ping,
            "subscribe": self._subscriptions.subscribe,
            "unsubscribe": self._subscriptions.unsubscribe,
            "publish": self.publish,
            "presence": self.presence,
            "presence_stats": self.presence_stats,
            "history": self.history,
            "rpc": self.rpc,
            "send": self.send,
            "refresh": refresh,
            "sub_refresh": sub_refresh,
        }

    def register(self, type: int, kind: Kind, publish: Handler | None = None) -> None:
        """Handle subscriptions of *type* by *kind*, and publications by *publish*."""
        self._subscriptions.kinds[type] = kind
        if publish is not None:
            self._publishers[type] = publish

    def ping(self, client: Client, request: PingRequest) -> PingResult:
        """Answer a ping of protocol v1; in v2 the server pings.

        See client protocol, "Ping and pong".
        """
        if not client.speaks_v1:
            raise DisconnectClient(MALFORMED, "ping is a command of protocol v1")
        return PingResult()

    def publish(self, client: Client, request: PublishRequest) -> Answer:
        """Publish for the client, if the policy permits it."""
        if request.type:
            typed = self._publishers.get(request.type)
            if typed is None:
                raise ReplyError(NOT_AVAILABLE, "unknown type of publication")
            return typed(client, request)
        if not request.channel:
            raise DisconnectClient(MALFORMED, "channel required for publish")
        decided = self._runtime.policy.publish(client, request)
        return when_known(decided, self._publish, client, request)

    def _publish(
        self, options: PublishOptions | None, client: Client, request: PublishRequest
    ) -> "PublishResult | Deferred[PublishResult]":
        if options is None:
            return _PUBLISHED
        name, given = request.channel, options.data
        data = detached(request.data) if given is None else checked(given)
        if options.info is None:
            options = client.as_publisher(options, name)
        else:
            options = replace(options, info=checked_info(options.info))
        return when_known(self._streams.publish(name, data, options), _published)

    def presence(self, client: Client, request: PresenceRequest) -> Answer:
        """Return the clients in a channel."""
        if not request.channel:
            raise DisconnectClient(MALFORMED, "channel required for presence")
        permitted = self._runtime.policy.presence(client, request.channel)
        return when_known(permitted, self._presence, request.channel)

    def _presence(
        self, _: None, channel: str
    ) -> "PresenceResult | Deferred[PresenceResult]":
        return when_known(self._services.presence.clients(channel), PresenceResult)

    def presence_stats(self, client: Client, request: PresenceStatsRequest) -> Answer:
        """Return the numbers of clients and users in a channel."""
        if not request.channel:
            raise DisconnectClient(MALFORMED, "channel required for presence stats")
        permitted = self._runtime.policy.presence(client, request.channel)
        return when_known(permitted, self._presence_stats, request.channel)

    def _presence_stats(
        self, _: None, channel: str
    ) -> "PresenceStatsResult | Deferred[PresenceStatsResult]":
        return when_known(self._services.presence.stats(channel), _stats)

    async def history(self, client: Client, request: HistoryRequest) -> HistoryResult:
        """Read a channel's stream (client protocol, "History")."""
        if not request.channel:
            raise DisconnectClient(MALFORMED, "channel required for history")
        query = await self._runtime.policy.history(client, request)
        found = await self._streams.history(request.channel, query)
        client.check_size(found.publications)
        position = found.position
        return HistoryResult(found.publications, position.epoch, position.offset)

    def rpc(self, client: Client, request: RPCRequest) -> Answer:
        """Call a method of the application."""
        return when_known(self._runtime.policy.rpc(client, request), _called)

    def send(self, client: Client, request: SendRequest) -> None:
        """Pass a message to the application.

        In protocol v1 a message without a receiver is dropped silently (client protocol
        v1, "Differences").
        """
        try:
            self._runtime.policy.message(client, request.data)
        except DisconnectClient as error:
            if not client.speaks_v1 or error.disconnect is not NOT_SERVED:
                raise


def _published(published: Published) -> PublishResult:
    return _PUBLISHED


def _stats(stats: PresenceStats) -> PresenceStatsResult:
    return PresenceStatsResult(stats.num_clients, stats.num_users)


def _called(answer: Raw) -> RPCResult:
    return RPCResult(checked(answer))

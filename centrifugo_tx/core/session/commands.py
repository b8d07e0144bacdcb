"""The client's commands (client protocol, "Commands"): one handler each.

A handler returns the result of the reply, a `ReplyThen` if something must follow the
reply in the same turn, or None if there is no reply.  If it has to wait, it returns a
coroutine or a Deferred of these.  It raises `ReplyError` or `DisconnectClient`.
"""

from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol
from uuid import uuid4

from attrs import define, field
from msgspec.structs import replace
from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.python.failure import Failure

from ...errors import DisconnectClient, ReplyError
from ...options import (
    Admission,
    PresenceStats,
    Published,
    PublishOptions,
    Source,
    SubscribeOptions,
)
from ...protocol.codes import (
    ALREADY_SUBSCRIBED,
    BAD_REQUEST,
    CHANNEL_LIMIT,
    CONNECTION_LIMIT,
    EXPIRED,
    INSUFFICIENT_STATE,
    LIMIT_EXCEEDED,
    MALFORMED,
    NOT_AVAILABLE,
    NOT_SERVED,
    PERMISSION_DENIED,
)
from ...protocol.messages import (
    ClientInfo,
    ConnectRequest,
    ConnectResult,
    HistoryRequest,
    HistoryResult,
    PingRequest,
    PingResult,
    PresenceRequest,
    PresenceResult,
    PresenceStatsRequest,
    PresenceStatsResult,
    Publication,
    PublishRequest,
    PublishResult,
    RefreshRequest,
    RefreshResult,
    RPCRequest,
    RPCResult,
    SendRequest,
    SubRefreshRequest,
    SubRefreshResult,
    SubscribeRequest,
    SubscribeResult,
    UnsubscribeRequest,
    UnsubscribeResult,
    checked_info,
)
from ...protocol.payloads import Raw, checked, detached
from ..channel.streams import Streams
from ..run_or_defer import run_or_defer, when_known
from ..runtime import Runtime
from . import expiry
from .client import Client, Handler, Sessions
from .outcome import Answer, Outcome, ReplyThen
from .services import Services
from .subscription import Subscriber, Subscription

__all__ = ["Commands", "Kind"]

#: The most server-side subscriptions of one connect to start at the same time.
AT_ONCE = 32

_NOTHING_KNOWN = SubscribeRequest()
_PUBLISHED = PublishResult()


class Kind(Protocol):
    """One kind of subscription, registered by the protocol's type number."""

    def open(self, client: Subscriber, request: SubscribeRequest) -> Subscription:
        """Return a new subscription that has not started.

        :raises ReplyError: the request cannot start a subscription.
        """

    async def admit(
        self,
        subscription: Subscription,
        options: SubscribeOptions,
        request: SubscribeRequest,
    ) -> Outcome:
        """Start a subscription that the policy has permitted."""

    def resumes(self, known: Subscription, request: SubscribeRequest) -> bool:
        """Whether *request* continues the subscription *known*."""

    async def resume(self, known: Subscription, request: SubscribeRequest) -> Outcome:
        """Continue the subscription *known*."""


@define(eq=False)
class Commands:
    """Handles the commands of all clients of a node.

    Kinds of subscription and handlers of publish commands are found by the protocol's
    type number; `register` adds those of maps and shared polls.
    """

    _sessions: Sessions
    _make_room: Callable[[str, str, str], Coroutine[Deferred[Any], Any, None]]
    _kinds: dict[int, Kind] = field(init=False)
    _publishers: dict[int, Handler] = field(factory=dict, init=False)
    _runtime: Runtime = field(init=False)
    _services: Services = field(init=False)
    _streams: Streams = field(init=False)

    def __attrs_post_init__(self) -> None:
        sessions = self._sessions
        self._runtime, self._services = sessions.runtime, sessions.services
        self._streams = self._services.streams
        self._kinds = {0: sessions.streams}
        sessions.handlers = (
            ("connect", self.connect),
            ("ping", self.ping),
            ("subscribe", self.subscribe),
            ("unsubscribe", self.unsubscribe),
            ("publish", self.publish),
            ("presence", self.presence),
            ("presence_stats", self.presence_stats),
            ("history", self.history),
            ("rpc", self.rpc),
            ("send", self.send),
            ("refresh", self.refresh),
            ("sub_refresh", self.sub_refresh),
        )

    def register(self, type: int, kind: Kind, publish: Handler | None = None) -> None:
        """Handle subscriptions of *type* by *kind*, and publications by *publish*."""
        self._kinds[type] = kind
        if publish is not None:
            self._publishers[type] = publish

    async def connect(self, client: Client, request: ConnectRequest) -> ReplyThen:
        """Authenticate and subscribe the client (client protocol, "Connect")."""
        runtime, options = self._runtime, self._runtime.options
        client.begin_connect()
        admission: Admission = await runtime.policy.connect(client, request)
        client.ensure_open()
        client.user = admission.user
        client.info = ClientInfo(admission.user, client.id, checked(admission.info))
        client.meta = admission.meta
        client.server_side_refresh = admission.server_side_refresh
        client.emulated_headers = admission.emulated_headers
        if admission.exclusive:
            await self._make_room(client.user, client.id, admission.exclusive)
            client.ensure_open()
        subs = {name: wanted for name, wanted in admission.subs.items() if name}
        if len(subs) > options.channel_limit:
            raise DisconnectClient(
                CHANNEL_LIMIT,
                "maximum limit of channels per client reached",
                limit=options.channel_limit,
            )
        limit = options.user_connection_limit
        if client.user and 0 < limit <= self._sessions.connections.num_of_user(
            client.user
        ):
            raise DisconnectClient(
                CONNECTION_LIMIT, "limit of connections for user reached", limit=limit
            )
        now = runtime.clock.seconds()
        if 0 < admission.expire_at <= now:
            raise ReplyError(EXPIRED, "connection expiration must be greater than now")
        info = client.transport.info
        if info.emulated or info.unidirectional:
            client.session = str(uuid4())
        client.register(request.name, request.version)
        try:
            begun = await self._begin_all(client, subs, request)
            results, then = _activate_all(begun, request)
        except BaseException:
            client.unregister()
            raise
        expires = bool(admission.expire_at) and not admission.server_side_refresh
        deadlines = client.deadlines
        client.connected()

        def after() -> None:
            """Publish joins and start timers, after the reply is sent."""
            then()
            if not client.closed:
                deadlines.connected(admission.expire_at)
            client.connect_finished()

        result = ConnectResult(
            client=client.id,
            version=options.version,
            expires=expires,
            ttl=client.ttl(admission.expire_at) if expires else 0,
            data=checked(admission.data),
            subs=results,
            ping=int(options.ping_interval) if deadlines.pings else 0,
            pong=deadlines.pongs,
            session=client.session,
            node=runtime.id if info.emulated else "",
            time=int(now * 1000) if options.include_server_time else 0,
        )
        return ReplyThen(result, after)

    async def _begin_all(
        self, client: Client, subs: dict[str, SubscribeOptions], request: ConnectRequest
    ) -> list[Subscription]:
        """Start the server-side subscriptions in slices, `AT_ONCE` at the same time.

        :raises DisconnectClient: 3008, together they recover more than
            ``queue_max_size``.
        """
        begun: list[Subscription] = []
        found: list[Publication] = []
        left, queue = deque(subs.items()), client.queue
        while left:
            if queue.allowance <= 0:
                await self._runtime.scheduler.wait(queue)
                client.ensure_open()
            first, waiting = len(begun), []
            while left and queue.allowance > 0 and len(begun) - first < AT_ONCE:
                name, options = left.popleft()
                subscription = self._sessions.streams.open_server_side(client, name)
                client.subscriptions[name] = subscription
                begun.append(subscription)
                queue.allowance -= 1
                result = run_or_defer(
                    subscription.begin(options, _known(request, name))
                )
                if isinstance(result, Deferred):
                    waiting.append(result)
            if waiting:
                try:
                    await gatherResults(waiting, consumeErrors=True)
                except FirstError as error:
                    failure: Failure = error.subFailure
                    failure.raiseException()
                client.ensure_open()
            for subscription in begun[first:]:
                found += subscription.found
            client.check_size(found)
        return begun

    def ping(self, client: Client, request: PingRequest) -> PingResult:
        """Answer a ping of protocol v1; in v2 the server pings.

        See client protocol, "Ping and pong".
        """
        if not client.speaks_v1:
            raise DisconnectClient(MALFORMED, "ping is a command of protocol v1")
        return PingResult()

    async def subscribe(self, client: Client, request: SubscribeRequest) -> Outcome:
        """Subscribe the client to a channel (client protocol, "Subscribe")."""
        name, options = request.channel, self._runtime.options
        if not name:
            raise DisconnectClient(MALFORMED, "channel required for subscribe")
        if len(name.encode()) > options.channel_max_length:
            raise ReplyError(BAD_REQUEST, "channel too long")
        kind = self._kinds.get(request.type)
        if kind is None:
            raise ReplyError(NOT_AVAILABLE, "unknown type of subscription")
        known = client.subscriptions.get(name)
        if known is not None:
            if kind.resumes(known, request):
                return await kind.resume(known, request)
            raise ReplyError(ALREADY_SUBSCRIBED, "client already subscribed on channel")
        if len(client.subscriptions) >= options.channel_limit:
            client.forget_ended()
        if len(client.subscriptions) >= options.channel_limit:
            raise ReplyError(
                LIMIT_EXCEEDED,
                "maximum limit of channels per client reached",
                limit=options.channel_limit,
            )
        subscription = client.subscriptions[name] = kind.open(client, request)
        try:
            granted: SubscribeOptions
            granted = await self._runtime.policy.subscribe(client, request)
            client.ensure_open()
            if 0 < granted.expire_at <= self._runtime.clock.seconds():
                raise ReplyError(
                    EXPIRED, "subscription expiration must be greater than now"
                )
            return await kind.admit(subscription, granted, request)
        except BaseException:
            client.forget(subscription)
            raise

    async def unsubscribe(
        self, client: Client, request: UnsubscribeRequest
    ) -> UnsubscribeResult:
        """Unsubscribe the client, also from a server-side subscription.

        See client protocol, "Unsubscribe".
        """
        if not request.channel:
            raise DisconnectClient(MALFORMED, "channel required for unsubscribe")
        subscription = client.subscriptions.get(request.channel)
        while subscription is not None:
            await subscription.when_subscribe_finished()
            client.forget(subscription)
            # The server may have replaced the subscription meanwhile.
            subscription = client.subscriptions.get(request.channel)
        return UnsubscribeResult()

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

    async def refresh(self, client: Client, request: RefreshRequest) -> RefreshResult:
        """Extend the connection by a new token.

        See client protocol, "Connection expiry".
        """
        if not request.token or client.server_side_refresh:
            raise DisconnectClient(
                MALFORMED, "token required to refresh, and client-side refresh"
            )
        extended = await self._runtime.policy.refresh(client, request)
        client.ensure_open()
        if extended.channels is not None and _differ(client, extended.channels):
            raise DisconnectClient(
                INSUFFICIENT_STATE, "refresh token changes server-side subscriptions"
            )
        expiry.extend(client, extended)
        expires = bool(extended.expire_at)
        return RefreshResult(
            client=client.id,
            version=self._runtime.options.version,
            expires=expires,
            ttl=client.ttl(extended.expire_at) if expires else 0,
        )

    async def sub_refresh(self, client: Client, request: SubRefreshRequest) -> Outcome:
        """Extend a subscription by a new token.

        See client protocol, "Subscription expiry".  The channel may be missing, as in
        centrifuge-python; then the token names it.
        """
        name = request.channel
        if request.type and name:
            known = client.subscriptions.get(name)
            if known is not None and known.active:
                outcome = await known.kind.sub_refresh(known, request)
                if outcome is not None:
                    return outcome
        if name:
            _refreshable(client, name)
        if not request.token:
            if not name:
                raise DisconnectClient(MALFORMED, "channel required for sub refresh")
            raise ReplyError(BAD_REQUEST, "subscription refresh token required")
        extended = await self._runtime.policy.sub_refresh(client, request)
        client.ensure_open()
        if not name:
            name = next(iter(extended.channels or ()), "")
        subscription = _refreshable(client, name)
        expiry.extend_subscription(subscription, extended)
        subscription.update_info(extended.info)  # possibly with no info any more
        expires = bool(extended.expire_at)
        return SubRefreshResult(
            expires=expires, ttl=client.ttl(extended.expire_at) if expires else 0
        )


def _published(published: Published) -> PublishResult:
    return _PUBLISHED


def _stats(stats: PresenceStats) -> PresenceStatsResult:
    return PresenceStatsResult(stats.num_clients, stats.num_users)


def _called(answer: Raw) -> RPCResult:
    return RPCResult(checked(answer))


def _activate_all(
    begun: Sequence[Subscription], request: ConnectRequest
) -> tuple[dict[str, SubscribeResult], Callable[[], None]]:
    results, follow_ups = {}, []
    for subscription in begun:
        name = subscription.name
        results[name], follow_up = subscription.activate(_known(request, name))
        follow_ups.append(follow_up)

    def then() -> None:
        for follow_up in follow_ups:
            follow_up()

    return results, then


def _known(request: ConnectRequest, name: str) -> SubscribeRequest:
    """Return the recovery fields of a server-side subscription in a connect request.

    See client protocol, "Requests".
    """
    given = request.subs.get(name)
    if given is None:
        return _NOTHING_KNOWN
    return SubscribeRequest(
        recover=given.recover, epoch=given.epoch, offset=given.offset, delta=given.delta
    )


def _differ(client: Client, channels: frozenset[str]) -> bool:
    """Whether a new token grants other channels than the old one."""
    by_token = {
        name
        for name, subscription in client.subscriptions.items()
        if subscription.options.source == Source.CONNECTION_TOKEN
    }
    return bool(by_token - channels or channels - client.subscriptions.keys())


def _refreshable(client: Client, name: str) -> Subscription:
    subscription = client.subscriptions.get(name)
    if subscription is None or not subscription.active:
        raise ReplyError(PERMISSION_DENIED, "client not subscribed to channel")
    if subscription.options.server_side_refresh or subscription.server_side:
        raise DisconnectClient(MALFORMED, "server-side sub refresh expected")
    return subscription

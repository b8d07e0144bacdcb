"""The client's commands (client protocol, "Commands"): one coroutine each.

A handler returns the result to answer with, `Told` when something must follow the
answer in the same turn, or None when there is no answer.  It raises `ReplyError`
or `DisconnectClient`.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from uuid import uuid4

from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.python.failure import Failure

from ...errors import DisconnectClient, ReplyError
from ...options import Admission, Source, SubscribeOptions
from ...protocol.codes import (
    ALREADY_SUBSCRIBED,
    BAD_REQUEST,
    CHANNEL_LIMIT,
    CONNECTION_LIMIT,
    EXPIRED,
    INSUFFICIENT_STATE,
    LIMIT_EXCEEDED,
    MALFORMED,
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
)
from ..driver import drive
from ..keyed import map_commands as maps
from ..keyed import poll_commands as polls
from ..keyed.poll_subscription import PollSubscription
from . import expiry
from .subscription import Subscription
from .told import Told, still_there

if TYPE_CHECKING:
    from .client import Client

__all__ = ["Told"]

#: How many server-side subscriptions of one connect are begun at once.
AT_ONCE = 32

_NOTHING_KNOWN = SubscribeRequest()


async def connect(client: "Client", request: ConnectRequest) -> Told:
    """Find out who it is, subscribe it, and let it in (client protocol, "Connect")."""
    node, options = client.node, client.node.options
    client.begin_connect()
    admission: Admission = await node.policy.connect(client, request)
    still_there(client)
    client.user = admission.user
    client.info = ClientInfo(admission.user, client.id, admission.info)
    client.meta = admission.meta
    client.server_side_refresh = admission.server_side_refresh
    if admission.exclusive:
        await node.make_room(client, admission.exclusive)
        still_there(client)
    subs = {name: wanted for name, wanted in admission.subs.items() if name}
    if len(subs) > options.channel_limit:
        raise DisconnectClient(
            CHANNEL_LIMIT,
            "maximum limit of channels per client reached",
            limit=options.channel_limit,
        )
    limit = options.user_connection_limit
    if client.user and 0 < limit <= node.connections.of_user(client.user):
        raise DisconnectClient(
            CONNECTION_LIMIT, "limit of connections for user reached", limit=limit
        )
    now = node.clock.seconds()
    if 0 < admission.expire_at <= now:
        raise ReplyError(EXPIRED, "connection expiration must be greater than now")
    info = client.transport.info
    if info.emulated or info.unidirectional:
        client.session = str(uuid4())
    client.enter(request.name, request.version)
    try:
        begun = await _begin_all(client, subs, request)
        results, then = _settle_all(begun, request)
    except BaseException:
        client.roll_back()
        raise
    expires = bool(admission.expire_at) and not admission.server_side_refresh
    deadlines = client.deadlines
    client.connected()

    def after() -> None:
        """Publish joins and start timers, which come after the reply."""
        then()
        if not client.closed:
            deadlines.connected(admission.expire_at)
        client.connect_over()

    result = ConnectResult(
        client=client.id,
        version=options.version,
        expires=expires,
        ttl=client.ttl(admission.expire_at) if expires else 0,
        data=admission.data,
        subs=results,
        ping=int(options.ping_interval) if deadlines.pings else 0,
        pong=deadlines.pongs,
        session=client.session,
        node=node.id if info.emulated else "",
        time=int(now * 1000) if options.include_server_time else 0,
    )
    return Told(result, after)


async def _begin_all(
    client: "Client", subs: dict[str, SubscribeOptions], request: ConnectRequest
) -> list[Subscription]:
    """Begin the server-side subscriptions, up to `AT_ONCE` at once, and in slices.

    :raises DisconnectClient: 3008, together they bring more than a queue holds.
    """
    begun: list[Subscription] = []
    found: list[Publication] = []
    left = deque(subs.items())
    while left:
        if client.allowance <= 0:
            await client.node.scheduler.wait(client)
            still_there(client)
        first, waiting = len(begun), []
        while left and client.allowance > 0 and len(begun) - first < AT_ONCE:
            name, options = left.popleft()
            subscription = Subscription(client, name, server_side=True)
            client.subscriptions[name] = subscription
            begun.append(subscription)
            client.allowance -= 1
            result = drive(subscription.begin(options, _known(request, name)))
            if isinstance(result, Deferred):
                waiting.append(result)
        if waiting:
            try:
                await gatherResults(waiting, consumeErrors=True)
            except FirstError as error:
                failure: Failure = error.subFailure
                failure.raiseException()
            still_there(client)
        for subscription in begun[first:]:
            found += subscription.found
        client.check_size(found)
    return begun


def _settle_all(
    begun: Sequence[Subscription], request: ConnectRequest
) -> tuple[dict[str, SubscribeResult], Callable[[], None]]:
    results, follow_ups = {}, []
    for subscription in begun:
        name = subscription.name
        results[name], follow_up = subscription.settle(_known(request, name))
        follow_ups.append(follow_up)

    def then() -> None:
        for follow_up in follow_ups:
            follow_up()

    return results, then


def _known(request: ConnectRequest, name: str) -> SubscribeRequest:
    """Return what counts of what a client says of a server-side subscription.

    See client protocol, "Requests".
    """
    said = request.subs.get(name)
    if said is None:
        return _NOTHING_KNOWN
    return SubscribeRequest(
        recover=said.recover, epoch=said.epoch, offset=said.offset, delta=said.delta
    )


async def ping(client: "Client", request: PingRequest) -> PingResult:
    """Answer in protocol v1; in v2 it is the server that pings.

    See client protocol, "Ping and pong".
    """
    if not client.speaks_v1:
        raise DisconnectClient(MALFORMED, "ping is of protocol v1")
    return PingResult()


async def subscribe(
    client: "Client", request: SubscribeRequest
) -> Told | SubscribeResult:
    """Subscribe the client to a channel (client protocol, "Subscribe")."""
    if request.type:
        if request.type == polls.SHARED_POLL:
            return await polls.subscribe(client, request)
        return await maps.subscribe(client, request)
    node, name = client.node, request.channel
    if not name or request.delta not in ("", "fossil"):
        raise DisconnectClient(
            MALFORMED, "channel required for subscribe, and a known delta type"
        )
    if len(name.encode()) > node.options.channel_max_length:
        raise ReplyError(BAD_REQUEST, "channel too long")
    if name in client.subscriptions:
        raise ReplyError(ALREADY_SUBSCRIBED, "client already subscribed on channel")
    if len(client.subscriptions) >= node.options.channel_limit:
        raise ReplyError(
            LIMIT_EXCEEDED,
            "maximum limit of channels per client reached",
            limit=node.options.channel_limit,
        )
    subscription = client.subscriptions[name] = Subscription(client, name)
    try:
        options: SubscribeOptions = await node.policy.subscribe(client, request)
        still_there(client)
        if 0 < options.expire_at <= node.clock.seconds():
            raise ReplyError(
                EXPIRED, "subscription expiration must be greater than now"
            )
        await subscription.begin(options, request)
        result, follow_up = subscription.settle(request)
    except BaseException:
        client.forget(subscription)
        raise
    return Told(result, follow_up)


async def unsubscribe(
    client: "Client", request: UnsubscribeRequest
) -> UnsubscribeResult:
    """Take the client out of a channel, whoever put it in.

    See client protocol, "Unsubscribe".
    """
    if not request.channel:
        raise DisconnectClient(MALFORMED, "channel required for unsubscribe")
    subscription = client.subscriptions.get(request.channel)
    while subscription is not None:
        await subscription.decided()
        client.forget(subscription)
        # The server may have put another one in its place meanwhile.
        subscription = client.subscriptions.get(request.channel)
    return UnsubscribeResult()


async def publish(client: "Client", request: PublishRequest) -> PublishResult:
    """Publish for the client, if the policy lets it."""
    if request.type == maps.MAP:
        return await maps.publish(client, request)
    node, name = client.node, request.channel
    if not name:
        raise DisconnectClient(MALFORMED, "channel required for publish")
    options = await node.policy.publish(client, request)
    if options is not None:
        data = request.data.copy() if options.data is None else options.data
        if options.info is None:
            options = client.as_publisher(options, name)
        await node.publish(name, data, options)
    return PublishResult()


async def presence(client: "Client", request: PresenceRequest) -> PresenceResult:
    """Tell who is in a channel."""
    if not request.channel:
        raise DisconnectClient(MALFORMED, "channel required for presence")
    await client.node.policy.presence(client, request.channel)
    return PresenceResult(await client.node.presence(request.channel))


async def presence_stats(
    client: "Client", request: PresenceStatsRequest
) -> PresenceStatsResult:
    """Tell how many are in a channel."""
    if not request.channel:
        raise DisconnectClient(MALFORMED, "channel required for presence stats")
    await client.node.policy.presence(client, request.channel)
    stats = await client.node.presence_stats(request.channel)
    return PresenceStatsResult(stats.num_clients, stats.num_users)


async def history(client: "Client", request: HistoryRequest) -> HistoryResult:
    """Read a channel's stream (client protocol, "History")."""
    if not request.channel:
        raise DisconnectClient(MALFORMED, "channel required for history")
    query = await client.node.policy.history(client, request)
    found = await client.node.history(request.channel, query)
    client.check_size(found.publications)
    position = found.position
    return HistoryResult(found.publications, position.epoch, position.offset)


async def rpc(client: "Client", request: RPCRequest) -> RPCResult:
    """Let the application answer."""
    return RPCResult(await client.node.policy.rpc(client, request))


async def send(client: "Client", request: SendRequest) -> None:
    """Hand a message to the application.

    In protocol v1 nobody is told when there is none (client protocol v1,
    "Differences").
    """
    try:
        client.node.policy.message(client, request.data)
    except DisconnectClient as error:
        if not client.speaks_v1 or error.disconnect is not NOT_SERVED:
            raise


async def refresh(client: "Client", request: RefreshRequest) -> RefreshResult:
    """Let the connection live on by a new token.

    See client protocol, "Connection expiry".
    """
    if not request.token or client.server_side_refresh:
        raise DisconnectClient(
            MALFORMED, "token required to refresh, and client-side refresh"
        )
    prolonged = await client.node.policy.refresh(client, request)
    still_there(client)
    if prolonged.channels is not None and _differ(client, prolonged.channels):
        raise DisconnectClient(
            INSUFFICIENT_STATE, "refresh token changes server-side subscriptions"
        )
    expiry.prolong(client, prolonged)
    expires = bool(prolonged.expire_at)
    return RefreshResult(
        client=client.id,
        version=client.node.options.version,
        expires=expires,
        ttl=client.ttl(prolonged.expire_at) if expires else 0,
    )


def _differ(client: "Client", channels: frozenset[str]) -> bool:
    """Whether a new token means other channels than the old one did."""
    by_token = {
        name
        for name, subscription in client.subscriptions.items()
        if subscription.options.source == Source.CONNECTION_TOKEN
    }
    return bool(by_token - channels or channels - client.subscriptions.keys())


async def sub_refresh(client: "Client", request: SubRefreshRequest) -> SubRefreshResult:
    """Let a subscription live on by a new token.

    See client protocol, "Subscription expiry".

    centrifuge-python leaves the channel out; then the token names it.
    """
    name = request.channel
    if request.type and name:
        known = client.subscriptions.get(name)
        if isinstance(known, PollSubscription) and known.settled:
            if request.type == polls.TRACK:
                return await polls.track(known, request)
            if request.type == polls.UNTRACK:
                return polls.untrack(known, request)
    if name:
        _refreshable(client, name)
    if not request.token:
        if not name:
            raise DisconnectClient(MALFORMED, "channel required for sub refresh")
        raise ReplyError(BAD_REQUEST, "subscription refresh token required")
    prolonged = await client.node.policy.sub_refresh(client, request)
    still_there(client)
    if not name:
        name = next(iter(prolonged.channels or ()), "")
    subscription = _refreshable(client, name)
    expiry.prolong_subscription(subscription, prolonged)
    subscription.present(prolonged.info)  # or show none any more
    expires = bool(prolonged.expire_at)
    return SubRefreshResult(
        expires=expires, ttl=client.ttl(prolonged.expire_at) if expires else 0
    )


def _refreshable(client: "Client", name: str) -> Subscription:
    subscription = client.subscriptions.get(name)
    if subscription is None or not subscription.settled:
        raise ReplyError(PERMISSION_DENIED, "client not subscribed to channel")
    if subscription.options.server_side_refresh or subscription.server_side:
        raise DisconnectClient(MALFORMED, "server-side sub refresh expected")
    return subscription

"""The connect command (client protocol, "Connect")."""

from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.python.failure import Failure

from ...errors import DisconnectClient, ReplyError
from ...options import Admission, SubscribeOptions
from ...protocol.codes import CHANNEL_LIMIT, CONNECTION_LIMIT, EXPIRED
from ...protocol.messages import (
    ConnectRequest,
    ConnectResult,
    Publication,
    SubscribeRequest,
    SubscribeResult,
)
from ...protocol.payloads import checked
from ..runtime import Runtime
from .client import Client, Sessions
from .connections import random_ids
from .outcome import ReplyThen
from .subscription import Subscription

__all__ = ["ConnectCommand"]

#: The most server-side subscriptions of one connect to start at the same time.
AT_ONCE = 32

_NOTHING_KNOWN = SubscribeRequest()


@define(eq=False)
class ConnectCommand:
    """Authenticates clients, and starts their server-side subscriptions.

    ``make_room`` closes the other connections of a user: it takes the user, the id of
    the client that stays, and a channel that shows whether there are others.
    """

    _sessions: Sessions
    _make_room: Callable[[str, str, str], Coroutine[Deferred[Any], Any, None]]
    _runtime: Runtime = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._runtime = self._sessions.runtime

    async def handle(self, client: Client, request: ConnectRequest) -> ReplyThen:
        """Authenticate and subscribe the client (client protocol, "Connect")."""
        runtime = self._runtime
        client.begin_connect()
        admission: Admission = await runtime.policy.connect(client, request)
        client.ensure_open()
        client.admit(admission)
        if admission.exclusive:
            await self._make_room(client.user, client.id, admission.exclusive)
            client.ensure_open()
        subs = {name: wanted for name, wanted in admission.subs.items() if name}
        self._check_limits(client.user, len(subs))
        if 0 < admission.expire_at <= runtime.clock.seconds():
            raise ReplyError(EXPIRED, "connection expiration must be greater than now")
        info = client.transport.info
        if info.emulated or info.unidirectional:
            client.session = random_ids.next()
        client.register(request.name, request.version)
        try:
            begun = await self._begin_all(client, subs, request) if subs else []
            results, then = _activate_all(begun, request)
        except BaseException:
            client.unregister()
            raise
        client.connected()
        result = self._result(client, admission, results)

        def after() -> None:
            """Publish joins and start timers, after the reply is sent."""
            then()
            if not client.closed:
                client.deadlines.connected(admission.expire_at)
            client.connect_finished()

        return ReplyThen(result, after)

    def _check_limits(self, user: str, channels: int) -> None:
        """Check the number of server-side subscriptions, and of the user's connections.

        :raises DisconnectClient: 3506 or 3505, a limit is reached.
        """
        options = self._runtime.options
        if channels > options.channel_limit:
            raise DisconnectClient(
                CHANNEL_LIMIT,
                "maximum limit of channels per client reached",
                limit=options.channel_limit,
            )
        limit = options.user_connection_limit
        if user and 0 < limit <= self._sessions.connections.num_of_user(user):
            raise DisconnectClient(
                CONNECTION_LIMIT, "limit of connections for user reached", limit=limit
            )

    def _result(
        self, client: Client, admission: Admission, subs: dict[str, SubscribeResult]
    ) -> ConnectResult:
        runtime, deadlines = self._runtime, client.deadlines
        options = runtime.options
        expires = bool(admission.expire_at) and not admission.server_side_refresh
        now = runtime.clock.seconds() if options.include_server_time else 0.0
        return ConnectResult(
            client=client.id,
            version=options.version,
            expires=expires,
            ttl=client.ttl(admission.expire_at) if expires else 0,
            data=checked(admission.data),
            subs=subs,
            ping=int(options.ping_interval) if deadlines.pings else 0,
            pong=deadlines.pongs,
            session=client.session,
            node=runtime.id if client.transport.info.emulated else "",
            time=int(now * 1000),
        )

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
                running = subscription.begin(options, _known(request, name))
                if running is not None:
                    waiting.append(running)
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

"""The policy that embedding applications extend, and its form for the core."""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from inspect import isawaitable
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from ..errors import DisconnectClient, ReplyError
from ..interfaces import IClient, IPolicy
from ..options import (
    Admission,
    ChannelOptions,
    Expiry,
    HistoryQuery,
    MapChange,
    Polled,
    PublishOptions,
    SubscribeOptions,
)
from ..protocol.codes import (
    CONNECTION_EXPIRED,
    NOT_AVAILABLE,
    NOT_SERVED,
    PERMISSION_DENIED,
)
from ..protocol.messages import (
    ConnectRequest,
    HistoryRequest,
    KeyedItem,
    PublishRequest,
    Raw,
    RefreshRequest,
    RPCRequest,
    SubRefreshRequest,
    SubscribeRequest,
)
from ..typing import Client, Decision, PolicyProtocol

__all__ = ["AdaptedPolicy", "Policy", "run_in_reactor"]

T = TypeVar("T")

_PLAIN = ChannelOptions()


class Policy:
    """Accepts every connection as the anonymous user, and permits nothing else.

    Override the methods for everything that your application permits.  A method
    returns its decision, or an awaitable of it, and raises `ReplyError` to answer with
    an error or `DisconnectClient` to close the connection.
    """

    def channel(self, name: str) -> ChannelOptions:
        """Return the options of a channel: here no history and no presence.

        The node calls this often, so it must be fast.
        """
        return _PLAIN

    def connect(self, client: Client, request: ConnectRequest) -> Decision[Admission]:
        """Accept every connection."""
        return Admission()

    def refresh(self, client: Client, request: RefreshRequest) -> Decision[Expiry]:
        """Extend no connection."""
        raise DisconnectClient(CONNECTION_EXPIRED)

    def subscribe(
        self, client: Client, request: SubscribeRequest
    ) -> Decision[SubscribeOptions]:
        """Permit no subscription."""
        raise ReplyError(PERMISSION_DENIED)

    def sub_refresh(
        self, client: Client, request: SubRefreshRequest
    ) -> Decision[Expiry]:
        """Extend no subscription."""
        raise ReplyError(PERMISSION_DENIED)

    def publish(
        self, client: Client, request: PublishRequest
    ) -> Decision[PublishOptions | None]:
        """Permit no publication."""
        raise ReplyError(PERMISSION_DENIED)

    def change_map(
        self, client: Client, request: PublishRequest
    ) -> Decision[tuple[str, MapChange]]:
        """Permit no change of a map."""
        raise ReplyError(PERMISSION_DENIED)

    def track(self, client: Client, request: SubRefreshRequest) -> Decision[list[int]]:
        """Permit no tracking of keys."""
        raise ReplyError(PERMISSION_DENIED)

    def poll(self, channel: str, items: Sequence[KeyedItem]) -> Decision[Polled]:
        """Return no values."""
        return Polled()

    def presence(self, client: Client, channel: str) -> Decision[None]:
        """Permit no presence requests."""
        raise ReplyError(PERMISSION_DENIED)

    def history(
        self, client: Client, request: HistoryRequest
    ) -> Decision[HistoryQuery]:
        """Permit no history requests."""
        raise ReplyError(PERMISSION_DENIED)

    def rpc(self, client: Client, request: RPCRequest) -> Decision[Raw]:
        """Support no RPC method."""
        raise ReplyError(NOT_AVAILABLE)

    def message(self, client: Client, data: Raw) -> None:
        """Support no messages."""
        raise DisconnectClient(NOT_SERVED)


def run_in_reactor(awaitable: Awaitable[T]) -> "Deferred[T]":
    """Run what an ``async def`` method returned; it may await Deferreds."""

    async def wait() -> T:
        return await awaitable

    coroutine = awaitable if isinstance(awaitable, Coroutine) else wait()
    return Deferred.fromCoroutine(coroutine)


@implementer(IPolicy)
@define(eq=False)
class AdaptedPolicy:
    """Gives the decisions of an application's policy to the core.

    ``run`` turns an awaitable other than a Deferred into a Deferred.
    """

    policy: PolicyProtocol
    run: Callable[[Awaitable[Any]], "Deferred[Any]"] = run_in_reactor
    channel: Callable[[str], ChannelOptions] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.channel = self.policy.channel  # called too often for a detour

    def _now_or_later(self, decision: Any) -> Any:
        """Return a decision that is known, or a Deferred."""
        if isinstance(decision, Deferred) or not isawaitable(decision):
            return decision
        return self.run(decision)

    def _later(self, decide: Callable[..., Any], *arguments: Any) -> "Deferred[Any]":
        try:
            decision = self._now_or_later(decide(*arguments))
        except Exception:
            return fail()
        return decision if isinstance(decision, Deferred) else succeed(decision)

    def connect(
        self, client: IClient, request: ConnectRequest
    ) -> "Deferred[Admission]":
        """Authenticate a client."""
        return self._later(self.policy.connect, client, request)

    def refresh(self, client: IClient, request: RefreshRequest) -> "Deferred[Expiry]":
        """Prolong a connection."""
        return self._later(self.policy.refresh, client, request)

    def subscribe(
        self, client: IClient, request: SubscribeRequest
    ) -> "SubscribeOptions | Deferred[SubscribeOptions]":
        """Decide on a subscription."""
        decision: SubscribeOptions | Deferred[SubscribeOptions]
        decision = self._now_or_later(self.policy.subscribe(_seen(client), request))
        return decision

    def sub_refresh(
        self, client: IClient, request: SubRefreshRequest
    ) -> "Deferred[Expiry]":
        """Prolong a subscription."""
        return self._later(self.policy.sub_refresh, client, request)

    def publish(
        self, client: IClient, request: PublishRequest
    ) -> "PublishOptions | Deferred[PublishOptions | None] | None":
        """Decide on a publication."""
        decision: PublishOptions | Deferred[PublishOptions | None] | None
        decision = self._now_or_later(self.policy.publish(_seen(client), request))
        return decision

    def change_map(
        self, client: IClient, request: PublishRequest
    ) -> "Deferred[tuple[str, MapChange]]":
        """Decide on a change of a map."""
        return self._later(self.policy.change_map, client, request)

    def track(
        self, client: IClient, request: SubRefreshRequest
    ) -> "Deferred[list[int]]":
        """Decide on the keys a client wants to track."""
        return self._later(self.policy.track, client, request)

    def poll(self, channel: str, items: Sequence[KeyedItem]) -> "Deferred[Polled]":
        """Ask for keys that are newer than *items*."""
        return self._later(self.policy.poll, channel, items)

    def presence(self, client: IClient, channel: str) -> "Deferred[None] | None":
        """Decide whether the client may read the presence of *channel*."""
        decision: Deferred[None] | None
        decision = self._now_or_later(self.policy.presence(_seen(client), channel))
        return decision

    def history(
        self, client: IClient, request: HistoryRequest
    ) -> "Deferred[HistoryQuery]":
        """Decide on a history request."""
        return self._later(self.policy.history, client, request)

    def rpc(self, client: IClient, request: RPCRequest) -> "Raw | Deferred[Raw]":
        """Answer a call."""
        answer: Raw | Deferred[Raw]
        answer = self._now_or_later(self.policy.rpc(_seen(client), request))
        return answer

    def message(self, client: IClient, data: Raw) -> None:
        """Handle a message."""
        self.policy.message(_seen(client), data)


def _seen(client: Any) -> Client:
    """Return *client* as policies see it."""
    seen: Client = client
    return seen

"""A policy for embedders to start from."""

from collections.abc import Sequence

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

__all__ = ["Policy"]

_PLAIN = ChannelOptions()


@implementer(IPolicy)
class Policy:
    """Lets everybody connect as anonymous user, and nobody do anything.

    Override what your application allows; `IPolicy` says what each method decides.
    """

    def channel(self, name: str) -> ChannelOptions:
        """Say that every channel exists and keeps nothing."""
        return _PLAIN

    def connect(
        self, client: IClient, request: ConnectRequest
    ) -> "Deferred[Admission]":
        """Let everybody in."""
        return succeed(Admission())

    def refresh(self, client: IClient, request: RefreshRequest) -> "Deferred[Expiry]":
        """Prolong nothing."""
        return fail(DisconnectClient(CONNECTION_EXPIRED))

    def subscribe(
        self, client: IClient, request: SubscribeRequest
    ) -> "Deferred[SubscribeOptions]":
        """Allow no channel."""
        return fail(ReplyError(PERMISSION_DENIED))

    def sub_refresh(
        self, client: IClient, request: SubRefreshRequest
    ) -> "Deferred[Expiry]":
        """Prolong nothing."""
        return fail(ReplyError(PERMISSION_DENIED))

    def publish(
        self, client: IClient, request: PublishRequest
    ) -> "Deferred[PublishOptions | None]":
        """Let no client publish."""
        return fail(ReplyError(PERMISSION_DENIED))

    def change_map(
        self, client: IClient, request: PublishRequest
    ) -> "Deferred[tuple[str, MapChange]]":
        """Let no client change a map."""
        return fail(ReplyError(PERMISSION_DENIED))

    def track(
        self, client: IClient, request: SubRefreshRequest
    ) -> "Deferred[list[int]]":
        """Let no client track keys."""
        return fail(ReplyError(PERMISSION_DENIED))

    def poll(self, channel: str, items: Sequence[KeyedItem]) -> "Deferred[Polled]":
        """Know nothing."""
        return succeed(Polled())

    def presence(self, client: IClient, channel: str) -> "Deferred[None]":
        """Show nobody to anybody."""
        return fail(ReplyError(PERMISSION_DENIED))

    def history(
        self, client: IClient, request: HistoryRequest
    ) -> "Deferred[HistoryQuery]":
        """Show no history."""
        return fail(ReplyError(PERMISSION_DENIED))

    def rpc(self, client: IClient, request: RPCRequest) -> "Deferred[Raw]":
        """Answer no call."""
        return fail(ReplyError(NOT_AVAILABLE))

    def message(self, client: IClient, data: Raw) -> None:
        """Take no message."""
        raise DisconnectClient(NOT_SERVED)

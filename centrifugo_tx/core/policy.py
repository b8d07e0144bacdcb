"""The default policy, for embedding applications to override."""

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
    """Accepts every connection as the anonymous user, and permits nothing else.

    Override the methods for everything that your application permits; `IPolicy`
    describes them.
    """

    def channel(self, name: str) -> ChannelOptions:
        """Accept every channel name, without history."""
        return _PLAIN

    def connect(
        self, client: IClient, request: ConnectRequest
    ) -> "Deferred[Admission]":
        """Accept every connection."""
        return succeed(Admission())

    def refresh(self, client: IClient, request: RefreshRequest) -> "Deferred[Expiry]":
        """Extend no connection and no subscription."""
        return fail(DisconnectClient(CONNECTION_EXPIRED))

    def subscribe(
        self, client: IClient, request: SubscribeRequest
    ) -> "SubscribeOptions | Deferred[SubscribeOptions]":
        """Permit no subscription."""
        return fail(ReplyError(PERMISSION_DENIED))

    def sub_refresh(
        self, client: IClient, request: SubRefreshRequest
    ) -> "Deferred[Expiry]":
        """Extend no connection and no subscription."""
        return fail(ReplyError(PERMISSION_DENIED))

    def publish(
        self, client: IClient, request: PublishRequest
    ) -> "PublishOptions | Deferred[PublishOptions | None] | None":
        """Permit no publication."""
        return fail(ReplyError(PERMISSION_DENIED))

    def change_map(
        self, client: IClient, request: PublishRequest
    ) -> "Deferred[tuple[str, MapChange]]":
        """Permit no change of a map."""
        return fail(ReplyError(PERMISSION_DENIED))

    def track(
        self, client: IClient, request: SubRefreshRequest
    ) -> "Deferred[list[int]]":
        """Permit no tracking of keys."""
        return fail(ReplyError(PERMISSION_DENIED))

    def poll(self, channel: str, items: Sequence[KeyedItem]) -> "Deferred[Polled]":
        """Return no values."""
        return succeed(Polled())

    def presence(self, client: IClient, channel: str) -> "Deferred[None] | None":
        """Permit no presence requests."""
        return fail(ReplyError(PERMISSION_DENIED))

    def history(
        self, client: IClient, request: HistoryRequest
    ) -> "Deferred[HistoryQuery]":
        """Permit no history requests."""
        return fail(ReplyError(PERMISSION_DENIED))

    def rpc(self, client: IClient, request: RPCRequest) -> "Raw | Deferred[Raw]":
        """Support no RPC method."""
        return fail(ReplyError(NOT_AVAILABLE))

    def message(self, client: IClient, data: Raw) -> None:
        """Support no messages."""
        raise DisconnectClient(NOT_SERVED)

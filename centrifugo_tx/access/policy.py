"""The policy of the standalone server: namespaces, tokens and the backend.

See permissions, "Authentication" and "Subscribing".
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from ..core import run_or_defer
from ..errors import DisconnectClient, ReplyError
from ..interfaces import IClient, IEventProxies, IPolicy
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
    BAD_REQUEST,
    METHOD_NOT_FOUND,
    NOT_AVAILABLE,
    NOT_SERVED,
    PERMISSION_DENIED,
)
from ..protocol.messages import (
    EMPTY,
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
from ..protocol.payloads import matches_format
from .backend_policy import BackendPolicy, NoProxies
from .connect_policy import AccessOptions, ConnectPolicy
from .grants import (
    allowed_key,
    may_change_map,
    may_publish,
    may_read_history,
    may_see_presence,
)
from .namespaces import Namespace, Namespaces
from .subscribe_policy import SubscribePolicy
from .tokens import TokenVerifier
from .track_signatures import TrackingKeys

__all__ = ["AccessPolicy", "AskKeys"]


#: Polls a backend for items of a channel that are newer than the given ones.
AskKeys = Callable[[str, Sequence[KeyedItem]], "Deferred[Polled]"]


@implementer(IPolicy)
@define(eq=False)
class AccessPolicy:
    """Decides by configuration.  To change it, make a new one and give it to the node.

    ``subscription_verifier`` is for subscription tokens, when they are verified
    otherwise than connection tokens.
    """

    _clock: IReactorTime
    options: AccessOptions
    namespaces: Namespaces
    verifier: TokenVerifier
    subscription_verifier: TokenVerifier
    tracking: TrackingKeys = field(factory=TrackingKeys)
    #: The backends of polled keys, by the proxy name in namespaces.
    polling: Mapping[str, AskKeys] = field(factory=dict)
    proxies: IEventProxies = field(factory=NoProxies)
    _backend: BackendPolicy = field(init=False)
    _doorkeeper: ConnectPolicy = field(init=False)
    _usher: SubscribePolicy = field(init=False)

    def __attrs_post_init__(self) -> None:
        backend = self._backend = BackendPolicy(
            self._clock, self.namespaces, self.proxies
        )
        common = self._clock, self.options, self.namespaces
        self._doorkeeper = ConnectPolicy(*common, self.verifier, backend)
        self._usher = SubscribePolicy(*common, self.subscription_verifier, backend)

    def channel(self, name: str) -> ChannelOptions:
        """Return the options of a channel's namespace."""
        namespaces = self.namespaces
        return (namespaces.settled.get(name) or namespaces.find(name)).channel

    def connect(
        self, client: IClient, request: ConnectRequest
    ) -> "Deferred[Admission]":
        """Return the identity of a client (permissions, "Authentication")."""
        return _decide(self._doorkeeper.connect(client, request))

    def refresh(self, client: IClient, request: RefreshRequest) -> "Deferred[Expiry]":
        """Prolong a connection (permissions, "Refreshing tokens")."""
        return _decide(self._doorkeeper.refresh(client, request))

    def subscribe(
        self, client: IClient, request: SubscribeRequest
    ) -> "SubscribeOptions | Deferred[SubscribeOptions]":
        """Decide on a subscription (permissions, "Subscribing")."""
        try:
            decided = self._usher.subscribe(client, request)
        except ReplyError as error:
            return fail(error)
        if isinstance(decided, SubscribeOptions):
            return decided
        return _decide(decided)

    def sub_refresh(
        self, client: IClient, request: SubRefreshRequest
    ) -> "Deferred[Expiry]":
        """Prolong a subscription (permissions, "Refreshing tokens")."""
        return _decide(self._usher.sub_refresh(client, request))

    def publish(
        self, client: IClient, request: PublishRequest
    ) -> "PublishOptions | Deferred[PublishOptions | None] | None":
        """Decide on a publication (permissions, "Publishing")."""
        channel = request.channel
        try:
            namespace = self._namespace(channel)
        except ReplyError as error:
            return fail(error)
        options = namespace.options
        if not matches_format(request.data, namespace.channel.publication_data_format):
            return fail(ReplyError(BAD_REQUEST, "publish data validation failed"))
        if options.publish_proxy_enabled:
            return _decide(self._backend.publish(client, request, namespace))
        if options.subscribe_stream_proxy_enabled:
            stream = client.stream_of(channel)
            if stream is None or not options.subscribe_stream_proxy_bidirectional:
                return fail(ReplyError(NOT_AVAILABLE, "no stream for publications"))
            sent: Deferred[Any] = stream.publish(request.data)
            return sent
        subscribed = client.subscribed(channel)
        if may_publish(options, client.user, subscribed) or self.options.insecure:
            return namespace.publication
        return fail(
            ReplyError(
                PERMISSION_DENIED, "attempt to publish without sufficient permission"
            )
        )

    def change_map(
        self, client: IClient, request: PublishRequest
    ) -> "Deferred[tuple[str, MapChange]]":
        """Decide on a change of a map, and under which key."""
        channel = request.channel
        try:
            namespace = self._namespace(channel)
        except ReplyError as error:
            return fail(error)
        options, own = namespace.options, namespace.options.map
        removed, change = request.removed, namespace.change
        if own.remove_proxy_enabled if removed else own.publish_proxy_enabled:
            return _decide(self._backend.change_map(client, request, namespace))
        subscribed = client.subscribed(channel)
        allowed = may_change_map(options, client.user, subscribed, removed)
        key = allowed_key(options, client, request.key)
        no_key = own.client_key and not key
        if change is None or no_key or not (allowed or self.options.insecure):
            return fail(
                ReplyError(
                    PERMISSION_DENIED,
                    "attempt to change a map without sufficient permission",
                )
            )
        return succeed((key, change))

    def track(
        self, client: IClient, request: SubRefreshRequest
    ) -> "Deferred[list[int]]":
        """Verify the signature of each batch of keys."""
        now, channel = self._clock.seconds(), request.channel
        verify = self.tracking.expiry
        try:
            return succeed(
                [verify(channel, client.user, batch, now) for batch in request.track]
            )
        except ReplyError as error:
            return fail(error)

    def poll(self, channel: str, items: Sequence[KeyedItem]) -> "Deferred[Polled]":
        """Ask the backend of the channel's namespace."""
        try:
            options = self.namespaces.find(channel).options.shared_poll
        except ReplyError as error:
            return fail(error)
        polling = self.polling.get(options.proxy_name or "default")
        if polling is None:
            return fail(ReplyError(NOT_AVAILABLE, "shared poll proxy not enabled"))
        return polling(channel, items)

    def presence(self, client: IClient, channel: str) -> "Deferred[None] | None":
        """Decide whether the client may see the presence of *channel*.

        See permissions, "Presence and history".
        """
        try:
            options = self._namespace(channel).options
        except ReplyError as error:
            return fail(error)
        if not options.presence:
            return fail(
                ReplyError(NOT_AVAILABLE, "presence is not enabled for channel")
            )
        subscribed = client.subscribed(channel)
        if may_see_presence(options, client.user, subscribed) or self.options.insecure:
            return None
        return fail(
            ReplyError(
                PERMISSION_DENIED,
                "attempt to call presence without sufficient permission",
            )
        )

    def history(
        self, client: IClient, request: HistoryRequest
    ) -> "Deferred[HistoryQuery]":
        """Decide on a history request, and cut it.

        See permissions, "Presence and history".
        """
        channel = request.channel
        try:
            namespace = self._namespace(channel)
        except ReplyError as error:
            return fail(error)
        if not namespace.channel.history:
            return fail(ReplyError(NOT_AVAILABLE, "history is not enabled for channel"))
        options, subscribed = namespace.options, client.subscribed(channel)
        if not (
            may_read_history(options, client.user, subscribed) or self.options.insecure
        ):
            return fail(
                ReplyError(
                    PERMISSION_DENIED,
                    "attempt to call history without sufficient permission",
                )
            )
        most = self.options.history_max_publication_limit
        limit = request.limit if 0 <= request.limit <= most else most
        meta_ttl = options.history_meta_ttl
        return succeed(HistoryQuery(limit, request.since, request.reverse, meta_ttl))

    def rpc(self, client: IClient, request: RPCRequest) -> "Raw | Deferred[Raw]":
        """Answer the built-in ping, or ask the backend.

        See permissions, "RPC and messages".
        """
        ping, rules = self.options.rpc_ping_method, self.options.rpc
        if ping and request.method == ping:
            return EMPTY
        if not rules.enabled:
            error = METHOD_NOT_FOUND if ping else NOT_AVAILABLE
            return fail(ReplyError(error, "rpc proxy not enabled"))
        try:
            name = rules.proxy(request.method)
        except KeyError:
            return fail(ReplyError(METHOD_NOT_FOUND, "unknown rpc namespace"))
        if name is None:
            return fail(ReplyError(NOT_AVAILABLE, "rpc proxy not enabled"))
        return _decide(self._backend.rpc(client, request, name))

    def message(self, client: IClient, data: Raw) -> None:
        """Take no messages."""
        raise DisconnectClient(NOT_SERVED, "nothing receives messages of clients")

    def _namespace(self, channel: str) -> Namespace:
        """Return the namespace of a channel whose name is valid.

        :raises ReplyError: 102 or 107.
        """
        namespaces = self.namespaces
        known = namespaces.settled.get(channel)
        return known or namespaces.settle(channel, namespaces.find(channel))


def _decide(decision: Any) -> "Deferred[Any]":
    """Make a Deferred of a decision, which is mostly known at once."""
    try:
        result = run_or_defer(decision)
    except Exception as error:
        return fail(error)
    return result if isinstance(result, Deferred) else succeed(result)

"""Decisions that the application's backend makes (event proxies, "Events").

Each method sends one event to a proxy, and converts the response to the policy's
result.
"""

from base64 import b64decode
from collections.abc import Mapping
from typing import Any

import msgspec
from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from ..errors import DisconnectClient, ReplyError
from ..interfaces import IClient, IEventProxies, IEventProxy
from ..options import (
    Admission,
    Expiry,
    MapChange,
    PublishOptions,
    Source,
    SubscribeOptions,
)
from ..protocol.codes import INTERNAL, NOT_AVAILABLE, SERVER_ERROR
from ..protocol.messages import (
    EMPTY,
    ConnectRequest,
    PublishRequest,
    Raw,
    RPCRequest,
    SubscribeRequest,
)
from ..protocol.payloads import checked
from ..proxy_messages import (
    CONNECT,
    MAP_PUBLISH,
    MAP_REMOVE,
    PUBLISH,
    REFRESH,
    RPC,
    SUB_REFRESH,
    SUBSCRIBE,
    SUBSCRIBE_STREAM,
    ConnectAnswer,
    ConnectEvent,
    MapPublishAnswer,
    MapPublishEvent,
    MapRemoveAnswer,
    MapRemoveEvent,
    ProxyEvent,
    ProxyResponse,
    PublishAnswer,
    PublishEvent,
    RefreshAnswer,
    RefreshEvent,
    RPCAnswer,
    RPCEvent,
    StreamResponse,
    StreamSubscribeEvent,
    SubRefreshAnswer,
    SubRefreshEvent,
    SubscribeAnswer,
    SubscribeEvent,
    Subscription,
)
from .claims import SubOptions
from .grants import cap_expiry, server_side_options
from .namespaces import Namespace, Namespaces
from .tokens import payload_of

__all__ = ["BackendPolicy", "NoProxies"]

#: Seconds by which an expiry moves when the backend cannot be asked.
GRACE = 60

_KEY_MODES = ("", "if_new", "if_exists")
_NO_HEADERS: Mapping[str, str] = {}


@implementer(IEventProxies)
class NoProxies:
    """A server without a backend."""

    def find(self, event: ProxyEvent, name: str = "default") -> IEventProxy | None:
        """Return None."""
        return None

    def keep_headers(self, given: Mapping[str, str]) -> Mapping[str, str]:
        """Return nothing."""
        return _NO_HEADERS


@define(eq=False)
class BackendPolicy:
    """Asks the backend, where the configuration says so."""

    _clock: IReactorTime
    _namespaces: Namespaces
    proxies: IEventProxies
    #: Whether the backend authenticates clients, and whether it refreshes connections.
    connects: bool = field(init=False)
    refreshes: bool = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.connects = self.proxies.find(CONNECT) is not None
        self.refreshes = self.proxies.find(REFRESH) is not None

    def _proxy(self, event: ProxyEvent, name: str = "default") -> IEventProxy:
        """Return a proxy.

        :raises ReplyError: 108, it was not configured when the server started.
        """
        proxy: IEventProxy | None = self.proxies.find(event, name)
        if proxy is None:
            raise ReplyError(NOT_AVAILABLE, "proxy not enabled", event=event.name)
        return proxy

    # --- Connections -----------------------------------------------------------

    async def connect(
        self, client: IClient, request: ConnectRequest, emulated: Mapping[str, str]
    ) -> Admission | None:
        """Authenticate a client without a token.

        :return: None if the backend does not name the user.
        """
        event = ConnectEvent(
            data=request.data,
            name=request.name,
            version=request.version,
            channels=list(request.subs),
        )
        response = await self._proxy(CONNECT).ask(client, event, emulated)
        answer: ConnectAnswer | None = _accepted(response)
        if answer is None:
            return None
        try:
            return Admission(
                user=answer.user,
                expire_at=cap_expiry(answer.expire_at, self._clock.seconds()),
                info=payload_of(answer.info, answer.b64info),
                data=payload_of(answer.data, answer.b64data),
                meta=_kept(answer.meta),
                subs=self._subscriptions(answer),
            )
        except ValueError:
            raise ReplyError(INTERNAL, "malformed base64 from the backend") from None

    def _subscriptions(self, answer: ConnectAnswer) -> dict[str, SubscribeOptions]:
        wanted: dict[str, Subscription | None] = dict.fromkeys(answer.channels)
        wanted.update(answer.subs)
        subs = {}
        for channel, given in wanted.items():
            namespace = self._namespaces.find(channel)
            extra = None
            if given is not None:
                extra = SubOptions(
                    *(given.info, given.b64info, given.data, given.b64data),
                    given.override,
                )
            options = server_side_options(namespace, Source.CONNECT_PROXY, extra)
            if given is not None and given.cache_recover:
                options = msgspec.structs.replace(options, auto_recover=True)
            subs[channel] = options
        return subs

    async def refresh(self, client: IClient) -> Expiry:
        """Say whether a connection may continue.

        :raises DisconnectClient: 3004, the response has malformed base64.
        """
        try:
            response = await self._proxy(REFRESH).ask(
                client, RefreshEvent(user=client.user)
            )
        except ReplyError:
            return self._later()
        answer: RefreshAnswer | None = response.result
        if answer is None or answer.expired:
            return Expiry(expired=True)
        try:
            info = payload_of(answer.info, answer.b64info)
        except ValueError:
            raise DisconnectClient(
                SERVER_ERROR, "malformed base64 from the backend"
            ) from None
        end = cap_expiry(answer.expire_at, self._clock.seconds())
        return Expiry(expire_at=end, info=info, meta=_kept(answer.meta))

    def _later(self) -> Expiry:
        """Return an expiry for when the backend cannot be asked."""
        return Expiry(expire_at=int(self._clock.seconds()) + GRACE)

    # --- Channels --------------------------------------------------------------

    async def subscribe(
        self, client: IClient, request: SubscribeRequest, namespace: Namespace
    ) -> SubscribeOptions:
        """Decide on a subscription; a response without a result permits it."""
        proxy = self._proxy(SUBSCRIBE, namespace.options.subscribe_proxy_name)
        event = SubscribeEvent(
            user=client.user, channel=request.channel, data=request.data
        )
        answer: SubscribeAnswer | None = _accepted(await proxy.ask(client, event))
        if answer is None:
            return server_side_options(namespace, Source.SUBSCRIBE_PROXY)
        given = SubOptions(
            *(answer.info, answer.b64info, answer.data, answer.b64data),
            answer.override,
        )
        try:
            options = server_side_options(namespace, Source.SUBSCRIBE_PROXY, given)
        except ValueError:
            raise ReplyError(INTERNAL, "malformed base64 from the backend") from None
        end = cap_expiry(answer.expire_at, self._clock.seconds())
        return msgspec.structs.replace(options, expire_at=end)

    async def subscribe_stream(
        self, client: IClient, request: SubscribeRequest, namespace: Namespace
    ) -> SubscribeOptions:
        """Open a stream for a subscription, as its first message decides."""
        own = namespace.options
        proxy = self._proxy(SUBSCRIBE_STREAM, own.subscribe_stream_proxy_name)
        event = StreamSubscribeEvent(
            user=client.user,
            channel=request.channel,
            data=request.data,
            bidirectional=own.subscribe_stream_proxy_bidirectional,
        )
        response = await proxy.ask(client, event)
        if response.disconnect is None and response.error is not None:
            error = msgspec.structs.replace(response.error, temporary=False)
            raise ReplyError(error, "refused by the backend")
        answer: SubscribeAnswer | None = _accepted(response)
        stream = response.stream if isinstance(response, StreamResponse) else None
        if stream is None:
            raise ReplyError(INTERNAL, "the backend has sent no stream")
        given = answer or SubscribeAnswer()
        try:
            options = server_side_options(
                namespace,
                Source.STREAM_PROXY,
                SubOptions(
                    *(given.info, given.b64info, given.data, given.b64data),
                    given.override,
                ),
            )
        except ValueError:
            stream.close()
            raise ReplyError(INTERNAL, "malformed base64 from the backend") from None
        return msgspec.structs.replace(
            options,
            expire_at=cap_expiry(given.expire_at, self._clock.seconds()),
            # What a stream brings has no position in the channel.
            positioned=False,
            recoverable=False,
            auto_recover=False,
            delta_types=(),
            tags_filter=False,
            receipts_ttl=0.0,
            stream=stream,
        )

    async def sub_refresh(self, client: IClient, channel: str) -> Expiry:
        """Say whether a subscription may continue."""
        try:
            options = self._namespaces.find(channel).options
        except ReplyError:
            return Expiry(expired=True)
        try:
            proxy = self._proxy(SUB_REFRESH, options.sub_refresh_proxy_name)
            response = await proxy.ask(
                client, SubRefreshEvent(user=client.user, channel=channel)
            )
        except ReplyError:
            return self._later()
        answer: SubRefreshAnswer | None = response.result
        if answer is None or answer.expired:
            return Expiry(expired=True)
        try:
            info = payload_of(answer.info, answer.b64info)
        except ValueError:
            return Expiry(expired=True)
        end = cap_expiry(answer.expire_at, self._clock.seconds())
        return Expiry(expire_at=end, info=info)

    async def publish(
        self, client: IClient, request: PublishRequest, namespace: Namespace
    ) -> PublishOptions:
        """Decide on a publication, and on its final data and options."""
        options = namespace.options
        proxy = self._proxy(PUBLISH, options.publish_proxy_name)
        event = PublishEvent(
            user=client.user, channel=request.channel, data=request.data
        )
        answer: PublishAnswer | None = _accepted(await proxy.ask(client, event))
        if answer is None:
            return msgspec.structs.replace(namespace.publication, delta=False)
        return PublishOptions(
            history_size=0 if answer.skip_history else options.history_size,
            history_ttl=0.0 if answer.skip_history else options.history_ttl,
            history_meta_ttl=options.history_meta_ttl,
            tags=answer.tags,
            idempotency_key=answer.idempotency_key,
            delta=answer.delta,
            version=answer.version,
            version_epoch=answer.version_epoch,
            data=_replacement(answer),
        )

    async def change_map(
        self, client: IClient, request: PublishRequest, namespace: Namespace
    ) -> tuple[str, MapChange]:
        """Decide on a change of a map: under which key, and how."""
        plain = namespace.change
        if plain is None:
            raise ReplyError(NOT_AVAILABLE, "the channel is not a map")
        change = msgspec.structs.replace(plain, delta=False)
        own, user = namespace.options.map, client.user
        channel, key = request.channel, request.key
        if request.removed:
            removal = MapRemoveEvent(user=user, channel=channel, key=key)
            proxy = self._proxy(MAP_REMOVE, own.remove_proxy_name)
            removed: MapRemoveAnswer | None
            removed = _accepted(await proxy.ask(client, removal))
            if removed is None:
                return key, change
            change = msgspec.structs.replace(
                change, tags=removed.tags, idempotency_key=removed.idempotency_key
            )
            return removed.key or key, change
        event = MapPublishEvent(user=user, channel=channel, key=key, data=request.data)
        proxy = self._proxy(MAP_PUBLISH, own.publish_proxy_name)
        answer: MapPublishAnswer | None = _accepted(await proxy.ask(client, event))
        if answer is None:
            return key, change
        if answer.key_mode not in _KEY_MODES:
            raise ReplyError(INTERNAL, "unknown key_mode from the backend")
        change = msgspec.structs.replace(
            change,
            tags=answer.tags,
            key_mode=answer.key_mode,
            idempotency_key=answer.idempotency_key,
            delta=answer.delta,
            version=answer.version,
            version_epoch=answer.version_epoch,
            data=_replacement(answer),
        )
        return answer.key or key, change

    # --- Calls -----------------------------------------------------------------

    async def rpc(self, client: IClient, request: RPCRequest, name: str) -> Raw:
        """Answer a call by the proxy called *name*."""
        event = RPCEvent(user=client.user, method=request.method, data=request.data)
        proxy = self._proxy(RPC, name)
        answer: RPCAnswer | None = _accepted(await proxy.ask(client, event))
        if answer is None:
            return EMPTY
        try:
            return payload_of(answer.data, answer.b64data)
        except ValueError:
            raise ReplyError(INTERNAL, "malformed base64 from the backend") from None


def _accepted(response: ProxyResponse[Any]) -> Any:
    """Return the result of a response; None without one.

    :raises DisconnectClient: the backend wants the client disconnected.
    :raises ReplyError: the backend refuses.
    """
    if response.disconnect is not None:
        raise DisconnectClient(response.disconnect, "disconnected by the backend")
    if response.error is not None:
        raise ReplyError(response.error, "refused by the backend")
    return response.result


def _kept(payload: Raw) -> Raw:
    """Return a payload that outlives the response it came in."""
    return EMPTY if payload is EMPTY else payload.copy()


def _replacement(answer: PublishAnswer | MapPublishAnswer) -> Raw | None:
    """Return the data that replaces the client's, if any.

    :raises ReplyError: 100, it is malformed base64.
    """
    if answer.data is not EMPTY:
        return answer.data.copy()
    if not answer.b64data:
        return None
    try:
        return checked(b64decode(answer.b64data, validate=True))
    except ValueError:
        raise ReplyError(INTERNAL, "malformed base64 from the backend") from None

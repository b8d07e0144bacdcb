"""Which channels a connection may have (auth and channels, 5 and 3.6)."""

import msgspec
from attrs import define
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ..errors import DisconnectClient, ReplyError
from ..interfaces import IClient
from ..options import Expiry, Source, SubscribeOptions
from ..protocol.codes import (
    BAD_REQUEST,
    EXPIRED,
    INTERNAL,
    INVALID_TOKEN,
    NOT_AVAILABLE,
    PERMISSION_DENIED,
    TOKEN_EXPIRED,
)
from ..protocol.messages import SubRefreshRequest, SubscribeRequest
from .admission import AccessOptions, expiry_of
from .claims import SubOptions, SubscriptionClaims
from .grants import (
    may_read_history,
    may_see_presence,
    open_to,
    server_side_options,
)
from .namespaces import Namespace, Namespaces
from .tokens import InvalidToken, TokenExpired, TokenVerifier, payload_of

__all__ = ["Usher"]

#: The numbers of subscription types in requests (client protocol, 4.1).
TYPES = {"": 0, "stream": 0, "map": 1, "map_clients": 2, "map_users": 3}
SHARED_POLL = 4


@define(eq=False)
class Usher:
    """Decides on subscriptions."""

    _clock: IReactorTime
    _options: AccessOptions
    _namespaces: Namespaces
    _verifier: TokenVerifier
    _log = Logger()

    async def subscribe(
        self, client: IClient, request: SubscribeRequest
    ) -> SubscribeOptions:
        """Decide by the table of section 5."""
        channel = request.channel
        namespace = self._namespaces.find(channel)
        options = namespace.options
        _check_type(request, options.subscription_type)
        if not namespace.valid(channel):
            raise ReplyError(BAD_REQUEST)
        if request.type != TYPES.get(options.subscription_type, SHARED_POLL):
            raise ReplyError(PERMISSION_DENIED)
        if request.tf is not None and not options.allow_tags_filter:
            raise ReplyError(BAD_REQUEST)
        if request.token:
            return await self._by_token(client, request, namespace)
        if self._namespaces.private(channel):
            raise ReplyError(PERMISSION_DENIED)
        source = self._source(client, channel, namespace)
        return self._grant(client, request, namespace, source)

    def _source(self, client: IClient, channel: str, namespace: Namespace) -> int:
        """Say why the client may subscribe (rows 6 to 11)."""
        options = namespace.options
        if namespace.user_limited(channel):
            if namespace.lists(channel, client.user):
                return Source.USER_LIMITED
        elif options.subscribe_proxy_enabled or options.subscribe_stream_proxy_enabled:
            raise ReplyError(NOT_AVAILABLE)
        elif open_to(options, client.user):
            return Source.CLIENT_ALLOWED
        if self._options.insecure:
            return Source.CLIENT_INSECURE
        raise ReplyError(PERMISSION_DENIED)

    async def _by_token(
        self, client: IClient, request: SubscribeRequest, namespace: Namespace
    ) -> SubscribeOptions:
        claims = await self._claims(client, request.token)
        if claims is None:
            raise ReplyError(TOKEN_EXPIRED)
        self._namespaces.find(claims.channel)
        _check_bearer(client, claims, request.channel)
        granted = self._grant(
            client, request, namespace, Source.SUBSCRIPTION_TOKEN, claims
        )
        expire_at = expiry_of(claims.exp, claims.expire_at, self._clock.seconds())
        return msgspec.structs.replace(granted, expire_at=expire_at)

    async def _claims(self, client: IClient, token: str) -> SubscriptionClaims | None:
        """Verify a token; None: it has expired."""
        try:
            return await self._verifier.subscription(token)
        except TokenExpired:
            return None
        except InvalidToken as reason:
            self._log.info(
                "invalid subscription token: {reason}", reason=reason, client=client.id
            )
            raise ReplyError(PERMISSION_DENIED) from None

    def _grant(
        self,
        client: IClient,
        request: SubscribeRequest,
        namespace: Namespace,
        source: int,
        claims: SubscriptionClaims | None = None,
    ) -> SubscribeOptions:
        """Return the forced options, and of the wished ones what is allowed."""
        options, user, insecure = namespace.options, client.user, self._options.insecure
        given = None
        if claims is not None:
            given = SubOptions(
                claims.info,
                claims.b64info,
                claims.data,
                claims.b64data,
                claims.override,
            )
        try:
            base = server_side_options(namespace, source, given)
        except ValueError:
            raise ReplyError(INTERNAL) from None
        history = namespace.channel.history and (
            insecure or may_read_history(options, user, subscribed=True)
        )
        presence = options.presence and (
            insecure or may_see_presence(options, user, subscribed=True)
        )
        return msgspec.structs.replace(
            base,
            positioned=base.positioned
            or (request.positioned and (options.allow_positioning or history)),
            recoverable=base.recoverable
            or (request.recoverable and (options.allow_recovery or history)),
            push_join_leave=base.push_join_leave
            or (request.join_leave and options.join_leave and presence),
        )

    async def sub_refresh(self, client: IClient, request: SubRefreshRequest) -> Expiry:
        """Prolong a subscription by a new token (3.6)."""
        try:
            claims = await self._verifier.subscription(request.token)
        except TokenExpired:
            raise ReplyError(EXPIRED) from None
        except InvalidToken as reason:
            self._log.info(
                "invalid subscription token: {reason}", reason=reason, client=client.id
            )
            raise DisconnectClient(INVALID_TOKEN) from None
        _check_bearer(client, claims, request.channel or claims.channel)
        now = self._clock.seconds()
        expire_at = expiry_of(claims.exp, claims.expire_at, now)
        if 0 < expire_at <= now:
            raise ReplyError(EXPIRED)
        try:
            info = payload_of(claims.info, claims.b64info)
        except ValueError:
            raise ReplyError(INTERNAL) from None
        channels = frozenset({claims.channel})
        return Expiry(expire_at=expire_at, info=info, channels=channels)


def _check_type(request: SubscribeRequest, subscription_type: str) -> None:
    """Keep shared poll apart (5, row 3)."""
    if request.type == SHARED_POLL and subscription_type != "shared_poll":
        raise ReplyError(NOT_AVAILABLE)
    if request.type != SHARED_POLL and subscription_type == "shared_poll":
        raise ReplyError(BAD_REQUEST)


def _check_bearer(client: IClient, claims: SubscriptionClaims, channel: str) -> None:
    """Make sure that a token is this client's, and for this channel."""
    other_client = claims.client and claims.client != client.id
    if claims.channel != channel or claims.sub != client.user or other_client:
        raise DisconnectClient(INVALID_TOKEN)

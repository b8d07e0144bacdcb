"""Permissions to subscribe to channels.

See permissions, "Subscribing" and "Refreshing tokens".
"""

from collections.abc import Coroutine
from typing import Any

import msgspec
from attrs import define
from twisted.internet.interfaces import IReactorTime

from ..errors import DisconnectClient, ReplyError
from ..interfaces import IClient
from ..options import Expiry, Source, SubscribeOptions
from ..protocol.codes import (
    BAD_REQUEST,
    EXPIRED,
    INVALID_TOKEN,
    NOT_AVAILABLE,
    PERMISSION_DENIED,
    TOKEN_EXPIRED,
)
from ..protocol.messages import SubRefreshRequest, SubscribeRequest
from .backend_policy import BackendPolicy
from .claims import SubscriptionClaims
from .connect_policy import AccessOptions
from .grants import cap_expiry, grant, may_subscribe, server_side_options
from .namespaces import Namespace, NamespaceOptions, Namespaces
from .tokens import InvalidToken, TokenExpired, TokenVerifier

__all__ = ["SubscribePolicy"]

#: The numbers of subscription types in requests (client protocol, "Requests").
_TYPES = {
    **{"": 0, "stream": 0},
    **{"map": 1, "map_clients": 2, "map_users": 3, "shared_poll": 4},
}


_OTHER_TYPE = "subscription type not allowed for namespace"


@define(eq=False)
class SubscribePolicy:
    """Decides on subscriptions."""

    _clock: IReactorTime
    _options: AccessOptions
    _namespaces: Namespaces
    _verifier: TokenVerifier
    _backend: BackendPolicy

    def subscribe(
        self, client: IClient, request: SubscribeRequest
    ) -> SubscribeOptions | Coroutine[Any, Any, SubscribeOptions]:
        """Decide by the table of rules (permissions, "Subscribing").

        :return: the options; a coroutine of them if a token or the backend decides.
        """
        channel, namespaces = request.channel, self._namespaces
        known = namespaces.settled.get(channel)
        namespace = self._namespace(request, known)
        options = namespace.options
        if known is None:
            namespaces.settle(channel, namespace)
        if request.type != _TYPES[options.subscription_type]:
            raise ReplyError(PERMISSION_DENIED, _OTHER_TYPE)
        if request.token:
            return self._by_token(client, request, options)
        prefix = namespaces.rules.private_prefix
        if prefix and channel.startswith(prefix):
            raise ReplyError(
                PERMISSION_DENIED,
                "attempt to subscribe on private channel without token",
            )
        limited = options.allow_user_limited_channels
        limited = limited and namespace.user_limited(channel)
        if options.subscribe_proxy_enabled and not limited:
            return self._by_backend(client, request, namespace)
        if options.subscribe_stream_proxy_enabled and not limited:
            return self._backend.subscribe_stream(client, request, namespace)
        source = self._source(client, channel, namespace, limited)
        shared = namespace.forced.get(source)
        base = shared or server_side_options(namespace, source)
        return self._extended(base, client, request, options)

    async def _by_token(
        self, client: IClient, request: SubscribeRequest, options: NamespaceOptions
    ) -> SubscribeOptions:
        base = await self._verify_token(client, request)
        return self._extended(base, client, request, options)

    async def _by_backend(
        self, client: IClient, request: SubscribeRequest, namespace: Namespace
    ) -> SubscribeOptions:
        base = await self._backend.subscribe(client, request, namespace)
        _check_filter(request, namespace.options)
        return base

    def _extended(
        self,
        base: SubscribeOptions,
        client: IClient,
        request: SubscribeRequest,
        options: NamespaceOptions,
    ) -> SubscribeOptions:
        """Add the requested extras that the namespace permits."""
        if request.tf is not None:
            _check_filter(request, options)
        if not (request.positioned or request.recoverable or request.join_leave):
            return base
        insecure = self._options.insecure
        return grant(base, options, client.user, request, insecure)

    def _namespace(
        self, request: SubscribeRequest, known: Namespace | None
    ) -> Namespace:
        """Find the namespace, and check that shared poll is requested where it applies.

        See permissions, "Subscribing".
        """
        polled = request.type == _TYPES["shared_poll"]
        try:
            namespace = known or self._namespaces.find(request.channel)
        except ReplyError as error:
            if not polled:
                raise
            raise ReplyError(NOT_AVAILABLE, error.cause) from None
        if polled != (namespace.options.subscription_type == "shared_poll"):
            raise ReplyError(NOT_AVAILABLE if polled else BAD_REQUEST, _OTHER_TYPE)
        return namespace

    def _source(
        self, client: IClient, channel: str, namespace: Namespace, limited: bool
    ) -> int:
        """Return the source of the permission (permissions, "Subscribing").

        :param limited: whether the channel lists its users.
        """
        options = namespace.options
        if limited:
            if namespace.lists(channel, client.user):
                return Source.USER_LIMITED
        elif may_subscribe(options, client.user):
            return Source.CLIENT_ALLOWED
        if self._options.insecure:
            return Source.CLIENT_INSECURE
        raise ReplyError(
            PERMISSION_DENIED, "attempt to subscribe without sufficient permission"
        )

    async def _verify_token(
        self, client: IClient, request: SubscribeRequest
    ) -> SubscribeOptions:
        """Let a token decide (permissions, "Subscribing")."""
        try:
            claims, options = await self._claims(request.token)
        except TokenExpired as error:
            raise ReplyError(
                TOKEN_EXPIRED, "subscription token expired", token_error=str(error)
            ) from None
        except InvalidToken as error:
            raise ReplyError(
                PERMISSION_DENIED, "invalid subscription token", token_error=str(error)
            ) from None
        _check_bearer(client, claims, request.channel)
        return options

    async def _claims(self, token: str) -> tuple[SubscriptionClaims, SubscribeOptions]:
        """Verify a token; return also its grants.

        :raises TokenExpired: it is not valid now.
        :raises InvalidToken: it is not valid at any time.
        :raises ReplyError: 102, the namespace of its channel is unknown.
        """
        claims = await self._verifier.subscription(token)
        namespace = self._namespaces.find(claims.channel)
        try:
            options = server_side_options(
                namespace, Source.SUBSCRIPTION_TOKEN, claims.options
            )
        except ValueError:
            raise InvalidToken("malformed base64") from None
        expire_at = cap_expiry(claims.end, self._clock.seconds())
        return claims, msgspec.structs.replace(options, expire_at=expire_at)

    async def sub_refresh(self, client: IClient, request: SubRefreshRequest) -> Expiry:
        """Prolong a subscription by a new token, or by the backend.

        See permissions, "Refreshing tokens".  A request without channel means the
        token's.
        """
        if not request.token:
            return await self._backend.sub_refresh(client, request.channel)
        try:
            claims, options = await self._claims(request.token)
        except TokenExpired as error:
            raise ReplyError(
                EXPIRED, "subscription refresh token expired", token_error=str(error)
            ) from None
        except InvalidToken as error:
            raise DisconnectClient(
                INVALID_TOKEN,
                "invalid subscription refresh token",
                token_error=str(error),
            ) from None
        _check_bearer(client, claims, request.channel or claims.channel)
        if 0 < options.expire_at <= self._clock.seconds():
            raise ReplyError(
                EXPIRED, "subscription expiration must be greater than now"
            )
        channels = frozenset({claims.channel})
        return Expiry(expire_at=options.expire_at, info=options.info, channels=channels)


def _check_filter(request: SubscribeRequest, options: NamespaceOptions) -> None:
    """Refuse a filter by tags where the namespace permits none."""
    if request.tf is not None and not options.allow_tags_filter:
        raise ReplyError(BAD_REQUEST, "tags filter not allowed")


def _check_bearer(client: IClient, claims: SubscriptionClaims, channel: str) -> None:
    """Make sure that a token is this client's, and for this channel."""
    if claims.channel != channel:
        raise DisconnectClient(
            INVALID_TOKEN, "token channel mismatch", token_channel=claims.channel
        )
    if claims.sub != client.user:
        raise DisconnectClient(
            INVALID_TOKEN, "token user mismatch", token_user=claims.sub
        )
    if claims.client and claims.client != client.id:
        raise DisconnectClient(
            INVALID_TOKEN, "token client mismatch", token_client=claims.client
        )

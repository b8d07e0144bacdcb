"""Authentication of connections.

See permissions, "Authentication" and "Refreshing tokens".
"""

from collections.abc import Mapping

import msgspec
from attrs import define, field, frozen
from twisted.internet.interfaces import IReactorTime

from ..errors import DisconnectClient, ReplyError
from ..interfaces import IClient
from ..options import Admission, Expiry, Source, SubscribeOptions
from ..protocol.codes import (
    CONNECTION_EXPIRED,
    EXPIRED,
    INTERNAL,
    INVALID_TOKEN,
    MALFORMED,
    REFUSED,
    TOKEN_EXPIRED,
)
from ..protocol.messages import EMPTY, ConnectRequest, Raw, RefreshRequest
from .backend_policy import BackendPolicy
from .claims import ConnectionClaims, SubOptions
from .grants import cap_expiry, may_subscribe, server_side_options
from .namespaces import Namespaces
from .rpc_rules import RPCRules
from .tokens import InvalidToken, TokenExpired, TokenVerifier, payload_of

__all__ = ["AccessOptions", "ConnectPolicy"]


_NO_HEADERS: Mapping[str, str] = {}


@frozen
class AccessOptions:
    """The access options of the configuration, without channels and tokens."""

    insecure: bool = False
    allow_anonymous_connect_without_token: bool = False
    disallow_anonymous_connection_tokens: bool = False
    user_id_http_header: str = ""
    personal_channels: bool = False
    personal_channel_namespace: str = ""
    single_connection: bool = False
    history_max_publication_limit: int = 300
    rpc_ping_method: str = ""
    rpc: RPCRules = field(factory=RPCRules)


@frozen
class _Identity:
    """The decoded contents of a connection token."""

    user: str
    expire_at: int
    info: Raw
    meta: Raw
    subs: dict[str, SubscribeOptions]


@define(eq=False)
class ConnectPolicy:
    """Decides on connections."""

    _clock: IReactorTime
    _options: AccessOptions
    _namespaces: Namespaces
    _verifier: TokenVerifier
    _backend: BackendPolicy

    async def connect(self, client: IClient, request: ConnectRequest) -> Admission:
        """Authenticate a client, in order (permissions, "Authentication")."""
        options, backend = self._options, self._backend
        emulated = _NO_HEADERS
        if request.headers:
            emulated = backend.proxies.keep_headers(request.headers)
        proxied: Admission | None = None
        if request.token:
            admission = await self._verify_token(request.token)
        else:
            if backend.connects:
                proxied = await backend.connect(client, request, emulated)
            if proxied is not None:
                admission = proxied
            elif options.allow_anonymous_connect_without_token or options.insecure:
                admission = Admission()
            else:
                return self._admit_by_header(client, emulated)
        subs = dict(admission.subs)
        exclusive = self._add_personal_channel(admission.user, subs)
        if proxied is None:
            self._add_requested_channels(admission.user, request, subs)
        return msgspec.structs.replace(
            admission,
            subs=subs,
            exclusive=exclusive,
            server_side_refresh=backend.refreshes,
            emulated_headers=emulated,
        )

    def _admit_by_header(
        self, client: IClient, emulated: Mapping[str, str]
    ) -> Admission:
        user = self._user_from_header(client)
        if not user:
            raise DisconnectClient(MALFORMED, "client credentials not found")
        refreshed = self._backend.refreshes
        return Admission(
            user=user, server_side_refresh=refreshed, emulated_headers=emulated
        )

    def _user_from_header(self, client: IClient) -> str:
        """Return the user id that a trusted proxy set.

        See permissions, "Authentication".
        """
        name = self._options.user_id_http_header.lower()
        values = client.transport.info.headers.get(name, ()) if name else ()
        return values[0] if values else ""

    async def _verify_token(self, token: str) -> Admission:
        try:
            identity = await self._identity(token)
        except InvalidToken as error:
            raise DisconnectClient(
                INVALID_TOKEN, "invalid connection token", token_error=str(error)
            ) from None
        except TokenExpired as error:
            raise ReplyError(
                TOKEN_EXPIRED, "connection token expired", token_error=str(error)
            ) from None
        if not identity.user and self._options.disallow_anonymous_connection_tokens:
            raise DisconnectClient(REFUSED, "anonymous connection tokens disallowed")
        expire_at = 0 if self._options.insecure else identity.expire_at
        return Admission(
            identity.user,
            expire_at,
            identity.info,
            meta=identity.meta,
            subs=identity.subs,
        )

    async def _identity(self, token: str) -> _Identity:
        """Verify a token.

        :raises TokenExpired: it has expired, or is not valid yet.
        :raises InvalidToken: it is malformed, or its signature is wrong.
        :raises ReplyError: 102 or 100, an unknown channel or malformed value
            (permissions, "Token problems").
        """
        claims = await self._verifier.connection(token)
        subs = self._token_subscriptions(claims)
        try:
            info = payload_of(claims.info, claims.b64info)
        except ValueError:
            raise ReplyError(INTERNAL, "malformed base64 info in token") from None
        return _Identity(
            claims.sub,
            cap_expiry(claims.end, self._clock.seconds()),
            info,
            payload_of(claims.meta, None),
            subs,
        )

    def _token_subscriptions(
        self, claims: ConnectionClaims
    ) -> dict[str, SubscribeOptions]:
        """Return the server-side subscriptions of a token.

        See permissions, "Connection tokens".
        """
        wanted: dict[str, SubOptions | None] = claims.subs or dict.fromkeys(
            claims.channels or ()
        )
        subs = {}
        for channel, given in wanted.items():
            namespace = self._namespaces.find(channel)
            try:
                subs[channel] = server_side_options(
                    namespace, Source.CONNECTION_TOKEN, given
                )
            except ValueError:
                raise InvalidToken(f"malformed base64 for {channel:.100}") from None
        return subs

    def _add_personal_channel(
        self, user: str, subs: dict[str, SubscribeOptions]
    ) -> str:
        """Add the user's personal channel; return it if it allows one connection."""
        options, rules = self._options, self._namespaces.rules
        if not options.personal_channels or not user:
            return ""
        name = options.personal_channel_namespace
        prefix = f"{name}{rules.namespace_boundary}" if name else ""
        channel = f"{prefix}{rules.user_boundary}{user}"
        namespace = self._namespaces.find(channel)
        subs[channel] = server_side_options(namespace, Source.USER_PERSONAL)
        return channel if options.single_connection else ""

    def _add_requested_channels(
        self, user: str, request: ConnectRequest, subs: dict[str, SubscribeOptions]
    ) -> None:
        """Add the requested channels that need no subscription token.

        See permissions, "Channels in the connect request".
        """
        for channel in request.subs:
            try:
                namespace = self._namespaces.find(channel)
            except ReplyError:
                raise DisconnectClient(
                    MALFORMED, "subscribe unknown channel", channel=channel
                ) from None
            if channel in subs or self._namespaces.private(channel):
                continue
            if namespace.options.subscribe_proxy_enabled or not namespace.valid(
                channel
            ):
                continue
            if namespace.user_limited(channel):
                allowed = bool(user) and namespace.lists(channel, user)
            else:
                allowed = may_subscribe(namespace.options, user)
            if allowed or self._options.insecure:
                subs[channel] = server_side_options(namespace, Source.UNI_CONNECT)

    async def refresh(self, client: IClient, request: RefreshRequest) -> Expiry:
        """Prolong a connection by a new token, or by the backend.

        See permissions, "Refreshing tokens".
        """
        if not request.token:
            return await self._backend.refresh(client)
        try:
            identity = await self._identity(request.token)
        except InvalidToken as error:
            raise DisconnectClient(
                INVALID_TOKEN, "invalid refresh token", token_error=str(error)
            ) from None
        except TokenExpired as error:
            raise DisconnectClient(
                CONNECTION_EXPIRED, "refresh token expired", token_error=str(error)
            ) from None
        if identity.user != client.user:
            raise DisconnectClient(
                INVALID_TOKEN, "refresh token user mismatch", token_user=identity.user
            )
        if 0 < identity.expire_at <= self._clock.seconds():
            raise ReplyError(EXPIRED, "connection expiration must be greater than now")
        return Expiry(
            expire_at=identity.expire_at,
            info=identity.info if identity.expire_at else EMPTY,
            meta=identity.meta,
            channels=frozenset(identity.subs),
        )

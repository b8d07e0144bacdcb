"""Who a connection is (auth and channels, 2 and 3.6)."""

from attrs import define, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

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
from ..protocol.messages import EMPTY, ConnectRequest, RefreshRequest
from .claims import ConnectionClaims, SubOptions
from .grants import open_to, server_side_options
from .namespaces import Namespaces
from .tokens import InvalidToken, TokenExpired, TokenVerifier, payload_of

__all__ = ["AccessOptions", "Doorkeeper", "expiry_of"]

#: Nothing lasts longer (seconds).
LONGEST = 365 * 24 * 3600


@frozen
class AccessOptions:
    """What the configuration says about access, apart from channels and tokens."""

    insecure: bool = False
    allow_anonymous_connect_without_token: bool = False
    disallow_anonymous_connection_tokens: bool = False
    user_id_http_header: str = ""
    personal_channels: bool = False
    personal_channel_namespace: str = ""
    single_connection: bool = False
    history_max_publication_limit: int = 300
    rpc_ping_method: str = ""


def expiry_of(exp: int | float | str | None, expire_at: int | None, now: float) -> int:
    """Return when something ends: ``expire_at`` wins over ``exp``; 0: never."""
    if expire_at is not None:
        end = max(0, expire_at)
    else:
        end = int(float(exp)) if exp is not None else 0
    return min(end, int(now) + LONGEST)


@define(eq=False)
class Doorkeeper:
    """Decides on connections."""

    _clock: IReactorTime
    _options: AccessOptions
    _namespaces: Namespaces
    _verifier: TokenVerifier
    _log = Logger()

    async def connect(self, client: IClient, request: ConnectRequest) -> Admission:
        """Find out who it is, in the order of section 2."""
        options = self._options
        if request.token:
            admission = await self._by_token(client, request.token)
        elif options.allow_anonymous_connect_without_token or options.insecure:
            admission = Admission()
        else:
            user = self._user_of_header(client)
            if not user:
                raise DisconnectClient(MALFORMED)
            return Admission(user=user)
        subs = dict(admission.subs)
        exclusive = self._add_personal_channel(admission.user, subs)
        self._add_wishes(admission.user, request, subs)
        return Admission(
            user=admission.user,
            expire_at=admission.expire_at,
            info=admission.info,
            meta=admission.meta,
            subs=subs,
            exclusive=exclusive,
        )

    def _user_of_header(self, client: IClient) -> str:
        """Return the user whom a trusted proxy named (section 2, row 4)."""
        name = self._options.user_id_http_header.lower()
        values = client.transport.info.headers.get(name, ()) if name else ()
        return values[0] if values else ""

    async def _by_token(self, client: IClient, token: str) -> Admission:
        try:
            claims = await self._verifier.connection(token)
        except TokenExpired:
            raise ReplyError(TOKEN_EXPIRED) from None
        except InvalidToken as reason:
            self._log.info(
                "invalid connection token: {reason}", reason=reason, client=client.id
            )
            raise DisconnectClient(INVALID_TOKEN) from None
        if not claims.sub and self._options.disallow_anonymous_connection_tokens:
            raise DisconnectClient(REFUSED)
        subs = self._subs_of(claims)
        try:
            info = payload_of(claims.info, claims.b64info)
        except ValueError:
            raise ReplyError(INTERNAL) from None
        expire_at = expiry_of(claims.exp, claims.expire_at, self._clock.seconds())
        return Admission(
            user=claims.sub,
            expire_at=0 if self._options.insecure else expire_at,
            info=info,
            meta=claims.meta.copy() if claims.meta is not EMPTY else EMPTY,
            subs=subs,
        )

    def _subs_of(self, claims: ConnectionClaims) -> dict[str, SubscribeOptions]:
        """Return the server-side subscriptions of a token (3.4)."""
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
                raise DisconnectClient(INVALID_TOKEN) from None
        return subs

    def _add_personal_channel(
        self, user: str, subs: dict[str, SubscribeOptions]
    ) -> str:
        """Add the user's own channel; return it if it is to be the user's alone."""
        options, rules = self._options, self._namespaces.rules
        if not options.personal_channels or not user:
            return ""
        name = options.personal_channel_namespace
        prefix = f"{name}{rules.namespace_boundary}" if name else ""
        channel = f"{prefix}{rules.user_boundary}{user}"
        namespace = self._namespaces.find(channel)
        subs[channel] = server_side_options(namespace, Source.USER_PERSONAL)
        return channel if options.single_connection else ""

    def _add_wishes(
        self, user: str, request: ConnectRequest, subs: dict[str, SubscribeOptions]
    ) -> None:
        """Add the channels that the client asks for and may have anyway (5.1)."""
        for channel in request.subs:
            try:
                namespace = self._namespaces.find(channel)
            except ReplyError:
                raise DisconnectClient(MALFORMED) from None
            if channel in subs or self._namespaces.private(channel):
                continue
            if namespace.options.subscribe_proxy_enabled or not namespace.valid(
                channel
            ):
                continue
            if namespace.user_limited(channel):
                allowed = bool(user) and namespace.lists(channel, user)
            else:
                allowed = open_to(namespace.options, user)
            if allowed or self._options.insecure:
                subs[channel] = server_side_options(namespace, Source.UNI_CONNECT)

    async def refresh(self, client: IClient, request: RefreshRequest) -> Expiry:
        """Prolong a connection by a new token (3.6)."""
        try:
            claims = await self._verifier.connection(request.token)
        except TokenExpired:
            raise DisconnectClient(CONNECTION_EXPIRED) from None
        except InvalidToken as reason:
            self._log.info(
                "invalid refresh token: {reason}", reason=reason, client=client.id
            )
            raise DisconnectClient(INVALID_TOKEN) from None
        if claims.sub != client.user:
            raise DisconnectClient(INVALID_TOKEN)
        channels = frozenset(self._subs_of(claims))
        try:
            info = payload_of(claims.info, claims.b64info)
        except ValueError:
            raise ReplyError(INTERNAL) from None
        now = self._clock.seconds()
        expire_at = expiry_of(claims.exp, claims.expire_at, now)
        if 0 < expire_at <= now:
            raise ReplyError(EXPIRED)
        return Expiry(
            expire_at=expire_at,
            info=info if expire_at else EMPTY,
            meta=claims.meta.copy() if claims.meta is not EMPTY else EMPTY,
            channels=channels,
        )

"""Tokens of connections and subscriptions (JSON Web Tokens, RFC 7519)."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import jwt
import msgspec
from attrs import define, field
from msgspec import UNSET

from .results import Override, SubscribeOptions, as_json

__all__ = ["TokenSigner"]

#: The algorithms that the server accepts; EdDSA from key sets only.
ALGORITHMS = frozenset(
    {"HS256", "HS384", "HS512", "RS256", "RS384", "RS512"}
    | {"ES256", "ES384", "ES512", "EdDSA"}
)


@define(eq=False, kw_only=True)
class TokenSigner:
    """Makes tokens that the server accepts.

    :param key: the secret for ``HS…``, else the private key as PEM.
    :param key_id: the ``kid``, which a key set needs (JWKS).
    :param issuer: goes into each token; so does ``audience``.
    :param user_claim: the claim of the user, where the server has ``user_id_claim``.
    :raises ValueError: the algorithm is unknown, or the key does not fit it.
    """

    key: str | bytes = field(repr=False)
    algorithm: str = "HS256"
    key_id: str = ""
    issuer: str = ""
    audience: str | Sequence[str] = ()
    user_claim: str = "sub"
    _prepared: Any = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.algorithm not in ALGORITHMS:
            known = ", ".join(sorted(ALGORITHMS))
            raise ValueError(f"{self.algorithm!r} must be one of {known}")
        if not self.key:
            raise ValueError("the key must not be empty")
        algorithm = jwt.get_algorithm_by_name(self.algorithm)
        try:
            self._prepared = algorithm.prepare_key(self.key)
        except (jwt.InvalidKeyError, ValueError, TypeError) as error:
            message = f"the key does not fit {self.algorithm}: {error}"
            raise ValueError(message) from None

    def connection_token(
        self,
        user: str,
        *,
        expires_in: float | None = None,
        expire_at: datetime | float | None = None,
        not_before: datetime | float | None = None,
        info: Any = UNSET,
        channels: Sequence[str] = (),
        subs: Mapping[str, SubscribeOptions] | None = None,
        meta: Any = UNSET,
        token_id: str = "",
        claims: Mapping[str, Any] | None = None,
    ) -> str:
        """Return a token with which *user* connects; "" is the anonymous user.

        :param expires_in: seconds until the token expires, and the connection too;
            without it neither does.
        :param expire_at: when the connection expires, apart from the token; 0: never.
        :param info: what presence and join and leave events show; bytes are binary.
        :param channels: server-side subscriptions with the options of their namespaces;
            the server ignores them beside ``subs``.
        :param subs: server-side subscriptions with options.
        :param meta: an object that the server keeps and gives to proxies.
        :param claims: further claims, for example for the ``audience`` of your gateway.
        :raises TypeError: a value cannot be encoded to JSON.
        """
        made = self._common(user, expires_in, expire_at, not_before, token_id)
        _put(made, "info", info)
        if meta is not UNSET:
            made["meta"] = meta
        if channels:
            made["channels"] = list(channels)
        if subs:
            made["subs"] = {
                channel: _options(options) for channel, options in subs.items()
            }
        return self._sign(made, claims)

    def subscription_token(
        self,
        user: str,
        channel: str,
        *,
        expires_in: float | None = None,
        expire_at: datetime | float | None = None,
        not_before: datetime | float | None = None,
        info: Any = UNSET,
        data: Any = UNSET,
        override: Override | None = None,
        token_id: str = "",
        claims: Mapping[str, Any] | None = None,
    ) -> str:
        """Return a token with which *user* subscribes to *channel*.

        :param user: the user of the connection; "" for anonymous users.
        :param expires_in: seconds until the token expires, and the subscription too.
        :param expire_at: when the subscription expires, apart from the token; 0: never.
        :param info: what presence and join and leave events show in the channel.
        :param data: sent to the client with the subscription; bytes are binary.
        :param override: options of the namespace to replace.
        :raises ValueError: the channel is empty.
        :raises TypeError: a value cannot be encoded to JSON.
        """
        if not channel:
            raise ValueError("the channel must not be empty")
        made = self._common(user, expires_in, expire_at, not_before, token_id)
        made["channel"] = channel
        options = SubscribeOptions(info=info, data=data, override=override)
        return self._sign(made | _options(options), claims)

    def _common(
        self,
        user: str,
        expires_in: float | None,
        expire_at: datetime | float | None,
        not_before: datetime | float | None,
        token_id: str,
    ) -> dict[str, Any]:
        """Return the claims that both kinds of token have."""
        now = int(time.time())
        made: dict[str, Any] = {self.user_claim: user, "iat": now}
        if expires_in is not None:
            made["exp"] = now + int(expires_in)
        if expire_at is not None:
            made["expire_at"] = _seconds(expire_at)
        if not_before is not None:
            made["nbf"] = _seconds(not_before)
        if token_id:
            made["jti"] = token_id
        if self.issuer:
            made["iss"] = self.issuer
        if self.audience:
            several = not isinstance(self.audience, str)
            made["aud"] = list(self.audience) if several else self.audience
        return made

    def _sign(self, made: dict[str, Any], more: Mapping[str, Any] | None) -> str:
        # By way of msgspec, so that structs, times and raw JSON may be in the claims.
        plain = msgspec.json.decode(msgspec.json.encode({**made, **(more or {})}))
        headers = {"kid": self.key_id} if self.key_id else None
        return jwt.encode(plain, self._prepared, self.algorithm, headers=headers)


def _seconds(moment: datetime | float) -> int:
    return int(moment.timestamp() if isinstance(moment, datetime) else moment)


def _put(claims: dict[str, Any], name: str, value: Any) -> None:
    """Set a claim in the form that fits the value."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        claims[f"b64{name}"] = base64.b64encode(value).decode()
    elif value is not UNSET:
        claims[name] = value


def _options(options: SubscribeOptions) -> dict[str, Any]:
    """Return the options of a subscription as claims."""
    plain: dict[str, Any] = msgspec.json.decode(as_json(options))
    return plain

"""Tokens that commands sign with the configured key, to connect to the server."""

import time
import warnings
from collections.abc import Mapping
from typing import Any, Protocol

__all__ = ["SigningKey", "sign", "sign_for_user"]


class SigningKey(Protocol):
    """The options of tokens that decide how one is signed."""

    @property
    def hmac_secret_key(self) -> str:
        """The secret; empty if tokens are not signed with one."""

    @property
    def user_id_claim(self) -> str:
        """The claim that holds the user id besides ``sub``, if any."""

    @property
    def audience(self) -> str:
        """The required audience, if any."""

    @property
    def issuer(self) -> str:
        """The required issuer, if any."""


def sign_for_user(key: SigningKey, user: str, claims: Mapping[str, Any]) -> str:
    """Return a token of *user* that *key* verifies, or an empty text without a secret.

    :param claims: further claims, such as ``exp`` and ``channel``.
    """
    if not key.hmac_secret_key:
        return ""
    all_claims: dict[str, Any] = {"iat": int(time.time()), **claims}
    if user:
        all_claims["sub"] = user
    if key.user_id_claim:
        all_claims[key.user_id_claim] = user
    if key.audience:
        all_claims["aud"] = key.audience
    if key.issuer:
        all_claims["iss"] = key.issuer
    return sign(all_claims, key.hmac_secret_key)


def sign(claims: dict[str, Any], secret: str) -> str:
    """Return a token with *claims*, signed with HS256; a short secret is no error."""
    import jwt  # only here, because it takes long

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyJWT warns of short secrets
        return jwt.encode(claims, secret, algorithm="HS256")

"""Verification of JSON Web Tokens of connections and subscriptions.

See permissions, "Tokens".
"""

import re
from base64 import b64decode, urlsafe_b64decode
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec
import re2
from attrs import define, field, frozen
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate
from jwt.algorithms import get_default_algorithms
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime

from ..errors import CentrifugoError
from ..options import Pem
from ..protocol.messages import EMPTY, Raw
from ..protocol.payloads import checked
from .claims import ConnectionClaims, SubscriptionClaims, TokenClaims, seconds

__all__ = [
    "InvalidToken",
    "KeySource",
    "TokenExpired",
    "TokenOptions",
    "TokenVerifier",
    "VerificationKey",
    "static_keys",
]


class InvalidToken(CentrifugoError):
    """The token is not valid; the message is for the log, not for the client."""


class TokenExpired(CentrifugoError):
    """The token has expired or is not valid yet."""


class TokenOptions(msgspec.Struct, frozen=True):
    """Verification of tokens."""

    # See configuration rules, "Token options".

    hmac_secret_key: str = ""
    """Key of HS256, HS384 and HS512 tokens."""
    hmac_previous_secret_key: str = ""
    """Previous HMAC key, tried after the current one."""
    hmac_previous_secret_key_valid_until: int = 0
    """Unix time until which the previous key is tried; 0: no limit."""
    rsa_public_key: Pem = ""
    """Public key of RS256, RS384 and RS512 tokens."""
    ecdsa_public_key: Pem = ""
    """Public key of ES256, ES384 or ES512 tokens."""
    jwks_public_endpoint: str = ""
    """URL of a key set (JWKS), used instead of the keys above."""
    audience: str = ""
    """Value that ``aud`` must contain."""
    audience_regex: str = ""
    """Pattern that an entry of ``aud`` must match."""
    issuer: str = ""
    """Required value of ``iss``."""
    issuer_regex: str = ""
    """Pattern that ``iss`` must match."""
    user_id_claim: str = ""
    """Claim that holds the user id, instead of ``sub``."""
    insecure_skip_jwks_endpoint_safety_check: bool = False
    """Warn instead of refusing a key set URL that tokens could manipulate."""


@frozen(eq=False)
class VerificationKey:
    """A key and the algorithms it may be used with."""

    key: Any
    algorithms: frozenset[str]


class KeySource(Protocol):
    """A source of keys."""

    def keys(
        self, header: Mapping[str, Any], groups: Mapping[str, str]
    ) -> "Deferred[Sequence[VerificationKey]]":
        """Return the keys for a token with this header, in the order to try them.

        *groups* are the named groups of the issuer's and audience's patterns.
        Fails with `InvalidToken`.
        """


HMAC = frozenset({"HS256", "HS384", "HS512"})
RSA = frozenset({"RS256", "RS384", "RS512"})
CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}

_ALGORITHMS = get_default_algorithms()

#: The claims for which ``null`` is a value.
_PAYLOADS = frozenset({"info", "data", "meta"})


@define(eq=False)
class StaticKeys:
    """Keys from the configuration."""

    _clock: IReactorTime
    _keys: Sequence[VerificationKey]
    _previous: VerificationKey | None = None
    _previous_until: int = 0

    def keys(
        self, header: Mapping[str, Any], groups: Mapping[str, str]
    ) -> "Deferred[Sequence[VerificationKey]]":
        """Return all keys; the previous key comes last."""
        keys, until = self._keys, self._previous_until
        if self._previous and (not until or int(self._clock.seconds()) <= until):
            keys = [*keys, self._previous]
        return succeed(keys)


def static_keys(options: TokenOptions, clock: IReactorTime) -> StaticKeys:
    """Read the keys of *options*.

    :raises ValueError: a PEM text holds no such key.
    """
    keys = []
    if options.hmac_secret_key:
        keys.append(VerificationKey(options.hmac_secret_key.encode(), HMAC))
    if options.rsa_public_key:
        key = public_key(options.rsa_public_key)
        if not isinstance(key, RSAPublicKey):
            raise ValueError("rsa_public_key is not an RSA key")
        keys.append(VerificationKey(key, RSA))
    if options.ecdsa_public_key:
        key = public_key(options.ecdsa_public_key)
        if not isinstance(key, EllipticCurvePublicKey) or key.curve.name not in CURVES:
            raise ValueError("ecdsa_public_key is not a key on P-256, P-384 or P-521")
        keys.append(VerificationKey(key, frozenset({CURVES[key.curve.name]})))
    previous = None
    if options.hmac_previous_secret_key:
        previous = VerificationKey(options.hmac_previous_secret_key.encode(), HMAC)
    until = options.hmac_previous_secret_key_valid_until
    return StaticKeys(clock, keys, previous, until)


def public_key(pem: str) -> object:
    """Return the public key in PEM text of a key or a certificate.

    :raises ValueError: the text contains no such key.
    """
    try:
        if "CERTIFICATE" in pem:
            return load_pem_x509_certificate(pem.encode()).public_key()
        return load_pem_public_key(pem.encode())
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from None


@frozen(eq=False)
class _Token:
    """The parts of a token; none of them is verified yet."""

    header: Mapping[str, Any]
    claims: Any
    signed: bytes
    signature: bytes


@define(eq=False)
class TokenVerifier:
    """Verifies tokens in order (permissions, "Order of token checks").

    Callers check the namespaces and payloads in claims.
    """

    _clock: IReactorTime
    _options: TokenOptions
    _source: KeySource
    _skip_signature: bool = False
    _issuer: Any = field(init=False)
    _audience: Any = field(init=False)

    def __attrs_post_init__(self) -> None:
        # RE2 matches in linear time, and clients choose the tokens.
        issuer, audience = self._options.issuer_regex, self._options.audience_regex
        self._issuer = re2.compile(issuer) if issuer else None
        self._audience = re2.compile(audience) if audience else None

    def connection(self, token: str) -> "Deferred[ConnectionClaims]":
        """Return the claims of a connection token.

        Fails with `InvalidToken` or `TokenExpired`.
        """
        verified: Deferred[ConnectionClaims] = self._verify(token, ConnectionClaims)
        return verified.addCallback(self._check_connection)

    def subscription(self, token: str) -> "Deferred[SubscriptionClaims]":
        """Return the claims of a subscription token; fails likewise."""
        verified: Deferred[SubscriptionClaims] = self._verify(token, SubscriptionClaims)
        return verified.addCallback(self._check_subscription)

    def _check_connection(self, claims: ConnectionClaims) -> ConnectionClaims:
        if claims.channel:
            raise InvalidToken("a subscription token cannot connect")
        self._check_time(claims)
        return claims

    def _check_subscription(self, claims: SubscriptionClaims) -> SubscriptionClaims:
        self._check_time(claims)
        if not claims.channel:
            raise InvalidToken("a connection token cannot subscribe")
        return claims

    def _check_time(self, claims: TokenClaims) -> None:
        now = self._clock.seconds()
        if claims.exp is not None and seconds(claims.exp) <= now:
            raise TokenExpired("exp has passed")
        if claims.nbf is not None and seconds(claims.nbf) >= now:
            raise TokenExpired("nbf has not come")

    def _verify(self, text: str, kind: type[Any]) -> "Deferred[Any]":
        try:
            token = self._parse(text, kind)
            groups = self._groups(token.claims)
            if self._skip_signature:
                self._check_parties(token.claims)
                return succeed(token.claims)
        except InvalidToken as error:
            return fail(error)

        def check(keys: Sequence[VerificationKey]) -> Any:
            _check_signature(token, keys)
            self._check_parties(token.claims)
            return token.claims

        return self._source.keys(token.header, groups).addCallback(check)

    def _parse(self, text: str, kind: type[Any]) -> _Token:
        """Take a token apart."""
        parts = text.split(".")
        if len(parts) != 3 or not text.startswith("eyJ"):
            raise InvalidToken("not a token")
        try:
            header, payload, signature = map(_base64url, parts)
            described = msgspec.json.decode(header, type=dict[str, Any])
            if "crit" in described:
                # Extensions that must be understood, of which there are none here.
                raise ValueError("the header has crit")
            claims = self._claims(payload, kind)
        except (ValueError, RecursionError) as error:
            raise InvalidToken(f"malformed token: {error}") from None
        signed = text[: text.rindex(".")].encode()
        return _Token(described, claims, signed, signature)

    def _claims(self, payload: bytes, kind: type[Any]) -> Any:
        """Read the claims.

        :raises ValueError: they are malformed, or of the wrong types.
        """
        payload.decode()  # payloads in it are taken as they are
        if b"null" in payload:
            payload = _without_nulls(payload)
        claims = msgspec.json.decode(payload, type=kind)
        for date in (claims.exp, claims.nbf, claims.iat):
            if date is not None:
                seconds(date)
        name = self._options.user_id_claim
        if name:
            return msgspec.structs.replace(claims, sub=_text_of(payload, name))
        return claims

    def _groups(self, claims: TokenClaims) -> dict[str, str]:
        """Match the patterns; return their named groups."""
        groups: dict[str, str] = {}
        if self._issuer is not None:
            match = self._issuer.search(claims.iss)
            if match is None:
                raise InvalidToken("iss does not match issuer_regex")
            groups.update(_groups_of(match))
        if self._audience is not None:
            matches = map(self._audience.search, claims.audience)
            first = next(filter(None, matches), None)
            if first is None:
                raise InvalidToken("aud does not match audience_regex")
            groups.update(_groups_of(first))
        return groups

    def _check_parties(self, claims: TokenClaims) -> None:
        options = self._options
        if options.audience and options.audience not in claims.audience:
            raise InvalidToken("aud does not contain the audience")
        if options.issuer and claims.iss != options.issuer:
            raise InvalidToken("iss is not the issuer")


def _check_signature(token: _Token, keys: Sequence[VerificationKey]) -> None:
    name = token.header.get("alg")
    if not isinstance(name, str):
        raise InvalidToken("the header names no algorithm")
    usable = [key for key in keys if name in key.algorithms]
    if not usable:
        raise InvalidToken(f"algorithm {name:.20} is not enabled")
    algorithm = _ALGORITHMS[name]
    if not any(
        algorithm.verify(token.signed, key.key, token.signature) for key in usable
    ):
        raise InvalidToken("the signature is wrong")


def _groups_of(match: Any) -> dict[str, str]:
    return {name: value or "" for name, value in match.groupdict().items()}


def _base64url(text: str) -> bytes:
    """Decode base64url without padding (RFC 7515, 2)."""
    if re.search(r"[^A-Za-z0-9_-]", text):
        raise ValueError("not base64url")
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _without_nulls(payload: bytes) -> bytes:
    """Remove members that are null, except payloads: null counts as absent."""
    members = msgspec.json.decode(payload, type=dict[str, Raw])
    present = {
        name: raw
        for name, raw in members.items()
        if name in _PAYLOADS or bytes(raw) != b"null"
    }
    return msgspec.json.encode(present)


def _text_of(payload: bytes, name: str) -> str:
    """Return a claim as text: a string itself, anything else as it is written."""
    value = msgspec.json.decode(payload, type=dict[str, Raw]).get(name)
    if value is None:
        return ""
    decoded = msgspec.json.decode(value)
    return decoded if isinstance(decoded, str) else bytes(value).decode()


def payload_of(plain: Raw, encoded: str | None) -> Raw:
    """Return the payload of a pair ``x`` and ``b64x``; the latter takes precedence.

    :raises ValueError: it is not valid base64.
    """
    if encoded:
        return checked(b64decode(encoded, validate=True))
    return EMPTY if plain is EMPTY else plain.copy()

"""Key sets that are downloaded (permissions, "Key sets"; RFC 7517)."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

import jwt
import msgspec
from attrs import define, field
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from .fetching import Fetch, fetcher
from .tokens import CURVES, RSA, InvalidToken, VerificationKey
from .url_templates import resolve, unsafe_template

__all__ = ["KeySet", "fetcher", "unsafe_template"]

#: Attempts to download a key set before tokens are refused.
ATTEMPTS = 2
#: Seconds that a key is kept after its last use.
KEY_TTL = 3600.0

_PUBLIC = RSAPublicKey, EllipticCurvePublicKey, Ed25519PublicKey


class _Key(msgspec.Struct, frozen=True):
    kid: str = ""
    use: str = ""
    kty: str = ""
    alg: str = ""


class _Keys(msgspec.Struct, frozen=True):
    keys: list[msgspec.Raw]


@define(eq=False)
class _PendingLookup:
    """A token check that waits for a key."""

    kid: str
    answer: "Deferred[Sequence[VerificationKey]]" = field(factory=Deferred, init=False)


@define(eq=False)
class _Download:
    """A download that is under way.

    Lookups that arrive meanwhile are ``late``: the answer may be older than they are.
    """

    asked: list[_PendingLookup]
    late: list[_PendingLookup] = field(factory=list, init=False)


@define(eq=False)
class KeySet:
    """Finds keys by ``kid`` at a URL that may depend on the token's issuer.

    Each URL has one download at a time; a slow key server delays only the tokens
    whose key is not known yet.
    """

    _template: str
    _fetch: Fetch
    _clock: IReactorTime
    _known: dict[tuple[str, str], tuple[VerificationKey, float]] = field(
        factory=dict, init=False
    )
    _downloads: dict[str, _Download] = field(factory=dict, init=False)
    #: The keys from before a reload, for as long as a set cannot be downloaded.
    _former: Mapping[tuple[str, str], tuple[VerificationKey, float]] = field(
        factory=dict, init=False
    )
    _log = Logger()

    def reloaded(self) -> "KeySet":
        """Return a key set that downloads all keys again.

        Until a URL answers, its keys from before remain valid.
        """
        successor = KeySet(self._template, self._fetch, self._clock)
        successor._former = {**self._former, **self._known}
        return successor

    def keys(
        self, header: Mapping[str, Any], groups: Mapping[str, str]
    ) -> "Deferred[Sequence[VerificationKey]]":
        """Return the key that the header names; fails with `InvalidToken`."""
        kid = header.get("kid")
        if not isinstance(kid, str) or not kid:
            return fail(InvalidToken("the header names no key"))
        url = resolve(self._template, groups)
        if not _is_clean_url(url):
            return fail(InvalidToken("the key set's path is not clean"))
        key = self._known_key(url, kid)
        if key is not None:
            return succeed([key])
        lookup, download = _PendingLookup(kid), self._downloads.get(url)
        if download is None:
            self._start_download(url, [lookup])
        else:
            download.late.append(lookup)
        return lookup.answer

    def _known_key(self, url: str, kid: str) -> VerificationKey | None:
        key, until = self._known.get((url, kid), (None, 0.0))
        now = self._clock.seconds()
        if key is None or until <= now:
            return None
        self._known[url, kid] = key, now + KEY_TTL
        return key

    def _start_download(self, url: str, lookups: list[_PendingLookup]) -> None:
        self._downloads[url] = _Download(lookups)
        self._try_download(url, ATTEMPTS)

    def _try_download(self, url: str, left: int) -> None:
        def failed(failure: Failure) -> None:
            if left > 1:
                self._try_download(url, left - 1)
                return
            reason = failure.getErrorMessage()
            self._keep_former(url)
            self._log.warn(
                "cannot get keys from {url}: {reason}", url=url, reason=reason
            )
            self._finish_download(url, f"no key set: {reason}")

        fetched: Deferred[bytes] = maybeDeferred(self._fetch, url)
        fetched.addCallback(lambda body: self._store_keys(url, body)).addCallbacks(
            lambda _: self._finish_download(url, "the key is not in the set"), failed
        )

    def _store_keys(self, url: str, body: bytes) -> None:
        """Store the signature keys of a set; skip malformed keys.

        :raises ValueError: it is not a key set.
        """
        now = self._clock.seconds()
        self._former = {at: key for at, key in self._former.items() if at[0] != url}
        for known, (_, until) in list(self._known.items()):
            if until <= now:
                del self._known[known]
        for each in msgspec.json.decode(body, type=_Keys).keys:
            try:
                described = msgspec.json.decode(each, type=_Key)
                if described.use == "sig" and described.kid:
                    key = _verification_key(described, msgspec.json.decode(each))
                    self._known[url, described.kid] = key, now + KEY_TTL
            except (ValueError, TypeError, LookupError, jwt.PyJWTError) as reason:
                self._log.warn(
                    "skipped a key at {url}: {reason}", url=url, reason=reason
                )

    def _keep_former(self, url: str) -> None:
        """Use the keys from before the reload, as the URL does not answer."""
        kept = {at: key for at, key in self._former.items() if at[0] == url}
        self._known = {**kept, **self._known}

    def _finish_download(self, url: str, reason: str) -> None:
        """Answer the lookups, and start another download for the late ones."""
        download = self._downloads.pop(url)
        late = [each for each in download.late if not self._answer_if_known(url, each)]
        if late:
            self._start_download(url, late)
        for lookup in download.asked:
            if not self._answer_if_known(url, lookup):
                lookup.answer.errback(InvalidToken(reason))

    def _answer_if_known(self, url: str, lookup: _PendingLookup) -> bool:
        key = self._known_key(url, lookup.kid)
        if key is not None:
            lookup.answer.callback([key])
        return key is not None


def _verification_key(described: _Key, whole: dict[str, Any]) -> VerificationKey:
    """Make a key from its JSON form.

    :raises ValueError: its kind is unknown, or it is not public; for malformed parts
        PyJWT raises its own exceptions.
    """
    key: object
    allowed: frozenset[str] = frozenset()
    if described.kty == "RSA":
        key, allowed = RSAAlgorithm.from_jwk(whole), RSA
    elif described.kty == "EC":
        key = ECAlgorithm.from_jwk(whole)
        if isinstance(key, EllipticCurvePublicKey) and key.curve.name in CURVES:
            allowed = frozenset({CURVES[key.curve.name]})
    elif described.kty == "OKP":
        key = OKPAlgorithm.from_jwk(whole)
        # Newer servers name it after the curve (RFC 9864, 2.2).
        allowed = frozenset({"EdDSA", "Ed25519"})
    else:
        raise ValueError(f"unknown kind of key {described.kty:.20}")
    if described.alg:
        allowed &= {described.alg}
    if not isinstance(key, _PUBLIC) or not allowed:
        raise ValueError("not a public key for verifying tokens")
    if isinstance(key, Ed25519PublicKey):
        allowed = frozenset({"EdDSA"})
    return VerificationKey(key, allowed)


def _is_clean_url(url: str) -> bool:
    """Whether the path has no ``..``, no empty part and no slash at its end."""
    try:
        path = unquote(urlsplit(url).path)
    except ValueError:  # a token bent it into no URL at all
        return False
    if path in ("", "/"):
        return True
    return all(part not in ("", ".", "..") for part in path.split("/")[1:])

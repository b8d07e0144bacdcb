"""Key sets that are fetched (permissions, "Key sets"; RFC 7517)."""

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
from .templates import resolve, unsafe_template
from .tokens import CURVES, RSA, InvalidToken, VerificationKey

__all__ = ["KeySet", "fetcher", "unsafe_template"]

#: How often a key set is asked for before the tokens are refused.
ATTEMPTS = 2
#: Seconds that a key is kept after its last use.
KEPT = 3600.0

_PUBLIC = RSAPublicKey, EllipticCurvePublicKey, Ed25519PublicKey


class _Key(msgspec.Struct, frozen=True):
    kid: str = ""
    use: str = ""
    kty: str = ""
    alg: str = ""


class _Keys(msgspec.Struct, frozen=True):
    keys: list[msgspec.Raw]


@define(eq=False)
class _Question:
    """Somebody waits for a key."""

    kid: str
    answer: "Deferred[Sequence[VerificationKey]]" = field(factory=Deferred, init=False)


@define(eq=False)
class _Round:
    """A fetch that is under way.

    Questions that come meanwhile are ``late``: the answer may be older than they are.
    """

    asked: list[_Question]
    late: list[_Question] = field(factory=list, init=False)


@define(eq=False)
class KeySet:
    """Finds keys by ``kid`` at a URL that may depend on the token's issuer.

    A URL is fetched once at a time, whoever asks; a slow key server delays only
    those whose key is not known yet.
    """

    _template: str
    _fetch: Fetch
    _clock: IReactorTime
    _known: dict[tuple[str, str], tuple[VerificationKey, float]] = field(
        factory=dict, init=False
    )
    _rounds: dict[str, _Round] = field(factory=dict, init=False)
    _log = Logger()

    def keys(
        self, header: Mapping[str, Any], groups: Mapping[str, str]
    ) -> "Deferred[Sequence[VerificationKey]]":
        """Return the key that the header names; fails with `InvalidToken`."""
        kid = header.get("kid")
        if not isinstance(kid, str) or not kid:
            return fail(InvalidToken("the header names no key"))
        url = resolve(self._template, groups)
        if not _clean(url):
            return fail(InvalidToken("the key set's path is not clean"))
        key = self._known_key(url, kid)
        if key is not None:
            return succeed([key])
        question, round = _Question(kid), self._rounds.get(url)
        if round is None:
            self._begin(url, [question])
        else:
            round.late.append(question)
        return question.answer

    def _known_key(self, url: str, kid: str) -> VerificationKey | None:
        key, until = self._known.get((url, kid), (None, 0.0))
        now = self._clock.seconds()
        if key is None or until <= now:
            return None
        self._known[url, kid] = key, now + KEPT
        return key

    def _begin(self, url: str, questions: list[_Question]) -> None:
        self._rounds[url] = _Round(questions)
        self._attempt(url, ATTEMPTS)

    def _attempt(self, url: str, left: int) -> None:
        def failed(failure: Failure) -> None:
            if left > 1:
                self._attempt(url, left - 1)
                return
            reason = failure.getErrorMessage()
            self._log.warn(
                "cannot get keys from {url}: {reason}", url=url, reason=reason
            )
            self._end(url, f"no key set: {reason}")

        fetched: Deferred[bytes] = maybeDeferred(self._fetch, url)
        fetched.addCallback(lambda body: self._learn(url, body)).addCallbacks(
            lambda _: self._end(url, "the key is not in the set"), failed
        )

    def _learn(self, url: str, body: bytes) -> None:
        """Take the signature keys of a set; a key that makes no sense is skipped.

        :raises ValueError: it is no key set.
        """
        now = self._clock.seconds()
        for known, (_, until) in list(self._known.items()):
            if until <= now:
                del self._known[known]
        for each in msgspec.json.decode(body, type=_Keys).keys:
            try:
                described = msgspec.json.decode(each, type=_Key)
                if described.use == "sig" and described.kid:
                    key = _verification_key(described, msgspec.json.decode(each))
                    self._known[url, described.kid] = key, now + KEPT
            except (ValueError, TypeError, LookupError, jwt.PyJWTError) as reason:
                self._log.warn(
                    "skipped a key at {url}: {reason}", url=url, reason=reason
                )

    def _end(self, url: str, reason: str) -> None:
        """Answer those who asked, and go on for those who came meanwhile."""
        round = self._rounds.pop(url)
        late = [each for each in round.late if not self._answered(url, each)]
        if late:
            self._begin(url, late)
        for question in round.asked:
            if not self._answered(url, question):
                question.answer.errback(InvalidToken(reason))

    def _answered(self, url: str, question: _Question) -> bool:
        key = self._known_key(url, question.kid)
        if key is not None:
            question.answer.callback([key])
        return key is not None


def _verification_key(described: _Key, whole: dict[str, Any]) -> VerificationKey:
    """Make a key of its JSON form.

    :raises ValueError: its kind is not known, or it is not a public one; malformed
        parts raise what PyJWT raises for them.
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
        raise ValueError("it is no public key that tokens are verified with")
    if isinstance(key, Ed25519PublicKey):
        allowed = frozenset({"EdDSA"})
    return VerificationKey(key, allowed)


def _clean(url: str) -> bool:
    """Whether the path has no ``..``, no empty part and no slash at its end."""
    try:
        path = unquote(urlsplit(url).path)
    except ValueError:  # a token bent it into no URL at all
        return False
    if path in ("", "/"):
        return True
    return all(part not in ("", ".", "..") for part in path.split("/")[1:])

"""Key sets that are fetched (auth and channels, 3.3; RFC 7517)."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

import jwt
import msgspec
from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol as StreamProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool

from .tokens import HMAC, RSA, InvalidToken, VerificationKey

__all__ = ["Fetch", "KeySet", "fetcher", "unsafe_template"]

#: Seconds of one attempt, and how many there are.
TIMEOUT, ATTEMPTS = 1.0, 2
#: Seconds that a key is kept after its last use.
KEPT = 3600.0
#: Bytes of the largest answer that is read.
ANSWER_LIMIT = 1024 * 1024

_PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_ELLIPTIC = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}


class Fetch(Protocol):
    """Gets a document; fails with any exception."""

    def __call__(self, url: str) -> "Deferred[bytes]":
        """Return the body of a 200 answer."""


class _Key(msgspec.Struct, frozen=True):
    kid: str = ""
    use: str = ""
    kty: str = ""
    alg: str = ""
    crv: str = ""


class _Keys(msgspec.Struct, frozen=True):
    keys: list[msgspec.Raw]


@define(eq=False)
class KeySet:
    """Finds keys by ``kid`` at a URL that may depend on the token's issuer.

    Identical questions that are under way are asked once; a slow key server delays
    only those whose key is not known yet.
    """

    _template: str
    _fetch: Fetch
    _clock: IReactorTime
    _known: dict[tuple[str, str], tuple[VerificationKey, float]] = field(
        factory=dict, init=False
    )
    _asked: "dict[tuple[str, str], list[Deferred[Sequence[VerificationKey]]]]" = field(
        factory=dict, init=False
    )
    _log = Logger()

    def keys(
        self, header: Mapping[str, Any], groups: Mapping[str, str]
    ) -> "Deferred[Sequence[VerificationKey]]":
        """Return the key that the header names; fails with `InvalidToken`."""
        kid = header.get("kid")
        if not isinstance(kid, str) or not kid:
            return fail(InvalidToken("the header names no key"))
        url = _PLACEHOLDER.sub(lambda match: groups.get(match[1], ""), self._template)
        if not _clean(url):
            return fail(InvalidToken("the key set's path is not clean"))
        now = self._clock.seconds()
        known = self._known.get((url, kid))
        if known is not None and known[1] > now:
            self._known[url, kid] = known[0], now + KEPT
            return succeed([known[0]])
        return self._ask(url, kid)

    def _ask(self, url: str, kid: str) -> "Deferred[Sequence[VerificationKey]]":
        answer: Deferred[Sequence[VerificationKey]] = Deferred()
        waiting = self._asked.get((url, kid))
        if waiting is not None:
            waiting.append(answer)
            return answer
        self._asked[url, kid] = [answer]
        self._attempt(url, kid, ATTEMPTS)
        return answer

    def _attempt(self, url: str, kid: str, left: int) -> None:
        fetched = self._fetch(url)

        def got(body: bytes) -> None:
            self._learn(url, body)
            found = self._known.get((url, kid))
            if found is None:
                self._tell(url, kid, InvalidToken(f"key {kid!r} is not in the set"))
            else:
                self._tell(url, kid, [found[0]])

        def failed(failure: Failure) -> None:
            if left > 1:
                self._attempt(url, kid, left - 1)
                return
            reason = failure.getErrorMessage()
            self._log.warn(
                "cannot get keys from {url}: {reason}", url=url, reason=reason
            )
            self._tell(url, kid, InvalidToken(f"no key set: {reason}"))

        fetched.addCallback(got).addErrback(failed)

    def _tell(
        self, url: str, kid: str, answer: Sequence[VerificationKey] | InvalidToken
    ) -> None:
        for waiting in self._asked.pop((url, kid), ()):
            if isinstance(answer, InvalidToken):
                waiting.errback(InvalidToken(*answer.args))
            else:
                waiting.callback(answer)

    def _learn(self, url: str, body: bytes) -> None:
        """Take the signature keys of a set; a key that makes no sense is skipped."""
        now = self._clock.seconds()
        for known, (_, until) in list(self._known.items()):
            if until <= now:
                del self._known[known]
        for each in msgspec.json.decode(body, type=_Keys).keys:
            try:
                described = msgspec.json.decode(each, type=_Key)
                if described.use == "sig" and described.kid:
                    key = _verification_key(described, bytes(each))
                    self._known[url, described.kid] = key, now + KEPT
            except (ValueError, jwt.PyJWTError) as reason:
                self._log.warn(
                    "skipped a key at {url}: {reason}", url=url, reason=reason
                )


def _verification_key(described: _Key, whole: bytes) -> VerificationKey:
    """Make a key of its JSON form.

    :raises ValueError: its kind is not known.
    """
    if described.kty == "RSA":
        allowed = RSA
    elif described.kty == "EC" and described.crv in _ELLIPTIC:
        allowed = frozenset({_ELLIPTIC[described.crv]})
    elif described.kty == "OKP" and described.crv == "Ed25519":
        allowed = frozenset({"EdDSA"})
    else:
        raise ValueError(f"unknown kind of key {described.kty} {described.crv}")
    if described.alg:
        allowed &= {described.alg}
    assert not allowed & HMAC
    loaded = jwt.PyJWK.from_json(whole.decode(), _any_algorithm(described))
    return VerificationKey(loaded.key, allowed)


def _any_algorithm(described: _Key) -> str:
    if described.kty == "RSA":
        return "RS256"
    return _ELLIPTIC.get(described.crv, "EdDSA")


def _clean(url: str) -> bool:
    """Whether the path has no ``..``, no empty part and no slash at its end."""
    path = urlsplit(url).path
    if path in ("", "/"):
        return True
    parts = path.split("/")[1:]
    return all(part not in ("", ".", "..") for part in parts)


def unsafe_template(template: str, patterns: Sequence[str]) -> str:
    """Say why tokens could bend the URL where they like; empty if they cannot.

    A group that fills a placeholder may consist of literals and alternatives only
    (configuration, 10).
    """
    wanted = set(_PLACEHOLDER.findall(template))
    if not wanted:
        return ""
    for pattern in patterns:
        if re.search(r"\[|\\[dwspDWSP]", pattern):
            return f"the pattern {pattern!r} has a character class"
        for match in re.finditer(r"\(\?P?<(\w+)>([^()]*)\)", pattern):
            if match[1] in wanted and re.search(r"(?<!\\)[.*+?{]", match[2]):
                return f"the group {match[1]!r} is not made of literals"
        named = set(re.findall(r"\(\?P?<(\w+)>", pattern))
        simple = {m[1] for m in re.finditer(r"\(\?P?<(\w+)>[^()]*\)", pattern)}
        if named & wanted - simple:
            return f"a group of the pattern {pattern!r} is not made of literals"
    return ""


def fetcher(reactor: Any) -> Fetch:
    """Return what gets documents over HTTP, without proxies of the environment."""
    pool = HTTPConnectionPool(reactor, persistent=False)  # it happens once an hour
    agent = Agent(reactor, connectTimeout=TIMEOUT, pool=pool)

    def fetch(url: str) -> "Deferred[bytes]":
        answered: Deferred[Any] = agent.request(b"GET", url.encode())
        return answered.addCallback(_read).addTimeout(TIMEOUT, reactor)

    return fetch


def _read(response: Any) -> "Deferred[bytes]":
    done: Deferred[bytes] = Deferred()
    response.deliverBody(_Body(done))
    if response.code != 200:
        done.addCallback(lambda _: _refuse(response.code))
    return done


def _refuse(status: int) -> bytes:
    raise ValueError(f"status {status}")


class _Body(StreamProtocol):
    """Collects an answer of bounded size."""

    def __init__(self, done: "Deferred[bytes]") -> None:
        self._done = done
        self._data = b""

    def dataReceived(self, data: bytes) -> None:
        """Take a part."""
        self._data += data
        if len(self._data) > ANSWER_LIMIT and not self._done.called:
            self._done.errback(ValueError("the answer is too large"))
            if self.transport is not None:
                self.transport.loseConnection()

    def connectionLost(self, reason: Any = None) -> None:
        """Hand over what came."""
        if not self._done.called:
            self._done.callback(self._data)

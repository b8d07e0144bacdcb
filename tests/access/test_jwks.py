"""Key sets: which keys they hold, and when they are asked for.

See permissions, "Key sets".
"""

import json
from typing import Any

import jwt
from attrs import define, field
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from twisted.internet.defer import Deferred, succeed

from centrifugo_tx.access import TokenOptions, TokenVerifier
from centrifugo_tx.access.jwks import KeySet
from centrifugo_tx.access.tokens import InvalidToken

from .policy_case import KEY, OPTIONS, PolicyTestCase, token

RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()


def jwk(key: Any, kid: str, private: bool = False, **more: Any) -> OPTIONS:
    """Return a key as a member of a key set."""
    algorithms = jwt.algorithms
    kinds: Any = (
        (rsa.RSAPrivateKey, algorithms.RSAAlgorithm),
        (ec.EllipticCurvePrivateKey, algorithms.ECAlgorithm),
        (object, algorithms.OKPAlgorithm),
    )
    kind = next(made for base, made in kinds if isinstance(key, base))
    described = kind.to_jwk(key if private else key.public_key(), as_dict=True)
    return {**described, "kid": kid, "use": "sig", **more}


def key_set(*keys: Any) -> bytes:
    """Return a document with keys."""
    return json.dumps({"keys": keys}).encode()


@define(eq=False)
class Documents:
    """Answers a fetch with the prepared value, or with a Deferred of it."""

    answers: list[Any] = field(factory=list)
    urls: list[str] = field(factory=list)

    def fetch(self, url: str) -> "Deferred[bytes]":
        """Return the next answer."""
        self.urls.append(url)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Deferred) else succeed(answer)


class KeySetTestCase(PolicyTestCase):
    """Verifies tokens by key sets."""

    def setUp(self) -> None:
        super().setUp()
        self.documents = Documents()

    def fetched(self, url: str = "http://id/keys", **options: Any) -> TokenVerifier:
        """Return a verifier with a key set at *url*."""
        keys = KeySet(url, self.documents.fetch, self.clock)
        return TokenVerifier(self.clock, TokenOptions(**options), keys)

    def ask(
        self,
        verifier: TokenVerifier,
        kid: str = "r",
        key: Any = RSA_KEY,
        algorithm: str = "RS256",
        **claims: Any,
    ) -> "Deferred[Any]":
        """Ask for a verification."""
        return verifier.connection(
            token({"sub": "1", **claims}, key, algorithm, {"kid": kid})
        )

    def taken(self, decision: "Deferred[Any]") -> bool:
        """Whether a token was taken at once; otherwise it was invalid at once."""
        found: list[bool] = []
        decision.addCallbacks(
            lambda claims: found.append(claims.sub == "1"),
            lambda failure: found.append(not failure.trap(InvalidToken)),
        )
        return found[0]


class KeyTests(KeySetTestCase):
    """Which keys of a set count."""

    def test_kinds(self) -> None:
        """RSA, elliptic and Ed25519 keys verify, each with its own algorithms."""
        curves = {
            "ES384": ec.generate_private_key(ec.SECP384R1()),
            "ES512": ec.generate_private_key(ec.SECP521R1()),
        }
        keys = [("r", RSA_KEY), ("ES256", EC_KEY), ("d", ED_KEY), *curves.items()]
        self.documents.answers = [key_set(*(jwk(key, kid) for kid, key in keys))]
        verifier = self.fetched()
        for kid, key, algorithm, taken in (
            *(("r", RSA_KEY, name, True) for name in ("RS256", "RS384", "RS512")),
            *(("r", RSA_KEY, name, False) for name in ("PS256", "PS512")),
            *((name, key, name, True) for name, key in curves.items()),
            ("ES256", EC_KEY, "ES256", True),
            ("d", ED_KEY, "EdDSA", True),
            *((kid, KEY, "HS256", False) for kid, _ in keys),
            *(("r", KEY, "HS512", False), ("d", RSA_KEY, "RS256", False)),
        ):
            decision = self.ask(verifier, kid, key, algorithm)
            self.assertIs(self.taken(decision), taken, (kid, algorithm))
        self.assertEqual(len(self.documents.urls), 1)

    def test_algorithm(self) -> None:
        """An algorithm that a key names is the only one, and must fit its kind."""
        for named, used, taken in (
            *(("RS256", "RS256", True), ("RS256", "RS512", False)),
            *(("ES256", "RS256", False), ("HS256", "RS256", False)),
            *(("EdDSA", "EdDSA", True), ("Ed25519", "EdDSA", True)),
        ):
            key = ED_KEY if used == "EdDSA" else RSA_KEY
            self.documents.answers = [key_set(jwk(key, "r", alg=named))]
            decision = self.ask(self.fetched(), "r", key, used)
            self.assertIs(self.taken(decision), taken, (named, used))

    def test_skipped(self) -> None:
        """A key that makes no sense is skipped, and does not spoil the others."""
        good = jwk(RSA_KEY, "r")
        odd: tuple[object, ...] = (
            *({"kty": "odd"}, {"kty": "RSA"}, {"kty": "RSA", "n": 5, "e": 5}),
            *({"kty": "RSA", "n": "", "e": ""}, {"kty": "EC", "crv": "P-256"}),
            *({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}, {"kty": "OKP"}),
            *({"kty": "OKP", "crv": "Ed25519", "x": "AA"}, {"kty": "oct", "k": "AA"}),
            *({"kty": "OKP", "crv": "X25519", "x": "AA"}, {"kty": None}, {"kty": 5}),
            *({"kty": "RSA", "n": "\u00e9", "e": "AQAB"}, "text", None, [], {}),
            jwk(ec.generate_private_key(ec.SECP256K1()), "x"),
            jwk(ed448.Ed448PrivateKey.generate(), "x"),
            jwk(RSA_KEY, "x", private=True),
            jwk(EC_KEY, "x", private=True),
            jwk(ED_KEY, "x", private=True),
        )
        for each in odd:
            if isinstance(each, dict):
                each = {"kid": "x", "use": "sig", **each}
            self.documents.answers = [key_set(each, good), key_set(each, good)]
            verifier = self.fetched()
            self.assertTrue(self.taken(self.ask(verifier)), each)
            self.assertFalse(self.taken(self.ask(verifier, "x")), each)

    def test_use(self) -> None:
        """Only keys for signatures count."""
        unsaid = jwk(RSA_KEY, "r")
        del unsaid["use"]
        for key in (unsaid, jwk(RSA_KEY, "r", use="enc"), jwk(RSA_KEY, "")):
            self.documents.answers = [key_set(key)]
            self.assertFalse(self.taken(self.ask(self.fetched())), key)

    def test_no_kid(self) -> None:
        """A token must name its key; nothing is asked for otherwise."""
        for header in ({}, {"kid": ""}, {"kid": 5}, {"kid": None}):
            given = token({"sub": "1"}, RSA_KEY, "RS256", header)
            self.assertFalse(self.taken(self.fetched().connection(given)), header)
        self.assertEqual(self.documents.urls, [])

    def test_no_key_set(self) -> None:
        """A malformed key set contains no keys."""
        deep = b'{"keys":' + b"[" * 20_000 + b"]" * 20_000 + b"}"
        for answer in (b"", b"<html>", b"[]", b"{}", b'{"keys":{}}', b"\xff", deep):
            self.documents.answers = [answer, answer]
            self.assertFalse(self.taken(self.ask(self.fetched())), answer[:20])


class AskingTests(KeySetTestCase):
    """When a set is asked for."""

    def test_kept(self) -> None:
        """A key is kept an hour after its last use, then asked for again."""
        self.documents.answers = [key_set(jwk(RSA_KEY, "r"))] * 2
        verifier = self.fetched()
        for seconds in (0, 3599, 3599, 3599):
            self.clock.advance(seconds)
            self.assertTrue(self.taken(self.ask(verifier)))
        self.assertEqual(len(self.documents.urls), 1)
        self.clock.advance(3600)
        self.assertTrue(self.taken(self.ask(verifier)))
        self.assertEqual(len(self.documents.urls), 2)

    def test_all_kept(self) -> None:
        """All keys of a response are cached, and dropped when unused."""
        self.documents.answers = [
            key_set(jwk(RSA_KEY, "r"), jwk(EC_KEY, "e")),
            key_set(jwk(RSA_KEY, "r")),
        ]
        verifier = self.fetched()
        self.taken(self.ask(verifier))
        self.clock.advance(1800)
        self.assertTrue(self.taken(self.ask(verifier)))
        self.clock.advance(1801)
        self.assertTrue(self.taken(self.ask(verifier)))
        self.assertEqual(len(self.documents.urls), 1)
        self.assertFalse(self.taken(self.ask(verifier, "e", EC_KEY, "ES256")))

    def test_unknown(self) -> None:
        """An unknown key is asked for every time."""
        self.documents.answers = [key_set(jwk(RSA_KEY, "r"))] * 3
        verifier = self.fetched()
        for kid in ("x", "x", "y"):
            self.assertFalse(self.taken(self.ask(verifier, kid)))
        self.assertEqual(len(self.documents.urls), 3)

    def test_tried_twice(self) -> None:
        """A fetch that fails is tried once more; then the token is invalid."""
        good = key_set(jwk(RSA_KEY, "r"))
        for answers, taken in (
            ([OSError("refused"), good], True),
            ([OSError("refused"), OSError("refused"), good], False),
        ):
            self.documents.answers = [*answers]
            verifier = self.fetched()
            self.assertIs(self.taken(self.ask(verifier)), taken)
        self.assertTrue(self.taken(self.ask(verifier)), "asked again")

    def test_merged(self) -> None:
        """Requests for the same URL share one fetch; others do not wait."""
        slow: Deferred[bytes] = Deferred()
        self.documents.answers = [key_set(jwk(EC_KEY, "e")), slow, key_set()]
        verifier = self.fetched()
        self.assertTrue(self.taken(self.ask(verifier, "e", EC_KEY, "ES256")))
        waiting = [self.ask(verifier) for _ in range(3)]
        self.assertTrue(self.taken(self.ask(verifier, "e", EC_KEY, "ES256")))
        for each in waiting:
            self.assertNoResult(each)
        slow.callback(key_set(jwk(RSA_KEY, "r")))
        for each in waiting:
            self.assertTrue(self.taken(each))
        self.assertEqual(len(self.documents.urls), 2)

    def test_one_at_a_time(self) -> None:
        """However many unknown keys are named, a URL is fetched once at a time."""
        fetches: list[Deferred[bytes]] = [Deferred(), Deferred()]
        self.documents.answers = [*fetches]
        verifier = self.fetched()
        first = self.ask(verifier, "x")
        late = [self.ask(verifier, f"kid{number}") for number in range(50)]
        rotated = self.ask(verifier)
        self.assertEqual(len(self.documents.urls), 1)
        fetches[0].callback(key_set())
        self.assertFalse(self.taken(first))
        # The answer was older than their lookups: the key may be there now.
        self.assertEqual(len(self.documents.urls), 2)
        self.assertNoResult(rotated)
        fetches[1].callback(key_set(jwk(RSA_KEY, "r")))
        self.assertTrue(self.taken(rotated))
        for each in late:
            self.assertFalse(self.taken(each))
        self.assertEqual(len(self.documents.urls), 2)

    def test_failed_together(self) -> None:
        """If the server is unreachable, all waiting requests fail."""
        slow: Deferred[bytes] = Deferred()
        self.documents.answers = [slow, *[OSError("refused")] * 3]
        verifier = self.fetched()
        waiting = [self.ask(verifier) for _ in range(3)]
        slow.errback(OSError("refused"))
        for each in waiting:
            self.assertFalse(self.taken(each))
        self.documents.answers = [key_set(jwk(RSA_KEY, "r"))]
        self.assertTrue(self.taken(self.ask(verifier)))

    def test_given_up(self) -> None:
        """Cancelling one waiting request does not affect the others."""
        slow: Deferred[bytes] = Deferred()
        self.documents.answers = [slow]
        verifier = self.fetched()
        gone, stays = self.ask(verifier), self.ask(verifier)
        gone.addErrback(lambda failure: None)
        gone.cancel()
        slow.callback(key_set(jwk(RSA_KEY, "r")))
        self.assertTrue(self.taken(stays))


class TemplateTests(KeySetTestCase):
    """URLs that depend on the token."""

    def test_filled(self) -> None:
        """Named groups fill the URL; the audience takes precedence; unknown ones are
        empty.
        """
        self.documents.answers = [key_set(jwk(RSA_KEY, "r"))] * 2
        verifier = self.fetched(
            "http://id/{{ realm }}/{{tenant}}{{nobody}}",
            issuer_regex="^https://(?P<realm>a|b)/(?P<tenant>c)?",
            audience_regex="^(?P<tenant>t|u)$",
        )
        claims: OPTIONS = {"iss": "https://b/c", "aud": ["x", "u", "t"]}
        self.assertTrue(self.taken(self.ask(verifier, **claims)))
        claims = {"iss": "https://a/", "aud": "t"}
        self.assertTrue(self.taken(self.ask(verifier, **claims)))
        self.assertEqual(self.documents.urls, ["http://id/b/u", "http://id/a/t"])

    def test_apart(self) -> None:
        """Keys of one URL do not count at another, though they are called alike."""
        self.documents.answers = [key_set(jwk(RSA_KEY, "r")), key_set()]
        verifier = self.fetched("http://id/{{realm}}", issuer_regex="(?P<realm>a|b)")
        self.assertTrue(self.taken(self.ask(verifier, iss="a")))
        self.assertFalse(self.taken(self.ask(verifier, iss="b")))

    def test_clean(self) -> None:
        """A path must be clean; otherwise nothing is asked for."""
        for url, clean in (
            *(("http://id", True), ("http://id/", True), ("http://id?a=//b/", True)),
            *(("http://id/a/b.json", True), ("http://id/..a", True)),
            *(("http://id/a/", False), ("http://id/a//b", False)),
            *(("http://id/a/../b", False), ("http://id/..", False)),
            *(("http://id/./a", False), ("http://id//", False)),
            *(("http://id/a/%2e%2e/b", False), ("http://id/a%2F", False)),
            ("http://[/a", False),
        ):
            self.documents.answers = [key_set(jwk(RSA_KEY, "r"))]
            self.documents.urls.clear()
            self.assertIs(self.taken(self.ask(self.fetched(url))), clean, url)
            self.assertEqual(self.documents.urls, [url] if clean else [])


class ReloadTests(KeySetTestCase):
    """A key set after a reload."""

    def setUp(self) -> None:
        super().setUp()
        self.keys = KeySet("http://id/keys", self.documents.fetch, self.clock)

    def verified(self, keys: KeySet) -> bool:
        """Whether a token is taken."""
        return self.taken(self.ask(TokenVerifier(self.clock, TokenOptions(), keys)))

    def test_downloaded_again(self) -> None:
        """The keys are those of today."""
        self.documents.answers = [key_set(jwk(RSA_KEY, "r")), key_set()]
        self.assertTrue(self.verified(self.keys))
        self.assertFalse(self.verified(self.keys.reloaded()))
        self.assertEqual(len(self.documents.urls), 2)

    def test_away(self) -> None:
        """While the server of the keys is away, those from before are valid."""
        away = OSError("away")
        self.documents.answers = [key_set(jwk(RSA_KEY, "r")), away, away]
        self.assertTrue(self.verified(self.keys))
        self.assertTrue(self.verified(self.keys.reloaded().reloaded()))

    def test_answered_once(self) -> None:
        """Keys that a later answer left out do not come back."""
        away = OSError("away")
        self.documents.answers = [key_set(jwk(RSA_KEY, "r")), key_set(), away, away]
        self.assertTrue(self.verified(self.keys))
        renewed = self.keys.reloaded()
        self.assertFalse(self.verified(renewed))
        self.assertFalse(self.verified(renewed))

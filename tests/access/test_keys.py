"""Keys of all kinds, given and fetched (auth and channels, 3.1 to 3.3)."""

import json
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from centrifugo_tx.access import TokenOptions, TokenVerifier, static_keys
from centrifugo_tx.access.jwks import KeySet, fetcher, unsafe_template
from centrifugo_tx.access.tokens import InvalidToken

from .support import KEY, NOW, token

RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()


def pem(key: Any) -> str:
    """Return the public half as PEM."""
    public: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return public.decode()


def jwk(key: Any, kid: str, **more: Any) -> dict[str, Any]:
    """Return the public half as a member of a key set."""
    algorithm: Any = {
        rsa.RSAPrivateKey: jwt.algorithms.RSAAlgorithm,
        ec.EllipticCurvePrivateKey: jwt.algorithms.ECAlgorithm,
        ed25519.Ed25519PrivateKey: jwt.algorithms.OKPAlgorithm,
    }
    kind = next(made for base, made in algorithm.items() if isinstance(key, base))
    described: dict[str, Any] = kind.to_jwk(key.public_key(), as_dict=True)
    return {**described, "kid": kid, "use": "sig", **more}


class StaticTests(SynchronousTestCase):
    """Keys of the configuration."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)

    def verify(self, given: str, **options: Any) -> bool:
        keys = TokenOptions(**options)
        verifier = TokenVerifier(self.clock, keys, static_keys(keys, self.clock))
        verified: list[Any] = []
        verifier.connection(given).addCallbacks(
            verified.append, lambda failure: failure.trap(InvalidToken)
        )
        return bool(verified)

    def test_algorithms(self) -> None:
        """Each key takes its own algorithms, and no other."""
        for name in ("HS256", "HS384", "HS512"):
            self.assertTrue(
                self.verify(token(KEY, name, sub="1"), hmac_secret_key=KEY), name
            )
        for name in ("RS256", "RS384", "RS512"):
            given = token(RSA_KEY, name, sub="1")
            self.assertTrue(self.verify(given, rsa_public_key=pem(RSA_KEY)), name)
        given = token(RSA_KEY, "PS256", sub="1")
        self.assertFalse(self.verify(given, rsa_public_key=pem(RSA_KEY)))
        given = token(EC_KEY, "ES256", sub="1")
        self.assertTrue(self.verify(given, ecdsa_public_key=pem(EC_KEY)))
        self.assertFalse(self.verify(given, rsa_public_key=pem(RSA_KEY)))

    def test_public_key_as_secret(self) -> None:
        """A public key is no HMAC secret."""
        given = jwt.api_jws.encode(b'{"sub":"1"}', b"x" * 40, "HS256")
        self.assertFalse(self.verify(given, rsa_public_key=pem(RSA_KEY)))

    def test_rotation(self) -> None:
        """The previous secret is tried, until its time is over."""
        old = token("the-previous-secret-of-enough-bytes", sub="1")
        options = {
            "hmac_secret_key": KEY,
            "hmac_previous_secret_key": "the-previous-secret-of-enough-bytes",
        }
        self.assertTrue(self.verify(old, **options))
        until = "hmac_previous_secret_key_valid_until"
        self.assertTrue(self.verify(old, **options, **{until: NOW + 1}))
        self.assertFalse(self.verify(old, **options, **{until: NOW - 1}))

    def test_parties(self) -> None:
        """Audience and issuer must be right, exactly or by pattern."""
        given = token(sub="1", aud=["app", "web"], iss="https://id.example")
        for options, right in (
            ({"audience": "web"}, True),
            ({"audience": "we"}, False),
            ({"audience_regex": "^w"}, True),
            ({"audience_regex": "^x"}, False),
            ({"issuer": "https://id.example"}, True),
            ({"issuer": "id.example"}, False),
            ({"issuer_regex": "example$"}, True),
            ({"issuer_regex": "^example"}, False),
        ):
            found = self.verify(given, hmac_secret_key=KEY, **options)
            self.assertIs(found, right, options)

    def test_user_claim(self) -> None:
        """The user may stand in another claim; numbers become text."""
        keys = TokenOptions(hmac_secret_key=KEY, user_id_claim="uid")
        verifier = TokenVerifier(self.clock, keys, static_keys(keys, self.clock))
        for claims, user in (
            ({"uid": "a"}, "a"),
            ({"uid": 7}, "7"),
            ({"sub": "s"}, ""),
        ):
            claimed = self.successResultOf(verifier.connection(token(**claims)))
            self.assertEqual(claimed.sub, user)

    def test_numbers_in_strings(self) -> None:
        """exp and nbf may be strings that hold numbers."""
        self.assertTrue(self.verify(token(sub="1", iat=str(NOW)), hmac_secret_key=KEY))
        payload = json.dumps({"sub": "1", "exp": f"{NOW + 5}.5"}).encode()
        given = jwt.api_jws.encode(payload, KEY, "HS256")
        self.assertTrue(self.verify(given, hmac_secret_key=KEY))

    def test_unsigned(self) -> None:
        """The check of signatures can be skipped, that of claims not."""
        keys = TokenOptions(audience="app")
        source = static_keys(keys, self.clock)
        verifier = TokenVerifier(self.clock, keys, source, skip_signature=True)
        given = token("any-secret-of-at-least-32-bytes-len", sub="1", aud="app")
        self.assertEqual(self.successResultOf(verifier.connection(given)).sub, "1")
        other = token("any-secret-of-at-least-32-bytes-len", sub="1", aud="x")
        self.failureResultOf(verifier.connection(other), InvalidToken)


class KeySetTests(SynchronousTestCase):
    """Keys that are fetched."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.urls: list[str] = []
        self.answers: list[Any] = []

    def fetch(self, url: str) -> Any:
        self.urls.append(url)
        answer = self.answers.pop(0)
        return answer if isinstance(answer, Deferred) else succeed(answer)

    def key_set(self, *keys: Any) -> bytes:
        return json.dumps({"keys": list(keys)}).encode()

    def verifier(self, url: str = "http://id/keys", **options: Any) -> TokenVerifier:
        keys = KeySet(url, self.fetch, self.clock)
        return TokenVerifier(self.clock, TokenOptions(**options), keys)

    def signed(self, key: Any, algorithm: str, kid: str, **claims: Any) -> str:
        return jwt.encode({"sub": "1", **claims}, key, algorithm, {"kid": kid})

    def test_kinds(self) -> None:
        """RSA, elliptic and Ed25519 keys verify."""
        self.answers = [
            self.key_set(jwk(RSA_KEY, "r"), jwk(EC_KEY, "e"), jwk(ED_KEY, "d"))
        ]
        verifier = self.verifier()
        for key, algorithm, kid in (
            (RSA_KEY, "RS256", "r"),
            (EC_KEY, "ES256", "e"),
            (ED_KEY, "EdDSA", "d"),
        ):
            given = self.signed(key, algorithm, kid)
            self.assertEqual(self.successResultOf(verifier.connection(given)).sub, "1")
        self.assertEqual(len(self.urls), 1)

    def test_kept(self) -> None:
        """A key is kept an hour after its last use, then asked for again."""
        self.answers = [self.key_set(jwk(RSA_KEY, "r"))] * 2
        verifier, given = self.verifier(), self.signed(RSA_KEY, "RS256", "r")
        for seconds in (0, 3000, 3000):
            self.clock.advance(seconds)
            self.successResultOf(verifier.connection(given))
        self.assertEqual(len(self.urls), 1)
        self.clock.advance(3601)
        self.successResultOf(verifier.connection(given))
        self.assertEqual(len(self.urls), 2)

    def test_merged(self) -> None:
        """Those who wait for one key share one question; others do not wait."""
        answer: Deferred[bytes] = Deferred()
        known = self.key_set(jwk(EC_KEY, "e"))
        self.answers = [known, answer]
        verifier = self.verifier()
        self.successResultOf(verifier.connection(self.signed(EC_KEY, "ES256", "e")))
        given = self.signed(RSA_KEY, "RS256", "r")
        waiting = [verifier.connection(given) for _ in range(3)]
        self.successResultOf(verifier.connection(self.signed(EC_KEY, "ES256", "e")))
        answer.callback(self.key_set(jwk(RSA_KEY, "r")))
        for each in waiting:
            self.successResultOf(each)
        self.assertEqual(len(self.urls), 2)

    def test_tried_twice(self) -> None:
        """A fetch that fails is tried once more; then the token is invalid."""
        given = self.signed(RSA_KEY, "RS256", "r")
        self.answers = [fail(OSError("refused")), self.key_set(jwk(RSA_KEY, "r"))]
        self.successResultOf(self.verifier().connection(given))
        self.answers = [fail(OSError("refused")), fail(OSError("refused"))]
        self.failureResultOf(self.verifier().connection(given), InvalidToken)

    def test_useless(self) -> None:
        """Unknown kids, other uses, bad sets and bad keys prove nothing."""
        given = self.signed(RSA_KEY, "RS256", "r")
        for answer in (
            self.key_set(),
            self.key_set(jwk(RSA_KEY, "r", use="enc")),
            self.key_set(jwk(RSA_KEY, "other")),
        ):
            self.answers = [answer]
            self.failureResultOf(self.verifier().connection(given), InvalidToken)
        self.answers = [b"no JSON", b"no JSON"]
        self.failureResultOf(self.verifier().connection(given), InvalidToken)
        self.failureResultOf(self.verifier().connection(token(sub="1")), InvalidToken)

    def test_bad_key_skipped(self) -> None:
        """One bad key does not spoil the set."""
        odd = {"kty": "odd", "kid": "o", "use": "sig"}
        broken = {"kty": "RSA", "kid": "b", "use": "sig"}
        self.answers = [self.key_set(odd, broken, jwk(RSA_KEY, "r"))]
        given = self.signed(RSA_KEY, "RS256", "r")
        self.successResultOf(self.verifier().connection(given))

    def test_template(self) -> None:
        """The URL may depend on the issuer; an unclean path is refused."""
        options = {"issuer_regex": r"^https://(?P<realm>a|b|\.\.)$"}
        verifier = self.verifier("http://id/{{realm}}/keys", **options)
        self.answers = [self.key_set(jwk(RSA_KEY, "r"))]
        given = self.signed(RSA_KEY, "RS256", "r", iss="https://b")
        self.successResultOf(verifier.connection(given))
        self.assertEqual(self.urls, ["http://id/b/keys"])
        given = self.signed(RSA_KEY, "RS256", "r", iss="https://..")
        self.failureResultOf(verifier.connection(given), InvalidToken)

    def test_unsafe_template(self) -> None:
        """A placeholder may only be filled by literals."""
        url = "http://id/{{realm}}/keys"
        for pattern, safe in (
            ("^https://(?P<realm>a|b)$", True),
            ("^https://(?P<realm>.*)$", False),
            ("^https://(?P<realm>[a-z]+)$", False),
            (r"^https://(?P<realm>\w)$", False),
        ):
            self.assertIs(unsafe_template(url, [pattern]) == "", safe, pattern)
        self.assertEqual(unsafe_template("http://id/keys", ["^.*$"]), "")


class FetchTests(TestCase):
    """A real fetch."""

    timeout = 20

    async def test_fetched(self) -> None:
        """A document arrives; another status, or too much, does not."""

        class Documents(Resource):  # type: ignore[misc]  # untyped
            isLeaf = True

            def render_GET(self, request: Any) -> bytes:
                if request.path == b"/large":
                    return b"x" * (2 * 1024 * 1024)
                if request.path != b"/keys":
                    request.setResponseCode(404)
                return b'{"keys":[]}'

        site = Site(Documents())
        port = reactor.listenTCP(0, site, interface="127.0.0.1")  # type: ignore
        url = f"http://127.0.0.1:{port.getHost().port}"
        fetch = fetcher(reactor)
        try:
            self.assertEqual(await fetch(f"{url}/keys"), b'{"keys":[]}')
            for path in ("none", "large"):
                with self.assertRaises(ValueError):
                    await fetch(f"{url}/{path}")
        finally:
            await port.stopListening()

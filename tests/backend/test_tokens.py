"""Tokens of backends: the server's own verifier accepts them.

See permissions, "Connection tokens" and "Subscription tokens".
"""

import time
from datetime import UTC, datetime
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.access import TokenOptions, TokenVerifier, static_keys
from centrifugo_tx.backend import Override, SubscribeOptions, TokenSigner

KEY = "a secret of the tests, long enough for SHA-512, which wants 64 bytes of it"
PRIVATE: dict[str, Any] = {
    "RS256": rsa.generate_private_key(65537, 2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "ES512": ec.generate_private_key(ec.SECP521R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}


def private_pem(algorithm: str) -> str:
    """Return a private key as PEM."""
    pem: bytes = PRIVATE[algorithm].private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return pem.decode()


def public_pem(algorithm: str) -> str:
    """Return its public half."""
    pem: bytes = (
        PRIVATE[algorithm]
        .public_key()
        .public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return pem.decode()


def claims_of(token: str) -> dict[str, Any]:
    """Return the claims of a token."""
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


class TokenTests(SynchronousTestCase):
    """Every claim and algorithm."""

    def verifier(self, **options: Any) -> TokenVerifier:
        """Return the server's verifier with these options."""
        clock = Clock()
        clock.advance(time.time() + 1)
        made = TokenOptions(**options)
        return TokenVerifier(clock, made, static_keys(made, clock))

    def test_algorithms(self) -> None:
        """The server accepts each algorithm by the public half of the key."""
        for algorithm in ("HS256", "HS384", "HS512"):
            token = TokenSigner(key=KEY, algorithm=algorithm).connection_token("42")
            verifier = self.verifier(hmac_secret_key=KEY)
            claims = self.successResultOf(verifier.connection(token))
            self.assertEqual(claims.sub, "42")
        for algorithm in ("RS256", "ES256", "ES384", "ES512"):
            signer = TokenSigner(key=private_pem(algorithm), algorithm=algorithm)
            token = signer.connection_token("42")
            kind = "rsa" if algorithm == "RS256" else "ecdsa"
            options = {f"{kind}_public_key": public_pem(algorithm)}
            claims = self.successResultOf(self.verifier(**options).connection(token))
            self.assertEqual(claims.sub, "42")

    def test_key_set(self) -> None:
        """Keys of a set are named; EdDSA is for sets only."""
        signer = TokenSigner(
            key=private_pem("EdDSA"), algorithm="EdDSA", key_id="2026-01"
        )
        token = signer.connection_token("42")
        header = jwt.get_unverified_header(token)
        self.assertEqual((header["kid"], header["alg"]), ("2026-01", "EdDSA"))
        jwt.decode(token, PRIVATE["EdDSA"].public_key(), ["EdDSA"])

    def test_connection(self) -> None:
        """All claims of a connection token."""
        signer = TokenSigner(key=KEY, issuer="app", audience=["a", "b"])
        before = int(time.time())
        token = signer.connection_token(
            "42",
            expires_in=60,
            expire_at=datetime(2100, 1, 1, tzinfo=UTC),
            not_before=before - 5,
            info={"name": "Ada"},
            channels=["news"],
            subs={
                "chat": SubscribeOptions(data=b"\xff", override=Override(presence=True))
            },
            meta={"role": "admin"},
            token_id="j1",
            claims={"tenant": 7},
        )
        claims = claims_of(token)
        issued = claims.pop("iat")
        self.assertIn(issued, range(before, before + 60))
        self.assertEqual(
            claims,
            {
                "sub": "42",
                "exp": issued + 60,
                "expire_at": 4102444800,
                "nbf": before - 5,
                "info": {"name": "Ada"},
                "channels": ["news"],
                "subs": {
                    "chat": {
                        "b64data": "/w==",
                        "override": {"presence": {"value": True}},
                    }
                },
                "meta": {"role": "admin"},
                "jti": "j1",
                "iss": "app",
                "aud": ["a", "b"],
                "tenant": 7,
            },
        )
        verifier = self.verifier(hmac_secret_key=KEY, issuer="app", audience="b")
        read = self.successResultOf(verifier.connection(token))
        self.assertEqual((read.sub, read.end), ("42", 4102444800))
        self.assertEqual(bytes(read.meta), b'{"role":"admin"}')

    def test_anonymous(self) -> None:
        """The anonymous user has an empty id; nothing else need be set."""
        claims = claims_of(TokenSigner(key=KEY).connection_token("", info=b"x"))
        self.assertEqual(claims.pop("iat") > 0, True)
        self.assertEqual(claims, {"sub": "", "b64info": "eA=="})

    def test_user_claim(self) -> None:
        """The user may be in another claim."""
        signer = TokenSigner(key=KEY, user_claim="uid", audience="a")
        claims = claims_of(signer.connection_token("42"))
        self.assertEqual((claims["uid"], claims["aud"]), ("42", "a"))
        self.assertNotIn("sub", claims)

    def test_subscription(self) -> None:
        """All claims of a subscription token."""
        signer = TokenSigner(key=KEY)
        token = signer.subscription_token(
            "42",
            "$room",
            expires_in=60,
            expire_at=0,
            info={"i": 1},
            data=[1],
            override=Override(force_recovery=False),
            token_id="j",
        )
        claims = claims_of(token)
        self.assertEqual(claims["exp"], claims.pop("iat") + 60)
        claims.pop("exp")
        self.assertEqual(
            claims,
            {
                "sub": "42",
                "channel": "$room",
                "expire_at": 0,
                "info": {"i": 1},
                "data": [1],
                "override": {"force_recovery": {"value": False}},
                "jti": "j",
            },
        )
        verifier = self.verifier(hmac_secret_key=KEY)
        read = self.successResultOf(verifier.subscription(token))
        self.assertEqual((read.channel, read.end), ("$room", 0))

    def test_refused(self) -> None:
        """A wrong key, algorithm or channel is said at once; the key is not shown."""
        self.assertRaises(ValueError, TokenSigner, key="")
        self.assertRaises(ValueError, TokenSigner, key=KEY, algorithm="none")
        self.assertRaises(ValueError, TokenSigner, key=KEY, algorithm="PS256")
        self.assertRaises(ValueError, TokenSigner, key=KEY, algorithm="RS256")
        signer = TokenSigner(key=KEY)
        self.assertRaises(ValueError, signer.subscription_token, "42", "")
        self.assertRaises(TypeError, signer.connection_token, "42", info=object())
        self.assertNotIn("secret", repr(signer))

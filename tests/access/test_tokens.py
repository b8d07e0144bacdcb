"""Tokens and the keys that are given for them.

See permissions, "Algorithms" and "Order of token checks".
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from centrifugo_tx.access import TokenOptions, TokenVerifier, static_keys
from centrifugo_tx.access.claims import seconds
from centrifugo_tx.access.tokens import InvalidToken, TokenExpired

from .policy_case import KEY, NOW, OPTIONS, PolicyTestCase, token

RSA_KEY = rsa.generate_private_key(65537, 2048)
CURVES = {
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "ES512": ec.generate_private_key(ec.SECP521R1()),
}
PREVIOUS = "the-secret-before"
SOME: OPTIONS = {"sub": "1"}


def pem(key: Any) -> str:
    """Return the public half as PEM."""
    public: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return public.decode()


def certificate(key: Any) -> str:
    """Return a certificate of the public half as PEM."""
    name = x509.Name([])
    builder = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(datetime(2020, 1, 1))
        .not_valid_after(datetime(2020, 1, 2))
    )
    signed = builder.sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()


class TokenTestCase(PolicyTestCase):
    """Verifies tokens."""

    def verified(self, text: str, verifier: TokenVerifier | None = None) -> Any:
        """Return the claims of a connection token, or the class of its failure."""
        verifier = verifier or self.verifier(hmac_secret_key=KEY)
        outcomes: list[Any] = []
        verifier.connection(text).addCallbacks(
            outcomes.append, lambda failure: outcomes.append(failure.type)
        )
        return outcomes[0]

    def by(self, text: str, **options: Any) -> bool:
        """Whether a verifier with the keys of *options* takes a token."""
        return self.verified(text, self.verifier(**options)) is not InvalidToken

    def check(self, claims: Iterable[OPTIONS | bytes], expected: Any) -> None:
        """Make sure that all claims fail alike, or none does."""
        for each in claims:
            found = self.verified(token(each))
            if expected is None:
                self.assertFalse(isinstance(found, type), each)
            else:
                self.assertIs(found, expected, each)


class KeyTests(TokenTestCase):
    """Which keys take which algorithms (permissions, "Algorithms")."""

    def test_hmac(self) -> None:
        """A secret takes all of HMAC."""
        for name in ("HS256", "HS384", "HS512"):
            given = token(SOME, algorithm=name)
            self.assertTrue(self.by(given, hmac_secret_key=KEY), name)
            self.assertFalse(self.by(given, hmac_secret_key=KEY + "x"), name)

    def test_rsa(self) -> None:
        """An RSA key takes PKCS #1 signatures, but not PSS."""
        for key in (pem(RSA_KEY), certificate(RSA_KEY)):
            for name in ("RS256", "RS384", "RS512"):
                given = token(SOME, RSA_KEY, name)
                self.assertTrue(self.by(given, rsa_public_key=key), name)
            for name in ("PS256", "PS384", "PS512"):
                given = token(SOME, RSA_KEY, name)
                self.assertFalse(self.by(given, rsa_public_key=key), name)

    def test_curves(self) -> None:
        """A key on a curve accepts only that curve's algorithm."""
        for name, key in CURVES.items():
            for other, signer in CURVES.items():
                given = token(SOME, signer, other)
                taken = self.by(given, ecdsa_public_key=pem(key))
                self.assertIs(taken, name == other, (name, other))
        crossed = token(SOME, CURVES["ES256"], "ES256", {"alg": "ES384"})
        self.assertFalse(self.by(crossed, ecdsa_public_key=pem(CURVES["ES256"])))

    def test_der_signature(self) -> None:
        """A signature on a curve is R and S, not DER."""
        key = CURVES["ES256"]
        signed = token(SOME, key, "ES256").rpartition(".")[0]
        der = key.sign(signed.encode(), ec.ECDSA(hashes.SHA256()))
        given = f"{signed}.{jwt.utils.base64url_encode(der).decode()}"
        self.assertFalse(self.by(given, ecdsa_public_key=pem(key)))

    def test_several(self) -> None:
        """The header says which of several keys counts."""
        options = {
            "hmac_secret_key": KEY,
            "rsa_public_key": pem(RSA_KEY),
            "ecdsa_public_key": pem(CURVES["ES384"]),
        }
        for key, name, taken in (
            (KEY, "HS256", True),
            (RSA_KEY, "RS256", True),
            (CURVES["ES384"], "ES384", True),
            (CURVES["ES256"], "ES256", False),
        ):
            self.assertIs(self.by(token(SOME, key, name), **options), taken, name)

    def test_other_algorithms(self) -> None:
        """An algorithm without a key is refused."""
        for name in ("none", "None", "", "EdDSA", "ES256K", "hs256", "HS1", 5, None):
            given = token(SOME, header={"alg": name})
            self.assertFalse(self.by(given, hmac_secret_key=KEY), name)
        self.assertFalse(self.by(token(SOME, header=b'{"a":1}'), hmac_secret_key=KEY))

    def test_public_key_as_secret(self) -> None:
        """A public key is not accepted as an HMAC secret."""
        given = token(SOME, pem(RSA_KEY))
        self.assertFalse(self.by(given, rsa_public_key=pem(RSA_KEY)))

    def test_no_keys(self) -> None:
        """Without keys no token is taken."""
        self.assertFalse(self.by(token(SOME)))
        self.assertFalse(self.by(token(SOME, key="")))

    def test_rotation(self) -> None:
        """The previous secret is tried, until its time is over."""
        old = token(SOME, PREVIOUS, "HS512")
        options = {"hmac_secret_key": KEY, "hmac_previous_secret_key": PREVIOUS}
        until = "hmac_previous_secret_key_valid_until"
        self.assertTrue(self.by(token(SOME), **options))
        for end, taken in ((0, True), (NOW + 1, True), (NOW, True), (NOW - 1, False)):
            self.assertIs(self.by(old, **{**options, until: end}), taken, end)
        self.assertTrue(self.by(old, hmac_previous_secret_key=PREVIOUS))

    def test_wrong_keys(self) -> None:
        """Text that holds no such key is an error at the start."""
        edwards = pem(ed25519.Ed25519PrivateKey.generate())
        unknown = (
            "-----BEGIN PUBLIC KEY-----\n"
            "MCowBQYDK2VyAyEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
            "-----END PUBLIC KEY-----\n"
        )
        koblitz = pem(ec.generate_private_key(ec.SECP256K1()))
        for name, text in (
            ("rsa_public_key", "rubbish"),
            ("rsa_public_key", "-----BEGIN CERTIFICATE-----\nAA==\n"),
            ("rsa_public_key", pem(CURVES["ES256"])),
            ("ecdsa_public_key", pem(RSA_KEY)),
            ("ecdsa_public_key", edwards),
            ("ecdsa_public_key", koblitz),
            ("rsa_public_key", unknown),
        ):
            keys: OPTIONS = {name: text}
            options = TokenOptions(**keys)
            self.assertRaises(ValueError, static_keys, options, self.clock)


class FormTests(TokenTestCase):
    """The form of tokens (permissions, "Order of token checks")."""

    def test_payload_is_text(self) -> None:
        """Payloads are not converted, so a token must be UTF-8."""
        good = jwt.api_jws.encode(b'{"sub":"1","info":"x"}', KEY, "HS256")
        bad = jwt.api_jws.encode(b'{"sub":"1","info":"\xff"}', KEY, "HS256")
        self.assertEqual(bytes(self.verified(good).info), b'"x"')
        self.assertIs(self.verified(bad), InvalidToken)

    def test_parts(self) -> None:
        """Three parts of base64url without padding, and nothing else."""
        good = token(SOME)
        header, payload, signature = good.split(".")
        self.assertEqual(self.verified(good).sub, "1")
        for text in (
            "",
            "..",
            header,
            f"{header}.{payload}",
            f"{good}.",
            f"{good}.{signature}",
            f".{payload}.{signature}",
            f"{header}=.{payload}.{signature}",
            f"{header}.{payload}.{signature}=",
            f"{header}.{payload}.",
            f"{header}.{payload}.\u00e9",
            f"{header}.{payload}.{signature}\n",
            f" {good}",
            f"{header}.+/.{signature}",
            f"{header}.A.{signature}",
            f"{header}.{header}.{signature}",
        ):
            self.assertIs(self.verified(text), InvalidToken, text)

    def test_header(self) -> None:
        """The header is JSON that begins at once; typ is not looked at.

        Extensions that must be understood are not (RFC 7515, 4.1.11).
        """
        for header, taken in (
            (b'{"alg":"HS256","typ":"whatever"}', True),
            (b'{"typ":5,"alg":"HS256"}', True),
            (b'{ "alg":"HS256"}', False),
            (b'{"alg":"HS256"', False),
            (b'["HS256"]', False),
            (b'{"alg":"HS256","crit":["exp"],"exp":1}', False),
            (b'{"alg":"HS256","crit":[]}', False),
            (b'{"alg":"HS256","crit":null}', False),
            (b'{"alg":"HS256","x":' + b"[" * 9999 + b"]" * 9999 + b"}", False),
        ):
            found = self.by(token(SOME, header=header), hmac_secret_key=KEY)
            self.assertIs(found, taken, header)

    def test_types(self) -> None:
        """A claim of a wrong type spoils the token, also one that is not used."""
        wrong: tuple[OPTIONS | bytes, ...] = (
            *({"sub": 7}, {"jti": 7}, {"iss": 7}, {"aud": 7}, {"aud": ["a", 7]}),
            *({"exp": True}, {"exp": []}, {"exp": "soon"}, {"exp": ""}),
            *({"nbf": {}}, {"iat": "now"}, {"iat": "0x10"}, {"iat": "1_0"}),
            *({"exp": "nan"}, {"exp": "inf"}, {"exp": "1e999"}, {"exp": " 1"}),
            *({"expire_at": "5"}, {"expire_at": 5.5}, {"expire_at": True}),
            *({"channels": "a"}, {"channels": [1]}, {"subs": []}, {"subs": {"a": 1}}),
            *({"subs": {"a": {"b64info": 1}}}, {"b64info": 1}, {"channel": 1}),
            {"subs": {"a": {"override": {"presence": True}}}},
            *(b"", b"[]", b"{", b'{"sub":"1"}{}', b'{"sub":"\xff"}'),
            b'{"meta":' + b"[" * 9999 + b"]" * 9999 + b"}",
            b'{"exp":1e999}',
        )
        self.check(wrong, InvalidToken)

    def test_types_that_work(self) -> None:
        """Unknown claims, null, and numbers inside strings are accepted."""
        good: tuple[OPTIONS | bytes, ...] = (
            *({"caps": [1], "labels": {"a": 1}}, {"meta": 5}, {"info": None}),
            *({"sub": None}, {"exp": None}, {"aud": None}, {"jti": None}),
            *({"channel": None}, {"b64info": None}, {"expire_at": None}),
            *({"exp": NOW + 0.5}, {"exp": str(NOW + 60)}, {"exp": f"{NOW}.5"}),
            *({"exp": "2e9"}, {"nbf": "-1"}, {"iat": NOW + 500}, {"nbf": NOW - 0.5}),
            *({"aud": "a"}, {"aud": []}, {"exp": 10**40}),
            b' {"sub" : "1"} ',
        )
        self.check(good, None)


class ClaimTests(TokenTestCase):
    """The checked claims and the order of checks.

    See permissions, "Order of token checks".
    """

    def test_time(self) -> None:
        """exp must be after now and nbf before now, without leeway."""
        self.check(
            (
                *({"exp": NOW}, {"exp": NOW - 0.5}, {"exp": 0}, {"exp": -1}),
                *({"exp": str(NOW)}, {"nbf": NOW}, {"nbf": NOW + 0.5}),
                {"nbf": str(NOW + 1)},
            ),
            TokenExpired,
        )

    def test_parties(self) -> None:
        """Audience and issuer must be right, exactly or by pattern."""
        both = token({"aud": ["app", "web"], "iss": "https://id.example"})
        one = token({"aud": "web", "iss": "https://id.example"})
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
            for text in (both, one):
                found = self.by(text, hmac_secret_key=KEY, **options)
                self.assertIs(found, right, options)
            found = self.by(token(SOME), hmac_secret_key=KEY, **options)
            self.assertFalse(found, options)

    def test_order(self) -> None:
        """A token that is wrong and too old at once is wrong."""
        old: OPTIONS = {"sub": "1", "exp": NOW - 5}
        verifier = self.verifier(hmac_secret_key=KEY, audience="web")
        self.assertIs(self.verified(token(old), verifier), InvalidToken)
        self.assertIs(self.verified(token(old, "other")), InvalidToken)
        self.check([{**old, "channel": "a"}], InvalidToken)
        self.check([old], TokenExpired)

    def test_subscription(self) -> None:
        """A subscription token needs a channel, but is too old before that."""
        verifier = self.verifier(hmac_secret_key=KEY)
        for claims, problem in (
            ({}, InvalidToken),
            ({"channel": ""}, InvalidToken),
            ({"client": 5, "channel": "a"}, InvalidToken),
            ({"exp": NOW}, TokenExpired),
        ):
            decision = verifier.subscription(token(claims))
            self.failureResultOf(decision, problem)
        good = self.successResultOf(verifier.subscription(token({"channel": "a"})))
        self.assertEqual((good.channel, good.sub), ("a", ""))

    def test_user_claim(self) -> None:
        """Another claim may hold the user; a value that is not text becomes text."""
        verifier = self.verifier(hmac_secret_key=KEY, user_id_claim="uid")
        for claims, user in (
            ({"uid": "a", "sub": "s"}, "a"),
            ({"uid": "\u00e9\n"}, "\u00e9\n"),
            ({"uid": 7}, "7"),
            ({"uid": 1.5}, "1.5"),
            ({"uid": True}, "true"),
            ({"uid": None}, ""),
            ({"uid": {"a": [1]}}, '{"a":[1]}'),
            ({"sub": "s"}, ""),
        ):
            self.assertEqual(self.verified(token(claims), verifier).sub, user)
        self.assertIs(self.verified(token({"sub": 7}), verifier), InvalidToken)

    def test_skipped_signature(self) -> None:
        """The check of signatures can be skipped; all others are made."""
        verifier = self.verifier(skip=True, audience="app")
        good: OPTIONS = {"sub": "1", "aud": "app"}
        for text, problem in (
            (token(good, "any"), None),
            (token(good, header={"alg": "none"}), None),
            (token({**good, "aud": "x"}), InvalidToken),
            (token({**good, "channel": "a"}), InvalidToken),
            (token({**good, "sub": 5}), InvalidToken),
            (token({**good, "exp": NOW}), TokenExpired),
            (token(good) + "!", InvalidToken),
        ):
            found = self.verified(text, verifier)
            self.assertIs(found if problem else None, problem, text)

    @given(st.text() | st.binary().map(lambda payload: token(payload)))
    def test_anything(self, text: str) -> None:
        """Whatever comes, it is verified or refused."""
        for ask in ("connection", "subscription"):
            verified = getattr(self.verifier(hmac_secret_key=KEY), ask)(text)
            verified.addErrback(lambda failure: failure.trap(InvalidToken))
            self.successResultOf(verified)

    @given(st.integers() | st.floats() | st.text())
    def test_dates(self, date: float | str) -> None:
        """A date is a finite number, or no date."""
        try:
            found = seconds(date)
        except ValueError:
            return
        self.assertTrue(abs(found) < float("inf"), date)

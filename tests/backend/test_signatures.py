"""Signed requests: whose calls a webhook accepts."""

import hashlib
import hmac
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.backend import (
    RPC,
    InvalidRequest,
    RPCResult,
    Webhook,
    sign,
    verify_signature,
)

BODY = b'{"method":"sum"}'
NOW = 1_700_000_000


def signature(secret: str, at: int = NOW, body: bytes = BODY) -> str:
    """Return one signature, made by hand."""
    signed = f"{at}.".encode() + body
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


class SignatureTests(SynchronousTestCase):
    """Accepted and refused signatures."""

    def refused(self, header: str | None, reason: str, **options: Any) -> None:
        """Check that a header is refused."""
        options = {"secrets": "one", "now": NOW, **options}
        with self.assertRaises(InvalidRequest) as caught:
            verify_signature(header, BODY, options.pop("secrets"), **options)
        self.assertEqual(caught.exception.status, 403)
        self.assertIn(reason, str(caught.exception))

    def test_form(self) -> None:
        """The header holds the time and one signature per secret."""
        expected = f"t={NOW},v1={signature('one')},v1={signature('two')}"
        self.assertEqual(sign(BODY, ["one", b"two"], NOW), expected)
        for secret in ("one", "two", b"two"):
            verify_signature(expected, BODY, secret, now=NOW)

    def test_rotation(self) -> None:
        """Either side may know an old and a new secret."""
        old = sign(BODY, ["old"], NOW)
        verify_signature(old, BODY, ["new", "old"], now=NOW)
        self.refused(old, "does not match", secrets=["new", "newer"])

    def test_changed(self) -> None:
        """Another body, time or signature does not match."""
        good = signature("one")
        self.refused(f"t={NOW + 1},v1={good}", "does not match")
        self.refused(f"t={NOW},v1={good[:-1]}", "does not match")
        self.refused(f"t={NOW},v1=", "does not match")
        self.refused(f"t={NOW},v1=\xe9", "does not match")
        self.refused(f"t={NOW},v2={good}", "does not match")
        self.refused(sign(BODY + b" ", ["one"], NOW), "does not match")

    def test_window(self) -> None:
        """A replay later than the tolerance is refused, a clock ahead too."""
        header = sign(BODY, ["one"], NOW)
        for now in (NOW - 300, NOW + 300.9 - 1, NOW + 300):
            verify_signature(header, BODY, "one", now=now)
        for now in (NOW - 301, NOW + 301):
            self.refused(header, "too old", now=now)
        self.refused(header, "too old", now=NOW + 11, tolerance=10)

    def test_malformed(self) -> None:
        """A malformed signature of any length is refused."""
        self.refused(None, "not signed")
        self.refused("", "not signed")
        good = signature("one")
        moments = ("", "x", "-1", "1e3", "\u0661", "9" * 21)
        for header in (f"v1={good}", *(f"t={at},v1={good}" for at in moments)):
            self.refused(header, "malformed")
        self.refused(f"t={NOW}" + f",v1={good}" * 17, "malformed")
        self.refused(f"t={NOW}" + ",a" * 10_000, "does not match")

    def test_no_secret(self) -> None:
        """An empty secret is a mistake of the program."""
        for secrets in ("", [], ["one", ""], [b""]):
            with self.assertRaises(ValueError) as caught:
                verify_signature(sign(BODY, ["x"]), BODY, secrets)
            self.assertNotIsInstance(caught.exception, InvalidRequest)

    def test_webhook(self) -> None:
        """A webhook with secrets reads only signed requests."""
        hook = Webhook(RPC, ("one",))
        header = sign(BODY, ["one"])
        answer = hook.answer(BODY, header, lambda call: RPCResult(data=call.method))
        self.assertEqual(answer, b'{"result":{"data":"sum"}}')
        self.assertRaises(InvalidRequest, hook.read, BODY, None)
        self.assertRaises(InvalidRequest, hook.read, b"{", header)

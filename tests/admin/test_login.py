"""Passwords and session tokens."""

from base64 import urlsafe_b64encode
from urllib.parse import urlencode

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.admin import AdminOptions
from centrifugo_tx.admin.login import (
    ADDRESSES,
    ALL_TRIES,
    LIFETIME,
    TRIES,
    Attempts,
    Login,
    password_in,
)

OPTIONS = AdminOptions(enabled=True, password="pw", secret="sec-ret")
#: Issued by the reference with this secret at this time.
ISSUED_AT = 1795546471
FOREIGN = (
    "MTc5NTU0NjQ3MXxEUXdBQ21GMWRHaHZjbWw2WldRPXwbIURw747R4PCK7vgtbuhwEB4VU-5LHzxeQg"
    "PLkVZb2A=="
)


def multipart(*fields: tuple[str, bytes], boundary: str = "xYz") -> tuple[bytes, bytes]:
    """Return the body of a form and its content type (RFC 7578)."""
    body = b""
    for name, value in fields:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
        body += head.encode() + value + b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    return body, f"multipart/form-data; boundary={boundary}".encode()


class TokenTests(SynchronousTestCase):
    """Session tokens (operations, "Admin web interface")."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(ISSUED_AT)
        self.login = Login(OPTIONS, self.clock)

    def test_issued(self) -> None:
        """A token is valid for 30 days."""
        token = self.login.issue()
        self.assertTrue(self.login.verifies(token))
        self.clock.advance(LIFETIME - 1)
        self.assertTrue(self.login.verifies(token))
        self.clock.advance(1)
        self.assertFalse(self.login.verifies(token))

    def test_reference(self) -> None:
        """It is the token that the reference would issue, so both know the other's."""
        self.assertEqual(self.login.issue(), FOREIGN)
        self.assertTrue(self.login.verifies(FOREIGN))

    def test_other_secret(self) -> None:
        """A change of the secret ends all logins."""
        other = Login(AdminOptions(password="pw", secret="other"), self.clock)
        self.assertFalse(other.verifies(self.login.issue()))

    def test_no_secret(self) -> None:
        """Without a secret no token is valid, not even one signed with nothing."""
        nobody = Login(AdminOptions(password="pw"), self.clock)
        self.assertFalse(nobody.verifies(nobody.issue()))

    def test_forged(self) -> None:
        """Any text that is not one of our tokens is refused."""
        token = self.login.issue()
        signed = b"%d|x|" % ISSUED_AT
        for forged in (
            *("", "x", "====", "é", token[:-4], token[:40], "A" * 2000),
            token.replace("M", "N", 1),
            urlsafe_b64encode(signed + b"0" * 32).decode(),
            urlsafe_b64encode(b"|" * 40).decode(),
        ):
            self.assertFalse(self.login.verifies(forged), forged)

    def test_future(self) -> None:
        """A token of the future is refused, apart from clocks that differ a little."""
        self.clock.advance(3600)
        token = self.login.issue()
        self.clock.advance(-30)
        self.assertTrue(self.login.verifies(token))
        self.clock.advance(-3000)
        self.assertFalse(self.login.verifies(token))

    def test_password(self) -> None:
        """Only the whole password is right."""
        self.assertTrue(self.login.accepts(b"pw"))
        for wrong in (b"", b"p", b"pw ", b"PW", b"pw\0", b"x" * 1000):
            self.assertFalse(self.login.accepts(wrong), wrong)


class FormTests(SynchronousTestCase):
    """The password in a form."""

    def test_urlencoded(self) -> None:
        """An urlencoded form, with or without its content type."""
        body = urlencode({"user": "x", "password": "a b&c=ü"}).encode()
        for kind in (b"application/x-www-form-urlencoded", b""):
            self.assertEqual(password_in(body, kind), "a b&c=ü".encode())

    def test_multipart(self) -> None:
        """A multipart form, as a browser sends it."""
        body, kind = multipart(("other", b"1"), ("password", b"a\r\nb"))
        self.assertEqual(password_in(body, kind), b"a\r\nb")
        quoted = kind.replace(b"xYz", b'"xYz"')
        self.assertEqual(password_in(body, quoted), b"a\r\nb")

    def test_nothing(self) -> None:
        """Anything else has no password."""
        body, kind = multipart(("passwords", b"1"), ("pass", b"2"))
        for found in (
            password_in(body, kind),
            password_in(body, b"multipart/form-data"),
            password_in(b"--xYz", kind),
            password_in(b'{"password":"pw"}', b"application/json"),
            password_in(b"a=1&" * 1000 + b"password=pw", b""),
            password_in(b"", b""),
        ):
            self.assertEqual(found, b"")


class AttemptTests(SynchronousTestCase):
    """How often passwords may be tried."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.attempts = Attempts(self.clock)

    def allowed(self, times: int, address: str = "a") -> int:
        return sum(self.attempts.allow(address) for _ in range(times))

    def test_address(self) -> None:
        """An address has five tries, and one more each second."""
        self.assertEqual(self.allowed(100), TRIES)
        self.assertEqual(self.allowed(1, "b"), 1)
        self.clock.advance(3)
        self.assertEqual(self.allowed(100), 3)
        self.clock.advance(1000)
        self.assertEqual(self.allowed(100), TRIES)

    def test_all(self) -> None:
        """All addresses together have a bound, too."""
        allowed = sum(self.allowed(1, str(number)) for number in range(1000))
        self.assertEqual(allowed, ALL_TRIES)
        self.clock.advance(1)
        self.assertEqual(self.allowed(1, "new"), 1)

    def test_memory(self) -> None:
        """A bounded number of addresses is remembered."""
        for number in range(3 * ADDRESSES):
            self.attempts.allow(str(number))
        self.assertEqual(len(self.attempts._buckets), ADDRESSES)

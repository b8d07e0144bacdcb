"""Passwords and session tokens (operations, "Admin web interface")."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections import OrderedDict
from hashlib import sha256
from hmac import compare_digest, digest
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from attrs import define, field
from twisted.internet.interfaces import IReactorTime

__all__ = ["LIFETIME", "AdminOptions", "Attempts", "Login", "password_in"]

#: Seconds for which a session token is valid.
LIFETIME = 30 * 86400.0
#: Passwords that one address may try at once, and how many seconds earn another try.
TRIES, RECOVERY = 5, 1.0
#: The same for all addresses together.
ALL_TRIES, ALL_RECOVERY = 50, 0.1
#: Addresses that are remembered.
ADDRESSES = 1024
#: Fields of a form that are looked at, and characters of the longest token.
FIELDS, TOKEN_LIMIT = 32, 1024

#: The signed fields besides the time: the name and the value of the session, as in the
#: reference, so that the nodes of a mixed cluster accept each other's tokens.
_NAME = b"token"
_VALUE = b"DQwACmF1dGhvcml6ZWQ="
_BOUNDARY = re.compile(rb'boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE)
_FIELD = re.compile(rb';\s*name="?password"?\s*(?:;|\r\n|\Z)', re.IGNORECASE)


class AdminOptions(msgspec.Struct, frozen=True):
    """The admin web interface."""

    enabled: bool = False
    """Serve it."""
    handler_prefix: str = ""
    """Its path; empty: the root."""
    password: str = ""
    """Password of the login; needed together with ``secret``."""
    secret: str = ""
    """Key that signs the session tokens; a change ends all logins."""
    insecure: bool = False
    """Admit every caller without a login."""
    web_path: str = ""
    """Folder with the files of the interface, instead of the built-in ones."""
    web_proxy_address: str = ""
    """HTTP address that serves the interface, for developing a page."""
    external: bool = False
    """Serve it on the external port."""


@define(eq=False)
class Login:
    """Compares passwords, and issues and verifies session tokens."""

    _options: AdminOptions
    _clock: IReactorTime

    @property
    def possible(self) -> bool:
        """Whether there are a password and a secret."""
        return bool(self._options.password and self._options.secret)

    def accepts(self, password: bytes) -> bool:
        """Whether *password* is the right one; takes as long for any other."""
        key = self._options.secret.encode()
        expected = digest(key, self._options.password.encode(), "sha256")
        return compare_digest(digest(key, password, "sha256"), expected)

    def issue(self) -> str:
        """Return a session token that is valid from now on, for 30 days."""
        signed = b"%d|%b" % (self._clock.seconds(), _VALUE)
        token = signed + b"|" + self._signature(signed)
        return urlsafe_b64encode(token).decode()

    def verifies(self, token: str) -> bool:
        """Whether *token* was issued with this secret, not more than 30 days ago."""
        if not self._options.secret or len(token) > TOKEN_LIMIT:
            return False
        try:
            text = urlsafe_b64decode(token.encode())
        except (Base64Error, ValueError):
            return False
        signed, signature = text[: -sha256().digest_size - 1], text[-32:]
        issued, _, value = signed.partition(b"|")
        if not compare_digest(signature, self._signature(signed)):
            return False
        if value != _VALUE or not issued.isdigit():
            return False
        age = self._clock.seconds() - int(issued)
        return -60 <= age < LIFETIME

    def _signature(self, signed: bytes) -> bytes:
        key = self._options.secret.encode()
        return digest(key, _NAME + b"|" + signed, "sha256")

    def admits(self, request: Any) -> bool:
        """Whether *request* shows a valid token, or needs none."""
        if self._options.insecure:
            return True
        words = (request.getHeader(b"authorization") or b"").split()
        if len(words) != 2 or words[0].lower() != b"token":
            return False
        return self.verifies(words[1].decode("latin-1"))


@define(eq=False)
class _Bucket:
    tries: float
    since: float


@define(eq=False)
class Attempts:
    """Bounds how often passwords are tried, by address and over all addresses."""

    _clock: IReactorTime
    _buckets: "OrderedDict[str, _Bucket]" = field(factory=OrderedDict, init=False)
    _all: _Bucket = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._all = _Bucket(ALL_TRIES, self._clock.seconds())

    def allow(self, address: str) -> bool:
        """Count an attempt; return whether its password may be looked at."""
        now = self._clock.seconds()
        bucket = self._buckets.pop(address, None) or _Bucket(TRIES, now)
        self._buckets[address] = bucket
        if len(self._buckets) > ADDRESSES:
            self._buckets.popitem(last=False)
        own = _take(bucket, now, TRIES, RECOVERY)
        return own and _take(self._all, now, ALL_TRIES, ALL_RECOVERY)


def _take(bucket: _Bucket, now: float, most: int, recovery: float) -> bool:
    earned = max(0.0, now - bucket.since) / recovery
    bucket.tries, bucket.since = min(most, bucket.tries + earned), now
    if bucket.tries < 1:
        return False
    bucket.tries -= 1
    return True


def password_in(body: bytes, content_type: bytes) -> bytes:
    """Return the field ``password`` of a form; empty if it is absent.

    The form is urlencoded (also without a content type) or multipart (RFC 7578).
    """
    if content_type.lower().startswith(b"multipart/form-data"):
        return _multipart_password(body, content_type)
    try:
        fields = parse_qsl(
            body.decode("latin-1"), encoding="latin-1", max_num_fields=FIELDS
        )
    except ValueError:
        return b""
    found = next((value for name, value in fields if name == "password"), "")
    return found.encode("latin-1")


def _multipart_password(body: bytes, content_type: bytes) -> bytes:
    found = _BOUNDARY.search(content_type)
    if found is None:
        return b""
    boundary = b"\r\n--" + (found[1] or found[2])
    for part in (b"\r\n" + body).split(boundary, FIELDS)[1:]:
        head, blank, value = part.partition(b"\r\n\r\n")
        for line in head.lower().split(b"\r\n"):
            named = _FIELD.search(line)
            if blank and line.startswith(b"content-disposition:") and named:
                return value
    return b""

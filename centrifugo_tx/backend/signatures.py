"""Signatures of the requests that the server sends to a backend.

The header ``X-Centrifugo-Signature`` is ``t=<Unix seconds>,v1=<signature>``, where the
signature is the HMAC-SHA256, in hexadecimal, of the time, a full stop and the body.
The server sends one ``v1`` per secret.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Iterable

from .outcomes import InvalidRequest

__all__ = ["SIGNATURE_HEADER", "TOLERANCE", "sign", "verify_signature"]

#: Name of the header.
SIGNATURE_HEADER = "X-Centrifugo-Signature"
#: How old a signature may be by default, in seconds.
TOLERANCE = 300.0
#: How many signatures one header may carry.
_MAX_SIGNATURES = 16


def sign(body: bytes, secrets: Iterable[str | bytes], at: float | None = None) -> str:
    """Return the value of the header, as the server makes it.

    :param at: the time of signing, in Unix seconds; now without it.
    """
    moment = str(int(time.time() if at is None else at))
    made = (f"v1={_signature(moment, body, secret)}" for secret in secrets)
    return ",".join([f"t={moment}", *made])


def verify_signature(
    header: str | None,
    body: bytes,
    secrets: str | bytes | Iterable[str | bytes],
    *,
    tolerance: float = TOLERANCE,
    now: float | None = None,
) -> None:
    """Check that the server has signed *body*, and lately.

    :param header: the value of `SIGNATURE_HEADER`; None if the request has none.
    :param secrets: one of them must have signed; give the old and the new one while you
        change it.
    :param tolerance: how far the time of signing may be from now, in seconds.
    :param now: the time, in Unix seconds; the system's without it.
    :raises InvalidRequest: with status 403; the reason says what is wrong.
    :raises ValueError: a secret is empty, or there is none.
    """
    known = [secrets] if isinstance(secrets, (str, bytes)) else list(secrets)
    if not known or not all(known):
        raise ValueError("a secret must not be empty")
    if not header:
        raise InvalidRequest(403, "the request is not signed")
    moment, given = _parts(header)
    # Compare with each secret, so that the time depends on neither.
    matches = [
        hmac.compare_digest(_signature(moment, body, secret), each)
        for secret in known
        for each in given
    ]
    if not any(matches):
        raise InvalidRequest(403, "the signature does not match")
    if abs((time.time() if now is None else now) - int(moment)) > tolerance:
        raise InvalidRequest(403, "the signature is too old, or a clock is wrong")


def _parts(header: str) -> tuple[str, list[str]]:
    """Return the time, which is a number, and the signatures."""
    moment, given = "", []
    for part in header.split(",", _MAX_SIGNATURES + 2):
        name, _, value = part.strip().partition("=")
        if name == "t" and not moment:
            moment = value
        elif name == "v1" and value.isascii():
            given.append(value)
    is_time = moment.isascii() and moment.isdigit() and len(moment) <= 20
    if not is_time or len(given) > _MAX_SIGNATURES:
        raise InvalidRequest(403, "the signature is malformed")
    return moment, given


def _signature(moment: str, body: bytes, secret: str | bytes) -> str:
    key = secret.encode() if isinstance(secret, str) else secret
    return hmac.digest(key, moment.encode() + b"." + body, "sha256").hex()

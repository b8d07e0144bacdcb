"""Signatures of requests, by which a backend recognizes the server."""

import hmac
from collections.abc import Sequence

__all__ = ["HEADER", "sign"]

#: The header that carries a signature.
HEADER = "X-Centrifugo-Signature"


def sign(body: bytes, secrets: Sequence[str], now: int) -> str:
    """Return the value of `HEADER` for a request.

    That is ``t=NOW,v1=HEX``, with one ``v1`` for each secret: the HMAC-SHA-256, in
    hexadecimal, of the decimal time (seconds since 1970), a dot and the body.
    """
    signed = b"%d.%b" % (now, body)
    parts = [f"t={now}"]
    for secret in secrets:
        parts.append(f"v1={hmac.digest(secret.encode(), signed, 'sha256').hex()}")
    return ",".join(parts)

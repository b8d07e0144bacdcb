"""Signatures that allow clients to track keys (client protocol, "Shared poll")."""

import hmac
from collections.abc import Sequence
from hashlib import sha256

from attrs import frozen

from ..errors import ReplyError
from ..protocol.codes import PERMISSION_DENIED, TOKEN_EXPIRED
from ..protocol.messages import TrackBatch

__all__ = ["TrackingKeys", "sign"]

#: Seconds that a signature is good for after its end, since clocks differ.
GRACE = 5


def sign(
    secret: str, channel: str, user: str, keys: Sequence[str], iat: str, exp: str
) -> str:
    """Return the signature with which *user* may track *keys*, in this order.

    :param iat: the time of signing, Unix seconds as text.
    :param exp: the time of expiry, likewise; ``0``: never.
    """
    digest = sha256("\0".join(keys).encode()).hexdigest()
    text = "\0".join((iat, exp, user, channel, digest))
    return hmac.new(secret.encode(), text.encode(), sha256).hexdigest()


@frozen
class TrackingKeys:
    """The secret of signatures, and the previous one.

    The previous secret is accepted for signatures made until ``previous_until`` (Unix
    seconds; 0: for all).
    """

    secret: str = ""
    previous: str = ""
    previous_until: int = 0

    def expiry(self, channel: str, user: str, batch: TrackBatch, now: float) -> int:
        """Return until when *user* may track the keys of *batch*; 0: without end.

        :raises ReplyError: 103, the signature is invalid; 109, it has expired.
        """
        iat, _, rest = batch.signature.partition(":")
        exp, _, signature = rest.partition(":")
        keys = [item.key for item in batch.items]
        made, end = _number(iat), _number(exp)
        secrets = [self.secret]
        if self.previous and not 0 < self.previous_until < made:
            secrets.append(self.previous)
        for secret in secrets:
            expected = sign(secret, channel, user, keys, iat, exp)
            if secret and hmac.compare_digest(expected.encode(), signature.encode()):
                break
        else:
            raise ReplyError(PERMISSION_DENIED, "invalid track signature")
        if 0 < end < now - GRACE:
            raise ReplyError(TOKEN_EXPIRED, "track signature expired")
        return end


def _number(text: str) -> int:
    """Parse a number.

    :raises ReplyError: 103, *text* is not a number.
    """
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise ReplyError(PERMISSION_DENIED, "invalid track signature")
    return int(text)

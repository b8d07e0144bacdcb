"""The claims of tokens; unknown ones are ignored.

See permissions, "Connection tokens" and "Subscription tokens".
"""

import math
import re

import msgspec

from ..options import SubscribeOverride
from ..protocol.messages import EMPTY, Raw

__all__ = [
    "ConnectionClaims",
    "NumericDate",
    "SubOptions",
    "SubscriptionClaims",
    "TokenClaims",
    "seconds",
]

#: A point in time; a number inside a string is accepted, too (permissions, "Order of
#: token checks").
NumericDate = int | float | str

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")


def seconds(date: NumericDate) -> float:
    """Return a date in seconds since 1970.

    :raises ValueError: it is not a number, or out of range.
    """
    if isinstance(date, str) and not _NUMBER.fullmatch(date):
        raise ValueError("a date is no number")
    try:
        number = float(date)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError("a date is out of range")
    return number


class SubOptions(msgspec.Struct, frozen=True):
    """How one subscription is to be."""

    info: Raw = EMPTY
    b64info: str | None = None
    data: Raw = EMPTY
    b64data: str | None = None
    override: SubscribeOverride | None = None


class TokenClaims(msgspec.Struct, frozen=True):
    """The common claims of both kinds of tokens."""

    sub: str = ""
    exp: NumericDate | None = None
    nbf: NumericDate | None = None
    iat: NumericDate | None = None
    jti: str = ""
    iss: str = ""
    aud: str | list[str] | None = None
    expire_at: int | None = None
    info: Raw = EMPTY
    b64info: str = ""
    channel: str = ""

    @property
    def audience(self) -> list[str]:
        """Return ``aud`` as a list."""
        if self.aud is None:
            return []
        return [self.aud] if isinstance(self.aud, str) else self.aud

    @property
    def end(self) -> int:
        """Return when the grant expires; 0: never.

        That is ``expire_at``, or the expiry of the token itself.
        """
        if self.expire_at is not None:
            return max(0, self.expire_at)
        return 0 if self.exp is None else int(seconds(self.exp))


class ConnectionClaims(TokenClaims, frozen=True):
    """The identity of a client."""

    channels: list[str] | None = None
    subs: dict[str, SubOptions | None] | None = None
    meta: Raw = EMPTY


class SubscriptionClaims(TokenClaims, frozen=True):
    """That a client may have a channel."""

    client: str = ""
    data: Raw = EMPTY
    b64data: str = ""
    override: SubscribeOverride | None = None

    @property
    def options(self) -> SubOptions:
        """Return how the subscription is to be."""
        return SubOptions(
            self.info, self.b64info, self.data, self.b64data, self.override
        )

"""The claims of tokens (3.4, 3.5); unknown ones are ignored."""

import msgspec

from ..protocol.messages import EMPTY, Raw

__all__ = [
    "BoolValue",
    "ConnectionClaims",
    "Override",
    "SubOptions",
    "SubscriptionClaims",
    "TokenClaims",
]


class BoolValue(msgspec.Struct, frozen=True):
    """A boolean that may be absent."""

    value: bool = False


class Override(msgspec.Struct, frozen=True):
    """Channel options that hold for one subscription."""

    presence: BoolValue | None = None
    join_leave: BoolValue | None = None
    force_push_join_leave: BoolValue | None = None
    force_positioning: BoolValue | None = None
    force_recovery: BoolValue | None = None


class SubOptions(msgspec.Struct, frozen=True):
    """How one subscription is to be."""

    info: Raw = EMPTY
    b64info: str = ""
    data: Raw = EMPTY
    b64data: str = ""
    override: Override | None = None


class TokenClaims(msgspec.Struct, frozen=True):
    """What both kinds of tokens have."""

    sub: str = ""
    exp: int | float | str | None = None
    nbf: int | float | str | None = None
    iat: int | float | str | None = None
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


class ConnectionClaims(TokenClaims, frozen=True):
    """Who a client is."""

    channels: list[str] | None = None
    subs: dict[str, SubOptions | None] | None = None
    meta: Raw = EMPTY


class SubscriptionClaims(TokenClaims, frozen=True):
    """That a client may have a channel."""

    client: str = ""
    data: Raw = EMPTY
    b64data: str = ""
    override: Override | None = None

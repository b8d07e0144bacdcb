"""A client double, tokens, and a policy made of options."""

from base64 import b64encode
from typing import Any

import jwt
from attrs import define, field
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from centrifugo_tx.access import (
    AccessOptions,
    AccessPolicy,
    ChannelRules,
    NamespaceOptions,
    Namespaces,
    TokenOptions,
    TokenVerifier,
    static_keys,
)
from centrifugo_tx.errors import DisconnectClient, ReplyError
from centrifugo_tx.interfaces import IClient
from centrifugo_tx.protocol.messages import EMPTY, ClientInfo, Raw

from ..support import MemoryTransport

NOW = 1_000_000_000
KEY = "a-secret-that-is-long-enough-for-hmac-with-any-of-the-sha-2-hashes"


@implementer(IClient)
@define(eq=False)
class Visitor:
    """What a policy sees of a client."""

    user: str = ""
    id: str = "client-1"
    meta: Raw = EMPTY
    transport: MemoryTransport = field(factory=MemoryTransport)
    channels: tuple[str, ...] = ()
    info: ClientInfo = ClientInfo("", "client-1")

    def subscribed(self, channel: str) -> bool:
        """Whether it is in *channel*."""
        return channel in self.channels

    def channel_info(self, channel: str) -> Raw:
        """Return nothing."""
        return EMPTY


def token(key: Any = KEY, algorithm: str = "HS256", **claims: Any) -> str:
    """Return a signed token."""
    return jwt.encode(claims, key, algorithm)


def b64(text: str) -> str:
    """Return base64."""
    return b64encode(text.encode()).decode()


class PolicyTestCase(SynchronousTestCase):
    """Makes policies and asks them."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)

    def policy(
        self,
        without: dict[str, Any] | None = None,
        namespaces: dict[str, dict[str, Any]] | None = None,
        tokens: TokenOptions | None = None,
        **options: Any,
    ) -> AccessPolicy:
        """Make a policy; *without* are the options of channels without namespace."""
        found = Namespaces.of(
            ChannelRules(),
            NamespaceOptions(**without or {}),
            [(n, NamespaceOptions(**o)) for n, o in (namespaces or {}).items()],
        )
        keys = tokens or TokenOptions(hmac_secret_key=KEY)
        verifier = TokenVerifier(self.clock, keys, static_keys(keys, self.clock))
        access = AccessOptions(**options)
        return AccessPolicy(self.clock, access, found, verifier, verifier)

    def outcome(self, decision: Any) -> Any:
        """Return the result, or the code of the error or disconnect."""
        results: list[Any] = []
        decision.addBoth(results.append)
        (result,) = results
        if not isinstance(result, Failure):
            return result
        if isinstance(result.value, ReplyError):
            return result.value.error.code
        if isinstance(result.value, DisconnectClient):
            return result.value.disconnect.code
        result.raiseException()
        return None

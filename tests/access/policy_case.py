"""A test case with a policy, a client double, and tokens."""

import json
from base64 import b64encode, urlsafe_b64encode
from typing import Any

from attrs import define, field
from jwt.algorithms import get_default_algorithms
from twisted.internet.defer import Deferred
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
from centrifugo_tx.options import SubscriptionStream
from centrifugo_tx.protocol.messages import EMPTY, ClientInfo, Raw

from ..support import MemoryTransport

NOW = 1_000_000_000
KEY = "a-secret-that-is-long-enough-for-hmac-with-any-of-the-sha-2-hashes"
#: Something that is on.
OPTIONS = dict[str, Any]

_ALGORITHMS = get_default_algorithms()


@implementer(IClient)
@define(eq=False)
class Visitor:
    """A client double, with the attributes that a policy reads."""

    user: str = ""
    id: str = "client-1"
    meta: Raw = EMPTY
    transport: MemoryTransport = field(factory=MemoryTransport)
    channels: tuple[str, ...] = ()
    info: ClientInfo = ClientInfo("", "client-1")
    closed: bool = False
    emulated_headers: dict[str, str] = field(factory=dict)

    def cancel_on_close(self, call: Any) -> None:
        """Do nothing: the client stays."""

    def subscribed(self, channel: str) -> bool:
        """Whether it is in *channel*."""
        return channel in self.channels

    def channel_info(self, channel: str) -> Raw:
        """Return nothing."""
        return EMPTY

    def stream_of(self, channel: str) -> SubscriptionStream | None:
        """Return none."""
        return None


def token(
    claims: OPTIONS | bytes,
    key: Any = KEY,
    algorithm: str = "HS256",
    header: OPTIONS | bytes = b"",
) -> str:
    """Return a signed token, whose contents need not be valid.

    *header* updates the header, or replaces it.
    """
    if not isinstance(header, bytes) or not header:
        header = _json({"alg": algorithm, **(header or {})})
    payload = claims if isinstance(claims, bytes) else _json(claims)
    signed = f"{_base64url(header)}.{_base64url(payload)}"
    secret = key.encode() if isinstance(key, str) else key
    signature = _ALGORITHMS[algorithm].sign(signed.encode(), secret)
    return f"{signed}.{_base64url(signature)}"


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _base64url(part: bytes) -> str:
    return urlsafe_b64encode(part).rstrip(b"=").decode()


def b64(text: str) -> str:
    """Return base64."""
    return b64encode(text.encode()).decode()


class PolicyTestCase(SynchronousTestCase):
    """Makes policies and asks them."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)

    def verifier(self, skip: bool = False, **options: Any) -> TokenVerifier:
        """Make a verifier with the keys of *options*."""
        keys = TokenOptions(**options)
        return TokenVerifier(self.clock, keys, static_keys(keys, self.clock), skip)

    def policy(
        self,
        without: OPTIONS | None = None,
        namespaces: dict[str, OPTIONS] | None = None,
        *,
        rules: ChannelRules | None = None,
        tokens: TokenVerifier | None = None,
        subscription_tokens: TokenVerifier | None = None,
        access: OPTIONS | None = None,
    ) -> AccessPolicy:
        """Make a policy; *without* are the options of channels without namespace."""
        found = Namespaces.of(
            rules or ChannelRules(),
            NamespaceOptions(**without or {}),
            [(n, NamespaceOptions(**o)) for n, o in (namespaces or {}).items()],
        )
        tokens = tokens or self.verifier(hmac_secret_key=KEY)
        return AccessPolicy(
            self.clock,
            AccessOptions(**access or {}),
            found,
            tokens,
            subscription_tokens or tokens,
        )

    def outcome(self, decision: Any) -> Any:
        """Return the result, or the code of the error or disconnect."""
        if not isinstance(decision, Deferred):
            return decision
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

"""Commands that make and check tokens."""

import argparse
import base64
import json
import sys
import time
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ..access import TokenOptions, TokenVerifier
from ..configured_policy import token_verifier
from ..durations import format_duration
from ..token_signing import sign
from .configuration import checked, loaded
from .outcome import Refusal

__all__ = ["checksubtoken", "checktoken", "gensubtoken", "gentoken"]

#: Shortest safe key for HS256, in bytes (RFC 7518, 3.2).
KEY_BYTES = 32


def gentoken(options: argparse.Namespace) -> None:
    """Print a connection token."""
    token = loaded(options.config).config.client.token
    _print_token(options, token, "client.token", _whose(options.user), {})


def gensubtoken(options: argparse.Namespace) -> None:
    """Print a subscription token."""
    if not options.channel:
        raise Refusal("channel is required")
    client = loaded(options.config).config.client
    separate = client.subscription_token.enabled
    token = client.subscription_token if separate else client.token
    path = "client.subscription_token" if separate else "client.token"
    whose = f"{_whose(options.user)} and channel {json.dumps(options.channel)}"
    _print_token(options, token, path, whose, {"channel": options.channel})


def _whose(user: str) -> str:
    return f"user {json.dumps(user, ensure_ascii=False)}" if user else "anonymous user"


def _print_token(
    options: argparse.Namespace,
    token: TokenOptions,
    path: str,
    whose: str,
    extra: dict[str, Any],
) -> None:
    if not token.hmac_secret_key:
        raise Refusal(
            f"error: {path}.hmac_secret_key is not set, and this command can only"
            " generate tokens signed with it"
        )
    now = int(time.time())
    claims: dict[str, Any] = {"sub": options.user} if options.user else {}
    if options.ttl > 0:
        claims["exp"] = now + options.ttl
    claims |= {"iat": now, **extra}
    if token.user_id_claim:
        claims[token.user_id_claim] = options.user
    signed = _signed(claims, token.hmac_secret_key, f"{path}.hmac_secret_key")
    if options.quiet:
        print(signed, end="")
        return
    expiry = "without expiration"
    if options.ttl >= 0:
        expiry = f"with expiration TTL {format_duration(options.ttl)}"
    print(f"HMAC SHA-256 JWT for {whose} {expiry}:\n{signed}")


def _signed(claims: dict[str, Any], key: str, path: str) -> str:
    """Return a token; warn on standard error if the key is too short."""
    size = len(key.encode())
    if size < KEY_BYTES:
        said = f"{path} has {size} bytes; use at least {KEY_BYTES}"
        print(f"warning: {said} (RFC 7518, 3.2)", file=sys.stderr)
    return sign(claims, key)


def checktoken(options: argparse.Namespace) -> None:
    """Check a connection token."""
    token = _one_token(options, "checktoken")
    verifier = _verifier(checked(options.config).client.token)
    claims = _verified(verifier.connection(token), token)
    who = f"user {claims.sub}" if claims.sub else "anonymous user"
    print(f"valid token for {who}\npayload: {_parts(token)[1]}")


def checksubtoken(options: argparse.Namespace) -> None:
    """Check a subscription token."""
    token = _one_token(options, "checksubtoken")
    client = checked(options.config).client
    separate = client.subscription_token.enabled
    options_of = client.subscription_token if separate else client.token
    claims = _verified(_verifier(options_of).subscription(token), token)
    whose = f"{_whose(claims.sub)} and channel {json.dumps(claims.channel)}"
    print(f"valid subscription token for {whose}\npayload: {_parts(token)[1]}")


def _one_token(options: argparse.Namespace, command: str) -> str:
    if len(options.token) != 1:
        raise Refusal(
            f"error: provide token to check [centrifugo-tx {command} <TOKEN>]"
        )
    return str(options.token[0])


def _verifier(options: TokenOptions) -> TokenVerifier:
    from twisted.internet import reactor

    return token_verifier(reactor, options)


def _verified(verified: "Deferred[Any]", token: str) -> Any:
    """Return the claims; the verifier may have to fetch keys first."""
    from twisted.internet import reactor

    outcome: list[Any] = []
    verified.addBoth(outcome.append)
    if not outcome:
        verified.addBoth(lambda _: reactor.stop())
        reactor.run()
    if not isinstance(outcome[0], Failure):
        return outcome[0]
    why = outcome[0].getErrorMessage()
    algorithm, claims = _parts(token)
    if algorithm:
        why = f"token with algorithm {algorithm} and claims {claims} has error: {why}"
    raise Refusal(f"error: {why}")


def _parts(token: str) -> tuple[str, str]:
    """Return the algorithm and claims of a token; empty if it is malformed."""
    try:
        header, claims = (
            base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode()
            for part in token.split(".")[:2]
        )
        return str(json.loads(header)["alg"]), claims
    except (ValueError, KeyError, TypeError):
        return "", ""

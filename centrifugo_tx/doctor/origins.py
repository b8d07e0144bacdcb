"""Allowed origins: pages that may connect can, others cannot."""

import re
from collections.abc import Sequence
from typing import Any

from ..config.model import Config
from ..transports.origin import OriginRule
from .findings import Finding, ok, problem, warning
from .proxy_remedies import PASS_ORIGIN
from .site import Site
from .websocket_dialog import UpgradeRefused, open_websocket

__all__ = ["check_origins", "example_origin"]

_CHECK = "origin"
#: The origin of no page (RFC 2606, 2).
STRANGER = "https://doctor.invalid"
_FORBIDDEN = 403


def example_origin(patterns: Sequence[str]) -> str:
    """Return an origin that a pattern allows, empty if none is found."""
    rule = OriginRule(patterns)
    for pattern in patterns:
        guess = pattern.replace("*", "1") if pattern != "*" else "https://example.com"
        if re.fullmatch(r"[\w.:/+-]+", guess) and rule.passes(guess):
            return guess
    return ""


async def check_origins(
    reactor: Any, site: Site, config: Config, origin: str = ""
) -> list[Finding]:
    """Connect as a page that may, and as a page that may not.

    :param origin: one that is to be allowed; empty: made from the configuration.
    """
    patterns = config.client.allowed_origins
    found: list[Finding] = []
    given = origin or example_origin(patterns)
    if given:
        found += await _check_allowed(reactor, site, config, given)
    elif not patterns:
        found.append(ok(_CHECK, "no page may connect: client.allowed_origins is empty"))
    if OriginRule(patterns).passes(STRANGER):
        said = "client.allowed_origins lets the pages of every site connect"
        remedy = "list the origins of your own pages"
        return [*found, warning(_CHECK, said, remedy)]
    return [*found, *await _check_refused(reactor, site, config)]


async def _check_allowed(
    reactor: Any, site: Site, config: Config, origin: str
) -> list[Finding]:
    refusal = await _refusal(reactor, site, config, origin)
    if refusal is None:
        return [ok(_CHECK, f"pages of {origin} may connect")]
    said = f"pages of {origin} cannot connect: {refusal}"
    remedy = "add the origin to client.allowed_origins, and reload the server"
    if OriginRule(config.client.allowed_origins).passes(origin):
        remedy = f"reload the server, or {PASS_ORIGIN}"
    return [problem(_CHECK, said, remedy)]


async def _check_refused(reactor: Any, site: Site, config: Config) -> list[Finding]:
    refusal = await _refusal(reactor, site, config, STRANGER)
    if refusal is None:
        said = f"pages of {STRANGER} can connect, although no pattern allows them"
        return [problem(_CHECK, said, f"reload the server, or {PASS_ORIGIN}")]
    if refusal.status != _FORBIDDEN:
        said = f"pages of {STRANGER} are refused, but not with HTTP 403: {refusal}"
        return [warning(_CHECK, said, "see what the proxy in front answers itself")]
    return [ok(_CHECK, f"pages of {STRANGER} are refused")]


async def _refusal(
    reactor: Any, site: Site, config: Config, origin: str
) -> UpgradeRefused | None:
    path = config.websocket.handler_prefix
    try:
        dialog = await open_websocket(reactor, site, path, origin)
    except UpgradeRefused as refused:
        return refused
    dialog.end()
    return None

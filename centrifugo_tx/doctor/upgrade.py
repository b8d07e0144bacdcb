"""WebSocket: the upgrade passes, and the server answers commands."""

from typing import Any

from ..config.model import Config
from .findings import Finding, ok, problem
from .proxy_remedies import PASS_PATH, PASS_UPGRADE
from .site import Site
from .tokens import check_token
from .websocket_dialog import UpgradeRefused, WebSocketDialog, open_websocket

__all__ = ["check_websocket"]

_CHECK = "websocket"


async def check_websocket(
    reactor: Any, site: Site, config: Config, token: str
) -> tuple[list[Finding], WebSocketDialog | None, float]:
    """Open a connection and connect on it.

    Also return the connection, which the caller closes, or None; and the interval of
    the server's pings in seconds.
    """
    path = config.websocket.handler_prefix
    url = site.websocket_url(path)
    try:
        dialog = await open_websocket(reactor, site, path)
    except UpgradeRefused as refused:
        return [_refused(url, refused)], None, 0.0
    found, interval = await check_token(dialog, token)
    return [ok(_CHECK, f"{url} upgrades"), *found], dialog, interval


def _refused(url: str, refused: UpgradeRefused) -> Finding:
    said = f"{url}: {refused}"
    if refused.status == 404:
        return problem(_CHECK, said, PASS_PATH)
    if refused.status == 503:
        remedy = "the server, or the proxy, has too many connections: see their logs"
        return problem(_CHECK, said, remedy)
    if refused.status in (502, 504):
        return problem(_CHECK, said, "let the proxy reach the server: is it running?")
    return problem(_CHECK, said, PASS_UPGRADE)

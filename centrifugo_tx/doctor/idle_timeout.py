"""Idle connections must outlive the interval of the server's pings."""

import time
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.defer import TimeoutError as NoPing

from .findings import Finding, ok, problem
from .proxy_remedies import PASS_IDLE
from .websocket_dialog import Ended, WebSocketDialog

__all__ = ["check_idle_timeout"]

_CHECK = "idle timeout"
#: Seconds that a ping may be late.
GRACE = 5.0


async def check_idle_timeout(
    reactor: Any, dialog: WebSocketDialog, interval: float
) -> list[Finding]:
    """Wait, saying nothing, for the first ping.

    :param interval: seconds between the server's pings; 0: there are none.
    """
    if not interval:
        return []
    began = time.monotonic()
    try:
        await dialog.ping().addTimeout(interval + GRACE, reactor)
    except Ended as ended:
        seconds = time.monotonic() - began
        said = f"an idle connection was closed after {seconds:.0f} s ({ended})"
        return [problem(_CHECK, f"{said}, before the first ping", PASS_IDLE)]
    except (NoPing, CancelledError):
        said = f"no ping came within {interval + GRACE:.0f} s"
        return [problem(_CHECK, said, "see whether the proxy holds messages back")]
    return [ok(_CHECK, f"an idle connection lasts until the ping after {interval:g} s")]

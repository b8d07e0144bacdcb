"""Clients of a node in any Twisted Web application."""

from collections.abc import Sequence
from typing import Any

from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from ..core import Node
from ..metrics import Counter
from .admission import Gate
from .handover import take_over
from .origin import OriginRule
from .stream import Turn
from .websocket import WebSocketFactory, WebSocketOptions

__all__ = ["WebSocketResource", "websocket_resource"]


class WebSocketResource(Resource):  # type: ignore[misc]  # untyped
    """Turns requests for a WebSocket into clients; works with a stock ``Site``."""

    isLeaf = True

    def __init__(self, factory: WebSocketFactory) -> None:
        super().__init__()
        self._factory = factory

    def render(self, request: Any) -> Any:
        """Take the connection over, or say what is expected."""
        upgrade = request.getHeader(b"upgrade") or b""
        channel = request.channel
        can_upgrade = hasattr(channel, "_networkProducer") and request.method == b"GET"
        if not can_upgrade or b"websocket" not in upgrade.lower():
            request.setResponseCode(426, b"Upgrade Required")
            request.setHeader(b"upgrade", b"websocket")
            return b""
        channel.setRawMode()
        take_over(channel, request, self._factory)
        return NOT_DONE_YET


def websocket_resource(
    node: Node,
    allowed_origins: Sequence[str] = (),
    options: WebSocketOptions | None = None,
) -> WebSocketResource:
    """Return a resource whose clients belong to *node*.

    :param allowed_origins: globs of the pages that may connect; without any, only
        clients that are no browsers may.
    :raises ValueError: one of them is no glob.
    """
    clock = node.clock
    gate = Gate(clock, lambda: node.hub.num_clients, Counter())
    factory = WebSocketFactory(
        node, Turn(clock), gate, OriginRule(allowed_origins), options or _DEFAULTS
    )
    return WebSocketResource(factory)


_DEFAULTS = WebSocketOptions()

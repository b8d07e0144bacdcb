"""permessage-deflate, as this server negotiates it (RFC 7692).

Neither side keeps its compression context between messages.  So one compressed
frame serves all clients, and idle connections hold no windows.
"""

from collections.abc import Sequence
from typing import Any

from autobahn.websocket.compress import (
    PerMessageDeflateOffer,
    PerMessageDeflateOfferAccept,
)

__all__ = ["accept", "usable"]

#: Size of a window as a power of two: enough for messages, and cheap in memory.
WINDOW_BITS = 12


class _Accepted(PerMessageDeflateOfferAccept):  # type: ignore[misc]  # untyped
    """A response with all negotiated parameters; Autobahn's own leaves some out."""

    def get_extension_string(self) -> str:
        """Return the value of the header ``Sec-WebSocket-Extensions``."""
        parts = [
            self.EXTENSION_NAME,
            "server_no_context_takeover",
            "client_no_context_takeover",
        ]
        if self.offer.request_max_window_bits:
            parts.append(f"server_max_window_bits={self.window_bits}")
        return "; ".join(parts)


def usable(extensions: Sequence[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Return the offers that this server understands; the others are declined.

    See RFC 7692, 5.1.
    """
    return [offer for offer in extensions if _is_usable(*offer)]


def _is_usable(name: str, parameters: Any) -> bool:
    if name != PerMessageDeflateOffer.EXTENSION_NAME:
        return False
    try:
        PerMessageDeflateOffer.parse(parameters)
    except Exception:  # Autobahn raises no narrower class
        return False
    return True


def accept(offers: Sequence[Any]) -> _Accepted:
    """Accept the first of *offers*, with a small window; there is at least one."""
    offer = offers[0]
    return _Accepted(
        offer,
        request_no_context_takeover=True,
        no_context_takeover=True,
        window_bits=min(offer.request_max_window_bits or WINDOW_BITS, WINDOW_BITS),
    )

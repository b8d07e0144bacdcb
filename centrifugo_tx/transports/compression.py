"""permessage-deflate, as this server negotiates it (RFC 7692).

Nobody remembers anything from message to message, so that one compressed frame
serves all, and idle connections hold no windows.
"""

from collections.abc import Sequence
from typing import Any

from autobahn.websocket.compress import (
    PerMessageDeflateOffer,
    PerMessageDeflateOfferAccept,
)

__all__ = ["accept", "usable"]

#: Bits of a window: small enough to be cheap, large enough for messages.
WINDOW_BITS = 12


class _Accepted(PerMessageDeflateOfferAccept):  # type: ignore[misc]  # untyped
    """An answer that says all that was decided; Autobahn's own leaves some out."""

    def get_extension_string(self) -> str:
        """Return it as the value of a header."""
        parts = [
            self.EXTENSION_NAME,
            "server_no_context_takeover",
            "client_no_context_takeover",
        ]
        if self.offer.request_max_window_bits:
            parts.append(f"server_max_window_bits={self.window_bits}")
        return "; ".join(parts)


def usable(extensions: Sequence[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Return the offers that can be understood; the others are declined.

    See RFC 7692, 5.1.
    """
    return [offer for offer in extensions if _is_usable(*offer)]


def _is_usable(name: str, parameters: Any) -> bool:
    if name != PerMessageDeflateOffer.EXTENSION_NAME:
        return False
    try:
        PerMessageDeflateOffer.parse(parameters)
    except Exception:  # Autobahn raises nothing more special
        return False
    return True


def accept(offers: Sequence[Any]) -> _Accepted:
    """Accept the first of *offers*, of which there is one, with a small window."""
    offer = offers[0]
    return _Accepted(
        offer,
        request_no_context_takeover=True,
        no_context_takeover=True,
        window_bits=min(offer.request_max_window_bits or WINDOW_BITS, WINDOW_BITS),
    )

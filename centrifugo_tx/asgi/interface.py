"""The types of the ASGI interface, and small readings of a scope."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qs

__all__ = ["ASGIApp", "Message", "Receive", "Scope", "Send", "header", "parameters"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


def header(scope: Mapping[str, Any], name: bytes) -> bytes | None:
    """Return the first header called *name*, in lower case, or None."""
    for key, value in scope["headers"]:
        if key.lower() == name:
            found: bytes = value
            return found
    return None


def parameters(scope: Mapping[str, Any]) -> dict[bytes, list[bytes]]:
    """Return the parameters of the query."""
    query: bytes = scope.get("query_string", b"")
    return parse_qs(query, keep_blank_values=True) if query else {}

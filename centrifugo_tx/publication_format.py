"""Formats of publications (configuration rules, "Channel options")."""

import msgspec

from .protocol.messages import EMPTY, Raw

__all__ = ["matches_format"]

_any = msgspec.json.Decoder(Raw).decode
_SPACE = b" \t\r\n"


def matches_format(data: Raw, format: str) -> bool:
    """Return whether *data* has the *format* of a channel.

    ``""``: not empty; ``binary``: any bytes; ``json``: a JSON value; ``json_object``: a
    JSON object (server API, "Publish").
    """
    if format == "binary":
        return True
    if format == "":
        return data is not EMPTY and bytes(data) != b""
    payload = bytes(data)
    try:
        _any(payload)
        payload.decode()
    except (ValueError, RecursionError):
        return False
    stripped = payload.strip(_SPACE)
    return format == "json" or (stripped[:1] == b"{" and stripped[-1:] == b"}")

"""Payloads: application data that messages carry unchanged.

A JSON message contains its payloads unchanged, so a payload that is not JSON could
break out of its field.  Payloads are therefore checked once, where they enter, and
their type records the result: JSON is a `Raw`, other data is a `Binary`, which no JSON
message can contain.

The fields of messages have the type `Payload`.  Two sources produce one:
`checked`, from bytes or from the payloads of options, and the decoders of requests,
which accept only JSON.  So mypy reports a path on which a payload is not checked.
"""

from typing import NewType, Self

import msgspec

from .json_text import replace_lone_surrogates

__all__ = [
    "EMPTY",
    "Binary",
    "Payload",
    "Raw",
    "checked",
    "detached",
    "is_binary",
    "is_json",
    "matches_format",
]

#: A payload that may be unchecked.
Raw = msgspec.Raw

#: A payload that was checked: JSON, or a `Binary`.
Payload = NewType("Payload", Raw)

#: The absent payload.  The encoder omits this very object, so always use it.
EMPTY = Payload(Raw(b""))

_validate = msgspec.json.Decoder(Raw).decode
_SPACE = b" \t\r\n"


class Binary(bytes):
    """A payload that is not JSON.  It has the methods of `Raw`.

    msgspec encodes bytes as base64, but not a subclass of bytes.
    """

    __slots__ = ()

    def copy(self) -> Self:
        """Return the payload itself, which is part of no message."""
        return self


def checked(data: bytes | Raw) -> Payload:
    """Return *data* as a payload: `EMPTY`, JSON, or a `Binary`."""
    if data is EMPTY or isinstance(data, Binary):
        return data  # type: ignore[return-value]  # checked before
    content = bytes(data)
    if not content:
        return EMPTY
    if not is_json(content):
        return Binary(content)  # type: ignore[return-value]  # it is like a Raw
    return Payload(data if isinstance(data, Raw) else Raw(content))


def is_json(content: bytes) -> bool:
    """Whether *content* is JSON that can be sent to any client."""
    try:
        try:
            _validate(content)
        except msgspec.DecodeError:
            _validate(replace_lone_surrogates(content))
        if not content.isascii():
            content.decode()
    except (ValueError, RecursionError):
        return False
    return True


def is_binary(payload: Payload) -> bool:
    """Whether no JSON message can contain *payload*."""
    return isinstance(payload, Binary)


def detached(payload: Payload) -> Payload:
    """Return *payload* in memory of its own.

    The payload of a decoded message keeps the whole message in memory.
    """
    return payload if payload is EMPTY else Payload(payload.copy())


def matches_format(data: Raw, format: str) -> bool:
    """Return whether *data* has the publication format of a channel.

    The formats are ``""``, not empty; ``binary``, any bytes; ``json``, a JSON value;
    and ``json_object``, a JSON object (server API, "Publish").
    """
    if format == "binary":
        return True
    if format == "":
        return len(data) > 0
    payload = bytes(data)
    try:
        _validate(payload)
        payload.decode()
    except (ValueError, RecursionError):
        return False
    stripped = payload.strip(_SPACE)
    return format == "json" or (stripped[:1] == b"{" and stripped[-1:] == b"}")

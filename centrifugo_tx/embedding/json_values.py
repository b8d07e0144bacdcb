"""JSON values of the application, and the payloads that carry them."""

from typing import Any

import msgspec

from ..protocol.payloads import EMPTY, Payload, Raw, checked

__all__ = ["ABSENT", "from_json", "payload_of", "to_json"]

#: The default of arguments for which None is a value: JSON's null.
ABSENT: Any = ...


def to_json(value: object) -> Payload:
    """Return *value* as a JSON payload: dicts, lists, text, numbers, dates, structs.

    NaN and infinity become ``null``.

    :raises TypeError: *value* is bytes, or contains an object that JSON cannot express.
    """
    if isinstance(value, (bytes, bytearray, memoryview)):
        raise TypeError("bytes are not a JSON value; pass them by the argument raw")
    return Payload(Raw(msgspec.json.encode(value)))


def from_json(payload: Raw | bytes) -> Any:
    """Return the JSON value of *payload*; None for an absent payload.

    The type of the value depends on the data, hence ``Any``, as in the standard
    library.

    :raises ValueError: *payload* is not JSON.
    """
    content = bytes(payload)
    return msgspec.json.decode(content) if content else None


def payload_of(data: object, raw: bytes | None) -> Payload:
    """Return the payload that a caller gave as a JSON value or as raw bytes.

    :raises TypeError: both are given, or *data* is no JSON value.
    """
    if raw is None:
        return EMPTY if data is ABSENT else to_json(data)
    if data is not ABSENT:
        raise TypeError("give either a JSON value or raw bytes, not both")
    return checked(raw)

"""The bytes of a map's entries and of the messages about changes.

See engines, "Other keys in Redis".

An entry is ``OFFSET:EPOCH:PROTOBUF``, and so is the message about its change.  If a
delta is requested, the message is ``d:OFFSET:EPOCH:LENGTH:ENTRY:LENGTH:PROTOBUF``,
where the entry is the previous one of the key.
"""

import msgspec

from ...options import MapChange
from ...protocol.errors import DecodeError
from ...protocol.messages import ClientInfo, Payload, Publication, StreamPosition
from ...protocol.proto import broker_pb2
from .envelope import (
    JOIN,
    LEAVE,
    Delivered,
    decode_client_info,
    decode_publication,
)

__all__ = [
    "encode_removal",
    "encode_value",
    "parse_change",
    "parse_entry",
    "placed",
    "removal_of_any",
]

_LIMIT = 2**64


def encode_value(key: str, data: Payload, change: MapChange, time: int) -> bytes:
    """Return the bytes of a new value of a key.

    :param time: milliseconds since 1970.
    """
    message = broker_pb2.Publication(data=bytes(data), time=time, key=key)
    if change.info is not None:
        _copy(message, change.info)
    if change.tags:
        message.tags.update(change.tags)
    return message.SerializeToString()


def _copy(message: broker_pb2.Publication, info: ClientInfo) -> None:
    message.info.user, message.info.client = info.user, info.client
    message.info.conn_info = bytes(info.conn_info)
    message.info.chan_info = bytes(info.chan_info)
    message.info.SetInParent()


def encode_removal(key: str, tags: dict[str, str], time: int) -> bytes:
    """Return the bytes of a removal."""
    message = broker_pb2.Publication(key=key, removed=True, time=time)
    message.tags.update(tags)
    return message.SerializeToString()


def removal_of_any(time: int) -> bytes:
    """Return the bytes of a removal, to which a script adds key and tags."""
    return broker_pb2.Publication(removed=True, time=time).SerializeToString()


def placed(data: bytes, offset: int, epoch: str) -> Publication:
    """Return the publication in *data*, in its form for maps.

    :raises DecodeError: *data* is malformed.
    """
    publication = decode_publication(data, offset)
    shown = epoch if offset == 1 else ""
    if publication.epoch != shown:
        publication = msgspec.structs.replace(publication, epoch=shown)
    return publication


def parse_entry(value: bytes, key: str = "") -> Publication:
    """Return the publication in an entry.

    :param key: the key of the entry, if it is known.
    :raises DecodeError: the entry is malformed.
    """
    position, data = _position(value)
    publication = placed(data, position.offset, position.epoch)
    if key and publication.key != key:
        publication = msgspec.structs.replace(publication, key=key)
    return publication


def parse_change(payload: bytes) -> Delivered:
    """Decode a message of a map.

    :raises DecodeError: it is malformed.
    """
    if payload.startswith(b"d:"):
        return _parse_delta(payload[2:])
    if payload[:1].isdigit():
        position, data = _position(payload)
        return Delivered(placed(data, position.offset, position.epoch), position)
    # Joins and leaves have the same form as in other channels.
    if payload.startswith(JOIN):
        return Delivered(join=decode_client_info(payload[len(JOIN) :]))
    if payload.startswith(LEAVE):
        return Delivered(leave=decode_client_info(payload[len(LEAVE) :]))
    if not payload:
        raise DecodeError("a change is empty")
    return Delivered(decode_publication(payload))


def _parse_delta(payload: bytes) -> Delivered:
    position, rest = _position(payload)
    before, rest = _sized(rest)
    if rest[:1] != b":":
        raise DecodeError("a change has no value")
    data, _ = _sized(rest[1:])
    publication = placed(data, position.offset, position.epoch)
    previous = parse_entry(before) if before else None
    return Delivered(publication, position, previous)


def _position(value: bytes) -> tuple[StreamPosition, bytes]:
    """Return the position at the start of *value*, and the rest."""
    parts = value.split(b":", 2)
    if len(parts) < 3:
        raise DecodeError("an entry has no position")
    offset, epoch, rest = parts
    try:
        return StreamPosition(_number(offset), epoch.decode()), rest
    except UnicodeDecodeError:
        raise DecodeError("an entry has a malformed epoch") from None


def _number(text: bytes) -> int:
    if not text.isdigit() or len(text) > 20 or int(text) >= _LIMIT:
        raise DecodeError("an entry has a malformed number")
    return int(text)


def _sized(rest: bytes) -> tuple[bytes, bytes]:
    """Return as many bytes as the leading number says, and the rest."""
    length, colon, rest = rest.partition(b":")
    size = _number(length)
    if not colon or len(rest) < size:
        raise DecodeError("a change is shorter than its length")
    return rest[:size], rest[size:]

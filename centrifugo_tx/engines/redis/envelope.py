"""The bytes of messages in PUB/SUB and of entries in history.

See engines, "Redis payloads".
"""

import re
from typing import NamedTuple

from google.protobuf.message import DecodeError as ProtobufError
from msgspec.structs import replace

from ...options import PublishOptions
from ...protocol.errors import DecodeError
from ...protocol.messages import (
    EMPTY,
    ClientInfo,
    Payload,
    Publication,
    StreamPosition,
)
from ...protocol.payloads import checked
from ...protocol.proto import broker_pb2

__all__ = [
    "JOIN",
    "LEAVE",
    "Delivered",
    "decode_any_publication",
    "decode_client_info",
    "decode_item",
    "decode_publication",
    "decode_stored",
    "encode_client_info",
    "encode_publication",
    "parse",
]

JOIN, LEAVE = b"__j__", b"__l__"

_LIMIT = 2**64

#: The keys of the fields ``data`` and ``time`` of a publication.
_DATA, _TIME = 0x22, 0x48
#: Matches a number of six bytes.
_SIX_BYTES = re.compile(rb"[\x80-\xff]{5}[\x01-\x7f]").fullmatch


class Delivered(NamedTuple):
    """A decoded message of a channel.

    Exactly one of ``publication``, ``join`` and ``leave`` is set.
    """

    publication: Publication | None = None
    position: StreamPosition = StreamPosition()
    previous: Publication | None = None
    join: ClientInfo | None = None
    leave: ClientInfo | None = None


# --- Protobuf -----------------------------------------------------------------
# Field by field, because the general bridge takes more than twice as long.


def encode_client_info(info: ClientInfo) -> bytes:
    """Return the bytes of *info*."""
    return _client_info(info).SerializeToString()


def _client_info(info: ClientInfo) -> broker_pb2.ClientInfo:
    return broker_pb2.ClientInfo(
        user=info.user,
        client=info.client,
        conn_info=bytes(info.conn_info),
        chan_info=bytes(info.chan_info),
    )


def decode_client_info(data: bytes) -> ClientInfo:
    """Return the info in *data*.

    :raises DecodeError: *data* is malformed.
    """
    try:
        return _to_client_info(broker_pb2.ClientInfo.FromString(data))
    except ProtobufError as error:
        raise DecodeError(f"malformed ClientInfo: {error}") from None


def _to_client_info(info: broker_pb2.ClientInfo) -> ClientInfo:
    return ClientInfo(
        info.user, info.client, checked(info.conn_info), checked(info.chan_info)
    )


def encode_publication(
    data: Payload, options: PublishOptions, time: int, delta: bool
) -> bytes:
    """Return the bytes of a new publication.

    :param time: milliseconds since 1970.
    :param delta: hint that subscribers want a delta, for channels without history.
    """
    message = broker_pb2.Publication(data=bytes(data), time=time)
    if options.info is not None:
        message.info.CopyFrom(_client_info(options.info))
    if options.tags:
        message.tags.update(options.tags)
    if options.version:
        message.version = options.version
    if options.key:
        message.key = options.key
    if options.epoch:
        message.epoch = options.epoch
    if delta:
        message.delta = True
    return message.SerializeToString()


def decode_publication(data: bytes, offset: int = 0) -> Publication:
    """Return the publication in *data*, at *offset* unless it names its own.

    :raises DecodeError: *data* is malformed.
    """
    plain = _data_and_time(data)
    if plain is not None:
        return Publication(checked(plain[0]), offset=offset, time=_varint(plain[1]))
    return decode_any_publication(data, offset)


def decode_stored(data: bytes, offset: int) -> Publication:
    """Return a publication of a stream, without the fields that only live ones need.

    :raises DecodeError: *data* is malformed.
    """
    plain = _data_and_time(data)
    if plain is not None:
        return Publication(checked(plain[0]), offset=offset)
    publication = decode_any_publication(data, offset)
    return replace(publication, delta=False, time=0, epoch="", prev_data=EMPTY)


def _data_and_time(data: bytes) -> tuple[bytes, bytes] | None:
    """Split a message that consists of these two fields, as most publications do.

    That takes a third of the time of the general decoder, which handles all others.
    """
    if len(data) < 10 or data[0] != _DATA or data[-7] != _TIME:
        return None
    size, start = data[1], 2
    if size > 127:
        size, start = size & 127 | data[2] << 7, 3
        if data[2] > 127:
            return None
    end = start + size
    time = data[end + 1 :]
    # A time between 1971 and 2109 has six bytes.
    if end != len(data) - 7 or not _SIX_BYTES(time):
        return None
    return data[start:end], time


def _varint(data: bytes) -> int:
    """Return the number that six bytes encode."""
    one, two, three, four, five, six = data
    low = one & 127 | (two & 127) << 7 | (three & 127) << 14
    return low | (four & 127) << 21 | (five & 127) << 28 | six << 35


def decode_any_publication(data: bytes, offset: int = 0) -> Publication:
    """Return the publication in *data* like `decode_publication`, whatever its fields.

    :raises DecodeError: *data* is malformed.
    """
    try:
        message = broker_pb2.Publication.FromString(data)
    except ProtobufError as error:
        raise DecodeError(f"malformed Publication: {error}") from None
    return Publication(
        checked(message.data),
        _to_client_info(message.info) if message.HasField("info") else None,
        message.offset or offset,
        dict(message.tags),
        message.delta,
        message.time,
        message.channel,
        message.key,
        message.removed,
        message.score,
        message.epoch,
        checked(message.prev_data),
        message.version,
    )


# --- Headers ------------------------------------------------------------------


def parse(payload: bytes) -> Delivered:
    """Decode a message of a channel.

    :raises DecodeError: it is malformed.
    """
    if not payload.startswith(b"__"):
        return _delivered(decode_publication(payload), StreamPosition(), None)
    kind = payload[2:3]
    if kind == b"d":
        return _parse_delta(payload)
    header, body = _split(payload)
    if kind == b"j":
        return Delivered(join=decode_client_info(body))
    if kind == b"l":
        return Delivered(leave=decode_client_info(body))
    if kind == b"p":
        position = _position(header)
        publication = decode_publication(body, position.offset)
        return _delivered(publication, position, None)
    raise DecodeError("a header is of an unknown kind")


def _delivered(
    publication: Publication,
    position: StreamPosition,
    previous: Publication | None,
) -> Delivered:
    """Combine the header and the Protobuf message, whose fields take precedence."""
    if publication.delta or publication.epoch or publication.prev_data:
        if publication.prev_data:
            previous = Publication(data=publication.prev_data)
        position = StreamPosition(position.offset, publication.epoch or position.epoch)
        publication = replace(publication, delta=False, epoch="", prev_data=EMPTY)
    if publication.offset != position.offset:
        position = StreamPosition(publication.offset, position.epoch)
    return Delivered(publication, position, previous)


def _number(text: bytes) -> int:
    if not text.isdigit() or len(text) > 20 or int(text) >= _LIMIT:
        raise DecodeError("a header has a malformed number")
    return int(text)


def _epoch(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise DecodeError("a header has a malformed epoch") from None


def _position(header: bytes) -> StreamPosition:
    """Return the position in ``p1:OFFSET:EPOCH``."""
    offset, colon, epoch = header[3:].partition(b":")
    if header[:3] != b"p1:" or not colon:
        raise DecodeError("a header has no position")
    return StreamPosition(_number(offset), _epoch(epoch))


def _parse_delta(payload: bytes) -> Delivered:
    """Decode ``__d1:OFFSET:EPOCH:LENGTH:PREVIOUS:LENGTH:NEW``."""
    parts = payload.split(b":", 4)
    if len(parts) < 5 or parts[0] != b"__d1":
        raise DecodeError("a delta's header is too short")
    _, offset, epoch, length, rest = parts
    position = StreamPosition(_number(offset), _epoch(epoch))
    previous, rest = _sized(length, rest)
    if not rest:
        raise DecodeError("a delta has no publication")
    length, colon, rest = rest[1:].partition(b":")
    if not colon:
        raise DecodeError("a delta has no publication")
    current, _ = _sized(length, rest)
    publication = decode_publication(current, position.offset)
    before = _previous(previous) if previous else None
    return _delivered(publication, position, before)


def _sized(length: bytes, rest: bytes) -> tuple[bytes, bytes]:
    """Split *rest* after as many bytes as *length* says."""
    size = _number(length)
    if len(rest) < size:
        raise DecodeError("a delta is shorter than its length")
    return rest[:size], rest[size:]


def decode_item(data: bytes) -> Publication:
    """Return the publication of a list entry, which begins with its position.

    :raises DecodeError: the entry is malformed.
    """
    header, body = _split(data)
    return decode_publication(body, _position(header).offset)


def _previous(data: bytes) -> Publication:
    """Return the previous publication of a delta; one from a list has a header."""
    if data.startswith(b"__"):
        data = _split(data)[1]
    return decode_publication(data)


def _split(payload: bytes) -> tuple[bytes, bytes]:
    """Return the header without its underscores, and the rest."""
    end = payload.find(b"__", 2)
    if end < 0:
        raise DecodeError("a header has no end")
    return payload[2:end], payload[end + 2 :]

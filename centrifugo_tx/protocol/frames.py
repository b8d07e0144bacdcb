"""Framers, which separate messages on each kind of stream."""

import zlib
from collections.abc import Callable

import msgspec

__all__ = [
    "Deflate",
    "Frame",
    "as_is",
    "binary_frame",
    "delimited",
    "event",
    "line",
    "text_frame",
    "varint",
]

#: Turns a payload into bytes that can be written.
Frame = Callable[[bytes], bytes]

_TEXT = 0x1
_BINARY = 0x2
#: The flag of a compressed message (RFC 7692, 6).
_RSV1 = 0x40
#: The memory level of a compressor: low, because payloads are small.
_MEM_LEVEL = 5


def _header(opcode: int, size: int) -> bytes:
    """Return the header of an unmasked, final frame (RFC 6455, 5.2)."""
    if size < 126:
        return bytes((0x80 | opcode, size))
    if size < 65536:
        return bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big")
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big")


#: The headers of short text frames, by the size of the payload.
_SHORT_TEXT = [_header(_TEXT, size) for size in range(126)]


def text_frame(payload: bytes) -> bytes:
    """Return one unmasked, final WebSocket text frame (RFC 6455, 5.2)."""
    size = len(payload)
    if size < 126:
        return _SHORT_TEXT[size] + payload
    return _header(_TEXT, size) + payload


def binary_frame(payload: bytes) -> bytes:
    """Return one unmasked, final WebSocket binary frame (RFC 6455, 5.2)."""
    return _header(_BINARY, len(payload)) + payload


class Deflate(msgspec.Struct, frozen=True):
    """Compression of WebSocket frames (RFC 7692).

    Compression keeps no context between messages (``server_no_context_takeover``,
    7.1.1.1), so one frame serves all clients that negotiated that.  ``min_size`` is the
    smallest message in bytes that is compressed, and ``window_bits`` (9 to 15) must not
    exceed the negotiated value.
    """

    level: int = 1
    min_size: int = 0
    window_bits: int = 12

    def text_frame(self, payload: bytes) -> bytes:
        """Return one text frame, compressed if that makes it smaller."""
        return self._frame(_TEXT, payload)

    def binary_frame(self, payload: bytes) -> bytes:
        """Return one binary frame, compressed if that makes it smaller."""
        return self._frame(_BINARY, payload)

    def _frame(self, opcode: int, payload: bytes) -> bytes:
        if len(payload) >= self.min_size:
            deflate = zlib.compressobj(
                self.level, zlib.DEFLATED, -self.window_bits, _MEM_LEVEL
            )
            packed = deflate.compress(payload) + deflate.flush(zlib.Z_SYNC_FLUSH)
            packed = packed[:-4]  # the empty block that ends a flush (RFC 7692, 7.2.1)
            if len(packed) < len(payload):
                return _header(_RSV1 | opcode, len(packed)) + packed
        return _header(opcode, len(payload)) + payload


def varint(number: int) -> bytes:
    """Return *number*, which is not negative, as a Protobuf varint."""
    if number < 0x80:
        return bytes((number,))
    written = bytearray()
    while number >= 0x80:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)


def delimited(message: bytes) -> bytes:
    """Return a Protobuf message with its length prefix.

    See client protocol, "Batches".
    """
    return varint(len(message)) + message


def line(payload: bytes) -> bytes:
    """Return *payload* as a line, as HTTP streaming requires.

    See client protocol, "HTTP streaming".
    """
    return payload + b"\n"


def event(payload: bytes) -> bytes:
    """Return *payload*, JSON without newlines, as a server-sent event.

    See client protocol, "Server-sent events".

    A carriage return would end the line, too; in JSON it can only be white space.
    """
    return b"data: " + payload.replace(b"\r", b"") + b"\n\n"


def as_is(payload: bytes) -> bytes:
    """Return *payload*: the stream separates messages by other means."""
    return payload

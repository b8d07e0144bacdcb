"""How messages are set apart on each kind of stream."""

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

#: A payload into bytes that can be written.
Frame = Callable[[bytes], bytes]

_TEXT = 0x1
_BINARY = 0x2
#: The flag of a compressed message (RFC 7692, 6).
_RSV1 = 0x40
#: How much memory a compressor takes: little, since payloads are small.
_MEM_LEVEL = 5


def _header(opcode: int, size: int) -> bytes:
    """Return the header of an unmasked, final frame (RFC 6455, 5.2)."""
    if size < 126:
        return bytes((0x80 | opcode, size))
    if size < 65536:
        return bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big")
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big")


def text_frame(payload: bytes) -> bytes:
    """Return one unmasked, final WebSocket text frame (RFC 6455, 5.2)."""
    return _header(_TEXT, len(payload)) + payload


def binary_frame(payload: bytes) -> bytes:
    """Return one unmasked, final WebSocket binary frame (RFC 6455, 5.2)."""
    return _header(_BINARY, len(payload)) + payload


class Deflate(msgspec.Struct, frozen=True):
    """How WebSocket frames are compressed (RFC 7692).

    Nothing is remembered from message to message (``server_no_context_takeover``,
    7.1.1.1), so one frame serves everybody who negotiated that.  ``min_size`` is
    the size in bytes from which compression is tried, ``window_bits`` (9 to 15)
    at most what was negotiated.
    """

    level: int = 1
    min_size: int = 0
    window_bits: int = 12

    def text_frame(self, payload: bytes) -> bytes:
        """Return one text frame, compressed if that makes it shorter."""
        return self._frame(_TEXT, payload)

    def binary_frame(self, payload: bytes) -> bytes:
        """Return one binary frame, compressed if that makes it shorter."""
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
    """Return *number*, which is not negative, as Protobuf writes it."""
    if number < 0x80:
        return bytes((number,))
    written = bytearray()
    while number >= 0x80:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)


def delimited(message: bytes) -> bytes:
    """Return a Protobuf message with its length before it.

    See client protocol, "Batches".
    """
    return varint(len(message)) + message


def line(payload: bytes) -> bytes:
    """Return *payload* as a line, as HTTP streaming wants it.

    See client protocol, "HTTP streaming".
    """
    return payload + b"\n"


def event(payload: bytes) -> bytes:
    """Return *payload*, JSON without newlines, as a server-sent event.

    See client protocol, "Server-sent events".

    A carriage return, which can only be white space there, would end the line, too.
    """
    return b"data: " + payload.replace(b"\r", b"") + b"\n\n"


def as_is(payload: bytes) -> bytes:
    """Return *payload*: something else sets the messages apart."""
    return payload

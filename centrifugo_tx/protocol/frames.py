"""How messages are set apart on each kind of stream."""

import zlib
from collections.abc import Callable

__all__ = ["Frame", "binary_frame", "deflated", "line", "text_frame"]

#: A payload into bytes that can be written.
Frame = Callable[[bytes], bytes]


def _header(opcode: int, size: int) -> bytes:
    """Return the header of an unmasked, final frame (RFC 6455, 5.2)."""
    if size < 126:
        return bytes((0x80 | opcode, size))
    if size < 65536:
        return bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big")
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big")


def text_frame(payload: bytes) -> bytes:
    """Return one unmasked, final WebSocket text frame (RFC 6455, 5.2)."""
    return _header(0x1, len(payload)) + payload


def binary_frame(payload: bytes) -> bytes:
    """Return one unmasked, final WebSocket binary frame (RFC 6455, 5.2)."""
    return _header(0x2, len(payload)) + payload


def line(payload: bytes) -> bytes:
    """Return *payload* as a line, as HTTP streaming wants it (client protocol, 1.2)."""
    return payload + b"\n"


#: The flag of a compressed message (RFC 7692, 6).
_RSV1 = 0x40


def deflated(opcode: int, level: int, min_size: int, window_bits: int) -> Frame:
    """Return a framing that compresses payloads of at least *min_size* bytes.

    Nothing is remembered from message to message (``server_no_context_takeover``,
    RFC 7692, 7.1.1.1), so one frame serves everybody who negotiated that.
    """

    def frame(payload: bytes) -> bytes:
        if len(payload) >= min_size:
            deflate = zlib.compressobj(level, zlib.DEFLATED, -window_bits, 5)
            packed = deflate.compress(payload) + deflate.flush(zlib.Z_SYNC_FLUSH)
            return _header(_RSV1 | opcode, len(packed) - 4) + packed[:-4]
        return _header(opcode, len(payload)) + payload

    return frame

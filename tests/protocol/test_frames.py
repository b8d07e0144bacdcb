"""How messages are set apart."""

import zlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.protocol.frames import (
    Deflate,
    as_is,
    binary_frame,
    delimited,
    event,
    line,
    text_frame,
    varint,
)


class WebSocketTests(SynchronousTestCase):
    """Frames after RFC 6455."""

    def test_headers(self) -> None:
        """The header has 2, 4 or 10 bytes, as the payload's length asks."""
        for size, header in (
            (0, "8100"),
            (125, "817d"),
            (126, "817e007e"),
            (65535, "817effff"),
            (65536, "817f0000000000010000"),
        ):
            payload = b"x" * size
            self.assertEqual(text_frame(payload), bytes.fromhex(header) + payload)

    def test_binary(self) -> None:
        """A binary frame differs by its opcode."""
        self.assertEqual(binary_frame(b"\x00"), b"\x82\x01\x00")

    def test_deflated(self) -> None:
        """A compressed frame bears RSV1, and inflates without any context."""
        payload = b'{"push":{}}' * 20
        for window_bits in (9, 12, 15):
            frame = Deflate(6, 0, window_bits).text_frame(payload)
            self.assertEqual(frame[0], 0xC1)
            self.assertEqual(frame[1], len(frame) - 2)
            inflate = zlib.decompressobj(-window_bits)
            unpacked = inflate.decompress(frame[2:] + b"\x00\x00\xff\xff")
            self.assertEqual(unpacked, payload)

    def test_deflated_binary(self) -> None:
        """Binary frames are compressed likewise."""
        self.assertEqual(Deflate().binary_frame(b"a" * 100)[0], 0xC2)

    def test_not_deflated(self) -> None:
        """Short messages, and those that compression enlarges, are not compressed."""
        self.assertEqual(Deflate(6, 101).text_frame(b"a" * 100)[:2], b"\x81\x64")
        self.assertEqual(Deflate(6, 0).text_frame(b"{}"), b"\x81\x02{}")


class StreamTests(SynchronousTestCase):
    """Framings of streams."""

    def test_varints(self) -> None:
        """Lengths are unsigned varints."""
        for number, written in ((0, "00"), (127, "7f"), (128, "8001"), (300, "ac02")):
            self.assertEqual(varint(number).hex(), written)
        self.assertEqual(varint(2**64 - 1).hex(), "ffffffffffffffffff01")

    @given(st.integers(0, 2**64 - 1))
    def test_any_varint(self, number: int) -> None:
        """Seven bits a byte, the lowest first, the last byte without its high bit."""
        written = varint(number)
        self.assertEqual(
            sum((byte & 0x7F) << 7 * place for place, byte in enumerate(written)),
            number,
        )
        self.assertTrue(all(byte & 0x80 for byte in written[:-1]))
        self.assertFalse(written[-1] & 0x80)

    def test_messages(self) -> None:
        """A message is a line, an event, or has its length before it."""
        self.assertEqual(line(b"{}"), b"{}\n")
        self.assertEqual(event(b"{}"), b"data: {}\n\n")
        self.assertEqual(delimited(b"ab"), b"\x02ab")
        self.assertEqual(as_is(b"ab"), b"ab")

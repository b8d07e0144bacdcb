"""The payloads of PUB/SUB."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict, replace
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.engines.redis import envelope
from centrifugo_tx.engines.redis.envelope import (
    JOIN,
    LEAVE,
    Delivered,
    decode_any_publication,
    decode_item,
    decode_publication,
    decode_stored,
    encode_client_info,
    encode_publication,
    parse,
)
from centrifugo_tx.options import PublishOptions
from centrifugo_tx.protocol.errors import DecodeError
from centrifugo_tx.protocol.messages import (
    EMPTY,
    ClientInfo,
    Publication,
    Raw,
    StreamPosition,
)
from centrifugo_tx.protocol.proto.broker_pb2 import Publication as Message

from ...vectors.redis import (
    CI,
    EPOCH,
    LEAVER,
    MALFORMED,
    MESSAGES,
    P0,
    P1,
    P1_HEX,
    P2,
    P2_HEX,
    P3,
    P3_HEX,
)


def plain(value: object) -> object:
    """Return *value* with payloads as bytes, so that it can be compared."""
    if isinstance(value, Raw):
        return bytes(value)
    if isinstance(value, (Publication, ClientInfo)):
        return {name: plain(each) for name, each in asdict(value).items()}
    return value


def parts(delivered: Delivered) -> list[object]:
    """Return the delivered events in a comparable form."""
    return [plain(each) for each in delivered]


class Vectors(SynchronousTestCase):
    """The reference's own messages."""

    def test_parse(self) -> None:
        """Every message is understood."""
        expected = [
            Delivered(P0),
            Delivered(P0),
            Delivered(replace(P1, offset=1), StreamPosition(1, EPOCH)),
            Delivered(replace(P2, offset=2), StreamPosition(2, EPOCH)),
            Delivered(replace(P3, offset=3), StreamPosition(3, EPOCH), P2),
            Delivered(join=CI),
            Delivered(leave=LEAVER),
        ]
        for message, delivered in zip(MESSAGES, expected, strict=True):
            self.assertEqual(parts(parse(message)), parts(delivered))

    def test_encode_publications(self) -> None:
        """Our publications equal the reference's byte for byte."""
        for publication, text in [(P1, P1_HEX), (P2, P2_HEX), (P3, P3_HEX)]:
            options = PublishOptions(
                info=publication.info,
                tags=publication.tags,
                version=publication.version,
            )
            encoded = encode_publication(
                publication.data, options, publication.time, False
            )
            self.assertEqual(encoded.hex(), text)
        hinted = encode_publication(P0.data, PublishOptions(), P0.time, True)
        self.assertEqual(hinted, MESSAGES[1])

    def test_encode_joins(self) -> None:
        """So do our joins and leaves."""
        self.assertEqual(JOIN + encode_client_info(CI), MESSAGES[5])
        self.assertEqual(LEAVE + encode_client_info(LEAVER), MESSAGES[6])

    def test_malformed(self) -> None:
        """Malformed messages are rejected."""
        for message in MALFORMED:
            with self.assertRaises(DecodeError, msg=message):
                parse(message)


class Parsing(SynchronousTestCase):
    """The corners of the format."""

    def test_more_malformed(self) -> None:
        """Numbers are plain and of 64 bits, epochs are text, Protobuf is whole."""
        body = bytes.fromhex(P1_HEX)
        for message in [
            b"",
            b"__p1::e__" + body,
            b"__p1:-1:e__" + body,
            b"__p1:18446744073709551616:e__" + body,
            b"__p1:" + b"0" * 5000 + b"1:e__" + body,
            b"__p1:1:\xff__" + body,
            b"__p2:1:e__" + body,
            b"__p1:1__" + body,
            b"__p1:1:e__" + body[:-1],
            b"__d2:1:e:0::17:" + body,
            b"__d1:1:e:0:",
            b"__d1:1:e:0::17",
            b"__d1:1:e:x::17:" + body,
            b"__d1:1:e:2:\xff\xff:17:" + body,
            b"__j__\xff",
            b"__l__\xff",
            b"\xff",
        ][1:]:
            with self.assertRaises(DecodeError, msg=message):
                parse(message)

    def test_empty_epoch(self) -> None:
        """A position without an epoch is accepted."""
        delivered = parse(b"__p1:5:__" + bytes.fromhex(P1_HEX))
        self.assertEqual(delivered.position, StreamPosition(5, ""))

    def test_largest_offset(self) -> None:
        """Offsets go up to 64 bits."""
        delivered = parse(b"__p1:%d:e__" % (2**64 - 1))
        assert delivered.publication is not None
        self.assertEqual(delivered.publication.offset, 2**64 - 1)

    def test_rest_of_delta(self) -> None:
        """Bytes after a delta's publication are ignored."""
        delivered = parse(MESSAGES[2] + b"more")
        self.assertEqual(parts(delivered), parts(parse(MESSAGES[2])))

    def test_predecessor_from_a_list(self) -> None:
        """A predecessor that comes with its header is understood."""
        before = b"__p1:1:kQzWmRtY__" + bytes.fromhex(P1_HEX)
        body = bytes.fromhex(P2_HEX)
        message = b"__d1:2:kQzWmRtY:%d:%b:%d:%b" % (len(before), before, 50, body)
        self.assertEqual(plain(parse(message).previous), plain(P1))

    def test_protobuf_wins(self) -> None:
        """Offset and epoch inside the publication win over the header's."""
        body = Message(data=b"1", offset=9, epoch="other").SerializeToString()
        delivered = parse(b"__p1:5:e__" + body)
        assert delivered.publication is not None
        self.assertEqual(delivered.position, StreamPosition(9, "other"))
        self.assertEqual(delivered.publication.offset, 9)
        self.assertEqual(delivered.publication.epoch, "")

    def test_previous_data(self) -> None:
        """A predecessor inside the publication is taken out of it."""
        body = Message(data=b"2", prev_data=b"1").SerializeToString()
        delivered = parse(b"__p1:5:e__" + body)
        assert delivered.publication is not None and delivered.previous is not None
        self.assertEqual(bytes(delivered.previous.data), b"1")
        self.assertIs(delivered.publication.prev_data, EMPTY)

    def test_all_fields(self) -> None:
        """Every field of a publication comes through; unknown ones are skipped."""
        message = Message(
            data=b"1",
            offset=3,
            tags={"a": "b"},
            delta=True,
            time=4,
            channel="c",
            key="k",
            removed=True,
            score=-5,
            epoch="e",
            prev_data=b"0",
            version=2**64 - 1,
        )
        message.info.user = "u"
        encoded = message.SerializeToString() + bytes.fromhex("ba3e0178")
        found = decode_publication(encoded)
        expected = Publication(
            data=Raw(b"1"),
            info=ClientInfo("u", ""),
            offset=3,
            tags={"a": "b"},
            delta=True,
            time=4,
            channel="c",
            key="k",
            removed=True,
            score=-5,
            epoch="e",
            prev_data=Raw(b"0"),
            version=2**64 - 1,
        )
        self.assertEqual(plain(found), plain(expected))

    def test_list_item(self) -> None:
        """An element of a list carries its position."""
        item = decode_item(b"__p1:7:kQzWmRtY__" + bytes.fromhex(P1_HEX))
        self.assertEqual(plain(item), plain(replace(P1, offset=7)))
        for malformed in (b"__p1:7", b"x", b"__p1:x:e__"):
            with self.assertRaises(DecodeError):
                decode_item(malformed)

    @given(st.binary())
    def test_anything(self, tail: bytes) -> None:
        """Whatever comes, it is understood or rejected."""
        for head in (b"", b"__", b"__p1:1:e__", b"__d1:1:e:", b"__d1:1:e:0::", b"__j"):
            try:
                parse(head + tail)
            except DecodeError:
                continue

    @given(
        st.binary(min_size=1),
        st.dictionaries(st.text(), st.text()),
        st.integers(0, 2**64 - 1),
    )
    def test_round_trip(self, data: bytes, tags: dict[str, str], version: int) -> None:
        """A message is decoded to the encoded publication."""
        options = PublishOptions(tags=tags, version=version)
        found = parse(encode_publication(Raw(data), options, 1, False)).publication
        assert found is not None
        self.assertEqual(bytes(found.data), data)
        self.assertEqual((found.tags, found.version), (tags, version))


def outcome(decode: Any, data: bytes) -> object:
    """Return the publication in *data* in a comparable form, or None for an error."""
    try:
        return plain(decode(data, 7))
    except DecodeError:
        return None


class PlainPublicationTests(SynchronousTestCase):
    """Publications of data and time alone, which have a decoder of their own."""

    sizes = st.sampled_from((0, 1, 127, 128, 300, 16383, 16384, 20000))
    times = st.sampled_from((0, 1, 2**35 - 1, 2**35, 1790000000123, 2**42 - 1, 2**42))

    def check(self, data: bytes) -> None:
        """Check that both decoders agree on *data*."""
        expected = outcome(decode_any_publication, data)
        self.assertEqual(outcome(decode_publication, data), expected)
        stored = outcome(decode_stored, data)
        if isinstance(expected, dict):
            expected |= {"time": 0, "delta": False, "epoch": "", "prev_data": b""}
        self.assertEqual(stored, expected)

    @given(sizes, times, st.booleans(), st.integers(0, 2))
    def test_fields(self, size: int, time: int, delta: bool, version: int) -> None:
        """The result is that of the general decoder."""
        options = PublishOptions(version=version)
        self.check(encode_publication(Raw(b"1" * size), options, time, delta))

    @given(st.data())
    def test_changed(self, given: st.DataObject) -> None:
        """So is that of changed and cut messages."""
        size = given.draw(st.sampled_from((0, 1, 5, 127, 128, 300)))
        data = bytearray(
            encode_publication(Raw(b"1" * size), PublishOptions(), 1790000000123, False)
        )
        for _ in range(given.draw(st.integers(1, 3))):
            place = given.draw(st.integers(0, len(data) - 1))
            data[place] = given.draw(st.integers(0, 255))
        self.check(bytes(data[: given.draw(st.integers(0, len(data)))]))
        self.check(bytes(data))

    def test_plain(self) -> None:
        """An ordinary publication does not need the general decoder."""
        data = encode_publication(Raw(b"[1]"), PublishOptions(), 1790000000123, False)
        self.patch(envelope, "decode_any_publication", None)
        found = decode_publication(data, 7)
        self.assertEqual(
            (bytes(found.data), found.offset, found.time), (b"[1]", 7, 1790000000123)
        )

"""Protocol v2 in Protobuf."""

import contextlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.protocol import protobuf_codec, wire
from centrifugo_tx.protocol.codes import Error
from centrifugo_tx.protocol.errors import DecodeError, EncodeError
from centrifugo_tx.protocol.messages import (
    EMPTY,
    ClientInfo,
    Command,
    ConnectRequest,
    EmulationRequest,
    HistoryRequest,
    HistoryResult,
    Publication,
    PublishResult,
    Push,
    Raw,
    Reply,
    StreamPosition,
    SubscribeRequest,
)
from centrifugo_tx.protocol.proto import client_pb2

_WIRE = wire.websocket_protobuf()


class Vectors(SynchronousTestCase):
    """The documented samples (protobuf, "Samples")."""

    def test_ping_and_pong(self) -> None:
        """Both are a message of no bytes."""
        self.assertEqual(wire.http_stream_protobuf().ping, b"\x00")
        self.assertEqual(protobuf_codec.decode_commands(b"\x00"), [Command()])

    def test_connect(self) -> None:
        """A connect of a client that is named js."""
        found = protobuf_codec.decode_commands(bytes.fromhex("080801220422026a73"))
        self.assertEqual(found, [Command(id=1, connect=ConnectRequest(name="js"))])

    def test_empty_result(self) -> None:
        """A result without fields is present."""
        frame = wire.http_stream_protobuf().reply(Reply(id=3, publish=PublishResult()))
        self.assertEqual(frame.hex(), "0408034200")

    def test_publication(self) -> None:
        """A publication in a push in a reply."""
        push = Push(channel="a", pub=Publication(data=Raw(b"hi"), offset=3))
        frame = wire.http_stream_protobuf().push(push)
        self.assertEqual(frame.hex(), "0d220b120161220622026869" + "3003")

    def test_frame(self) -> None:
        """On a WebSocket all that is a binary frame."""
        self.assertEqual(_WIRE.ping, b"\x82\x01\x00")


class Decoding(SynchronousTestCase):
    """Messages from clients."""

    def test_batch(self) -> None:
        """Commands follow one another, each with its length."""
        first = client_pb2.Command(id=1, connect=client_pb2.ConnectRequest(token="t"))
        second = client_pb2.Command(id=2)
        second.history.channel, second.history.limit = "c", -1
        second.history.since.offset = 2**63
        data = b"".join(
            bytes([len(part)]) + part
            for part in (first.SerializeToString(), second.SerializeToString(), b"")
        )
        since = StreamPosition(2**63)
        self.assertEqual(
            protobuf_codec.decode_commands(data),
            [
                Command(id=1, connect=ConnectRequest(token="t")),
                Command(id=2, history=HistoryRequest("c", -1, since)),
                Command(),
            ],
        )

    def test_payload(self) -> None:
        """A payload is bytes of any kind; none is the absent payload."""
        sent = client_pb2.Command(id=1)
        sent.publish.data = b"\xff\x00"
        message = sent.SerializeToString()
        (found,) = protobuf_codec.decode_commands(bytes([len(message)]) + message)
        assert found.publish is not None
        self.assertEqual(bytes(found.publish.data), b"\xff\x00")
        sent.publish.data = b""
        message = sent.SerializeToString()
        (found,) = protobuf_codec.decode_commands(bytes([len(message)]) + message)
        assert found.publish is not None
        self.assertIs(found.publish.data, EMPTY)

    def test_unknown_field(self) -> None:
        """Fields of later versions are passed over."""
        sent = client_pb2.Command(id=9).SerializeToString() + bytes.fromhex("fa0100")
        found = protobuf_codec.decode_commands(bytes([len(sent)]) + sent)
        self.assertEqual(found, [Command(id=9)])

    def test_malformed(self) -> None:
        """The error has the commands before the malformed one."""
        good = bytes.fromhex("020801")
        for bad, before in (
            (b"", 0),
            (b"\x80", 0),
            (b"\x05\x08", 0),
            (good + b"\x02\x08", 1),
            (good + good + b"\x01\x08", 2),
            (b"\xff" * 11, 0),
            (good + b"\x03\x22\x7f\x00", 1),
        ):
            error = self.assertRaises(DecodeError, protobuf_codec.decode_commands, bad)
            self.assertEqual(len(error.commands), before, bad)

    @given(st.binary(max_size=200))
    def test_anything(self, data: bytes) -> None:
        """Whatever comes is commands, or malformed."""
        with contextlib.suppress(DecodeError):
            protobuf_codec.decode_commands(data)

    def test_emulation(self) -> None:
        """An emulated command has no length before it."""
        sent = client_pb2.EmulationRequest(node="n", session="s", data=b"\x00")
        self.assertEqual(
            protobuf_codec.decode_emulation(sent.SerializeToString()),
            EmulationRequest("n", "s", Raw(b"\x00")),
        )
        self.assertRaises(DecodeError, protobuf_codec.decode_emulation, b"\x22\x7f")

    def test_unidirectional(self) -> None:
        """The one message of a gRPC client becomes a connect command."""
        sent = client_pb2.ConnectRequest(token="t")
        sent.subs["c"].recover = True
        (found,) = wire.uni_grpc().commands(sent.SerializeToString())
        request = ConnectRequest("t", subs={"c": SubscribeRequest(recover=True)})
        self.assertEqual(found, Command(id=1, connect=request))


class Encoding(SynchronousTestCase):
    """Messages to clients."""

    def test_reply(self) -> None:
        """Each field stands under its number, payloads as they are."""
        info = ClientInfo("u", "c", Raw(b"\x00"), EMPTY)
        publication = Publication(
            Raw(b"\xff"), info, 7, {"k": "v"}, score=-3, version=2**64 - 1
        )
        reply = Reply(id=5, history=HistoryResult([publication], "epoch", 7))
        found = client_pb2.Reply.FromString(protobuf_codec.encode_reply(reply))
        (told,) = found.history.publications
        self.assertEqual((told.data, told.offset, told.score), (b"\xff", 7, -3))
        self.assertEqual((told.info.user, told.info.conn_info), ("u", b"\x00"))
        self.assertEqual((dict(told.tags), told.version), ({"k": "v"}, 2**64 - 1))
        self.assertEqual((found.id, found.history.offset), (5, 7))

    def test_error(self) -> None:
        """An error contains its text."""
        reply = Reply(id=1, error=Error(100, "internal server error", True))
        found = client_pb2.Reply.FromString(protobuf_codec.encode_reply(reply))
        self.assertEqual((found.error.code, found.error.temporary), (100, True))

    def test_bare_push(self) -> None:
        """Unidirectional clients receive bare pushes."""
        push = Push(channel="c", pub=Publication(data=Raw(b"d")))
        found = client_pb2.Push.FromString(wire.uni_grpc().push(push))
        self.assertEqual((found.channel, found.pub.data), ("c", b"d"))

    def test_unspeakable(self) -> None:
        """A number that does not fit its field is refused."""
        push = Push(channel="c", pub=Publication(offset=2**64))
        self.assertRaises(EncodeError, protobuf_codec.encode_push, push)

"""Protocol v2 in Protobuf (client protocol, "Batches" and "Protobuf encoding")."""

from collections.abc import Callable, Iterator

from .errors import DecodeError, EncodeError
from .frames import Frame
from .messages import Command, ConnectRequest, EmulationRequest, Push, Reply
from .payloads import Binary, Payload
from .proto import client_pb2
from .struct_bridge import Bridge, bridge

__all__ = [
    "NAME",
    "PING",
    "decode_commands",
    "decode_connect",
    "decode_emulation",
    "encode_bare_push",
    "encode_emulation",
    "encode_push",
    "encode_reply",
    "push_frames",
    "quote",
    "reply_frames",
    "split_messages",
]

_commands = bridge(Command, client_pb2.Command)
_connects = bridge(ConnectRequest, client_pb2.ConnectRequest)
_emulations = bridge(EmulationRequest, client_pb2.EmulationRequest)
_replies = bridge(Reply, client_pb2.Reply)
_pushes = bridge(Push, client_pb2.Push)

NAME = "protobuf"
#: The server's ping: an empty reply.
PING = b""

_PONG = Command()


def split_messages(data: bytes) -> Iterator[bytes]:
    """Yield the messages in *data*, each preceded by its length.

    :raises ValueError: the last message is incomplete.
    """
    at, size = 0, len(data)
    while at < size:
        length = shift = 0
        while True:
            if at >= size or shift > 63:
                raise ValueError("incomplete length")
            byte = data[at]
            at += 1
            length |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
        if at + length > size:
            raise ValueError("incomplete message")
        yield data[at : at + length]
        at += length


def decode_commands(data: bytes) -> list[Command]:
    """Decode a message: commands, each preceded by its length.

    :raises DecodeError: with the commands before the malformed one.
    """
    commands: list[Command] = []
    try:
        for part in split_messages(data):
            commands.append(_commands.decode(part) if part else _PONG)
    except (ValueError, DecodeError) as error:
        raise DecodeError(f"malformed command: {error}", tuple(commands)) from None
    if not commands:
        raise DecodeError("an empty message")
    return commands


def decode_connect(data: bytes) -> ConnectRequest:
    """Decode the connect request of a unidirectional client.

    See client protocol, "Unidirectional transports".

    :raises DecodeError: it is malformed.
    """
    return _connects.decode(data)


def decode_emulation(data: bytes) -> EmulationRequest:
    """Decode the body of an emulated command, which has no length prefix.

    See client protocol, "Emulation".

    :raises DecodeError: it is malformed.
    """
    return _emulations.decode(data)


def encode_emulation(request: EmulationRequest) -> bytes:
    """Encode an emulated command for another node.

    See engines, "Control messages".
    """
    return _emulations.encode(request)


def encode_reply(reply: Reply) -> bytes:
    """Encode a reply, without a length prefix.

    :raises EncodeError: a number does not fit its field.
    """
    return _encode(_replies, reply)


def encode_push(push: Push) -> bytes:
    """Encode a push inside a reply, for bidirectional clients.

    :raises EncodeError: a number does not fit its field.
    """
    return _encode(_replies, Reply(push=push))


def encode_bare_push(push: Push) -> bytes:
    """Encode a push without a reply, for unidirectional clients.

    See client protocol, "Unidirectional transports".

    :raises EncodeError: a number does not fit its field.
    """
    return _encode(_pushes, push)


def reply_frames(frame: Frame) -> Callable[[Reply], bytes]:
    """Return a function that encodes a reply and frames it."""
    return lambda reply: frame(encode_reply(reply))


def push_frames(frame: Frame) -> Callable[[Push], bytes]:
    """Return a function that encodes a push inside a reply and frames it."""
    return lambda push: frame(encode_push(push))


def quote(payload: bytes) -> Payload:
    """Return *payload* unchanged: in Protobuf, full payloads next to deltas need no
    other form.
    """
    return Binary(payload)  # type: ignore[return-value]  # for Protobuf alone


def _encode(form: "Bridge[Reply] | Bridge[Push]", message: Reply | Push) -> bytes:
    try:
        return form.encode(message)  # type: ignore[arg-type]  # they belong together
    except ValueError as error:
        raise EncodeError(f"cannot be encoded in Protobuf: {error}") from None

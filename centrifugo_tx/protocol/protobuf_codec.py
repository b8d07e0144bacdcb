"""Protocol v2 in Protobuf (client protocol, "Batches" and "Protobuf encoding")."""

from collections.abc import Iterator

from .errors import DecodeError, EncodeError
from .messages import Command, ConnectRequest, EmulationRequest, Push, Raw, Reply
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
    "quote",
    "split_messages",
]

_commands = bridge(Command, client_pb2.Command)
_connects = bridge(ConnectRequest, client_pb2.ConnectRequest)
_emulations = bridge(EmulationRequest, client_pb2.EmulationRequest)
_replies = bridge(Reply, client_pb2.Reply)
_pushes = bridge(Push, client_pb2.Push)

NAME = "protobuf"
#: An empty reply, which is the server's ping.
PING = b""

_PONG = Command()


def split_messages(data: bytes) -> Iterator[bytes]:
    """Yield the messages in *data*, each of which has its length before it.

    :raises ValueError: the last one is not whole.
    """
    at, size = 0, len(data)
    while at < size:
        length = shift = 0
        while True:
            if at >= size or shift > 63:
                raise ValueError("a length is not whole")
            byte = data[at]
            at += 1
            length |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
        if at + length > size:
            raise ValueError("a message is not whole")
        yield data[at : at + length]
        at += length


def decode_commands(data: bytes) -> list[Command]:
    """Decode a message: commands with their lengths, one after the other.

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

    :raises DecodeError: it is none.
    """
    return _connects.decode(data)


def decode_emulation(data: bytes) -> EmulationRequest:
    """Decode the body of an emulated command; it has no length before it.

    See client protocol, "Emulation".

    :raises DecodeError: it is none.
    """
    return _emulations.decode(data)


def encode_emulation(request: EmulationRequest) -> bytes:
    """Encode an emulated command, as nodes send it to each other.

    See engines, "Control messages".
    """
    return _emulations.encode(request)


def encode_reply(reply: Reply) -> bytes:
    """Encode a reply, without its length.

    :raises EncodeError: a number does not fit its field.
    """
    return _encode(_replies, reply)


def encode_push(push: Push) -> bytes:
    """Encode a push as a reply, as bidirectional clients want it.

    :raises EncodeError: a number does not fit its field.
    """
    return _encode(_replies, Reply(push=push))


def encode_bare_push(push: Push) -> bytes:
    """Encode a push alone, as unidirectional clients want it.

    See client protocol, "Unidirectional transports".

    :raises EncodeError: a number does not fit its field.
    """
    return _encode(_pushes, push)


def quote(payload: bytes) -> Raw:
    """Return *payload* as it travels beside deltas: as it is."""
    return Raw(payload)


def _encode(form: "Bridge[Reply] | Bridge[Push]", message: Reply | Push) -> bytes:
    try:
        return form.encode(message)  # type: ignore[arg-type]  # they belong together
    except ValueError as error:
        raise EncodeError(f"not to be said in Protobuf: {error}") from None

"""Protocol v1 in Protobuf (client protocol v1, "Envelopes")."""

from typing import Any

import msgspec
from google.protobuf.message import DecodeError as ProtobufError

from ..errors import DecodeError, EncodeError
from ..messages import Command, Push, Reply
from ..proto import client_v1_pb2
from ..protobuf_codec import split_messages
from ..struct_bridge import bridge
from .old_messages import METHODS, Dialect, OldPush, OldReply, command

__all__ = ["decode_commands", "encode_push", "encode_reply"]

_REQUESTS = [
    bridge(form, getattr(client_v1_pb2, form.__name__.removeprefix("Old")))
    for _, form in METHODS
]


def decode_commands(data: bytes, whole_history: bool = False) -> list[Command]:
    """Decode a message: commands, each preceded by its length.

    :param whole_history: a history request without a limit and a position returns all
        publications.
    :raises DecodeError: with the commands before the malformed one.
    """
    commands: list[Command] = []
    try:
        for part in split_messages(data):
            commands.append(_command(part, whole_history))
    except (ValueError, ProtobufError, DecodeError) as error:
        raise DecodeError(f"malformed command: {error}", tuple(commands)) from None
    if not commands:
        raise DecodeError("an empty message")
    return commands


def _command(part: bytes, whole_history: bool) -> Command:
    asked = client_v1_pb2.Command.FromString(part)
    request = None
    if 0 <= asked.method < len(METHODS):
        request = _REQUESTS[asked.method].decode(asked.params)
    return command(asked.id, asked.method, request, whole_history)


def encode_reply(reply: Reply, dialect: Dialect) -> bytes:
    """Encode a reply, without a length prefix.

    :raises EncodeError: a number does not fit its field.
    """
    old = dialect.reply(reply)
    message = client_v1_pb2.Reply(id=old.id)
    if old.error is not None:
        message.error.code, message.error.message = old.error.code, old.error.message
    return _finished(message, old)


def encode_push(push: Push, dialect: Dialect) -> bytes:
    """Encode a push: a reply without an id, and without a length prefix.

    :raises EncodeError: a number does not fit its field.
    """
    return _finished(client_v1_pb2.Reply(), OldReply(result=dialect.push(push)))


def _finished(message: Any, old: OldReply) -> bytes:
    try:
        if isinstance(old.result, OldPush):
            kind: Any = old.result.type
            push = client_v1_pb2.Push(type=kind, channel=old.result.channel)
            push.data = _body(old.result.data)
            message.result = push.SerializeToString()
        elif old.result is not None:
            message.result = _body(old.result)
    except ValueError as error:
        raise EncodeError(f"cannot be encoded in Protobuf: {error}") from None
    encoded: bytes = message.SerializeToString()
    return encoded


def _body(value: msgspec.Struct) -> bytes:
    form = type(value)
    kind = getattr(client_v1_pb2, form.__name__.removeprefix("Old"))
    return bridge(form, kind).encode(value)

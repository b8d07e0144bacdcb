"""Protocol v2 in JSON (client protocol, "Batches" and "JSON")."""

from collections.abc import Callable, Sequence

import msgspec

from .errors import DecodeError, EncodeError
from .frames import Frame
from .json_text import MAX_DEPTH, check_text, replace_lone_surrogates, too_deep
from .lenient_json import as_strict_json
from .messages import (
    Command,
    ConnectRequest,
    EmulationRequest,
    Push,
    Reply,
)
from .payloads import Payload, Raw

__all__ = [
    "NAME",
    "PING",
    "decode_commands",
    "decode_connect",
    "decode_emulation",
    "encode",
    "encode_bare_push",
    "encode_push",
    "encode_reply",
    "has_oversized_number",
    "push_frames",
    "quote",
    "reply_frames",
    "unquote",
]

_decode = msgspec.json.Decoder(Command).decode
_decode_lines = msgspec.json.Decoder(Command).decode_lines
_decode_connect = msgspec.json.Decoder(ConnectRequest).decode
_decode_emulation = msgspec.json.Decoder(EmulationRequest).decode
_decode_text = msgspec.json.Decoder(str | None).decode


def _refuse(part: object) -> object:
    """Refuse what JSON cannot express: a `Binary`."""
    raise EncodeError("a payload is no JSON")


_encode = msgspec.json.Encoder(enc_hook=_refuse).encode

NAME = "json"
#: The server's ping: an empty reply.
PING = b"{}"

_PONG = Command()

#: A newline, as a number: to look for bytes in bytes takes five times as long.
_NEWLINE = 10

#: The largest offset that the protocol can express.
_MAX_UINT64 = 2**64 - 1


def decode_commands(data: bytes) -> list[Command]:
    """Decode a message: one command a line, at most one newline after the last.

    :raises DecodeError: with the commands before the malformed one.
    """
    if _NEWLINE not in data:
        return [_command(data, ())]
    commands = _plain_commands(data, data.count(b"\n"))
    if commands is not None:
        return commands
    commands = []
    lines = data.split(b"\n")
    if not lines[-1] and len(lines) > 1:
        del lines[-1]
    for line in lines:
        commands.append(_command(line, commands))
    return commands


def _plain_commands(data: bytes, newlines: int) -> list[Command] | None:
    """Decode several plain commands at once; None: decode line by line instead.

    The decoder would accept values that are not on lines of their own.  Outside of
    these, no JSON has a newline between ``}`` and ``{``.
    """
    if (
        data.count(b"}\n{") != newlines
        or not data.isascii()
        or (len(data) > MAX_DEPTH and too_deep(data))
    ):
        return None
    try:
        commands = _decode_lines(data)
    except (ValueError, RecursionError):
        return None
    if len(commands) != newlines + 1 or any(map(has_oversized_number, commands)):
        return None
    return commands


def _command(line: bytes, before: Sequence[Command]) -> Command:
    if line == b"{}":
        return _PONG
    try:
        if len(line) > MAX_DEPTH or not line.isascii():
            check_text(line)
        try:
            command = _decode(line)
        except (ValueError, RecursionError):
            command = _decode(as_strict_json(line))
        if has_oversized_number(command):
            raise ValueError("a position is more than 64 bits")
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"malformed command: {error}", tuple(before)) from None
    return command


def has_oversized_number(command: Command) -> bool:
    """Whether a number in *command* exceeds 64 bits."""
    if command.subscribe is not None:
        return command.subscribe.offset > _MAX_UINT64
    if command.connect is not None and command.connect.subs:
        return _has_oversized_offset(command.connect)
    if command.history is not None and command.history.since is not None:
        return command.history.since.offset > _MAX_UINT64
    if command.sub_refresh is not None and command.sub_refresh.track:
        items = (item for batch in command.sub_refresh.track for item in batch.items)
        return any(item.version > _MAX_UINT64 for item in items)
    return False


def _has_oversized_offset(request: ConnectRequest) -> bool:
    known = (position for position in request.subs.values() if position is not None)
    return any(position.offset > _MAX_UINT64 for position in known)


def decode_connect(data: bytes) -> ConnectRequest:
    """Decode the connect request of a unidirectional client.

    See client protocol, "Unidirectional transports".

    :raises DecodeError: it is malformed; ``null`` is an empty request.
    """
    if data.strip() == b"null":
        return ConnectRequest()
    try:
        check_text(data)
        try:
            request = _decode_connect(data)
        except (ValueError, RecursionError):
            request = _decode_connect(as_strict_json(data, ConnectRequest))
        if _has_oversized_offset(request):
            raise ValueError("a position is more than 64 bits")
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"malformed connect request: {error}") from None
    return request


def decode_emulation(data: bytes) -> EmulationRequest:
    """Decode the body of an emulated command (client protocol, "Emulation").

    :raises DecodeError: it is malformed; ``null`` is an empty request.
    """
    if data.strip() == b"null":
        return EmulationRequest()
    try:
        check_text(data)
        try:
            return _decode_emulation(data)
        except (ValueError, RecursionError):
            return _decode_emulation(as_strict_json(data, EmulationRequest))
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"malformed emulation request: {error}") from None


def quote(payload: bytes) -> Payload:
    """Return *payload* as a JSON string, the form that deltas require.

    See client protocol, "Deltas".

    :raises EncodeError: it is not UTF-8.
    """
    try:
        return Payload(Raw(_encode(payload.decode())))
    except UnicodeDecodeError:
        raise EncodeError("a payload is no UTF-8") from None


def unquote(text: bytes) -> bytes:
    """Return the contents of a JSON string, the form of emulated commands.

    See client protocol, "Emulation".

    :raises DecodeError: it is not a JSON string; ``null`` is empty.
    """
    try:
        try:
            said = _decode_text(text)
        except ValueError:
            said = _decode_text(replace_lone_surrogates(text))
    except ValueError as error:
        raise DecodeError(f"no JSON string: {error}") from None
    return (said or "").encode()


def encode_reply(reply: Reply) -> bytes:
    """Encode a reply; its payloads are copied unchanged.

    :raises EncodeError: a payload is not JSON.
    """
    return encode(reply)


def encode_push(push: Push) -> bytes:
    """Encode a push inside a reply, for bidirectional clients.

    :raises EncodeError: a payload is not JSON.
    """
    return encode(Reply(push=push))


def encode_bare_push(push: Push) -> bytes:
    """Encode a push without a reply, for unidirectional clients.

    See client protocol, "Unidirectional transports".

    :raises EncodeError: a payload is not JSON.
    """
    return encode(push)


def encode(message: msgspec.Struct) -> bytes:
    """Encode *message* as one line.

    :raises EncodeError: a payload is not JSON.
    """
    return _one_line(_encode(message))


def _one_line(encoded: bytes) -> bytes:
    """Remove newlines, which can only be white space inside a payload."""
    return encoded.replace(b"\n", b"") if _NEWLINE in encoded else encoded


def reply_frames(frame: Frame) -> Callable[[Reply], bytes]:
    """Return a function that encodes a reply and frames it, in one step."""

    def encode_frame(reply: Reply) -> bytes:
        encoded = _encode(reply)
        return frame(_one_line(encoded) if _NEWLINE in encoded else encoded)

    return encode_frame


def push_frames(frame: Frame) -> Callable[[Push], bytes]:
    """Return a function that encodes a push inside a reply and frames it."""

    def encode_frame(push: Push) -> bytes:
        encoded = _encode(Reply(push=push))
        return frame(_one_line(encoded) if _NEWLINE in encoded else encoded)

    return encode_frame

"""Protocol v2 in JSON (client protocol, "Batches" and "JSON")."""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from .errors import DecodeError, EncodeError
from .lenient_json import MAX_DEPTH, as_strict_json, replace_lone_surrogates, too_deep
from .messages import (
    EMPTY,
    ClientInfo,
    Command,
    ConnectRequest,
    EmulationRequest,
    Publication,
    Push,
    Raw,
    Reply,
    SubscribeResult,
)

__all__ = [
    "NAME",
    "PING",
    "check_text",
    "decode_commands",
    "decode_connect",
    "decode_emulation",
    "encode",
    "encode_bare_push",
    "encode_push",
    "encode_reply",
    "has_oversized_number",
    "is_json",
    "payloads_of_push",
    "payloads_of_reply",
    "quote",
    "unquote",
]

_decode = msgspec.json.Decoder(Command).decode
_decode_connect = msgspec.json.Decoder(ConnectRequest).decode
_decode_emulation = msgspec.json.Decoder(EmulationRequest).decode
_decode_text = msgspec.json.Decoder(str | None).decode
_validate = msgspec.json.Decoder(Raw).decode
_encode = msgspec.json.Encoder().encode

NAME = "json"
#: The server's ping: an empty reply.
PING = b"{}"

_PONG = Command()

#: The largest offset that the protocol can express.
_MAX_UINT64 = 2**64 - 1


def decode_commands(data: bytes) -> list[Command]:
    """Decode a message: one command a line, at most one newline after the last.

    :raises DecodeError: with the commands before the malformed one.
    """
    if b"\n" not in data:
        return [_command(data, ())]
    commands: list[Command] = []
    lines = data.split(b"\n")
    if not lines[-1] and len(lines) > 1:
        del lines[-1]
    for line in lines:
        commands.append(_command(line, commands))
    return commands


def _command(line: bytes, before: Sequence[Command]) -> Command:
    if line == b"{}":
        return _PONG
    try:
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


def check_text(text: bytes) -> None:
    """Check payloads for invalid UTF-8 and for nesting that the decoder accepts.

    :raises ValueError: the text has either.
    """
    if not text.isascii():
        text.decode()
    if len(text) > MAX_DEPTH and too_deep(text):
        raise ValueError(f"nested more than {MAX_DEPTH} levels deep")


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


def is_json(payload: bytes) -> bool:
    """Whether *payload* is JSON that can be sent to any client."""
    try:
        _check_payload(payload)
    except EncodeError:
        return False
    return payload.isascii() or _is_utf8(payload)


def quote(payload: bytes) -> Raw:
    """Return *payload* as a JSON string, the form that deltas require.

    See client protocol, "Deltas".

    :raises EncodeError: it is not UTF-8.
    """
    try:
        return Raw(_encode(payload.decode()))
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


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def encode_reply(reply: Reply) -> bytes:
    """Encode a reply; its payloads are copied unchanged.

    :raises EncodeError: a payload is not JSON.
    """
    return encode(reply, payloads_of_reply(reply))


def encode_push(push: Push) -> bytes:
    """Encode a push inside a reply, for bidirectional clients.

    :raises EncodeError: a payload is not JSON.
    """
    return encode(Reply(push=push), payloads_of_push(push))


def encode_bare_push(push: Push) -> bytes:
    """Encode a push without a reply, for unidirectional clients.

    See client protocol, "Unidirectional transports".

    :raises EncodeError: a payload is not JSON.
    """
    return encode(push, payloads_of_push(push))


def encode(message: msgspec.Struct, payloads: Iterable[Raw]) -> bytes:
    """Encode *message* as one line.

    :param payloads: the payloads in *message*.
    :raises EncodeError: one of them is not JSON.
    """
    for payload in payloads:
        _check_payload(payload)
    return _one_line(_encode(message))


def _check_payload(payload: bytes | Raw) -> None:
    """Check that a payload is JSON, so that it cannot break out of its field."""
    if payload is EMPTY:
        return
    try:
        try:
            _validate(payload)
        except msgspec.DecodeError:
            _validate(replace_lone_surrogates(bytes(payload)))
    except (msgspec.DecodeError, RecursionError):
        raise EncodeError("a payload is no JSON") from None


def _one_line(encoded: bytes) -> bytes:
    """Remove newlines, which can only be white space inside a payload."""
    if not (encoded.isascii() or _is_utf8(encoded)):
        raise EncodeError("a payload is no UTF-8")
    return encoded.replace(b"\n", b"") if b"\n" in encoded else encoded


def payloads_of_push(push: Push) -> Iterator[Raw]:
    """Yield the payloads in a push."""
    if push.pub is not None:
        yield from _of_publication(push.pub)
    elif push.join is not None:
        yield from _of_info(push.join.info)
    elif push.leave is not None:
        yield from _of_info(push.leave.info)
    elif push.message is not None:
        yield push.message.data
    elif push.subscribe is not None:
        yield push.subscribe.data
    elif push.connect is not None:
        yield push.connect.data
        for result in push.connect.subs.values():
            yield from _of_subscribe(result)


def payloads_of_reply(reply: Reply) -> Iterator[Raw]:
    """Yield the payloads in a reply."""
    if reply.push is not None:
        yield from payloads_of_push(reply.push)
    elif reply.connect is not None:
        yield reply.connect.data
        for result in reply.connect.subs.values():
            yield from _of_subscribe(result)
    elif reply.subscribe is not None:
        yield from _of_subscribe(reply.subscribe)
    elif reply.presence is not None:
        for info in reply.presence.presence.values():
            yield from _of_info(info)
    elif reply.history is not None:
        for publication in reply.history.publications:
            yield from _of_publication(publication)
    elif reply.rpc is not None:
        yield reply.rpc.data


def _of_subscribe(result: SubscribeResult) -> Iterator[Raw]:
    yield result.data
    for publication in (*result.publications, *result.state):
        yield from _of_publication(publication)


def _of_publication(publication: Publication) -> Iterator[Raw]:
    yield publication.data
    if publication.info is not None:
        yield from _of_info(publication.info)


def _of_info(info: ClientInfo) -> Iterator[Raw]:
    yield info.conn_info
    yield info.chan_info

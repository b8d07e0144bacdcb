"""Protocol v2 in JSON (client protocol, 2.1 and 2.2)."""

import json
from collections.abc import Iterator

import msgspec

from .errors import DecodeError, EncodeError
from .messages import (
    EMPTY,
    ClientInfo,
    Command,
    Publication,
    Push,
    Raw,
    Reply,
    SubscribeResult,
)

__all__ = ["decode_commands", "encode_bare_push", "encode_push", "encode_reply"]

_decode = msgspec.json.Decoder(Command).decode
_validate = msgspec.json.Decoder(Raw).decode
_members = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode
_scan = json.JSONDecoder().raw_decode

#: The largest offset that the protocol can say.
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


def _command(line: bytes, before: "list[Command] | tuple[()]") -> Command:
    try:
        command = _decode(line)
        if not _odd(command, line):
            return command
    except msgspec.DecodeError:
        pass
    try:
        return _decode_oddly(line)
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"malformed command: {error}", tuple(before)) from None


def _odd(command: Command, line: bytes) -> bool:
    """Whether *command* needs another look: no request in it, or a number too large."""
    if command.subscribe is not None:
        return command.subscribe.offset > _MAX_UINT64
    if command.publish is not None or command.rpc is not None:
        return False
    if command.history is not None:
        since = command.history.since
        return since is not None and since.offset > _MAX_UINT64
    return command == Command(id=command.id) and line != b"{}"


def _decode_oddly(line: bytes) -> Command:
    """Decode what is right in the reference's eyes only.

    Text after the value is ignored there, and names match in any case.

    :raises ValueError: it is wrong in any eyes.
    """
    text = line.decode()
    start = len(text) - len(text.lstrip(" \t\r"))
    _, end = _scan(text, start)
    command = _decode(_folded(text[start:end].encode()))
    if _odd(command, b"{}"):
        raise ValueError("an offset is more than 64 bits")
    return command


def _folded(value: bytes) -> bytes:
    """Write the names of a command and of its requests in lower case."""
    members = {}
    for name, member in _members(value).items():
        inner = bytes(member)
        if inner.startswith(b"{"):
            parts = {key.lower(): part for key, part in _members(inner).items()}
            member = Raw(_encode(parts))
        members[name.lower()] = member
    return _encode(members)


def encode_reply(reply: Reply) -> bytes:
    """Encode a reply; the payloads in it pass as they are.

    :raises EncodeError: a payload is no JSON.
    """
    for payload in _payloads_of_reply(reply):
        _fit(payload)
    return _one_line(_encode(reply))


def encode_push(push: Push) -> bytes:
    """Encode a push as a reply, as bidirectional clients want it.

    :raises EncodeError: a payload is no JSON.
    """
    for payload in _payloads_of_push(push):
        _fit(payload)
    return _one_line(_encode(Reply(push=push)))


def encode_bare_push(push: Push) -> bytes:
    """Encode a push alone, as unidirectional clients want it (1.6).

    :raises EncodeError: a payload is no JSON.
    """
    for payload in _payloads_of_push(push):
        _fit(payload)
    return _one_line(_encode(push))


def _fit(payload: Raw) -> None:
    """Make sure that a payload cannot break out of its field."""
    if payload is not EMPTY:
        try:
            _validate(payload)
        except msgspec.DecodeError:
            raise EncodeError("a payload is no JSON") from None


def _one_line(encoded: bytes) -> bytes:
    """Take newlines out, which can only be white space in a payload."""
    if not encoded.isascii():
        try:
            encoded.decode()
        except UnicodeDecodeError:
            raise EncodeError("a payload is no UTF-8") from None
    return encoded.replace(b"\n", b"") if b"\n" in encoded else encoded


def _payloads_of_push(push: Push) -> Iterator[Raw]:
    if push.pub is not None:
        yield from _payloads_of_publication(push.pub)
    elif push.join is not None:
        yield from _payloads_of_info(push.join.info)
    elif push.leave is not None:
        yield from _payloads_of_info(push.leave.info)
    elif push.message is not None:
        yield push.message.data
    elif push.subscribe is not None:
        yield push.subscribe.data
    elif push.connect is not None:
        yield push.connect.data
        for result in push.connect.subs.values():
            yield from _payloads_of_subscribe(result)


def _payloads_of_reply(reply: Reply) -> Iterator[Raw]:
    if reply.push is not None:
        yield from _payloads_of_push(reply.push)
    elif reply.connect is not None:
        yield reply.connect.data
        for result in reply.connect.subs.values():
            yield from _payloads_of_subscribe(result)
    elif reply.subscribe is not None:
        yield from _payloads_of_subscribe(reply.subscribe)
    elif reply.presence is not None:
        for info in reply.presence.presence.values():
            yield from _payloads_of_info(info)
    elif reply.history is not None:
        for publication in reply.history.publications:
            yield from _payloads_of_publication(publication)
    elif reply.rpc is not None:
        yield reply.rpc.data


def _payloads_of_subscribe(result: SubscribeResult) -> Iterator[Raw]:
    yield result.data
    for publication in (*result.publications, *result.state):
        yield from _payloads_of_publication(publication)


def _payloads_of_publication(publication: Publication) -> Iterator[Raw]:
    yield publication.data
    if publication.info is not None:
        yield from _payloads_of_info(publication.info)


def _payloads_of_info(info: ClientInfo) -> Iterator[Raw]:
    yield info.conn_info
    yield info.chan_info

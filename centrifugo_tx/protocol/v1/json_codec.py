"""Protocol v1 in JSON (client protocol v1, "Envelopes")."""

import msgspec

from ..errors import DecodeError
from ..json_codec import encode, has_oversized_number
from ..json_text import check_text
from ..lenient_json import as_strict_json
from ..messages import EMPTY, Command, Push, Raw, Reply, RequestPart, UInt32
from .old_messages import METHODS, Dialect, OldReply, command

__all__ = ["OldCommand", "decode_commands", "encode_push", "encode_reply", "read"]


class OldCommand(RequestPart, frozen=True):
    """One command; ``method`` is a number, or a name in any case."""

    id: UInt32 = 0
    method: int | str = 0
    params: Raw = EMPTY

    @property
    def number(self) -> int:
        """The number of the method; -1 if no method has that name."""
        if isinstance(self.method, int):
            return self.method
        return _NUMBERS.get(self.method.lower(), -1)


_NUMBERS = {name: number for number, (name, _) in enumerate(METHODS)}
_decode = msgspec.json.Decoder(OldCommand).decode
_requests = [msgspec.json.Decoder(form).decode for _, form in METHODS]


def decode_commands(data: bytes, whole_history: bool = False) -> list[Command]:
    """Decode a message: one command a line, at most one newline after the last.

    :param whole_history: a history request without a limit and a position returns all
        publications.
    :raises DecodeError: with the commands before the malformed one.
    """
    commands: list[Command] = []
    lines = data.split(b"\n")
    if not lines[-1] and len(lines) > 1:
        del lines[-1]
    for line in lines:
        try:
            commands.append(_command(line, whole_history))
        except (ValueError, RecursionError) as error:
            raise DecodeError(f"malformed command: {error}", tuple(commands)) from None
    return commands


def _command(line: bytes, whole_history: bool) -> Command:
    asked = read(line)
    number = asked.number
    if not 0 <= number < len(METHODS):
        return command(asked.id, number, None, whole_history)
    params = bytes(asked.params)
    if params in (b"", b"null"):
        params = b"{}"
    try:
        request = _requests[number](params)
    except (ValueError, RecursionError):
        request = _requests[number](as_strict_json(params, METHODS[number][1]))
    made = command(asked.id, number, request, whole_history)
    if has_oversized_number(made):
        raise ValueError("a position is more than 64 bits")
    return made


def read(line: bytes) -> OldCommand:
    """Decode the command of a line, without its params.

    :raises ValueError: it is not a command.
    :raises RecursionError: it is nested too deeply.
    """
    check_text(line)
    try:
        return _decode(line)
    except (ValueError, RecursionError):
        return _decode(as_strict_json(line, OldCommand))


def encode_reply(reply: Reply, dialect: Dialect) -> bytes:
    """Encode a reply; its payloads are copied unchanged.

    :raises EncodeError: a payload is not JSON.
    """
    return encode(dialect.reply(reply))


def encode_push(push: Push, dialect: Dialect) -> bytes:
    """Encode a push: a reply without an id.

    :raises EncodeError: a payload is not JSON.
    """
    return encode(OldReply(result=dialect.push(push)))

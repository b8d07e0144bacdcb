"""Detection of the protocol version that a client uses.

See client protocol v1, "Choosing the version".
"""

import re

import msgspec
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from ..json_text import check_text
from ..lenient_json import as_strict_json
from ..messages import Command, Raw
from ..proto import client_pb2, client_v1_pb2
from ..protobuf_codec import split_messages
from .json_codec import OldCommand

__all__ = ["detect_version"]


#: The names of requests, which exist only in version 2.
_REQUESTS = frozenset(Command.__struct_fields__) - {"id"}
#: Fields of a command that exist only in version 1: JSON names, Protobuf numbers.
_ONLY_OLD = frozenset({"method", "params"})
_ONLY_OLD_NUMBERS = frozenset({2, 3})
#: The usual beginnings of messages in version 2; what follows does not matter.
_SURELY_NEW = re.compile(
    rb'\{(?:"id":[0-9]+,)?"(?:%s)":' % "|".join(sorted(_REQUESTS)).encode()
)
_members = msgspec.json.Decoder(dict[str, Raw]).decode
_old = msgspec.json.Decoder(OldCommand).decode


def detect_version(message: bytes, protocol: str) -> int:
    """Return 1 or 2, judged by the first command in a client's first message.

    A message of neither version counts as 2, whose decoder refuses it.

    :param protocol: ``json`` or ``protobuf``.
    """
    if protocol == "json" and _SURELY_NEW.match(message):
        return 2
    try:
        is_old = _is_old_json if protocol == "json" else _is_old_protobuf
        return 1 if is_old(message) else 2
    except (ValueError, RecursionError, DecodeError):
        return 2


def _is_old_json(message: bytes) -> bool:
    line = message.partition(b"\n")[0]
    check_text(line)
    names = {name.lower() for name in _members(line)}
    if _REQUESTS & names:
        return False
    if not _ONLY_OLD & names:
        return False
    old = _old(as_strict_json(line, OldCommand))
    object_or_absent = bytes(old.params).lstrip()[:1] in (b"", b"{")
    return bool(old.id) and old.number == 0 and object_or_absent


def _is_old_protobuf(message: bytes) -> bool:
    first = next(split_messages(message), b"")
    new = client_pb2.Command.FromString(first)
    if any(field.name != "id" for field, _ in new.ListFields()):
        return False
    fields = UnknownFieldSet(new)
    unknown = {fields[place].field_number for place in range(len(fields))}
    old = client_v1_pb2.Command.FromString(first)
    return bool(old.id) and old.method == 0 and bool(_ONLY_OLD_NUMBERS & unknown)

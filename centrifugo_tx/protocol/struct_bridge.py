"""Conversion between structs and Protobuf messages, by field name.

See client protocol, "Protobuf encoding".

A `Bridge` is built once per pair of types, from the descriptor of the message.
"""

from collections.abc import Callable
from functools import cache
from types import NoneType, UnionType
from typing import Any, Generic, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from google.protobuf.descriptor import FieldDescriptor as Kinds
from google.protobuf.message import DecodeError as ProtobufError
from google.protobuf.message_factory import GetMessageClass

from .errors import DecodeError
from .payloads import EMPTY, Payload, Raw, checked

__all__ = ["Bridge", "bridge"]

T = TypeVar("T", bound=msgspec.Struct)

# Any, because the runtime's annotations name two kinds of descriptors.

#: Sets a value in a message; converts a value of a message.
Writer = Callable[[Any, Any], None]
Reader = Callable[[Any], Any]


class Bridge(Generic[T]):
    """Converts structs of one type to messages of one type, and back.

    Fields that the struct lacks are skipped.  The struct must have no value in a
    field that the message lacks.
    """

    def __init__(self, struct: type[T], message: Any) -> None:
        self.struct, self.message = struct, message
        hints = get_type_hints(struct)
        self._writers: list[tuple[str, Any, Writer]] = []
        self._readers: dict[str, Reader] = {}
        #: Values of required fields that a message leaves unset.
        self._zeros: dict[str, Any] = {}
        fields, defaults = struct.__struct_fields__, struct.__struct_defaults__
        given = dict(zip(fields[len(fields) - len(defaults) :], defaults, strict=True))
        for field in message.DESCRIPTOR.fields:
            if field.name in hints:
                default = given.get(field.name, msgspec.UNSET)
                writer, reader = _plan(field, hints[field.name])
                self._writers.append((field.name, default, writer))
                self._readers[field.name] = reader
                if default is msgspec.UNSET:
                    self._zeros[field.name] = reader(_zero(field))

    def fill(self, message: Any, value: T) -> None:
        """Copy *value* into *message*."""
        for name, default, write in self._writers:
            member = getattr(value, name)
            if member is not default:
                write(message, member)

    def encode(self, value: T) -> bytes:
        """Return the bytes of *value*.

        :raises ValueError: a number does not fit its field.
        """
        message = self.message()
        self.fill(message, value)
        encoded: bytes = message.SerializeToString()
        return encoded

    def take(self, message: Any) -> T:
        """Copy *message* into a struct."""
        readers, members = self._readers, self._zeros.copy()
        for field, value in message.ListFields():  # the fields that are set
            name = field.name
            if name in readers:
                members[name] = readers[name](value)
        return self.struct(**members)

    def decode(self, data: bytes) -> T:
        """Return the struct of *data*.

        :raises DecodeError: *data* is malformed.
        """
        message = self.message()
        try:
            message.ParseFromString(data)
        except ProtobufError as error:
            raise DecodeError(f"malformed Protobuf: {error}") from None
        return self.take(message)


_bridges: dict[tuple[Any, Any], Any] = {}


def bridge(struct: type[T], message: Any) -> Bridge[T]:
    """Return the bridge between two types; it is created once."""
    made: Bridge[T] | None = _bridges.get((struct, message))
    if made is None:
        made = _bridges[struct, message] = Bridge(struct, message)
    return made


def _plan(field: Any, hint: Any) -> tuple[Writer, Reader]:
    name = field.name
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return _plan_map(name, field.message_type.fields_by_name["value"], hint)
    if _is_repeated(field):
        return _plan_list(name, field, hint)
    if field.message_type is not None:
        return _plan_part(name, field, hint)
    if field.type == Kinds.TYPE_BYTES:
        return (
            lambda message, member: setattr(message, name, bytes(member)),
            checked if hint is Payload else _unchecked,
        )
    return lambda message, member: setattr(message, name, member), _unchanged


def _is_repeated(field: Any) -> bool:
    """Whether a field has many values; ``label`` is deprecated since protobuf 6.31."""
    if hasattr(field, "is_repeated"):
        return bool(field.is_repeated)
    return bool(field.label == Kinds.LABEL_REPEATED)


def _unchanged(value: Any) -> Any:
    return value


def _unchecked(value: bytes) -> Raw:
    return Raw(value) if value else EMPTY


def _zero(field: Any) -> Any:
    """Return the value of an unset field."""
    if not _is_repeated(field):
        return field.default_value
    entry = field.message_type is not None and field.message_type.GetOptions().map_entry
    return {} if entry else []


def _struct_in(hint: Any) -> type[msgspec.Struct]:
    """Return the struct in ``X``, ``X | None``, a list, tuple or dict of ``X``."""
    if get_origin(hint) in (Union, UnionType, list, tuple, dict):
        inner = [
            each for each in get_args(hint) if each not in (NoneType, str, Ellipsis)
        ]
        return _struct_in(inner[-1])
    found: type[msgspec.Struct] = hint
    return found


def _plan_part(name: str, field: Any, hint: Any) -> tuple[Writer, Reader]:
    inner = _lazy_bridge(_struct_in(hint), GetMessageClass(field.message_type))

    def write(message: Any, member: Any) -> None:
        if member is not None:
            part = getattr(message, name)
            part.SetInParent()
            inner().fill(part, member)

    def read(part: Any) -> Any:
        return None if part is None else inner().take(part)

    return write, read


def _plan_list(name: str, field: Any, hint: Any) -> tuple[Writer, Reader]:
    if field.message_type is None:
        return lambda message, member: getattr(message, name).extend(member), list
    inner = _lazy_bridge(_struct_in(hint), GetMessageClass(field.message_type))

    def write(message: Any, member: Any) -> None:
        parts = getattr(message, name)
        for each in member:
            inner().fill(parts.add(), each)

    def read(parts: Any) -> Any:
        take = inner().take
        return [take(each) for each in parts]

    return write, read


def _plan_map(name: str, value: Any, hint: Any) -> tuple[Writer, Reader]:
    if value.message_type is None:
        return lambda message, member: getattr(message, name).update(member), dict
    inner = _lazy_bridge(_struct_in(hint), GetMessageClass(value.message_type))

    def write(message: Any, member: Any) -> None:
        parts = getattr(message, name)
        for key, each in member.items():
            part = parts[key]
            if each is not None:
                inner().fill(part, each)

    def read(parts: Any) -> Any:
        take = inner().take
        return {key: take(each) for key, each in parts.items()}

    return write, read


def _lazy_bridge(
    struct: type[msgspec.Struct], message: Any
) -> "Callable[[], Bridge[Any]]":
    """Return a function that finds a bridge on first use: a type may contain itself."""
    return cache(lambda: bridge(struct, message))

"""Requests and responses of the server API as JSON (server API, "JSON rules")."""

from binascii import a2b_base64
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import msgspec

from ..core.time_slices import Slices
from ..errors import ReplyError
from ..protocol.codes import BAD_REQUEST
from ..protocol.errors import EncodeError
from ..protocol.json_text import MAX_DEPTH, too_deep
from ..protocol.lenient_json import as_strict_json
from ..protocol.messages import EMPTY, ClientInfo
from ..protocol.payloads import Payload, Raw, checked, detached
from . import api_messages as m
from .batches import BatchRequest, Command
from .map_messages import MapReadStateResult, MapReadStreamResult

__all__ = ["decode", "decode_batch", "encode", "encode_batch", "payload"]

_T = TypeVar("_T", bound=msgspec.Struct)

#: Requests without a required first field.  In all others the first field must be set;
#: if it is not, its name may differ in case, and the request is decoded again.
_FREE = (m.InfoRequest,)

_validate = msgspec.json.Decoder(Raw).decode
_encode = msgspec.json.Encoder(order="deterministic").encode
_decode_command = msgspec.json.Decoder(Command | None).decode

#: Replies of a batch that are encoded together, and the text around all replies.
ENCODED = 64
_BEGIN, _END = b'{"replies":[', b"]}"

#: Characters that the reference escapes, so that pages may embed responses; those of
#: ASCII by their numbers.
_ESCAPES = {ord(each): f"\\u{ord(each):04x}".encode() for each in "&<>"}
_WIDE_ESCAPES = {each.encode(): f"\\u{ord(each):x}".encode() for each in "\u2028\u2029"}


def decode(body: bytes, request: type[_T]) -> _T:
    """Return the request in *body*; ``null`` is an empty request.

    A null stands for an absent field, and names match in any case.

    :raises ValueError: *body* is not such a request.
    """
    if len(body) > MAX_DEPTH and too_deep(body):
        raise ValueError(f"nested more than {MAX_DEPTH} levels deep")
    try:
        decoded = msgspec.json.decode(body, type=request)
        if not body.isascii():
            body.decode()
        if request in _FREE or getattr(decoded, request.__struct_fields__[0]):
            return decoded
    except msgspec.DecodeError:
        pass
    if body.strip(b" \t\r\n") == b"null":
        return request()
    return msgspec.json.decode(as_strict_json(body, request, alone=True), type=request)


class _Envelope(msgspec.Struct):
    """A batch whose commands are not decoded yet."""

    commands: list[Raw] | None = None
    parallel: bool = False


async def decode_batch(body: bytes, slices: Slices) -> BatchRequest:
    """Return the batch in *body* like `decode`, one slice per turn of the reactor.

    :raises ValueError: *body* is not a batch.
    """
    if len(body) > MAX_DEPTH and too_deep(body):
        raise ValueError(f"nested more than {MAX_DEPTH} levels deep")
    commands: list[Command | None] = []
    try:
        envelope = msgspec.json.decode(body, type=_Envelope)
        if not body.isascii():
            body.decode()
        for each in envelope.commands or ():
            if slices.over():
                await slices.next()
            commands.append(_decode_command(each))
    except msgspec.DecodeError:
        return decode(body, BatchRequest)
    if not commands:
        return decode(body, BatchRequest)
    return BatchRequest(commands, envelope.parallel)


async def encode_batch(answer: m.BatchResult, slices: Slices) -> bytes:
    """Return *answer* like `encode`, one slice per turn of the reactor.

    :raises EncodeError: a payload is not valid JSON.
    """
    parts, replies = [], answer.replies
    for start in range(0, len(replies), ENCODED):
        if slices.over():
            await slices.next()
        part = encode(m.BatchResult(replies[start : start + ENCODED]))
        parts.append(part[len(_BEGIN) : -len(_END)])
    return _BEGIN + b",".join(parts) + _END if parts else encode(answer)


def encode(answer: object) -> bytes:
    """Return *answer*, a result or a dict of results, as JSON with its payloads.

    :raises EncodeError: a payload is not valid JSON.
    """
    payloads = False
    for each in _payloads(answer):
        if each is not EMPTY:
            payloads = True
            _fit(each)
    body = _encode(answer)
    if payloads:
        body = msgspec.json.format(body, indent=-1)
    for number, escape in _ESCAPES.items():
        if number in body:
            body = body.replace(b"%c" % number, escape)
    if not body.isascii():
        for character, escape in _WIDE_ESCAPES.items():
            body = body.replace(character, escape)
    return body


def _fit(payload: Raw) -> None:
    """Raise `EncodeError` if *payload* is not exactly one JSON value."""
    try:
        _validate(payload)
        bytes(payload).decode()
    except (ValueError, RecursionError):
        raise EncodeError("payload is not valid JSON") from None


def _payloads(answer: object) -> Iterable[Payload]:
    """Return the payloads in a result, or in a dict of results."""
    find = _FINDERS.get(type(answer))
    return () if find is None else find(answer)


def _of_all(results: Iterable[object]) -> Iterator[Payload]:
    for result in results:
        find = _FINDERS.get(type(result))
        if find is not None:
            yield from find(result)


def _of_batch(batch: m.BatchResult) -> Iterator[Payload]:
    return _of_all(result for reply in batch.replies for result in reply.values())


def _of_history(history: m.HistoryResult) -> Iterator[Payload]:
    for publication in history.publications:
        yield publication.data
        if publication.info is not None:
            yield from _of_info(publication.info)


def _of_presence(presence: m.PresenceResult) -> Iterator[Payload]:
    for info in presence.presence.values():
        yield from _of_info(info)


def _of_info(info: ClientInfo) -> Iterator[Payload]:
    yield info.conn_info
    yield info.chan_info


def _of_map(page: MapReadStateResult | MapReadStreamResult) -> Iterator[Payload]:
    for entry in page.entries:
        yield entry.data


#: What finds the payloads in results of each type; the other types have none.
_FINDERS: dict[type, Callable[[Any], Iterable[Payload]]] = {
    dict: lambda parts: _of_all(parts.values()),
    m.BatchResult: _of_batch,
    m.HistoryResult: _of_history,
    m.PresenceResult: _of_presence,
    m.RPCResult: lambda result: (result.data,),
    MapReadStateResult: _of_map,
    MapReadStreamResult: _of_map,
}


def payload(plain: Payload, encoded: str) -> Payload:
    """Return the payload of the fields ``x`` and ``b64x``; the latter takes precedence.

    See server API, "JSON rules".
    """
    if not encoded:
        return plain if plain is EMPTY else detached(plain)
    encoded = encoded.replace("\r", "").replace("\n", "")
    if len(encoded) % 4:
        raise ReplyError(BAD_REQUEST, "malformed base64")
    try:
        return checked(a2b_base64(encoded, strict_mode=True))
    except ValueError:
        raise ReplyError(BAD_REQUEST, "malformed base64") from None

"""Requests and responses of the server API as JSON (server API, "JSON rules")."""

from binascii import a2b_base64
from collections.abc import Iterator
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

#: Characters that the reference escapes, so that pages may embed responses.
_ESCAPES = (
    (b"&", rb"\u0026"),
    (b"<", rb"\u003c"),
    (b">", rb"\u003e"),
    ("\u2028".encode(), rb"\u2028"),
    ("\u2029".encode(), rb"\u2029"),
)


def decode(body: bytes, request: type[_T]) -> _T:
    """Return the request in *body*; ``null`` is an empty request.

    A null stands for an absent field, and names match in any case.

    :raises ValueError: *body* is not such a request.
    """
    if too_deep(body):
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
    if too_deep(body):
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
    for character, escape in _ESCAPES:
        if character in body:
            body = body.replace(character, escape)
    return body


def _fit(payload: Raw) -> None:
    """Raise `EncodeError` if *payload* is not exactly one JSON value."""
    try:
        _validate(payload)
        bytes(payload).decode()
    except (ValueError, RecursionError):
        raise EncodeError("payload is not valid JSON") from None


def _payloads(answer: Any) -> Iterator[Raw]:
    if isinstance(answer, dict):
        for part in answer.values():
            yield from _payloads(part)
    elif isinstance(answer, m.BatchResult):
        for reply in answer.replies:
            yield from _payloads(reply)
    elif isinstance(answer, m.HistoryResult):
        for publication in answer.publications:
            yield publication.data
            if publication.info is not None:
                yield from _of_info(publication.info)
    elif isinstance(answer, m.PresenceResult):
        for info in answer.presence.values():
            yield from _of_info(info)
    elif isinstance(answer, MapReadStateResult | MapReadStreamResult):
        for entry in answer.entries:
            yield entry.data
    elif isinstance(answer, m.RPCResult):
        yield answer.data


def _of_info(info: ClientInfo) -> Iterator[Raw]:
    yield info.conn_info
    yield info.chan_info


def payload(plain: Payload, encoded: str) -> Payload:
    """Return the payload of the fields ``x`` and ``b64x``; the latter takes precedence.

    See server API, "JSON rules".
    """
    if not encoded:
        return detached(plain)
    encoded = encoded.replace("\r", "").replace("\n", "")
    if len(encoded) % 4:
        raise ReplyError(BAD_REQUEST, "malformed base64")
    try:
        return checked(a2b_base64(encoded, strict_mode=True))
    except ValueError:
        raise ReplyError(BAD_REQUEST, "malformed base64") from None

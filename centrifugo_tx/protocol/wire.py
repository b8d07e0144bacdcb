"""The byte encoding of messages for each kind of connection."""

from collections.abc import Callable
from functools import cache
from typing import Any

from attrs import define

from . import json_codec, protobuf_codec, v1
from .frames import (
    Deflate,
    Frame,
    as_is,
    binary_frame,
    delimited,
    event,
    line,
    text_frame,
)
from .messages import Command, Push, Reply
from .payloads import Payload

__all__ = [
    "Wire",
    "admin_feed",
    "http_stream_json",
    "http_stream_protobuf",
    "sse_json",
    "uni_grpc",
    "uni_http_stream",
    "uni_sse",
    "uni_websocket",
    "uni_websocket_lines",
    "websocket_json",
    "websocket_json_lines",
    "websocket_json_v1",
    "websocket_protobuf",
    "websocket_protobuf_messages",
    "websocket_protobuf_v1",
]


@define(eq=False, kw_only=True)
class Wire:
    """The encoding of one kind of connection; interned, so compared by identity.

    ``transport`` is the name of the transport, ``protocol`` the encoding, and
    ``version`` the version of the client protocol.
    """

    transport: str
    protocol: str
    unidirectional: bool = False
    version: int = 2
    #: Whether frames may be written as one, as into a stream of bytes.
    joins: bool = True
    #: Decodes a complete message into its commands.
    #: Raises `DecodeError` with the commands before the malformed one.
    commands: Callable[[bytes], list[Command]]
    #: Encodes a reply as a frame that is ready to write.  Raises `EncodeError`.
    reply: Callable[[Reply], bytes]
    #: Encodes a push as a frame that is ready to write.  Raises `EncodeError`.
    push: Callable[[Push], bytes]
    #: The frame of a server ping.
    ping: bytes
    #: Encodes a payload or a delta for a subscription with deltas (client protocol,
    #: "Deltas").  Raises `EncodeError`.
    quote: Callable[[bytes], Payload]


def _bidirectional(transport: str, codec: Any, frame: Frame) -> Wire:
    return Wire(
        transport=transport,
        protocol=codec.NAME,
        commands=codec.decode_commands,
        reply=codec.reply_frames(frame),
        push=codec.push_frames(frame),
        ping=frame(codec.PING),
        quote=codec.quote,
    )


def _unidirectional(
    transport: str, codec: Any, frame: Frame, joins: bool = True
) -> Wire:
    """Return a wire on which the client sends only its connect request."""
    return Wire(
        transport=transport,
        protocol=codec.NAME,
        unidirectional=True,
        joins=joins,
        commands=lambda data: [Command(id=1, connect=codec.decode_connect(data))],
        reply=_refuse_reply,
        push=lambda push: frame(codec.encode_bare_push(push)),
        ping=frame(codec.PING),
        quote=codec.quote,
    )


def _refuse_reply(reply: Reply) -> bytes:
    raise AssertionError("a unidirectional client receives no replies")


def _version_1(
    codec: Any, old: Any, frame: Frame, seqgen: bool, whole_history: bool
) -> Wire:
    dialect = v1.Dialect(seqgen)
    return Wire(
        transport="websocket",
        protocol=codec.NAME,
        version=1,
        commands=lambda data: old.decode_commands(data, whole_history),
        reply=lambda reply: frame(old.encode_reply(reply, dialect)),
        push=lambda push: frame(old.encode_push(push, dialect)),
        ping=b"",  # frames of the WebSocket are its pings
        quote=codec.quote,
    )


def _length_prefixed(frame: Frame) -> Frame:
    """Return a framer that puts a length prefix before each message."""
    return lambda message: frame(delimited(message))


def _frame(plain: Frame, deflate: tuple[int, int, int]) -> Frame:
    """Return *plain*, or a framer that compresses; level 0 compresses nothing."""
    if not deflate[0]:
        return plain
    packed = Deflate(*deflate)
    return packed.text_frame if plain is text_frame else packed.binary_frame


@cache
def websocket_json(
    deflate_level: int = 0, deflate_min_size: int = 0, window_bits: int = 12
) -> Wire:
    """Return the wire of a JSON WebSocket; level 0 compresses nothing."""
    deflate = deflate_level, deflate_min_size, window_bits
    return _bidirectional("websocket", json_codec, _frame(text_frame, deflate))


@cache
def websocket_protobuf(
    deflate_level: int = 0, deflate_min_size: int = 0, window_bits: int = 12
) -> Wire:
    """Return the wire of a Protobuf WebSocket; level 0 compresses nothing."""
    deflate = deflate_level, deflate_min_size, window_bits
    return _bidirectional(
        "websocket", protobuf_codec, _length_prefixed(_frame(binary_frame, deflate))
    )


@cache
def websocket_json_lines() -> Wire:
    """Return the wire of a JSON WebSocket whose frames another server makes."""
    return _bidirectional("websocket", json_codec, line)


@cache
def websocket_protobuf_messages() -> Wire:
    """Return the wire of a Protobuf WebSocket whose frames another server makes."""
    return _bidirectional("websocket", protobuf_codec, delimited)


@cache
def http_stream_json() -> Wire:
    """Return the wire of HTTP streaming in JSON: one line per reply.

    See client protocol, "HTTP streaming".
    """
    return _bidirectional("http_stream", json_codec, line)


@cache
def http_stream_protobuf() -> Wire:
    """Return the wire of HTTP streaming in Protobuf: each reply has a length prefix."""
    return _bidirectional("http_stream", protobuf_codec, delimited)


@cache
def sse_json() -> Wire:
    """Return the wire of server-sent events: one event per reply.

    See client protocol, "Server-sent events".
    """
    return _bidirectional("sse", json_codec, event)


@cache
def uni_websocket(
    deflate_level: int = 0, deflate_min_size: int = 0, window_bits: int = 12
) -> Wire:
    """Return the wire of a unidirectional WebSocket.

    See client protocol, "Unidirectional transports".
    """
    deflate = deflate_level, deflate_min_size, window_bits
    return _unidirectional("uni_websocket", json_codec, _frame(text_frame, deflate))


@cache
def uni_websocket_lines() -> Wire:
    """Return a unidirectional WebSocket's wire of lines, which are framed later."""
    return _unidirectional("uni_websocket", json_codec, line)


@cache
def uni_sse() -> Wire:
    """Return the wire of unidirectional server-sent events.

    See client protocol, "Unidirectional transports".
    """
    return _unidirectional("uni_sse", json_codec, event)


@cache
def uni_http_stream() -> Wire:
    """Return the wire of unidirectional HTTP streaming.

    See client protocol, "Unidirectional transports".
    """
    return _unidirectional("uni_http_stream", json_codec, line)


@cache
def admin_feed() -> Wire:
    """Return the wire on which the admin page follows a channel: a line per push."""
    return _unidirectional("admin_feed", json_codec, line)


@cache
def uni_grpc() -> Wire:
    """Return the wire of unidirectional gRPC: frames are serialized pushes.

    See client protocol, "Unidirectional transports".

    The client's request is a serialized ``ConnectRequest``.
    """
    return _unidirectional("uni_grpc", protobuf_codec, as_is, joins=False)


@cache
def websocket_json_v1(
    deflate_level: int = 0,
    deflate_min_size: int = 0,
    window_bits: int = 12,
    seqgen: bool = False,
    whole_history: bool = False,
) -> Wire:
    """Return the wire of a JSON WebSocket in protocol v1.

    :param seqgen: positions are ``seq`` and ``gen`` (client protocol v1, "Positions").
    :param whole_history: a history request without a limit returns all publications
        (client protocol v1, "Differences").
    """
    deflate = deflate_level, deflate_min_size, window_bits
    frame = _frame(text_frame, deflate)
    return _version_1(json_codec, v1.json_codec, frame, seqgen, whole_history)


@cache
def websocket_protobuf_v1(
    deflate_level: int = 0,
    deflate_min_size: int = 0,
    window_bits: int = 12,
    seqgen: bool = False,
    whole_history: bool = False,
) -> Wire:
    """Return the wire of a Protobuf WebSocket in protocol v1.

    :param seqgen: positions are ``seq`` and ``gen`` (client protocol v1, "Positions").
    :param whole_history: a history request without a limit returns all publications
        (client protocol v1, "Differences").
    """
    deflate = deflate_level, deflate_min_size, window_bits
    frame = _length_prefixed(_frame(binary_frame, deflate))
    return _version_1(protobuf_codec, v1.protobuf_codec, frame, seqgen, whole_history)

"""The exact bytes that a message becomes for one kind of connection."""

from collections.abc import Callable
from functools import cache

from attrs import define

from . import json
from .frames import Deflate, Frame, text_frame
from .messages import Command, Push, Reply

__all__ = ["Wire", "websocket_json"]


@define(eq=False)
class Wire:
    """How one kind of connection speaks; interned, so compared by identity.

    ``transport`` is the field's name of the transport, ``protocol`` the encoding.
    """

    transport: str
    protocol: str
    unidirectional: bool
    #: A whole message into its commands.
    #: Raises `DecodeError`, which carries the commands before the malformed one.
    commands: Callable[[bytes], list[Command]]
    #: A reply into a frame, ready to write.  Raises `EncodeError`.
    reply: Callable[[Reply], bytes]
    #: A push into a frame, ready to write.  Raises `EncodeError`.
    push: Callable[[Push], bytes]
    #: The frame of a server ping.
    ping: bytes


def _json_wire(transport: str, frame: Frame) -> Wire:
    return Wire(
        transport=transport,
        protocol="json",
        unidirectional=False,
        commands=json.decode_commands,
        reply=lambda reply: frame(json.encode_reply(reply)),
        push=lambda push: frame(json.encode_push(push)),
        ping=frame(b"{}"),
    )


@cache
def websocket_json(
    deflate_level: int = 0, deflate_min_size: int = 0, window_bits: int = 12
) -> Wire:
    """Return the wire of a JSON WebSocket; level 0 compresses nothing."""
    frame: Frame = text_frame
    if deflate_level:
        frame = Deflate(deflate_level, deflate_min_size, window_bits).text_frame
    return _json_wire("websocket", frame)

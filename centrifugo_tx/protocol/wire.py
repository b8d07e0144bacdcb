"""The exact bytes that a message becomes for one kind of connection."""

from collections.abc import Callable

from attrs import define

from .messages import Command, Push, Reply

__all__ = ["Wire"]


@define(eq=False)
class Wire:
    """How one kind of connection speaks; interned, so compared by identity.

    ``name`` is unique; ``transport`` is the field's name of the transport.
    """

    name: str
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

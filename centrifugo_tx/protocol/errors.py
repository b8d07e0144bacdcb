"""The exceptions of encoding and decoding, and the base class of all exceptions."""

from collections.abc import Sequence

from .messages import Command

__all__ = ["CentrifugoError", "DecodeError", "EncodeError"]


class CentrifugoError(Exception):
    """Base class of the exceptions that this package defines."""


class DecodeError(CentrifugoError):
    """The peer's bytes are malformed; the message says where and why.

    ``commands`` are the complete commands before the malformed one.
    """

    def __init__(self, message: str, commands: Sequence[Command] = ()) -> None:
        super().__init__(message)
        self.commands = commands


class EncodeError(CentrifugoError):
    """A payload cannot be sent in this encoding, such as binary data in JSON."""

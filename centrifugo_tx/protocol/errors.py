"""Exceptions of encoding and decoding, and their base class."""

from collections.abc import Sequence

from .messages import Command

__all__ = ["CentrifugoError", "DecodeError", "EncodeError"]


class CentrifugoError(Exception):
    """Base class of all exceptions that this package raises on purpose."""


class DecodeError(CentrifugoError):
    """The peer's bytes are malformed; the message says how and where.

    ``commands`` are the complete commands before the malformed one.
    """

    def __init__(self, message: str, commands: Sequence[Command] = ()) -> None:
        super().__init__(message)
        self.commands = commands


class EncodeError(CentrifugoError):
    """A payload cannot be sent in this encoding, such as binary data in JSON."""

"""What can be wrong with bytes."""

from collections.abc import Sequence

from .messages import Command

__all__ = ["CentrifugoError", "DecodeError", "EncodeError"]


class CentrifugoError(Exception):
    """The root of all exceptions that this package raises on purpose."""


class DecodeError(CentrifugoError):
    """The peer's bytes are not what they should be; says what and where.

    ``commands`` are those that stood whole before the malformed one.
    """

    def __init__(self, message: str, commands: Sequence[Command] = ()) -> None:
        super().__init__(message)
        self.commands = commands


class EncodeError(CentrifugoError):
    """A payload cannot travel in this encoding (binary data to a JSON client)."""

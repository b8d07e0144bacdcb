"""The exceptions of the package; expected outcomes are results instead."""

from .protocol.codes import Disconnect, Error

__all__ = [
    "BrokerUnavailable",
    "CentrifugoError",
    "ConfigError",
    "DecodeError",
    "DisconnectClient",
    "EncodeError",
    "ReplyError",
]


class CentrifugoError(Exception):
    """The root of all exceptions that this package raises on purpose."""


class ReplyError(CentrifugoError):
    """Carries an `Error` out of the core: it answers one command."""

    def __init__(self, error: Error) -> None:
        super().__init__(f"{error.code}: {error.message}")
        self.error = error


class DisconnectClient(CentrifugoError):
    """Carries a `Disconnect` out of the core: it ends the connection."""

    def __init__(self, disconnect: Disconnect) -> None:
        super().__init__(f"{disconnect.code}: {disconnect.reason}")
        self.disconnect = disconnect


class DecodeError(CentrifugoError):
    """The peer's bytes are not a message; says what and where."""


class EncodeError(CentrifugoError):
    """A payload cannot travel in this encoding (binary data to a JSON client)."""


class BrokerUnavailable(CentrifugoError):
    """The storage behind an engine did not answer, or answered with an error."""


class ConfigError(CentrifugoError):
    """The configuration is wrong: names the key, the value and what would be right."""

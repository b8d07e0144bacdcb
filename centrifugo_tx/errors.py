"""The exceptions of the package; expected outcomes are results instead."""

from .protocol.codes import Disconnect, Error
from .protocol.errors import CentrifugoError, DecodeError, EncodeError

__all__ = [
    "BrokerUnavailable",
    "CentrifugoError",
    "ConfigError",
    "DecodeError",
    "DisconnectClient",
    "EncodeError",
    "ReplyError",
]


class ReplyError(CentrifugoError):
    """Carries an `Error` out of the core: it answers one command.

    ``cause`` is a reason for the operator that the client must not see; ``details`` are
    further fields for the log.  Neither holds secrets.
    """

    def __init__(self, error: Error, cause: str = "", **details: object) -> None:
        super().__init__(f"{error.code}: {error.message}")
        self.error, self.cause, self.details = error, cause, details


class DisconnectClient(CentrifugoError):
    """Carries a `Disconnect` out of the core: it ends the connection.

    ``cause`` and ``details`` are for the operator, like those of `ReplyError`.
    """

    def __init__(
        self, disconnect: Disconnect, cause: str = "", **details: object
    ) -> None:
        super().__init__(f"{disconnect.code}: {disconnect.reason}")
        self.disconnect, self.cause, self.details = disconnect, cause, details


class BrokerUnavailable(CentrifugoError):
    """The storage behind an engine did not answer, or answered with an error."""


class ConfigError(CentrifugoError):
    """The configuration is invalid; names the key, the value and the requirement."""

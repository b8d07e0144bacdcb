"""Log lines about clients: errors, and connections that the server closes."""

from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...bounded_log import BoundedLog
from ...errors import DecodeError, DisconnectClient, ReplyError
from ...protocol.codes import CONNECTION_CLOSED, INTERNAL, SHUTDOWN, Disconnect, Error
from .connections import Connection

__all__ = ["ClientLog"]

#: Disconnect codes that are not worth a line.
_USUAL = {CONNECTION_CLOSED.code, SHUTDOWN.code}


@define(eq=False)
class ClientLog:
    """Writes lines about clients, limited to a few a second for each cause."""

    _clock: IReactorTime
    log: BoundedLog = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.log = BoundedLog(Logger(), self._clock)

    def command_error(
        self, client: Connection, method: str, request: object, error: Error
    ) -> None:
        """Log a command that is answered with an error."""
        self._error(client, method, request, error, {})

    def command_failed(
        self,
        client: Connection,
        method: str,
        request: object,
        value: BaseException | None,
    ) -> None:
        """Log that a command failed with *value*, and the outcome for the client."""
        if isinstance(value, DisconnectClient):
            disconnect = value.disconnect
            if disconnect.code in _USUAL:
                return
            self.log.info(
                "disconnect after handling command",
                ("method", "code", "cause"),
                **_of(client),
                method=method,
                code=disconnect.code,
                reason=disconnect.reason,
                **_details(request, value),
            )
        elif isinstance(value, ReplyError):
            details = _details(request, value)
            self._error(client, method, request, value.error, details)
        else:
            self._error(client, method, request, INTERNAL, {})

    def _error(
        self,
        client: Connection,
        method: str,
        request: object,
        error: Error,
        details: dict[str, object],
    ) -> None:
        fields = {
            "method": method,
            "code": error.code,
            "error": error.message,
            **_channel_of(request),
            **details,
        }
        self.log.info(
            "client command error", ("method", "code", "cause"), **_of(client), **fields
        )

    def unexpected(self, client: Connection, method: str, failure: Failure) -> None:
        """Log an unexpected error of the server."""
        self.log.failure(
            "client command failed unexpectedly",
            failure,
            ("method",),
            **_of(client),
            method=method,
        )

    def malformed(self, client: Connection, error: DecodeError) -> None:
        """Log a client's message that cannot be decoded."""
        self.log.info("error reading command", **_of(client), error=str(error))

    def closing(self, client: Connection, disconnect: Disconnect) -> None:
        """Log that the server closes a connection."""
        if disconnect.code not in _USUAL:
            self.log.info(
                "closing client connection",
                ("code",),
                **_of(client),
                code=disconnect.code,
                reason=disconnect.reason,
            )


def _of(client: Connection) -> dict[str, Any]:
    return {"client": client.id, "user": client.user}


def _channel_of(request: object) -> dict[str, object]:
    channel = getattr(request, "channel", "")
    return {"channel": channel} if channel else {}


def _details(
    request: object, value: DisconnectClient | ReplyError
) -> dict[str, object]:
    details = {**_channel_of(request), **value.details}
    return {"cause": value.cause, **details} if value.cause else details

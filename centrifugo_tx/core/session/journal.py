"""Log lines about each connection, for the levels ``debug`` and ``trace``.

A node chooses its class of journal once, at the start, so that other log levels cost
nothing.
"""

import re
from collections.abc import Callable
from typing import Any, ClassVar

import attrs
import msgspec
from attrs import define, field
from twisted.logger import Logger

from ...errors import DecodeError
from ...protocol.messages import Command, ConnectRequest, Push, Reply, SubRefreshRequest
from .connections import Connection

__all__ = ["DebugJournal", "Journal", "TraceJournal", "journal_for"]

#: The most characters of a frame that are logged.
FRAME_LIMIT = 512
REDACTED = "[REDACTED]"

#: Matches possible secrets in text that cannot be decoded.
_SECRETS = re.compile(
    rb'(?i)("(?:token|session|signature)"\s*:\s*")(?:[^"\\]|\\.)*'
    rb'|("headers"\s*:\s*)\{[^}]*|(eyJ)[\w.-]*'
)


class Journal:
    """Writes nothing: the journal of a node whose log level is ``info`` or above."""

    __slots__ = ()
    #: Whether it writes anything.
    writes: ClassVar[bool] = False

    def opened(self, client: Connection) -> None:
        """Record a new connection."""

    def watch(self, client: Connection) -> None:
        """Record that the wire of a connection was chosen."""

    def authenticated(self, client: Connection) -> None:
        """Record that a client has connected."""

    def subscribed(self, client: Connection, channel: str) -> None:
        """Record a subscription that was confirmed to the client."""

    def unsubscribed(self, client: Connection, channel: str) -> None:
        """Record the end of such a subscription."""

    def pinged(self, client: Connection) -> None:
        """Record a ping to a client."""

    def closing(self, client: Connection, code: int, reason: str) -> None:
        """Record why the server closes a connection."""

    def completed(self, client: Connection) -> None:
        """Record that a connection is closed."""


@define(eq=False)
class DebugJournal(Journal):
    """Writes a line for each step in the life of a connection."""

    writes: ClassVar[bool] = True
    _seconds: Callable[[], float]
    _began: dict[Connection, float] = field(factory=dict, init=False)
    _ends: dict[Connection, tuple[int, str]] = field(factory=dict, init=False)
    _log = Logger()

    def opened(self, client: Connection) -> None:
        """Log a new connection."""
        self._began[client] = self._seconds()
        self._log.debug(
            "client connection established",
            client=client.id,
            transport=client.transport.info.name,
        )
        self.watch(client)

    def authenticated(self, client: Connection) -> None:
        """Log that a client has connected."""
        self._log.debug("client authenticated", client=client.id, user=client.user)

    def subscribed(self, client: Connection, channel: str) -> None:
        """Log a subscription that was confirmed to the client."""
        self._subscription("client subscribed to channel", client, channel)

    def unsubscribed(self, client: Connection, channel: str) -> None:
        """Log the end of a subscription."""
        self._subscription("client unsubscribed from channel", client, channel)

    def _subscription(self, message: str, client: Connection, channel: str) -> None:
        self._log.debug(message, client=client.id, user=client.user, channel=channel)

    def closing(self, client: Connection, code: int, reason: str) -> None:
        """Remember the code until the connection is closed."""
        if client in self._began:
            self._ends[client] = code, reason

    def completed(self, client: Connection) -> None:
        """Log how long a connection lasted, and why it ended."""
        began = self._began.pop(client, None)
        if began is None:
            return
        # If the server did not close the connection, the client did.
        code, reason = self._ends.pop(client, (3000, "connection closed"))
        self._log.debug(
            "client connection completed",
            client=client.id,
            user=client.user,
            transport=client.transport.info.name,
            duration=round(self._seconds() - began, 3),
            code=code,
            reason=reason,
        )


@define(eq=False)
class TraceJournal(DebugJournal):
    """Also writes every message from and to clients, without secrets.

    Each client has a wire of its own, so each push is encoded once for each client.
    """

    _log = Logger()

    def watch(self, client: Connection) -> None:
        """Replace the wire of a connection with one that logs messages."""
        transport = client.transport
        wire = transport.wire

        def commands(data: bytes) -> list[Command]:
            try:
                found = wire.commands(data)
            except DecodeError as error:
                for command in error.commands:
                    self._write("<-in--", client, command=_shown(_redacted(command)))
                shown = "" if wire.protocol == "protobuf" else _unreadable(data)
                self._write(
                    "<-in--", client, data=shown, size=len(data), error=str(error)
                )
                raise
            for command in found:
                self._write("<-in--", client, command=_shown(_redacted(command)))
            return found

        def reply(message: Reply) -> bytes:
            frame = wire.reply(message)
            self._write("-out->", client, reply=_shown(_without_session(message)))
            return frame

        def push(message: Push) -> bytes:
            frame = wire.push(message)
            self._write("-out->", client, push=_shown(_without_session(message)))
            return frame

        transport.wire = attrs.evolve(wire, commands=commands, reply=reply, push=push)

    def pinged(self, client: Connection) -> None:
        """Log a ping; pings are not encoded by the wire."""
        self._write("-out->", client, reply="{}")

    def _write(self, message: str, client: Connection, **fields: object) -> None:
        self._log.debug(
            message, log_frame=True, client=client.id, user=client.user, **fields
        )


def _named(payload: bytes) -> str:
    """Return the text in place of a payload that is not JSON."""
    return f"{len(payload)} bytes of binary data"


_encode = msgspec.json.Encoder(enc_hook=_named).encode


def _shown(message: object) -> str:
    """Return a message as JSON, cut to `FRAME_LIMIT`; payloads stay encoded."""
    text = _encode(message)[: 4 * FRAME_LIMIT]
    return _cut(text.decode(errors="backslashreplace"))


def _unreadable(data: bytes) -> str:
    text = _SECRETS.sub(
        lambda found: (found[1] or found[2] or b"") + REDACTED.encode(),
        data[: 8 * FRAME_LIMIT],
    )
    return _cut(text.decode(errors="backslashreplace"))


def _cut(text: str) -> str:
    return text if len(text) <= FRAME_LIMIT else f"{text[:FRAME_LIMIT]}…"


def _redacted(command: Command) -> Command:
    """Return *command* without tokens, signatures and emulated headers."""
    for name in ("connect", "subscribe", "refresh", "sub_refresh"):
        request: Any = getattr(command, name)
        if request is None:
            continue
        hidden: dict[str, Any] = {}
        if request.token:
            hidden["token"] = REDACTED
        if isinstance(request, ConnectRequest) and request.headers:
            hidden["headers"] = dict.fromkeys(request.headers, REDACTED)
        if isinstance(request, ConnectRequest) and request.subs:
            hidden["subs"] = {
                name: sub
                if sub is None or not sub.token
                else msgspec.structs.replace(sub, token=REDACTED)
                for name, sub in request.subs.items()
            }
        if isinstance(request, SubRefreshRequest) and request.track:
            hidden["track"] = [
                msgspec.structs.replace(batch, signature=REDACTED)
                for batch in request.track
            ]
        if hidden:
            request = msgspec.structs.replace(request, **hidden)
            return msgspec.structs.replace(command, **{name: request})
    return command


def _without_session(message: Any) -> Any:
    """Return *message* without the session id, which authorizes emulated commands."""
    result = message.connect
    if result is None or not result.session:
        return message
    result = msgspec.structs.replace(result, session=REDACTED)
    return msgspec.structs.replace(message, connect=result)


def journal_for(level: str, seconds: Callable[[], float]) -> Journal:
    """Return the journal of a node that logs at *level*."""
    kinds = {"trace": TraceJournal, "debug": DebugJournal}
    kind = kinds.get(level.lower())
    return Journal() if kind is None else kind(seconds)

"""The commands of one client: decoded, executed in order, and answered."""

from collections.abc import Callable, Sequence
from types import CoroutineType
from typing import Any, Generic, Protocol, TypeVar

from attrs import define, field
from twisted.python.failure import Failure

from ...errors import BrokerUnavailable, DecodeError, DisconnectClient, ReplyError
from ...protocol.codes import (
    INTERNAL,
    MALFORMED,
    METHOD_NOT_FOUND,
    Disconnect,
    Error,
)
from ...protocol.messages import Command, Part, Reply
from ..command_scheduler import SHORT, SLICE
from ..run_or_defer import run_or_defer
from ..runtime import Runtime
from .backlog import Backlog
from .connections import CLOSED, CONNECTED, REFUSED, Connection, State
from .deadlines import Deadlines
from .outcome import KNOWN, Answer, Outcome, ReplyThen, waits
from .services import Services

__all__ = ["CommandQueue"]


class CommandClient(Connection, Protocol):
    """What a command queue uses of its client."""

    state: State
    runtime: Runtime
    services: Services
    deadlines: Deadlines

    @property
    def speaks_v1(self) -> bool:
        """Whether the client speaks version 1 of the protocol."""

    def reply(self, reply: Reply, name: str) -> None:
        """Send the reply to a command called *name*."""

    def refuse(self, error: Error) -> None:
        """End a connect with *error*."""

    def close_quietly(self, disconnect: Disconnect) -> None:
        """Close the connection; the reason is in the log already."""

    def fail(self, failure: Failure, doing: str) -> None:
        """End the connection after an unexpected error."""


C = TypeVar("C", bound=CommandClient)


@define(eq=False)
class CommandQueue(Generic[C]):
    """Executes the commands of one client, in order.

    Up to ``NodeOptions.concurrency`` commands run at the same time once the client is
    connected; later ones wait.  ``handlers`` are pairs of a field of `Command` and the
    function that handles its request.
    """

    _client: C
    _handlers: Sequence[tuple[str, Callable[[C, Any], Answer]]]
    #: The work that the client may still do in turn number ``turn`` of the reactor;
    #: `CommandScheduler` sets both.
    allowance: int = field(default=SLICE, init=False)
    turn: int = field(default=0, init=False)
    _running: int = field(default=0, init=False)
    #: Whether all later commands wait for the one that is running.
    _held: bool = field(default=False, init=False)
    _backlog: Backlog | None = field(default=None, init=False)

    def receive(self, data: bytes) -> None:
        """Take one message: one or more commands."""
        if self._backlog is None:
            scheduler = self._client.runtime.scheduler
            if self.turn != scheduler.turn:
                self.turn, self.allowance = scheduler.turn, scheduler.allowance
            if not scheduler.crowded or len(data) <= SHORT:
                self._execute_all(*self._decode(data))
                return
            self._backlog = Backlog()
        self._backlog.add(data)
        self._wait(self._backlog)

    def clear(self) -> bool:
        """Drop the commands that wait; return whether there were any."""
        backlog, self._backlog = self._backlog, None
        return backlog is not None

    def _decode(self, data: bytes) -> tuple[list[Command | None], int]:
        """Return the commands of a message, and the average size of one in bytes."""
        client = self._client
        received: list[Command | None]
        try:
            received = client.transport.wire.commands(data)  # type: ignore[assignment]
        except DecodeError as error:
            client.services.client_log.malformed(client, error)
            received = [*error.commands, None]
        return received, len(data) // len(received)

    def _execute_all(self, received: list[Command | None], size: int) -> None:
        """Execute commands until one has to wait; queue that one and the rest."""
        for place, command in enumerate(received):
            if self._client.state is REFUSED:
                return  # the rest of the message is dropped
            backlog = self._backlog
            held_up = self._running and self._busy
            if held_up or self.allowance <= 0 or backlog is not None:
                if backlog is None:
                    backlog = self._backlog = Backlog()
                backlog.add_commands(received[place:], size)
                self._wait(backlog)
                return
            self._execute(command, size)

    @property
    def _busy(self) -> bool:
        """Whether the next command has to wait for one that is running."""
        client = self._client
        connected = client.state is CONNECTED
        limit = client.runtime.options.concurrency if connected else 1
        return self._held or self._running >= limit

    def _wait(self, backlog: Backlog) -> None:
        if backlog.full:
            self._client.transport.pause()
        if not self._busy:
            self._client.runtime.scheduler.add(self)

    def proceed(self) -> None:
        """Execute waiting commands, as far as concurrency and allowance permit."""
        backlog = self._backlog
        if backlog is None or backlog.draining:
            return
        backlog.draining = True
        while backlog and self._backlog is backlog and not self._busy:
            if self.allowance <= 0:
                self._client.runtime.scheduler.add(self)
                break
            item = backlog.take()
            if isinstance(item, bytes):
                backlog.put_back(*self._decode(item))
            else:
                self._execute(*item)
        backlog.draining = False
        if self._backlog is backlog and not backlog:
            self._backlog = None
            if self._client.state is CONNECTED:
                self._client.transport.resume()

    def fail(self, failure: Failure, doing: str) -> None:
        """End the connection after an unexpected error."""
        self._client.fail(failure, doing)

    def _execute(self, command: Command | None, size: int) -> None:
        """Start one command; answer it at once if its handler does not wait."""
        client = self._client
        state = client.state
        if state is CLOSED:
            return
        if command is None:
            client.close_quietly(MALFORMED)  # the decoder's error is logged already
            return
        if not command.id and command.send is None:
            self._pong(size)
            return
        for name, handler in self._handlers:
            request = getattr(command, name)
            if request is not None:
                if state is CONNECTED or name == "connect":
                    self._handle(command.id, name, handler, request, size)
                    return
                break
        else:
            if client.speaks_v1 and state is CONNECTED:
                client.runtime.metrics.count_error_reply("unknown", METHOD_NOT_FOUND)
                client.services.client_log.command_error(
                    client, "unknown", command, METHOD_NOT_FOUND
                )
                client.reply(Reply(id=command.id, error=METHOD_NOT_FOUND), "unknown")
                return
            self._reject("", "command without a request")
            return
        self._reject(name, "unexpected frame before connect")

    def _reject(self, method: str, cause: str) -> None:
        """Disconnect a client that violated the protocol."""
        client, value = self._client, DisconnectClient(MALFORMED, cause)
        client.services.client_log.command_failed(client, method, None, value)
        client.close_quietly(MALFORMED)

    def _handle(
        self,
        id: int,
        name: str,
        handler: Callable[[C, Any], Answer],
        request: object,
        size: int,
    ) -> None:
        client = self._client
        transport, runtime = client.transport, client.runtime
        # The connect of a unidirectional client is not a command.
        if not transport.info.unidirectional:
            counters = runtime.metrics.transport_counters.received[
                transport.wire.transport, name
            ]
            counters.messages.value += 1
            counters.size.value += size
        began = runtime.clock.seconds()
        self._running += 1
        self.allowance -= 1
        try:
            outcome: Any = handler(client, request)
            if not isinstance(outcome, KNOWN):
                if isinstance(outcome, CoroutineType):
                    outcome = run_or_defer(outcome)
                if waits(outcome):
                    self._held = name == "unsubscribe"
                    outcome.addBoth(self._finish_later, id, name, request, began)
                    return
        except Exception:
            outcome = Failure()
        self._finish(outcome, id, name, request, began)

    def _finish_later(
        self,
        outcome: Outcome | Failure,
        id: int,
        name: str,
        request: object,
        began: float,
    ) -> None:
        if name == "unsubscribe":
            self._held = False
        self._finish(outcome, id, name, request, began)
        self.proceed()

    def _finish(
        self,
        outcome: Outcome | Failure,
        id: int,
        name: str,
        request: object,
        began: float,
    ) -> None:
        """Answer a command."""
        client = self._client
        self._running -= 1
        if not client.transport.info.unidirectional:
            runtime = client.runtime
            runtime.metrics.durations[name].observe(runtime.clock.seconds() - began)
        if client.state is CLOSED or outcome is None:
            return
        # The name of a command is the name of its result; tests check this.
        if isinstance(outcome, Part):
            client.reply(Reply(id=id, **{name: outcome}), name)  # type: ignore[arg-type]
        elif isinstance(outcome, ReplyThen):
            result = outcome.result
            client.reply(Reply(id=id, **{name: result}), name)  # type: ignore[arg-type]
            outcome.then()
        else:
            self._answer_failure(outcome, id, name, request)

    def _answer_failure(
        self, failure: Failure, id: int, name: str, request: object
    ) -> None:
        client, value = self._client, failure.value
        client_log = client.services.client_log
        client_log.command_failed(client, name, request, value)
        if isinstance(value, DisconnectClient):
            client.close_quietly(value.disconnect)
            return
        if isinstance(value, ReplyError):
            error = value.error
        else:
            error = INTERNAL
            if isinstance(value, BrokerUnavailable):
                client.runtime.outage.failed(name, str(value))
            else:
                client_log.unexpected(client, name, failure)
        unidirectional = client.transport.info.unidirectional
        if not unidirectional:
            client.runtime.metrics.count_error_reply(name, error)
        if name == "connect":
            client.refuse(error)
            if unidirectional:
                return  # closed; its disconnect code says why
        client.reply(Reply(id=id, error=error), name)

    def _pong(self, size: int) -> None:
        client = self._client
        counters = client.runtime.metrics.transport_counters
        wire = client.transport.wire
        counters.received[wire.transport, "client_pong"].add(1, size)
        if client.state is not CONNECTED or not client.deadlines.pong():
            self._reject("", "unnecessary pong")

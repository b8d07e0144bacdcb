"""The commands of one client: decoded, executed in order, and answered."""

from collections.abc import Mapping
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
from ...protocol.messages import Command, Reply
from ..command_scheduler import SHORT, SLICE
from ..node_metrics import MessageCounters
from ..run_or_defer import run_or_defer, waits
from ..runtime import Runtime
from .backlog import Backlog
from .command_methods import CommandMethod, request_name
from .connections import CLOSED, CONNECTED, REFUSED, Connection, State
from .deadlines import Deadlines
from .outcome import Outcome, ReplyThen
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

    def reply(self, reply: Reply, counters: MessageCounters) -> None:
        """Send and count a reply."""

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
    connected; later ones wait.
    """

    _client: C
    #: The methods of commands by name.
    _methods: Mapping[str, CommandMethod[C]]
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
        name = request_name(command)
        if not name:
            self._answer_nothing(command)
            return
        if state is not CONNECTED and name != "connect":
            self._reject(name, "unexpected frame before connect")
            return
        method, request = self._methods[name], getattr(command, name)
        received = method.counters.received
        received.messages += 1
        received.size += size
        began = client.runtime.clock.seconds()
        self._running += 1
        self.allowance -= 1
        try:
            outcome: Any = method.handle(client, request)
            if outcome.__class__ is not method.result:  # not the usual outcome
                if isinstance(outcome, CoroutineType):
                    outcome = run_or_defer(outcome)
                if waits(outcome):
                    self._held = name == "unsubscribe"
                    outcome.addBoth(
                        self._finish_later, command.id, method, request, began
                    )
                    return
        except Exception:
            outcome = Failure()
        self._finish(outcome, command.id, method, request, began)

    def _answer_nothing(self, command: Command) -> None:
        """Answer a command without a request."""
        client = self._client
        if not client.speaks_v1 or client.state is not CONNECTED:
            self._reject("", "command without a request")
            return
        metrics, log = client.runtime.metrics, client.services.client_log
        metrics.count_error_reply("unknown", METHOD_NOT_FOUND)
        log.command_error(client, "unknown", command, METHOD_NOT_FOUND)
        transport = client.transport.wire.transport
        client.reply(
            Reply(id=command.id, error=METHOD_NOT_FOUND),
            metrics.transport_counters.sent[transport, "unknown"],
        )

    def _reject(self, method: str, cause: str) -> None:
        """Disconnect a client that violated the protocol."""
        client, value = self._client, DisconnectClient(MALFORMED, cause)
        client.services.client_log.command_failed(client, method, None, value)
        client.close_quietly(MALFORMED)

    def _finish_later(
        self,
        outcome: Outcome | Failure,
        id: int,
        method: CommandMethod[C],
        request: object,
        began: float,
    ) -> None:
        if method.name == "unsubscribe":
            self._held = False
        self._finish(outcome, id, method, request, began)
        self.proceed()

    def _finish(
        self,
        outcome: Outcome | Failure,
        id: int,
        method: CommandMethod[C],
        request: object,
        began: float,
    ) -> None:
        """Answer a command."""
        client, counters = self._client, method.counters
        self._running -= 1
        counters.duration.observe(client.runtime.clock.seconds() - began)
        if outcome is None or client.state is CLOSED:
            return
        if outcome.__class__ is method.result:
            client.reply(method.reply(id, outcome), counters.replies)
        elif isinstance(outcome, ReplyThen):
            client.reply(method.reply(id, outcome.result), counters.replies)
            outcome.then()
        else:
            assert isinstance(outcome, Failure)
            self._answer_failure(outcome, id, method, request)

    def _answer_failure(
        self, failure: Failure, id: int, method: CommandMethod[C], request: object
    ) -> None:
        client, value, name = self._client, failure.value, method.name
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
        client.reply(Reply(id=id, error=error), method.counters.replies)

    def _pong(self, size: int) -> None:
        client = self._client
        counters = client.runtime.metrics.transport_counters
        wire = client.transport.wire
        counters.received[wire.transport, "client_pong"].add(1, size)
        if client.state is not CONNECTED or not client.deadlines.pong():
            self._reject("", "unnecessary pong")

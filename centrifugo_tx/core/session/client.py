"""One connection: commands in, replies and pushes out."""

from collections.abc import Callable, Coroutine, Sequence
from enum import Enum
from typing import Any, cast
from uuid import uuid4

import msgspec
from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from ...errors import (
    BrokerUnavailable,
    DecodeError,
    DisconnectClient,
    EncodeError,
    ReplyError,
)
from ...interfaces import IClient, ITransport
from ...options import PublishOptions
from ...protocol.codes import (
    CONNECTION_CLOSED,
    INAPPROPRIATE_PROTOCOL,
    INTERNAL,
    MALFORMED,
    METHOD_NOT_FOUND,
    SERVER_ERROR,
    SHUTDOWN,
    SLOW,
    Disconnect,
    Error,
    Unsubscribe,
    as_disconnect,
)
from ...protocol.messages import (
    EMPTY,
    ClientInfo,
    Command,
    Connect,
    ConnectResult,
    Publication,
    Push,
    Raw,
    Reply,
    Result,
)
from ..node_metrics import ClientCounters
from ..run_or_defer import run_or_defer
from ..runtime import Runtime
from ..scheduler import SHORT, SLICE, UNIT
from .backlog import Backlog
from .connections import Connections
from .deadlines import Deadlines
from .outcome import Outcome, ReplyThen
from .services import Services
from .stream_kind import StreamKind
from .subscription import Subscription

__all__ = ["Client", "Handler", "Sessions", "State"]

#: Seconds that clients have to leave when the node stops.
FAREWELL = 6.0

_NOBODY = ClientInfo("", "")


class State(Enum):
    """How far a connection has come."""

    NEW = "new"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    #: Its connect was answered with an error; it is expected to go.
    REFUSED = "refused"
    CLOSED = "closed"


# A member found by its class costs more than the rest of a comparison.
NEW, CONNECTING, CONNECTED, REFUSED, CLOSED = State

#: Handles the request of one command.
Handler = Callable[["Client", Any], Coroutine[Deferred[Any], Any, Outcome]]


@define(eq=False)
class Sessions:
    """What all clients of a node share.

    ``handlers`` are in the order in which the reference looks for requests (client
    protocol, "Commands, replies and pushes").
    """

    runtime: Runtime
    services: Services
    streams: StreamKind
    handlers: tuple[tuple[str, Handler], ...] = ()
    connections: "Connections[Client]" = field(factory=Connections, init=False)
    stopping: bool = field(default=False, init=False)
    _gone: Deferred[None] | None = field(default=None, init=False)

    def connect(self, transport: ITransport) -> "Client":
        """Take a new connection; its transport then calls the client it gets."""
        client = Client(self, transport)
        self.connections.open[client] = None
        self.services.journal.opened(client)
        if self.stopping:
            client.close(SHUTDOWN)
        else:
            client.deadlines.opened()
        return client

    def disconnected(self, client: "Client") -> None:
        """Forget a connection that is gone."""
        self.connections.open.pop(client, None)
        self.services.journal.completed(client)
        if self._gone is not None and not self.connections.open:
            gone, self._gone = self._gone, None
            gone.callback(None)

    def stop(self) -> Deferred[None]:
        """Close every connection with 3001, and each new one.

        :return: fires when all are gone, 6 seconds later at most.
        """
        self.stopping = True
        for client in list(self.connections.open):
            client.close(SHUTDOWN)
        if not self.connections.open:
            return succeed(None)
        gone = self._gone = Deferred()
        return gone.addTimeout(FAREWELL, self.runtime.clock, self._late)

    def _late(self, _: object, timeout: float) -> None:
        self._gone = None


@implementer(IClient)
@define(eq=False)
class Client:
    """Answers one connection's commands, in order, and pushes to it.

    Up to ``NodeOptions.concurrency`` commands may be under way once connected; the
    others wait.  Made by `Sessions.connect`; its transport calls `receive` and
    `transport_lost`.
    """

    sessions: Sessions
    transport: ITransport
    runtime: Runtime = field(init=False)
    services: Services = field(init=False)
    id: str = field(factory=lambda: str(uuid4()), init=False)
    user: str = field(default="", init=False)
    info: ClientInfo = field(default=_NOBODY, init=False)
    meta: Raw = field(default=EMPTY, init=False)
    session: str = field(default="", init=False)
    expire_at: int = field(default=0, init=False)
    server_side_refresh: bool = field(default=False, init=False)
    state: State = field(default=State.NEW, init=False)
    #: Why its connect was refused, if it was by an error.
    refusal: Error | None = field(default=None, init=False)
    subscriptions: dict[str, Subscription] = field(factory=dict, init=False)
    #: Its counters, from its connect to its end.
    counters: ClientCounters | None = field(default=None, init=False)
    deadlines: Deadlines = field(init=False)
    #: The last options to publish with, and what was made of them for this client.
    _published: tuple[PublishOptions, ClientInfo, PublishOptions] | None = field(
        default=None, init=False
    )
    #: What it may still use in its turn, which is that of this number; both are
    #: kept by `Scheduler`.
    allowance: int = field(default=SLICE, init=False)
    turn: int = field(default=0, init=False)
    _running: int = field(default=0, init=False)
    #: Whether a command is under way that all later ones wait for.
    _held: bool = field(default=False, init=False)
    _backlog: Backlog | None = field(default=None, init=False)
    #: Those who wait until it is connected, or over.
    _expected: list[Deferred[None]] | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.runtime, self.services = self.sessions.runtime, self.sessions.services
        self.deadlines = Deadlines(self)

    @property
    def closed(self) -> bool:
        """Whether it is over."""
        return self.state is CLOSED

    @property
    def refused(self) -> bool:
        """Whether its connect failed."""
        return self.state is REFUSED

    @property
    def speaks_v1(self) -> bool:
        """Whether it is of the first version of the protocol, which differs.

        See client protocol v1, "Differences".
        """
        return self.transport.wire.version == 1

    # --- What a policy may ask -------------------------------------------------

    def subscribed(self, channel: str) -> bool:
        """Whether it is in *channel* now, by its own wish or the server's."""
        subscription = self.subscriptions.get(channel)
        return subscription is not None and subscription.active

    def channel_info(self, channel: str) -> Raw:
        """Return its ``chan_info`` in *channel*, absent when it has none."""
        return self.info_in(channel).chan_info

    def info_in(self, channel: str) -> ClientInfo:
        """Return what the subscribers of *channel* see of it."""
        subscription = self.subscriptions.get(channel)
        if subscription is None or subscription.info is None:
            return self.info
        return subscription.info

    def present(self, conn_info: Raw) -> None:
        """Let others see *conn_info* of it from now on, in every channel."""
        self.info = ClientInfo(self.user, self.id, conn_info)
        for subscription in self.subscriptions.values():
            subscription.present()

    def as_publisher(self, options: PublishOptions, channel: str) -> PublishOptions:
        """Return *options* with this client as the publisher."""
        info, last = self.info_in(channel), self._published
        if last is None or last[0] is not options or last[1] is not info:
            made = msgspec.structs.replace(options, info=info)
            last = self._published = options, info, made
        return last[2]

    # --- Steps of connect ------------------------------------------------------

    def begin_connect(self) -> None:
        """Accept a connect command, once.

        :raises DisconnectClient: 3501, it is not the first.
        """
        if self.state is not NEW:
            raise DisconnectClient(MALFORMED, "client already authenticated")
        self.state = CONNECTING

    def enter(self, name: str, version: str) -> None:
        """Let the node find the client from now on.

        :param name: the kind of client that it says it is; *version* is its version.
        """
        metrics = self.runtime.metrics
        self.counters = metrics.counters_for_client(self.transport.info, name, version)
        metrics.count_connected(self.counters)
        self.sessions.connections.add(self)

    def _exit(self) -> None:
        """Undo that, if it was done, and what followed it."""
        self.sessions.connections.remove(self)
        for subscription in list(self.subscriptions.values()):
            subscription.end()
        self.subscriptions = {}
        counters, self.counters = self.counters, None
        if counters is not None:
            self.runtime.metrics.count_disconnected(counters)

    def connected(self) -> None:
        """Let other commands in."""
        self.state = CONNECTED
        self.services.journal.authenticated(self)

    def admitted(self) -> "Deferred[None]":
        """Return a Deferred that fires when the connect that is under way is over."""
        if self.state is not CONNECTING:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        if self._expected is None:
            self._expected = []
        self._expected.append(waiting)
        return waiting

    def connect_over(self) -> None:
        """Let those go on who wait for the connect."""
        expected, self._expected = self._expected, None
        for waiting in expected or ():
            waiting.callback(None)

    def roll_back(self) -> None:
        """Undo a connect that failed half-way."""
        self._exit()

    # --- Commands in -----------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Take one message of the transport: one or more commands."""
        if self.state is CLOSED or self.state is REFUSED:
            return
        if self._backlog is None:
            scheduler = self.runtime.scheduler
            if self.turn != scheduler.turn:
                self.turn, self.allowance = scheduler.turn, scheduler.allowance
            if not scheduler.crowded or len(data) <= SHORT:
                self._begin(*self._decode(data))
                return
            self._backlog = Backlog()
        self._backlog.add(data)
        self._wait(self._backlog)

    def _decode(self, data: bytes) -> tuple[list[Command | None], int]:
        """Return the commands of a message, and how many bytes each has."""
        received: list[Command | None]
        try:
            received = cast("list[Command | None]", self.transport.wire.commands(data))
        except DecodeError as error:
            self.services.client_log.malformed(self, error)
            received = [*error.commands, None]
        return received, len(data) // len(received)

    def _begin(self, received: list[Command | None], size: int) -> None:
        """Execute commands, as far as that is possible at once."""
        for place, command in enumerate(received):
            if self.refused:
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
        """Whether the next command has to wait for one that is under way."""
        connected = self.state is CONNECTED
        limit = self.runtime.options.concurrency if connected else 1
        return self._held or self._running >= limit

    def _wait(self, backlog: Backlog) -> None:
        if backlog.full:
            self.transport.pause()
        if not self._busy:
            self.runtime.scheduler.add(self)

    def proceed(self) -> None:
        """Execute what waits, as far as that is possible."""
        backlog = self._backlog
        if backlog is None or backlog.draining:
            return
        backlog.draining = True
        while backlog and self._backlog is backlog and not self._busy:
            if self.allowance <= 0:
                self.runtime.scheduler.add(self)
                break
            item = backlog.take()
            if isinstance(item, bytes):
                backlog.put_back(*self._decode(item))
            else:
                self._execute(*item)
        backlog.draining = False
        if self._backlog is backlog and not backlog:
            self._backlog = None
            if self.state is CONNECTED:
                self.transport.resume()

    def _execute(self, command: Command | None, size: int) -> None:
        """Begin one command, and finish it if nothing has to be waited for."""
        if self.state is CLOSED:
            return
        if command is None:
            self._close(MALFORMED)  # why is in the log already
            return
        if not command.id and command.send is None:
            self._pong(size)
            return
        for name, handler in self.sessions.handlers:
            request = getattr(command, name)
            if request is not None:
                if self.state is CONNECTED or name == "connect":
                    self._handle(command.id, name, handler, request, size)
                    return
                break
        else:
            if self.speaks_v1 and self.state is CONNECTED:
                self.runtime.metrics.count_error_reply("unknown", METHOD_NOT_FOUND)
                self.services.client_log.command_error(
                    self, "unknown", command, METHOD_NOT_FOUND
                )
                self.reply(Reply(id=command.id, error=METHOD_NOT_FOUND), "unknown")
                return
            self._refuse_message("", "command without a request")
            return
        self._refuse_message(name, "unexpected frame before connect")

    def _refuse_message(self, method: str, cause: str) -> None:
        value = DisconnectClient(MALFORMED, cause)
        self.services.client_log.command_failed(self, method, None, value)
        self._close(MALFORMED)

    def _handle(
        self, id: int, name: str, handler: Handler, request: object, size: int
    ) -> None:
        if not self.transport.info.unidirectional:
            counters = self.runtime.metrics.transport_counters
            counters.received(self.transport.wire, name).add(1, size)
        began = self.runtime.clock.seconds()
        self._running += 1
        self.allowance -= 1
        try:
            result = run_or_defer(handler(self, request))
        except Exception:
            self._finish(Failure(), id, name, request, began)
        else:
            if isinstance(result, Deferred):
                self._held = name == "unsubscribe"
                result.addBoth(self._finish_later, id, name, request, began)
            else:
                self._finish(result, id, name, request, began)

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
        self._running -= 1
        if not self.transport.info.unidirectional:  # its connect is no command
            self.runtime.metrics.observe_command(
                name, self.runtime.clock.seconds() - began
            )
        if self.state is CLOSED:
            return
        if isinstance(outcome, Failure):
            self._fail(outcome, id, name, request)
        elif isinstance(outcome, ReplyThen):
            self.reply(_answer(id, name, outcome.result), name)
            outcome.then()
        elif outcome is not None:
            self.reply(_answer(id, name, outcome), name)

    def _fail(self, failure: Failure, id: int, name: str, request: object) -> None:
        value, client_log = failure.value, self.services.client_log
        client_log.command_failed(self, name, request, value)
        if isinstance(value, DisconnectClient):
            self._close(value.disconnect)
            return
        if isinstance(value, ReplyError):
            error = value.error
        else:
            error = INTERNAL
            if isinstance(value, BrokerUnavailable):
                self.runtime.outage.failed(name, str(value))
            else:
                client_log.unexpected(self, name, failure)
        if not self.transport.info.unidirectional:
            self.runtime.metrics.count_error_reply(name, error)
        if name == "connect":
            self._refuse(error, id)
        else:
            self.reply(Reply(id=id, error=error), name)

    def _refuse(self, error: Error, id: int) -> None:
        """Answer a failed connect; the connection is of no use any more.

        See client protocol, "Connect".

        It is read on, so that the client's close frame is seen, and commands are
        ignored.  A client that stays is stale in the end.
        """
        self.state, self.refusal = REFUSED, error
        if self._backlog is not None:
            self._backlog = None
            self.transport.resume()
        self.connect_over()
        if self.transport.info.unidirectional:
            variant = self.runtime.options.disconnects.get(error.code)
            self._close(variant or as_disconnect(error))
            return
        self.reply(Reply(id=id, error=error), "connect")

    def _pong(self, size: int) -> None:
        counters = self.runtime.metrics.transport_counters
        counters.received(self.transport.wire, "client_pong").add(1, size)
        if self.state is not CONNECTED or not self.deadlines.pong():
            self._refuse_message("", "unnecessary pong")

    # --- Replies and pushes out ------------------------------------------------

    def check_size(self, publications: Sequence[Publication]) -> int:
        """Return how many bytes the payloads of *publications* have.

        :raises DisconnectClient: 3008, no queue has room for a reply with them.
        """
        size = sum(len(publication.data) for publication in publications)
        if size > self.runtime.options.queue_max_size:
            raise DisconnectClient(SLOW)
        return size

    def reply(self, reply: Reply, name: str) -> None:
        """Send an answer; a connect reply is a push on unidirectional wires."""
        wire = self.transport.wire
        if wire.unidirectional and isinstance(reply.connect, ConnectResult):
            result = reply.connect
            self.push(
                Push(connect=Connect(*(getattr(result, f) for f in _CONNECT_FIELDS)))
            )
            return
        try:
            frame = wire.reply(reply)
        except EncodeError:
            self.close(INAPPROPRIATE_PROTOCOL)
            return
        size = len(frame)
        if size >= UNIT:
            self.allowance -= size // UNIT
        self.runtime.metrics.transport_counters.sent(wire, name).add(1, size)
        self.transport.write(frame)

    def push(self, push: Push) -> None:
        """Send something unasked."""
        wire = self.transport.wire
        try:
            frame = wire.push(push)
        except EncodeError:
            self.close(INAPPROPRIATE_PROTOCOL)
            return
        self.runtime.metrics.transport_counters.sent(wire, _kind(push)).add(
            1, len(frame)
        )
        self.transport.write(frame)

    def count_farewell(self, size: int) -> None:
        """Count a push of *size* bytes by which the transport has said goodbye."""
        counters = self.runtime.metrics.transport_counters
        counters.sent(self.transport.wire, "push_disconnect").add(1, size)

    def ping(self) -> None:
        """Send the protocol's own ping."""
        wire = self.transport.wire
        self.runtime.metrics.transport_counters.sent(wire, "server_ping").add(
            1, len(wire.ping)
        )
        self.services.journal.pinged(self)
        self.transport.write(wire.ping)

    # --- The end ---------------------------------------------------------------

    def forget(self, subscription: Subscription) -> None:
        """End a subscription without a word."""
        if self.subscriptions.get(subscription.name) is subscription:
            del self.subscriptions[subscription.name]
        subscription.end()

    def forget_ended(self) -> None:
        """Forget subscriptions that have ended by themselves."""
        for subscription in list(self.subscriptions.values()):
            if subscription.ended:
                self.forget(subscription)

    def drop(self, name: str, reason: Unsubscribe) -> None:
        """End the subscription to *name* and tell the client."""
        subscription = self.subscriptions.get(name)
        if subscription is not None:
            self.forget(subscription)
        if self.state is CONNECTED:
            self.runtime.metrics.count_server_unsubscribe(reason)
            self.push(Push(channel=name, unsubscribe=reason))

    def expire(self, expire_at: int) -> None:
        """Let the connection end at *expire_at* (seconds since 1970); 0: never."""
        self.deadlines.expire(expire_at)

    def close(self, disconnect: Disconnect) -> None:
        """End the connection and tell the client why."""
        if self.state is not CLOSED:
            self.services.client_log.closing(self, disconnect)
            self._close(disconnect)

    def _close(self, disconnect: Disconnect) -> None:
        if self.state is CLOSED:
            return
        self.services.journal.closing(self, disconnect.code, disconnect.reason)
        self._leave()
        if disconnect is not CONNECTION_CLOSED:
            self.runtime.metrics.count_server_disconnect(disconnect)
        self.transport.close(disconnect)

    def transport_lost(self) -> None:
        """Take note that the connection is gone."""
        if self.state is not CLOSED:
            self._leave()
        self.sessions.disconnected(self)

    def fail(self, failure: Failure, doing: str) -> None:
        """End the connection after an unexpected error outside any command."""
        if isinstance(failure.value, DisconnectClient):
            self.close(failure.value.disconnect)
        else:
            self.services.client_log.unexpected(self, doing, failure)
            self.close(SERVER_ERROR)

    def _leave(self) -> None:
        """Undo all that the node knows of this client."""
        self.state = CLOSED
        self._backlog = None
        self.deadlines.stop()
        del self.deadlines  # it holds this client: a cycle
        self._exit()
        self.connect_over()

    def ttl(self, expire_at: int) -> int:
        """Return the seconds until *expire_at*, begun ones too, at least 1.

        See client protocol, "Results".
        """
        return max(1, expire_at - int(self.runtime.clock.seconds()))


def _answer(id: int, name: str, result: Result) -> Reply:
    return Reply(id=id, **{name: result})  # type: ignore[arg-type]  # checked by tests


def _kind(push: Push) -> str:
    """Return the metrics' name of a push (operations, "Metrics")."""
    for part, kind in _KINDS:
        if getattr(push, part) is not None:
            return kind
    return "push_unknown"


_CONNECT_FIELDS = Connect.__struct_fields__
_KINDS = (
    ("pub", "push_publication"),
    *(
        (part, f"push_{part}")
        for part in Push.__struct_fields__
        if part not in ("channel", "pub")
    ),
)

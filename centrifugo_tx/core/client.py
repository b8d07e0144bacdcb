"""One connection: commands in, replies and pushes out."""

from collections import deque
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ..errors import (
    BrokerUnavailable,
    DecodeError,
    DisconnectClient,
    EncodeError,
    ReplyError,
)
from ..interfaces import IClient, ITransport
from ..protocol.codes import (
    CONNECTION_CLOSED,
    INAPPROPRIATE_PROTOCOL,
    INTERNAL,
    MALFORMED,
    SERVER_ERROR,
    Disconnect,
    Error,
    Unsubscribe,
)
from ..protocol.messages import (
    EMPTY,
    ClientInfo,
    Command,
    Connect,
    ConnectResult,
    Push,
    Raw,
    Reply,
    Result,
)
from . import commands
from .deadlines import Deadlines
from .driver import drive
from .subscription import Subscription

if TYPE_CHECKING:
    from .node import Node

__all__ = ["Client", "State"]

#: How many commands may wait before the client is not read any more.
CROWD = 64

_NOBODY = ClientInfo("", "")


class State(Enum):
    """How far a connection has come."""

    NEW = "new"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    #: Its connect was answered with an error; it is expected to go.
    REFUSED = "refused"
    CLOSED = "closed"


Handler = Callable[["Client", Any], Awaitable[Result | None]]

#: In the order in which the reference looks for requests (client protocol, 3).
HANDLERS: tuple[tuple[str, Handler], ...] = (
    ("connect", commands.connect),
    ("ping", commands.ping),
    ("subscribe", commands.subscribe),
    ("unsubscribe", commands.unsubscribe),
    ("publish", commands.publish),
    ("presence", commands.presence),
    ("presence_stats", commands.presence_stats),
    ("history", commands.history),
    ("rpc", commands.rpc),
    ("send", commands.send),
    ("refresh", commands.refresh),
    ("sub_refresh", commands.sub_refresh),
)


@implementer(IClient)
@define(eq=False)
class Client:
    """Answers one connection's commands, in order, and pushes to it.

    Up to ``NodeOptions.concurrency`` commands may be under way once connected; the
    others wait.  Made by `Node.connect`; its transport calls `receive` and
    `transport_lost`.
    """

    node: "Node"
    transport: ITransport
    id: str = field(factory=lambda: str(uuid4()), init=False)
    user: str = field(default="", init=False)
    info: ClientInfo = field(default=_NOBODY, init=False)
    meta: Raw = field(default=EMPTY, init=False)
    session: str = field(default="", init=False)
    state: State = field(default=State.NEW, init=False)
    subscriptions: dict[str, Subscription] = field(factory=dict, init=False)
    deadlines: Deadlines = field(init=False)
    _running: int = field(default=0, init=False)
    _waiting: deque[Command | None] | None = field(default=None, init=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self.deadlines = Deadlines(self)

    # --- What a policy may ask -------------------------------------------------

    def subscribed(self, channel: str) -> bool:
        """Whether it is in *channel* now, by its own wish or the server's."""
        subscription = self.subscriptions.get(channel)
        return subscription is not None and subscription.settled

    def channel_info(self, channel: str) -> Raw:
        """Return its ``chan_info`` in *channel*, absent when it has none."""
        subscription = self.subscriptions.get(channel)
        if subscription is None or subscription.info is None:
            return EMPTY
        return subscription.info.chan_info

    # --- Commands in -----------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Take one message of the transport: one or more commands."""
        if self.state is State.CLOSED:
            return
        received: list[Command | None]
        try:
            received = cast("list[Command | None]", self.transport.wire.commands(data))
        except DecodeError as error:
            received = [*error.commands, None]
        self.node.received(self.transport.wire, len(data))
        for place, command in enumerate(received):
            if self._waiting is not None or self._running >= self._limit:
                self._wait(received[place:])
                return
            self._execute(command)

    @property
    def _limit(self) -> int:
        return self.node.options.concurrency if self.state is State.CONNECTED else 1

    def _wait(self, received: list[Command | None]) -> None:
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.extend(received)
        if len(self._waiting) > CROWD:
            self.transport.pause()

    def _drain(self) -> None:
        """Execute what waits, as far as that is possible."""
        while self._waiting and self._running < self._limit:
            self._execute(self._waiting.popleft())
        if self._waiting is not None and not self._waiting:
            self._waiting = None
            if self.state is State.CONNECTED:
                self.transport.resume()

    def _execute(self, command: Command | None) -> None:
        """Begin one command, and finish it if nothing has to be waited for."""
        if self.state is State.CLOSED:
            return
        if command is None or self.state is State.REFUSED:
            self.close(MALFORMED)
            return
        if not command.id and command.send is None:
            self._pong()
            return
        for name, handler in HANDLERS:
            request = getattr(command, name)
            if request is not None:
                break
        else:
            self.close(MALFORMED)
            return
        if self.state is not State.CONNECTED and name != "connect":
            self.close(MALFORMED)
            return
        began = self.node.clock.seconds()
        self._running += 1
        try:
            result = drive(handler(self, request))  # type: ignore[arg-type]  # a coroutine
        except Exception:
            self._finish(Failure(), command.id, name, began)
        else:
            if isinstance(result, Deferred):
                result.addBoth(self._finish_later, command.id, name, began)
            else:
                self._finish(result, command.id, name, began)

    def _finish_later(
        self, outcome: Result | None | Failure, id: int, name: str, began: float
    ) -> None:
        self._finish(outcome, id, name, began)
        self._drain()

    def _finish(
        self, outcome: Result | None | Failure, id: int, name: str, began: float
    ) -> None:
        """Answer a command."""
        self._running -= 1
        self.node.measured(name, began)
        if self.state is State.CLOSED:
            return
        if isinstance(outcome, Failure):
            self._fail(outcome, id, name)
        elif outcome is not None:
            self.reply(Reply(id=id, **{name: outcome}), name)
            commands.after(self, outcome)

    def _fail(self, failure: Failure, id: int, name: str) -> None:
        value = failure.value
        if isinstance(value, DisconnectClient):
            self.close(value.disconnect)
            return
        if isinstance(value, ReplyError):
            error = value.error
        else:
            error = INTERNAL
            if isinstance(value, BrokerUnavailable):
                self._log.warn(
                    "{method} failed: {reason}", method=name, reason=value, client=self.id
                )
            else:
                self._log.failure(
                    "{method} failed", failure, method=name, client=self.id
                )
        self.node.count_error(name, error)
        if name == "connect":
            self._refuse(error, id)
        else:
            self.reply(Reply(id=id, error=error), name)

    def _refuse(self, error: Error, id: int) -> None:
        """Answer a failed connect; the connection is of no use any more (6.1)."""
        self.state = State.REFUSED
        self._waiting = None
        if self.transport.info.unidirectional:
            self.close(self.node.as_disconnect(error))
            return
        self.reply(Reply(id=id, error=error), "connect")
        if self.state is State.REFUSED:
            self.transport.pause()
            self.deadlines.refused()

    def _pong(self) -> None:
        if self.state is not State.CONNECTED or not self.deadlines.pong():
            self.close(MALFORMED)

    # --- Replies and pushes out ------------------------------------------------

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
        self.node.traffic.sent(wire, name).add(1, len(frame))
        self.transport.write(frame)

    def push(self, push: Push) -> None:
        """Send something unasked."""
        wire = self.transport.wire
        try:
            frame = wire.push(push)
        except EncodeError:
            self.close(INAPPROPRIATE_PROTOCOL)
            return
        self.node.traffic.sent(wire, commands.push_kind(push)).add(1, len(frame))
        self.transport.write(frame)

    # --- The end ---------------------------------------------------------------

    def drop(self, subscription: Subscription, reason: Unsubscribe) -> None:
        """End a subscription and tell the client."""
        if self.subscriptions.get(subscription.name) is subscription:
            del self.subscriptions[subscription.name]
        subscription.end()
        if self.state is State.CONNECTED:
            self.node.count_unsubscribe(reason)
            self.push(Push(channel=subscription.name, unsubscribe=reason))

    def close(self, disconnect: Disconnect) -> None:
        """End the connection and tell the client why."""
        if self.state is State.CLOSED:
            return
        self._leave()
        if disconnect is not CONNECTION_CLOSED:
            self.node.count_disconnect(disconnect)
        self.transport.close(disconnect)

    def transport_lost(self) -> None:
        """Take note that the connection is gone."""
        if self.state is not State.CLOSED:
            self._leave()
        self.node.hub.open.pop(self, None)

    def fail(self, failure: Failure, doing: str) -> None:
        """End the connection after an unexpected error outside any command."""
        if isinstance(failure.value, DisconnectClient):
            self.close(failure.value.disconnect)
        else:
            self._log.failure("{doing} failed", failure, doing=doing, client=self.id)
            self.close(SERVER_ERROR)

    def _leave(self) -> None:
        """Undo all that the node knows of this client."""
        self.state = State.CLOSED
        self._waiting = None
        self.deadlines.stop()
        self.node.hub.remove(self)
        for subscription in list(self.subscriptions.values()):
            subscription.end()
        self.subscriptions = {}

    def ttl(self, expire_at: int) -> int:
        """Return the whole seconds until *expire_at*, at least 1 (4.2)."""
        return max(1, int(expire_at - self.node.clock.seconds()))


_CONNECT_FIELDS = Connect.__struct_fields__

"""The protocol of a connection to Redis.

It extends txredisapi's protocol class, whose commands remain usable, for the hot path
and for outages (engines, "The Redis client"): commands are sent as bytes, a queue
matches replies to them, and no failure is final.
"""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import hiredis
import txredisapi  # type: ignore[import-untyped]
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure

from ...eager_send import send_at_once
from ...errors import BrokerUnavailable
from .addresses import Login

__all__ = [
    "CommandProtocol",
    "PubSubProtocol",
    "Refused",
    "Reply",
    "ReplyHandler",
    "bulk",
    "fire",
    "fire_with",
    "ignore_result",
    "pack",
]

T = TypeVar("T")

#: Maximum number of seconds between two heartbeats.
HEARTBEAT = 1.0
#: Maximum number of calls that wait for their replies.
MAX_PENDING = 262144

#: Encodes a command.  The stub knows tuples of one element only.
pack: Callable[[tuple[bytes, ...]], bytes] = hiredis.pack_command  # type: ignore[assignment]


def bulk(*arguments: bytes) -> bytes:
    """Encode arguments as a part of a command: as bulk strings, without a header."""
    parts: list[int | bytes] = [0] * (2 * len(arguments))
    parts[::2] = map(len, arguments)
    parts[1::2] = arguments
    return (b"$%d\r\n%b\r\n" * len(arguments)) % tuple(parts)


#: Bytes, a number, None, or a list of these; errors inside a list are `Refused`.
Reply = Any

#: Takes a reply, or the `BrokerUnavailable` that occurred instead; does not raise.
ReplyHandler = Callable[[Reply], object]


class Refused(BrokerUnavailable):
    """Redis replied with an error."""

    @property
    def code(self) -> str:
        """The error's first word, such as ``NOSCRIPT``."""
        return str(self).partition(" ")[0]


def ignore_result(result: object) -> None:
    """Ignore a result."""


def fire_with(
    deferred: "Deferred[T]", then: Callable[[Reply], T], reply: Reply
) -> None:
    """Fire *deferred* with the result of *then* for *reply*, or with an error."""
    if isinstance(reply, BrokerUnavailable):
        deferred.errback(reply)
        return
    try:
        result = then(reply)
    except Exception:
        deferred.errback()
    else:
        deferred.callback(result)


def fire(deferred: "Deferred[Reply]", reply: Reply) -> None:
    """Fire *deferred* with *reply*, or with the error that occurred instead."""
    if isinstance(reply, BrokerUnavailable):
        deferred.errback(reply)
    else:
        deferred.callback(reply)


class CommandProtocol(txredisapi.HiredisProtocol):  # type: ignore[misc]
    """One connection, on which replies come in the order of the commands.

    :param lost: called when the connection is gone.
    """

    def __init__(
        self,
        clock: IReactorTime,
        name: str,
        io_timeout: float,
        lost: "Callable[[CommandProtocol, str], None]",
    ) -> None:
        super().__init__(charset=None, convertNumbers=False)
        self.name = name
        self._clock = clock
        self._io_timeout = io_timeout
        self._lost = lost
        self._reader = hiredis.Reader(
            protocolError=txredisapi.InvalidData, replyError=Refused
        )
        self._waiting: deque[ReplyHandler] = deque()
        self._close_reason = ""
        self._heard = False
        self._silence = 0.0
        self._heartbeat: IDelayedCall | None = None
        #: Whether this class gathers the commands of a turn, and not the transport.
        self._gathers = False
        self._unsent: list[bytes] = []
        self._flush_call: IDelayedCall | None = None

    # --- Commands --------------------------------------------------------------

    def call(self, command: bytes, handler: ReplyHandler) -> None:
        """Send an encoded command: at once if no other command waits for its reply.

        The further commands of a turn of the reactor leave together at its end.
        *handler* takes the reply: `Refused` if Redis answers with an error, and
        `BrokerUnavailable` if the connection is lost before the answer, or at once if
        too many calls are pending.
        """
        if len(self._waiting) >= MAX_PENDING:
            handler(BrokerUnavailable(f"too many pending calls to {self.name}"))
            return
        self._waiting.append(handler)
        self._write(command)

    def send(self, *command: bytes) -> "Deferred[Reply]":
        """Send a command; return a Deferred that fails where `call` gives an error."""
        reply: Deferred[Reply] = Deferred()
        self.call(pack(command), partial(fire, reply))
        return reply

    def _write(self, command: bytes) -> None:
        if not self._gathers:
            self.transport.write(command)  # which gathers, too, and waits for a turn
            return
        self._unsent.append(command)
        if self._flush_call is None:
            if len(self._waiting) == 1:
                self._flush()
            else:
                self._flush_call = self._clock.callLater(0, self._flush)

    def _flush(self) -> None:
        """Send the gathered commands."""
        self._flush_call = None
        unsent, self._unsent = self._unsent, []
        data = b"".join(unsent)
        sent = send_at_once(self.transport, data)
        if sent != len(data):
            self.transport.write(data[sent:])

    def execute_command(self, *args: object, **kwargs: Any) -> "Deferred[Reply]":
        """Send a command of txredisapi."""
        reply = self.send(*map(self._encode_value, args))
        if kwargs.get("post_proc"):
            reply.addCallback(kwargs["post_proc"])
        return reply

    async def authenticate(self, login: Login) -> None:
        """Log in and select the database; the replies show that the server is up."""
        answers = []
        if login.password:
            answers.append(self.auth(login.password, login.user or None))
        if login.client_name:
            name = login.client_name.encode()
            answers.append(self.send(b"CLIENT", b"SETNAME", name))
        if login.db:
            answers.append(self.select(login.db))
        answers.append(self.ping().addErrback(_unless_forbidden))
        for each in answers:
            each.addErrback(lambda failure: failure.value)
        for each in answers:
            answer = await each
            if isinstance(answer, Exception):
                raise answer

    # --- The connection's life -------------------------------------------------

    def connectionMade(self) -> None:
        """Start the heartbeat; the owner of the connection logs in."""
        self.connected = 1
        self._gathers = isinstance(self.transport, Connection)
        set_no_delay = getattr(self.transport, "setTcpNoDelay", None)
        if set_no_delay is not None:
            set_no_delay(True)
            self.transport.setTcpKeepAlive(True)
        self._heartbeat = self._clock.callLater(self._interval, self._check_alive)

    @property
    def _interval(self) -> float:
        return min(HEARTBEAT, self._io_timeout / 2)

    def _check_alive(self) -> None:
        """Ping an idle server; close the connection if no reply comes in time."""
        self._heartbeat = self._clock.callLater(self._interval, self._check_alive)
        if self._heard:
            self._heard = False
            self._silence = 0.0
        elif not self._waiting:
            self.ping().addErrback(ignore_result)
        else:
            self._silence += self._interval
            if self._silence >= self._io_timeout:
                self.abort(f"no answer for {self._silence:g} s")

    def dataReceived(self, data: bytes, unpause: bool = False) -> None:
        """Match replies to commands."""
        self._heard = True
        self._reader.feed(data)
        replies = self._reader.gets
        try:
            while (reply := replies()) is not False:
                self.handle_reply(reply)
        except txredisapi.InvalidData as error:
            self.abort(f"malformed reply: {error}")

    def handle_reply(self, reply: Reply) -> None:
        """Pass a reply to the command that is waiting for it."""
        if not self._waiting:
            self.abort(f"unexpected reply: {reply!r:.100}")
            return
        self._waiting.popleft()(reply)
        if type(reply) is Refused and reply.code == "READONLY":
            self.abort("the server is no longer a master")

    def abort(self, why: str) -> None:
        """Close the connection immediately; waiting commands fail with *why*."""
        self._close_reason = self._close_reason or why
        self.transport.abortConnection()

    def connectionLost(self, why: Failure) -> None:
        """Fail the waiting commands, and notify the owner."""
        for call in (self._heartbeat, self._flush_call):
            if call is not None:
                call.cancel()
        self._heartbeat = self._flush_call = None
        super().connectionLost(why)
        reason = f"lost the connection to {self.name}: " + (
            self._close_reason or why.getErrorMessage()
        )
        waiting, self._waiting = self._waiting, deque()
        self._lost(self, reason)
        for handler in waiting:
            handler(BrokerUnavailable(reason))


def _unless_forbidden(failure: Failure) -> None:
    """Treat a permission error as a successful ping."""
    error = failure.trap(Refused) and failure.value
    if not isinstance(error, Refused) or error.code != "NOPERM":
        failure.raiseException()


@define(eq=False)
class _Acknowledgements:
    """Fires its Deferred after *left* channels have been acknowledged."""

    left: int
    done: "Deferred[None]" = field(factory=Deferred)

    def __call__(self, reply: Reply) -> None:
        fire(self.done, reply)


class PubSubProtocol(CommandProtocol):
    """A connection that receives published messages.

    :param receive: called with the channels and payloads of one read.
    """

    def __init__(
        self,
        clock: IReactorTime,
        name: str,
        io_timeout: float,
        lost: Callable[[CommandProtocol, str], None],
        receive: Callable[[list[tuple[bytes, bytes]]], None],
    ) -> None:
        super().__init__(clock, name, io_timeout, lost)
        self._receive = receive
        self._messages: list[tuple[bytes, bytes]] = []

    def subscribe(self, names: Sequence[bytes]) -> "Deferred[None]":
        """Subscribe to all of *names*; fires when each is acknowledged."""
        return self._change_subscriptions(b"SUBSCRIBE", names)

    def unsubscribe(self, names: Sequence[bytes]) -> "Deferred[None]":
        """Undo `subscribe`; fires when each is acknowledged."""
        return self._change_subscriptions(b"UNSUBSCRIBE", names)

    def _change_subscriptions(
        self, command: bytes, names: Sequence[bytes]
    ) -> "Deferred[None]":
        acknowledgements = _Acknowledgements(len(names))
        self._waiting.append(acknowledgements)
        self._write(pack((command, *names)))
        return acknowledgements.done

    def dataReceived(self, data: bytes, unpause: bool = False) -> None:
        """Deliver the messages of one read together."""
        super().dataReceived(data)
        if self._messages:
            messages, self._messages = self._messages, []
            self._receive(messages)

    def handle_reply(self, reply: Reply) -> None:
        """Handle a message, an acknowledgement or a reply."""
        kind = reply[0] if type(reply) is list and reply else None
        if kind == b"message":
            self._messages.append((reply[1], reply[2]))
        elif kind == b"subscribe" or kind == b"unsubscribe":
            first = self._waiting[0] if self._waiting else None
            if isinstance(first, _Acknowledgements):
                first.left -= 1
                if not first.left:
                    self._waiting.popleft()(None)
        else:
            super().handle_reply(reply)

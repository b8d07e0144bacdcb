"""A server that follows a script, and the endpoint that leads to it."""

from collections import deque
from collections.abc import Callable
from typing import Any

import hiredis
from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import (
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
)
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["Connection", "Peer", "ack", "bulk"]

Command = tuple[bytes, ...]


def bulk(*items: bytes | int | None) -> bytes:
    """Return an array as Redis writes it."""
    out = b"*%d\r\n" % len(items)
    for item in items:
        if item is None:
            out += b"$-1\r\n"
        elif isinstance(item, int):
            out += b":%d\r\n" % item
        else:
            out += b"$%d\r\n%b\r\n" % (len(item), item)
    return out


def ack(kind: bytes, *names: bytes) -> bytes:
    """Return the acknowledgements of a subscribe or unsubscribe."""
    return b"".join(bulk(kind, name, 1) for name in names)


class Connection(StringTransport):
    """The server's side of one connection."""

    def __init__(self, peer: "Peer", protocol: Any) -> None:
        super().__init__()
        self.peer, self.protocol = peer, protocol
        self.commands: list[Command] = []
        self.writes = 0
        self.closed = False
        self._reader = hiredis.Reader()

    def write(self, data: bytes) -> None:
        """Take commands, and answer those that the peer answers by itself."""
        self.writes += 1
        self._reader.feed(data)
        while (command := self._reader.gets()) is not False:
            self.commands.append(tuple(command))
            self.peer.commands.append(tuple(command))
            answer = self.peer.answer(tuple(command))
            if answer:
                self.peer.replies.append((self, answer))

    def reply(self, data: bytes) -> None:
        """Let the client read *data*."""
        if not self.closed:
            self.protocol.dataReceived(data)

    def lose(self, clean: bool = False) -> None:
        """Let the connection be gone."""
        if not self.closed:
            self.closed = True
            error = ConnectionDone() if clean else ConnectionLost()
            self.protocol.connectionLost(Failure(error))

    def abortConnection(self) -> None:
        """Be closed by the client."""
        self.peer.aborted.append(self)

    def loseConnection(self) -> None:
        """Be closed by the client."""
        self.peer.aborted.append(self)

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Take note of nothing."""

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Take note of nothing."""


@implementer(IStreamClientEndpoint)
@define(eq=False)
class Peer:
    """Accepts connections, or refuses them.

    Answers `AUTH`, `CLIENT`, `SELECT`, `SCRIPT` and `PING` by itself, unless
    *answers* says otherwise.
    """

    answers: dict[bytes, bytes] = field(factory=dict)
    refuses: bool = False
    #: If given, subscribes to anything else are left to the test.
    acknowledges: tuple[bytes, ...] | None = None
    #: Connecting takes for ever.
    hangs: bool = False
    commands: list[Command] = field(factory=list, init=False)
    connections: list[Connection] = field(factory=list, init=False)
    attempts: int = field(default=0, init=False)
    aborted: list[Connection] = field(factory=list, init=False)
    replies: "deque[tuple[Connection, bytes]]" = field(factory=deque, init=False)
    custom: Callable[[Command], bytes] = field(default=lambda command: b"")

    @property
    def last(self) -> Connection:
        """The newest connection."""
        return self.connections[-1]

    def connect(self, protocolFactory: IProtocolFactory) -> "Deferred[Any]":
        """Accept or refuse."""
        self.attempts += 1
        if self.hangs:
            return Deferred()
        if self.refuses:
            return fail(ConnectionRefusedError())
        protocol: Any = protocolFactory.buildProtocol(None)  # type: ignore[arg-type]
        connection = Connection(self, protocol)
        self.connections.append(connection)
        protocol.makeConnection(connection)
        return succeed(protocol)

    def answer(self, command: Command) -> bytes:
        """Return the answer to a command, nothing to leave it to the test."""
        if command[0] in self.answers:
            return self.answers[command[0]]
        if command[0] in (b"AUTH", b"CLIENT", b"SELECT", b"SCRIPT"):
            return b"+OK\r\n"
        if command[0] == b"PING":
            return b"+PONG\r\n"
        if command[0] in (b"SUBSCRIBE", b"UNSUBSCRIBE"):
            known = self.acknowledges
            if known is not None and not set(command[1:]) <= set(known):
                return b""
            return ack(command[0].lower(), *command[1:])
        return self.custom(command)

    def flow(self) -> None:
        """Let answers and closings take place, until nothing more happens."""
        while self.replies or self.aborted:
            while self.replies:
                connection, answer = self.replies.popleft()
                connection.reply(answer)
            while self.aborted:
                self.aborted.pop().lose()

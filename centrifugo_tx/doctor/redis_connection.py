"""Short conversations with Redis servers and Sentinels."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from attrs import frozen

from ..engines.redis.addresses import Login, TCPAddress, UnixAddress
from ..engines.redis.connection import CommandProtocol, Reply
from ..engines.redis.endpoints import endpoint
from ..engines.redis.reconnecting import ReconnectingConnection
from ..errors import BrokerUnavailable

__all__ = ["RedisPeer", "as_text"]

T = TypeVar("T")
Send = Callable[..., Awaitable[Reply]]


@frozen
class RedisPeer:
    """One server: where it is, and how to log in."""

    reactor: Any
    node: TCPAddress | UnixAddress
    login: Login
    connect_timeout: float
    io_timeout: float

    def __str__(self) -> str:
        return str(self.node)

    async def ask(self, talk: Callable[[Send], Awaitable[T]]) -> T:
        """Connect, log in, return the result of *talk*, and disconnect.

        :raises BrokerUnavailable: the connection or a command fails.
        """
        name = f"Redis at {self.node}"
        connection: ReconnectingConnection[CommandProtocol] = ReconnectingConnection(
            name,
            self.reactor,
            endpoint(self.reactor, self.node, self.login, self.connect_timeout),
            self.login,
            lambda lost: CommandProtocol(self.reactor, name, self.io_timeout, lost),
        )
        try:
            await connection.start()
            return await talk(connection.send)
        finally:
            await connection.stop()


def as_text(reply: Reply) -> str:
    """Return a reply as text, empty for none.

    :raises BrokerUnavailable: it is not text.
    """
    if reply is None:
        return ""
    if not isinstance(reply, bytes):
        raise BrokerUnavailable(f"malformed reply: {reply!r:.100}")
    return reply.decode(errors="replace")

"""Pings by WebSocket frames, for clients that request them.

See client protocol, "WebSocket".
"""

from typing import Protocol

from attrs import define

from ..core import Client, Node
from ..protocol.codes import CONNECTION_CLOSED

__all__ = ["FramePings"]

#: Seconds between pings, and to wait for a pong, if the options turn these off.
INTERVAL, TIMEOUT = 25.0, 10.0


class Pinged(Protocol):
    """The part of a connection that pings use."""

    client: Client

    def sendPing(self) -> None:
        """Send a ping frame."""


@define(eq=False)
class FramePings:
    """Closes a connection whose peer does not answer a ping in time."""

    _node: Node
    _protocol: Pinged
    tick: int = 0
    _next: float = 0.0
    _waiting: bool = False

    def start(self) -> None:
        """Schedule the first ping, one interval from now."""
        self._next = self._node.clock.seconds() + self._interval
        self._node.runtime.wheel.set(self, self._next)

    def stop(self) -> None:
        """Stop sending pings."""
        self._node.runtime.wheel.forget(self)

    def ponged(self) -> None:
        """Record a pong, and schedule the next ping."""
        if self._waiting:
            self._waiting = False
            self._node.runtime.wheel.set(self, self._next)

    def wake(self, now: float) -> None:
        """Send a ping, or close the connection if the last one got no pong."""
        if self._waiting:
            self._protocol.client.close(CONNECTION_CLOSED)
            return
        self._waiting = True
        self._next = now + self._interval
        timeout = self._node.options.pong_timeout
        self._node.runtime.wheel.set(self, now + (timeout if timeout > 0 else TIMEOUT))
        self._protocol.sendPing()

    @property
    def _interval(self) -> float:
        interval = self._node.options.ping_interval
        return interval if interval > 0 else INTERVAL

"""All that a connection must do in time.

See client protocol, "Ping and pong" and "Connection expiry".
"""

from random import uniform
from typing import Protocol

from attrs import define

from ...protocol.codes import NO_PONG, STALE
from . import expiry
from .expiry import ExpiringClient

__all__ = ["Deadlines"]

NEVER = float("inf")


class TimedClient(ExpiringClient, Protocol):
    """What is used of a client that must do things in time."""

    expire_at: int

    def ping(self) -> None:
        """Send a ping of the protocol's own."""


@define(eq=False)
class Deadlines:
    """Wakes for whatever is due first: one entry in the node's wheel per client."""

    _client: TimedClient
    tick: int = 0
    _close_at: float = NEVER
    _ping_at: float = NEVER
    _pong_by: float = NEVER
    _pinged_at: float = 0.0
    _presence_at: float = NEVER
    _expire_at: float = NEVER

    def opened(self) -> None:
        """Give the client time to connect."""
        runtime = self._client.runtime
        delay = runtime.options.stale_close_delay
        self._close_at = runtime.clock.seconds() + delay
        self._set()

    def connected(self, expire_at: int) -> None:
        """Begin to ping, to renew presence and to watch the expiry."""
        runtime = self._client.runtime
        now, options = runtime.clock.seconds(), runtime.options
        self._close_at = NEVER
        if self.pings:
            interval = options.ping_interval
            # Spread, so that those who came together are not pinged together.
            self._ping_at = now + uniform(interval / 2, interval)
        interval = options.presence_update_interval
        self._presence_at = now + uniform(interval / 2, interval)
        self.expire(expire_at)

    @property
    def pings(self) -> bool:
        """Whether the protocol's own pings are sent."""
        client = self._client
        return client.runtime.options.ping_interval > 0 and client.transport.info.pings

    @property
    def pongs(self) -> bool:
        """Whether the client has to answer them."""
        info = self._client.transport.info
        timeout = self._client.runtime.options.pong_timeout
        return self.pings and timeout > 0 and not info.unidirectional

    def expire(self, expire_at: int) -> None:
        """Watch the connection's expiry (seconds since 1970); 0: it has none."""
        self._client.expire_at = expire_at
        if not expire_at:
            self._expire_at = NEVER
        elif self._client.server_side_refresh:
            self._expire_at = expire_at
        else:
            delay = self._client.runtime.options.expired_close_delay
            self._expire_at = expire_at + delay
        self._set()

    def pong(self) -> bool:
        """Take note of a pong; False if no ping is outstanding."""
        if not self._pinged_at:
            return False
        client = self._client
        taken = client.runtime.clock.seconds() - self._pinged_at
        client.runtime.metrics.observe_pong(client.transport.info.name, taken)
        self._pinged_at = 0.0
        self._pong_by = NEVER
        return True

    def stop(self) -> None:
        """Let nothing be due any more."""
        self._client.runtime.wheel.forget(self)

    def wake(self, now: float) -> None:
        """Do what is due."""
        client = self._client
        if now >= self._close_at:
            client.close(STALE)
        elif now >= self._pong_by:
            client.close(NO_PONG)
        else:
            if now >= self._expire_at:
                self._expire_at = NEVER
                expiry.connection_due(client)
            if now >= self._ping_at:
                self._ping(now)
            if now >= self._presence_at:
                self._presence_at = (
                    now + client.runtime.options.presence_update_interval
                )
                expiry.tend(client, now)
        if not client.closed:
            self._set()

    def _ping(self, now: float) -> None:
        client = self._client
        self._ping_at = now + client.runtime.options.ping_interval
        if self.pongs:
            self._pinged_at = now
            self._pong_by = now + client.runtime.options.pong_timeout
        client.ping()

    def _set(self) -> None:
        due = min(
            self._close_at,
            self._ping_at,
            self._pong_by,
            self._presence_at,
            self._expire_at,
        )
        if due == NEVER:
            self._client.runtime.wheel.forget(self)
        else:
            self._client.runtime.wheel.set(self, due)

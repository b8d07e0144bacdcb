"""The deadlines of one connection: connect, ping, pong, presence and expiry.

See client protocol, "Ping and pong" and "Connection expiry".
"""

from random import uniform
from typing import NamedTuple, Protocol

from attrs import define

from ...protocol.codes import NO_PONG, STALE
from . import expiry
from .expiry import ExpiringClient

__all__ = ["Deadlines"]

NEVER = float("inf")
#: Seconds between two pings that ask for receipts, at least.
RECEIPT_INTERVAL = 1.0
#: How many pings may be outstanding before no more are sent for receipts.
OUTSTANDING = 32


class TimedClient(ExpiringClient, Protocol):
    """What `Deadlines` uses of a client."""

    expire_at: int
    answered: int
    answered_at: float

    def ping(self) -> None:
        """Send a ping of the client protocol."""

    def receipt_came(self, earlier: int, moment: int) -> None:
        """Handle the pong to a ping for receipts, which was sent at *moment*."""


class Ping(NamedTuple):
    """A ping without an answer.

    ``moment`` is its place in the order of writes, ``at`` when it was sent.  A pong is
    due in time for the ``regular`` ones, not for those that ask for receipts.
    """

    moment: int
    at: float
    regular: bool


@define(eq=False)
class Deadlines:
    """Handles deadlines as they pass; a client has one entry in the timer wheel.

    Pongs answer pings in order, and each proves that the client has received all that
    was written before the ping.
    """

    _client: TimedClient
    tick: int = 0
    #: When the client connected, in seconds since 1970; 0 before.
    connected_at: float = 0.0
    _close_at: float = NEVER
    _ping_at: float = NEVER
    _pong_by: float = NEVER
    _receipt_at: float = NEVER
    #: When the last ping for receipts was sent.
    _receipt_asked: float = 0.0
    _outstanding: list[Ping] | None = None
    _presence_at: float = NEVER
    _expire_at: float = NEVER

    def opened(self) -> None:
        """Start the deadline for the connect command."""
        runtime = self._client.runtime
        delay = runtime.options.stale_close_delay
        self._close_at = runtime.clock.seconds() + delay
        self._schedule()

    def connected(self, expire_at: int) -> None:
        """Start the deadlines of pings, presence and expiry."""
        runtime = self._client.runtime
        now, options = runtime.clock.seconds(), runtime.options
        self._close_at = NEVER
        self.connected_at = now
        if self.pings:
            interval = options.ping_interval
            # Random, so that clients that connect together are not pinged together.
            self._ping_at = now + uniform(interval / 2, interval)
        interval = options.presence_update_interval
        self._presence_at = now + uniform(interval / 2, interval)
        self.expire(expire_at)

    @property
    def pings(self) -> bool:
        """Whether the server sends pings of the client protocol."""
        client = self._client
        return client.runtime.options.ping_interval > 0 and client.transport.info.pings

    @property
    def pongs(self) -> bool:
        """Whether the client must answer pings."""
        info = self._client.transport.info
        timeout = self._client.runtime.options.pong_timeout
        return self.pings and timeout > 0 and not info.unidirectional

    def expire(self, expire_at: int) -> None:
        """Set the connection's expiry (seconds since 1970; 0: never)."""
        self._client.expire_at = expire_at
        if not expire_at:
            self._expire_at = NEVER
        elif self._client.server_side_refresh:
            self._expire_at = expire_at
        else:
            delay = self._client.runtime.options.expired_close_delay
            self._expire_at = expire_at + delay
        self._schedule()

    def pong(self) -> bool:
        """Handle a pong; return False if no ping is outstanding."""
        outstanding = self._outstanding
        if outstanding is None:
            return False
        ping = outstanding.pop(0)
        if not outstanding:
            self._outstanding = None
        client = self._client
        now = client.runtime.clock.seconds()
        client.runtime.metrics.observe_pong(client.transport.info.name, now - ping.at)
        before, client.answered = client.answered, ping.moment
        client.answered_at = now
        if not ping.regular:
            client.receipt_came(before, ping.moment)
        if ping.regular:
            self._pong_by = NEVER
        return True

    def ask_for_receipt(self) -> None:
        """Send a ping soon, at most one each second, if the client answers pings.

        It does not change when a pong is due.
        """
        if not self.pongs or len(self._outstanding or ()) >= OUTSTANDING:
            return
        now = self._client.runtime.clock.seconds()
        due = self._receipt_asked + RECEIPT_INTERVAL
        if now >= due:
            self._ask(now)
        elif self._receipt_at == NEVER:
            self._receipt_at = due
            self._schedule()

    def stop(self) -> None:
        """Cancel all deadlines."""
        self._client.runtime.wheel.forget(self)

    def wake(self, now: float) -> None:
        """Handle the deadlines that have passed."""
        client = self._client
        if now >= self._close_at:
            client.close(STALE)
        elif now >= self._pong_by:
            client.close(NO_PONG)
        else:
            if now >= self._expire_at:
                self._expire_at = NEVER
                expiry.connection_expired(client)
            if now >= self._ping_at:
                self._ping(now)
            if now >= self._receipt_at:
                self._ask(now)
            if now >= self._presence_at:
                self._presence_at = (
                    now + client.runtime.options.presence_update_interval
                )
                expiry.renew_subscriptions(client, now)
        if not client.closed:
            self._schedule()

    def _ping(self, now: float) -> None:
        options = self._client.runtime.options
        self._ping_at = now + options.ping_interval
        if self.pongs:
            self._pong_by = now + options.pong_timeout
        self._send_ping(now, regular=True)

    def _ask(self, now: float) -> None:
        self._receipt_at, self._receipt_asked = NEVER, now
        self._send_ping(now, regular=False)

    def _send_ping(self, now: float, regular: bool) -> None:
        if self.pongs:
            ping = Ping(self._client.runtime.writes.now(), now, regular)
            if self._outstanding is None:
                self._outstanding = []
            self._outstanding.append(ping)
        self._client.ping()

    def _schedule(self) -> None:
        due = min(
            self._close_at,
            self._ping_at,
            self._pong_by,
            self._receipt_at,
            self._presence_at,
            self._expire_at,
        )
        if due == NEVER:
            self._client.runtime.wheel.forget(self)
        else:
            self._client.runtime.wheel.set(self, due)

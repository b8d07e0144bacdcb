"""A connection to Redis that is restored whenever it is lost.

Twisted's ``ClientService`` is not used, for three reasons.  It resets its delay with
every connection that opens.  So a server that accepts, authenticates and hangs up is
tried 120 times a minute with delays from 0.25 to 2 s, but 34 times here, where only a
connection that lasts resets the delay.  It cannot be made to try at once, which is
required when a Sentinel announces another master.  And it keeps callers waiting for a
connection, while commands here fail at once with the reason.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from random import uniform
from typing import Any, Generic, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...errors import BrokerUnavailable
from .addresses import Login
from .connection import (
    CommandProtocol,
    Refused,
    Reply,
    ReplyHandler,
    fire,
    ignore_result,
    pack,
)

__all__ = ["ReconnectingConnection"]

#: Seconds before the first attempt to reconnect, and the longest delay.
FIRST_DELAY, LONGEST_DELAY = 0.25, 2.0
#: Seconds after which a connection resets the delay.
STABLE_AFTER = 5.0

P = TypeVar("P", bound=CommandProtocol)

#: Makes a protocol, given a callback for the loss of its connection.
Build = Callable[[Callable[[CommandProtocol, str], None]], P]


class _Factory(Factory):
    """Returns the protocol of one attempt to connect."""

    noisy = False

    def __init__(self, protocol: CommandProtocol) -> None:
        self._made = protocol

    def buildProtocol(self, addr: IAddress | None) -> CommandProtocol:
        return self._made


async def _nothing_more(protocol: object) -> None:
    pass


@define(eq=False)
class ReconnectingConnection(Generic[P]):
    """A connection that reconnects whenever it is lost.

    ``protocol`` is set while the connection is usable.  Otherwise calls fail at once
    with `BrokerUnavailable` and the reason.

    :param prepare: prepares a new connection before it becomes usable.
    :param changed: called when the connection becomes usable or is lost.
    """

    name: str
    _clock: IReactorTime
    _endpoint: IStreamClientEndpoint
    _login: Login
    _build: Build[P]
    prepare: Callable[[P], Awaitable[None]] = _nothing_more
    changed: Callable[["ReconnectingConnection[P]"], None] = ignore_result
    protocol: P | None = field(default=None, init=False)
    reason: str = field(default="not started", init=False)
    _running: bool = field(default=False, init=False)
    _attempt: "Deferred[Any] | None" = field(default=None, init=False)
    _retry: IDelayedCall | None = field(default=None, init=False)
    _failures: int = field(default=0, init=False)
    _since: float = field(default=0.0, init=False)
    _open_protocols: set[CommandProtocol] = field(factory=set, init=False)
    _watchers: "list[Deferred[None]]" = field(factory=list, init=False)
    _stopped: "Deferred[None] | None" = field(default=None, init=False)
    _log = Logger()

    def call(self, command: bytes, handler: ReplyHandler) -> None:
        """Send an encoded command (`CommandProtocol.call`)."""
        protocol = self.protocol
        if protocol is None:
            handler(BrokerUnavailable(self.reason))
        else:
            protocol.call(command, handler)

    def send(self, *command: bytes) -> "Deferred[Reply]":
        """Send a command; fail at once if there is no connection."""
        reply: Deferred[Reply] = Deferred()
        self.call(pack(command), partial(fire, reply))
        return reply

    def start(self) -> "Deferred[None]":
        """Connect, and keep trying.

        :return: fires when the connection is usable, and fails if the first attempt
            failed.
        """
        self._running = True
        outcome = self.attempt_outcome()
        self._connect()
        return outcome

    def attempt_outcome(self) -> "Deferred[None]":
        """Return a Deferred of the attempt under way, or of the next one."""
        if self.protocol is not None:
            return succeed(None)
        outcome: Deferred[None] = Deferred()
        self._watchers.append(outcome)
        return outcome

    def retry_now(self) -> None:
        """Connect now if an attempt is scheduled for later."""
        if self._retry is not None:
            self._retry.cancel()
            self._connect()

    def reconnect(self, why: str) -> None:
        """Close the connection, and open a new one."""
        if self.protocol is not None:
            self.protocol.abort(why)

    def stop(self) -> "Deferred[None]":
        """Close permanently; fires when all connections and timers are gone."""
        self._running = False
        self.reason = "stopped"
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._attempt is not None:
            self._attempt.cancel()
        for protocol in list(self._open_protocols):
            protocol.abort("stopped")
        self._notify_watchers(BrokerUnavailable("stopped"))
        stopped = self._stopped = Deferred()
        self._check_stopped()
        return stopped

    def _check_stopped(self) -> None:
        """Fire the Deferred of `stop` once everything has ended."""
        if (
            self._stopped is not None
            and self._attempt is None
            and not self._open_protocols
        ):
            self._stopped.callback(None)
            self._stopped = None

    # --- One attempt -----------------------------------------------------------

    def _connect(self) -> None:
        self._retry = None
        protocol = self._build(self._connection_lost)
        self._attempt = Deferred.fromCoroutine(self._open(protocol))
        self._attempt.addCallbacks(
            self._connection_usable, self._attempt_failed, callbackArgs=(protocol,)
        )

    async def _open(self, protocol: P) -> None:
        await self._endpoint.connect(_Factory(protocol))
        self._open_protocols.add(protocol)
        try:
            await protocol.authenticate(self._login)
            await self.prepare(protocol)
        except Exception as error:
            protocol.abort(str(error))
            raise

    def _connection_usable(self, _: None, protocol: P) -> None:
        self._attempt = None
        if protocol not in self._open_protocols:  # lost while the coroutine was ending
            self._attempt_failed(
                Failure(BrokerUnavailable(f"lost the connection to {self.name}"))
            )
            return
        if self._failures:
            self._log.info("connected to {name} again", name=self.name)
        self.protocol = protocol
        self._since = self._clock.seconds()
        self.changed(self)
        self._notify_watchers(None)

    def _attempt_failed(self, failure: Failure) -> None:
        self._attempt = None
        if not self._running:
            self._check_stopped()
            return
        reason = failure.getErrorMessage()
        if failure.check(Refused):
            reason = f"{self.name} refused the connection: {reason}"
        elif not failure.check(BrokerUnavailable):
            reason = f"cannot connect to {self.name}: {reason}"
        self._schedule_retry(reason)
        self._notify_watchers(BrokerUnavailable(reason))

    def _connection_lost(self, protocol: CommandProtocol, reason: str) -> None:
        self._open_protocols.discard(protocol)
        if protocol is self.protocol:
            self.protocol = None
            if self._running:
                if self._clock.seconds() - self._since >= STABLE_AFTER:
                    self._failures = 0
                self._schedule_retry(reason)
            self.changed(self)
        self._check_stopped()

    def _schedule_retry(self, reason: str) -> None:
        if reason != self.reason:
            self._log.warn("{reason}", reason=reason)
        self.reason = reason
        delay = min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(self._failures, 8)) * uniform(
            0.75, 1.25
        )
        self._failures += 1
        self._retry = self._clock.callLater(delay, self._connect)

    def _notify_watchers(self, error: BrokerUnavailable | None) -> None:
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            if error is None:
                watcher.callback(None)
            else:
                watcher.errback(error)

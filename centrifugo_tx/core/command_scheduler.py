"""Shares reactor turns fairly between clients that send many commands."""

from typing import Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

__all__ = ["SHORT", "SLICE", "UNIT", "CommandScheduler"]

#: The allowance of one client in one turn.  A command uses 1, and so does each `UNIT`
#: of its reply: about a millisecond in all.  Small integers cost no memory.
SLICE = 64
#: Bytes of a reply that use as much of the allowance as a command.
UNIT = 4096
#: The least allowance of a client when many wait.
LEAST = 4
#: The allowance of a client that was idle until this turn, while others wait.
FRESH = 8
#: Longer messages (bytes) are not decoded at once while others wait.
SHORT = 1024


class Runnable(Protocol):
    """The commands of one client, as the scheduler sees them."""

    allowance: int
    turn: int

    def proceed(self) -> None:
        """Execute commands that wait, up to the allowance."""

    def fail(self, failure: Failure, doing: str) -> None:
        """End the connection after an unexpected error."""


@define(eq=False)
class CommandScheduler:
    """Resumes clients that have used up their allowance, in the order they asked.

    All waiting clients together get about one slice in each turn.  A client that was
    idle until this turn does not queue behind them: it may use a small slice at once.
    While no client waits, the scheduler costs nothing.  Work that is not a client's
    command is shared out by time instead: see `RoundRobin`.
    """

    _clock: IReactorTime
    #: Changes in each turn while any client waits.
    turn: int = field(default=0, init=False)
    #: The allowance of a client that was idle until this turn.
    allowance: int = field(default=SLICE, init=False)
    _waiting: "dict[Runnable, Deferred[None] | None]" = field(factory=dict, init=False)
    #: Whether any client waits.
    crowded: bool = field(default=False, init=False)

    def add(self, client: Runnable) -> None:
        """Call ``client.proceed`` when its turn comes."""
        self._waiting.setdefault(client, None)
        self._call()

    def wait(self, client: Runnable) -> "Deferred[None]":
        """Return a Deferred that fires when the turn of *client* comes."""
        waiting: Deferred[None] = Deferred()
        self._waiting[client] = waiting
        self._call()
        return waiting

    def _call(self) -> None:
        if not self.crowded:
            self.crowded = True
            self.allowance = FRESH
            self.turn += 1
            self._clock.callLater(0, self._run)

    def _run(self) -> None:
        self.turn += 1
        remaining, share = SLICE, max(LEAST, SLICE // len(self._waiting))
        for client in list(self._waiting):
            waiting = self._waiting.pop(client)
            remaining -= max(1, self._resume(client, waiting, share))
            if remaining <= 0:
                break
        if self._waiting:
            self._clock.callLater(0, self._run)
        else:
            self.crowded = False
            self.allowance = SLICE

    def _resume(
        self, client: Runnable, waiting: "Deferred[None] | None", share: int
    ) -> int:
        """Resume *client*; return how much of its share it used."""
        client.turn, client.allowance = self.turn, share
        try:
            if waiting is None:
                client.proceed()
            else:
                waiting.callback(None)
        except Exception:  # must not stop the other clients
            client.fail(Failure(), "resuming commands")
        return share - client.allowance

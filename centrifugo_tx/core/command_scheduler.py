"""Turns of the reactor, shared by the clients that want more than one."""

from typing import Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

__all__ = ["SHORT", "SLICE", "UNIT", "CommandScheduler"]

#: What one client may use in one turn.  A command takes 1, and so does each `UNIT`
#: of its reply: about a millisecond in all.  Numbers this small cost no memory.
SLICE = 64
#: Bytes of a reply that count as much as a command.
UNIT = 4096
#: What each client gets at least when many wait.
LEAST = 4
#: What a client may use at once while others wait for their turn.
FRESH = 8
#: Bytes of a message that is decoded at once while others wait for their turn.
SHORT = 1024


class Runnable(Protocol):
    """What is used of a client."""

    allowance: int
    turn: int

    def proceed(self) -> None:
        """Go on with what waits."""

    def fail(self, failure: Failure, doing: str) -> None:
        """End it after an unexpected error."""


@define(eq=False)
class CommandScheduler:
    """Lets clients go on that have used up their slice, one after another.

    In one turn all of them together get about one slice.  A client that did
    nothing in this turn does not have to queue behind them: it may use a small
    slice at once.  While nobody waits, nothing here runs.
    """

    _clock: IReactorTime
    #: Another number in each turn, as long as anybody waits.
    turn: int = field(default=0, init=False)
    #: What a client may use that was idle until this turn.
    allowance: int = field(default=SLICE, init=False)
    _waiting: "dict[Runnable, Deferred[None] | None]" = field(factory=dict, init=False)
    _called: bool = field(default=False, init=False)

    @property
    def crowded(self) -> bool:
        """Whether anybody waits."""
        return self._called

    def add(self, client: Runnable) -> None:
        """Let *client* go on with its commands when its turn comes."""
        self._waiting.setdefault(client, None)
        self._call()

    def wait(self, client: Runnable) -> "Deferred[None]":
        """Return a Deferred that fires when the turn of *client* comes."""
        waiting: Deferred[None] = Deferred()
        self._waiting[client] = waiting
        self._call()
        return waiting

    def _call(self) -> None:
        if not self._called:
            self._called = True
            self.allowance = FRESH
            self.turn += 1
            self._clock.callLater(0, self._run)

    def _run(self) -> None:
        self.turn += 1
        room, share = SLICE, max(LEAST, SLICE // len(self._waiting))
        for client in list(self._waiting):
            waiting = self._waiting.pop(client)
            room -= max(1, self._let_go_on(client, waiting, share))
            if room <= 0:
                break
        if self._waiting:
            self._clock.callLater(0, self._run)
        else:
            self._called = False
            self.allowance = SLICE

    def _let_go_on(
        self, client: Runnable, waiting: "Deferred[None] | None", share: int
    ) -> int:
        """Return how much *client* used."""
        client.turn, client.allowance = self.turn, share
        try:
            if waiting is None:
                client.proceed()
            else:
                waiting.callback(None)
        except Exception:  # the others must not wait for ever
            client.fail(Failure(), "going on")
        return share - client.allowance

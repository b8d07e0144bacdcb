"""Doubles of what consumers rely on."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from centrifugo_tx.consumers.delivery import Record
from centrifugo_tx.core.time_slices import RoundRobin, Slices
from centrifugo_tx.metrics import Metrics

__all__ = ["FAILED_AND_BACK", "Calls", "record_of"]

#: The messages of one outage.
FAILED_AND_BACK = ["consumer failed, trying again", "consumer works again"]


def record_of(name: str = "source") -> Record:
    """Return a record with counters of its own."""
    return Record.of(name, Metrics())


@define(eq=False)
class Calls:
    """Accepts commands and publications; answers with prepared results."""

    clock: Clock
    #: The calls, in order.
    made: list[Any] = field(factory=list)
    #: Returns the answer to a body.
    answer: Callable[[bytes], "str | Deferred[str]"] = lambda body: ""

    def slices(self) -> Slices:
        """Return slices of the clock's turns."""
        return Slices(RoundRobin(self.clock), self.clock)

    def command(self, method: str, body: bytes) -> "str | Deferred[str]":
        """Take a command."""
        self.made.append((method, body))
        return self.answer(body)

    def publication(
        self,
        channels: Sequence[str],
        data: bytes,
        *,
        idempotency_key: str = "",
        delta: bool = False,
        tags: Mapping[str, str] | None = None,
        version: int = 0,
        version_epoch: str = "",
    ) -> "str | Deferred[str]":
        """Take a publication."""
        rest = (idempotency_key, delta, dict(tags or {}), version, version_epoch)
        self.made.append((tuple(channels), data, rest))
        return self.answer(data)

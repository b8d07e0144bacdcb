"""Worker processes that exist in memory only."""

from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from centrifugo_tx.workers.link_messages import (
    REPORTS,
    Order,
    Report,
    decode_order,
    encode,
)

__all__ = ["FakeProcess", "FakeReactor"]


@define(eq=False)
class FakeProcess:
    """A process as its protocol sees it, and as the test moves it."""

    protocol: Any
    arguments: list[str]
    descriptors: Mapping[int, str]
    written: bytes = b""
    stdin_open: bool = True
    signals: list[str] = field(factory=list)
    _ended: bool = False

    def write(self, data: bytes) -> None:
        """Keep the messages to the process."""
        self.written += data

    def closeStdin(self) -> None:
        """Note it."""
        self.stdin_open = False

    def signalProcess(self, name: str) -> None:
        """Note the signal; a process that has ended has none."""
        if self._ended:
            raise ProcessExitedAlready
        self.signals.append(name)

    def orders(self) -> list[Order]:
        """Return the messages to the process."""
        return [decode_order(line) for line in self.written.splitlines()]

    def report(self, report: Report) -> None:
        """Have the process say something to its parent."""
        self.emit_output(encode(report), REPORTS)

    def emit_output(self, data: bytes, descriptor: int = 2) -> None:
        """Have the process write something."""
        self.protocol.childDataReceived(descriptor, data)

    def exit(self, code: int = 0, signal: int | None = None) -> None:
        """End the process."""
        self._ended = True
        error: Exception = ProcessDone(0)
        if code or signal:
            error = ProcessTerminated(code or None, signal, None)
        self.protocol.processEnded(Failure(error))


class FakeReactor(Clock):
    """A clock that starts processes in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.processes: list[FakeProcess] = []
        #: Raised instead of starting one.
        self.trouble: OSError | None = None

    def callWhenRunning(self, function: Callable[[], object]) -> None:
        """Call it: this reactor always runs."""
        function()

    def spawnProcess(
        self,
        protocol: Any,
        executable: str,
        arguments: list[str],
        environment: Mapping[str, str],
        childFDs: Mapping[int, str],
    ) -> FakeProcess:
        """Start one."""
        if self.trouble is not None:
            raise self.trouble
        process = FakeProcess(protocol, arguments, childFDs)
        self.processes.append(process)
        protocol.makeConnection(process)
        return process

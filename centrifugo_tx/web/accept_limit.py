"""Pause accepting before file descriptors run out."""

import os
import resource
from typing import Any

from attrs import define, field
from twisted.internet import tcp
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ..metrics import Counter
from ..transports.eager_tcp import EagerTCPServer

__all__ = ["INTERNAL_RESERVED", "INTERNAL_ROOM", "AcceptLimiter"]

#: Descriptors reserved for listeners, the log, the engine and API calls.
RESERVED = 64
#: Free descriptors with which accepting resumes.
ROOM = 32
#: The same for an internal port, which continues when clients have taken all others.
INTERNAL_RESERVED, INTERNAL_ROOM = 16, 8
#: Seconds without a pause after which the shortage counts as over.
QUIET = 10.0


def _open_files() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


@define(eq=False)
class AcceptLimiter:
    """Makes a port's transports, and pauses the port before ``limit`` open files.

    ``reserved`` descriptors stay free; accepting resumes when ``room`` more are.

    The kernel queues new connections meanwhile; open ones are not affected.
    ``paused`` counts the pauses.  During a shortage every closed connection admits a
    client, and the next pause follows.  So the log has one line at the start of a
    shortage, and one with the number of pauses `QUIET` seconds after the last.
    """

    _port: tcp.Port
    _paused: Counter
    _clock: IReactorTime
    limit: int = field(factory=_open_files)
    reserved: int = RESERVED
    room: int = ROOM
    waiting: bool = field(default=False, init=False)
    _pauses: int = field(default=0, init=False)
    _short_since: float = field(default=0.0, init=False)
    _resumed: float = field(default=0.0, init=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._port.transport = self._accept  # type: ignore[assignment]

    def _accept(self, skt: Any, *arguments: Any) -> EagerTCPServer:
        # The rest of the batch is accepted in any case.
        highest = skt.fileno() + self._port.numberAccepts
        if highest >= self.limit - self.reserved and not self.waiting:
            self._pause()
        return EagerTCPServer(skt, *arguments)

    def _pause(self) -> None:
        self.waiting = True
        self._paused.value += 1
        self._port.stopReading()
        self._pauses += 1
        if self._pauses == 1:
            self._short_since = self._clock.seconds()
            self._log.warn("too many open files, pausing accept", limit=self.limit)

    def resume_if_possible(self) -> None:
        """Resume accepting if descriptors are free again; call this once a second."""
        if self.waiting:
            if self._port.connected and self._has_room():
                self.waiting = False
                self._resumed = self._clock.seconds()
                self._port.numberAccepts = 1  # Twisted raises it again
                self._port.startReading()
        elif self._pauses and self._clock.seconds() - self._resumed >= QUIET:
            self._log.info(
                "accepting connections again after {pauses} pauses in {seconds} s",
                pauses=self._pauses,
                seconds=round(self._resumed - self._short_since, 1),
                limit=self.limit,
            )
            self._pauses = 0

    def _has_room(self) -> bool:
        """Return whether descriptors are free; the kernel assigns the lowest first."""
        tried: list[int] = []
        try:
            for _ in range(self.room):
                tried.append(os.dup(self._port.fileno()))
        except OSError:
            return False
        finally:
            for descriptor in tried:
                os.close(descriptor)
        return tried[-1] < self.limit - self.reserved

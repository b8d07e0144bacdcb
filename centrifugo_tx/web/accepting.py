"""Not to run out of open files: who cannot be let in waits at the door."""

import os
import resource
from typing import Any

from attrs import define, field
from twisted.internet import tcp
from twisted.logger import Logger

from ..metrics import Counter
from ..transports.eager import EagerServer

__all__ = ["AcceptGuard"]

#: Descriptors kept for what is no client: listeners, log, engine, API calls.
RESERVED = 64
#: Free ones below that mark with which accepting goes on.
ROOM = 32


def _open_files() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


@define(eq=False)
class AcceptGuard:
    """Makes a port's transports, and pauses the port before ``limit`` open files.

    The kernel keeps new connections waiting then; those that are there notice
    nothing.  ``paused`` counts the pauses.
    """

    _port: tcp.Port
    _paused: Counter
    limit: int = field(factory=_open_files)
    waiting: bool = field(default=False, init=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._port.transport = self._accept  # type: ignore[assignment]

    def _accept(self, skt: Any, *arguments: Any) -> EagerServer:
        # The rest of the batch will be accepted in any case.
        highest = skt.fileno() + self._port.numberAccepts
        if highest >= self.limit - RESERVED and not self.waiting:
            self._pause()
        return EagerServer(skt, *arguments)

    def _pause(self) -> None:
        self.waiting = True
        self._paused.value += 1
        self._port.stopReading()
        self._log.warn("too many open files, accepting pauses", limit=self.limit)

    def look(self) -> None:
        """Go on if there is room again; to be called now and then."""
        if self.waiting and self._port.connected and self._has_room():
            self.waiting = False
            self._port.numberAccepts = 1  # it grows by itself
            self._port.startReading()
            self._log.info("accepting again", limit=self.limit)

    def _has_room(self) -> bool:
        """Try it: the lowest free descriptors are given out first."""
        tried: list[int] = []
        try:
            for _ in range(ROOM):
                tried.append(os.dup(self._port.fileno()))
        except OSError:
            return False
        finally:
            for descriptor in tried:
                os.close(descriptor)
        return tried[-1] < self.limit - RESERVED

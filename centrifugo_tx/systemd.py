"""Notifications to systemd: readiness, status and watchdog (sd_notify(3))."""

import os
import socket
import time
from collections.abc import Callable

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

__all__ = ["SystemdNotifier", "watchdog_seconds"]

#: Seconds between two checks of the status without a watchdog.
STATUS_INTERVAL = 10.0
#: Messages within the time after which systemd restarts the process.
MESSAGES_PER_WATCHDOG = 4
#: Seconds that a stop may take beyond ``shutdown.timeout``.
STOP_RESERVE = 5.0


def watchdog_seconds() -> float | None:
    """Return the watchdog's timeout for this process, in seconds, or None."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if not microseconds.isdecimal() or not int(microseconds):
        return None
    return int(microseconds) / 1_000_000


@define(eq=False)
class SystemdNotifier:
    """Notifies systemd of the server's state; does nothing without systemd.

    After ``ready``, messages are sent several times within the watchdog's timeout.  A
    reactor that hangs sends none, and a server that does not confirm that it is alive
    sends messages without ``WATCHDOG=1``; systemd then restarts it.
    """

    _clock: IReactorTime
    #: Returns the state of the server in one line, for ``systemctl status``.
    _current_status: Callable[[], str]
    #: Returns whether every process of the server is working.
    _confirm_alive: Callable[[], bool]
    _address: str = field(init=False)
    _watchdog: float | None = field(factory=watchdog_seconds, init=False)
    _loop: LoopingCall | None = field(default=None, init=False)
    _status: str = field(default="", init=False)
    _stopping: bool = field(default=False, init=False)
    _unreachable: bool = field(default=False, init=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "")
        self._address = address if address.startswith(("/", "@")) else ""

    @property
    def has_watchdog(self) -> bool:
        """Whether systemd restarts the server when it sends no messages."""
        return bool(self._address) and self._watchdog is not None

    def starting(self) -> None:
        """Report that the server is starting."""
        self._send("STATUS=Starting")

    def ready(self) -> None:
        """Report that the server is serving; start sending watchdog messages."""
        if not self._address or self._stopping:
            return
        self._status = self._current_status()
        self._send("READY=1", f"STATUS={self._status}")
        if self._loop is None:
            self._loop = LoopingCall(self._report)
            self._loop.clock = self._clock
            limit = self._watchdog
            interval = limit / MESSAGES_PER_WATCHDOG if limit else STATUS_INTERVAL
            self._loop.start(interval)

    def _report(self) -> None:
        lines = []
        if self._watchdog and (self._stopping or self._confirm_alive()):
            lines.append("WATCHDOG=1")
        status = self._current_status()
        if status != self._status and not self._stopping:
            self._status = status
            lines.append(f"STATUS={status}")
        if lines:
            self._send(*lines)

    def reloading(self) -> None:
        """Report that the configuration is being reloaded, until ``reloaded``."""
        if self._loop is not None:
            now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            self._send("RELOADING=1", f"MONOTONIC_USEC={now}")

    def reloaded(self) -> None:
        """Report that the reload has finished."""
        if self._loop is not None:
            self.ready()

    def stopping(self, timeout: float) -> None:
        """Report that the server is stopping, within *timeout* seconds."""
        self._stopping = True
        microseconds = int((timeout + STOP_RESERVE) * 1_000_000)
        self._send(
            "STOPPING=1",
            "STATUS=Disconnecting clients",
            f"EXTEND_TIMEOUT_USEC={microseconds}",
        )

    def stop(self) -> None:
        """Stop sending messages."""
        if self._loop is not None:
            self._loop.stop()
            self._loop = None

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        address = self._address
        if address.startswith("@"):
            address = "\0" + address[1:]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            # A full queue must not hold up the reactor.
            sender.setblocking(False)
            try:
                sender.sendto("\n".join(lines).encode(), address)
            except OSError as error:
                if not self._unreachable:
                    self._log.warn("cannot notify systemd: {reason}", reason=str(error))
                self._unreachable = True
            else:
                self._unreachable = False

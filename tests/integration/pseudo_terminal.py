"""A command on a pseudo-terminal, as a person sees and uses it."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Sequence
from typing import Any

from attrs import define, field

__all__ = ["Terminal", "plain"]

#: Seconds that anything may take.
PATIENCE = 60.0
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def plain(text: str) -> str:
    """Return *text* without escape sequences."""
    return _ESCAPE.sub("", text)


def _take_terminal() -> None:
    """Make standard input the controlling terminal, of a session of its own."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _without_size() -> dict[str, str]:
    """Return the environment without the size of the terminal of the tests."""
    sizes = ("COLUMNS", "LINES")
    return {name: text for name, text in os.environ.items() if name not in sizes}


@define(eq=False)
class Terminal:
    """Runs a command; ``shown`` is everything that it has written so far."""

    command: Sequence[str]
    columns: int = 80
    lines: int = 24
    environment: dict[str, str] = field(factory=dict)
    folder: str | None = None
    shown: str = field(default="", init=False)
    _end: int = field(init=False)
    _other_end: int = field(init=False)
    _process: "subprocess.Popen[bytes]" = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._end, self._other_end = pty.openpty()
        self.resize(self.columns, self.lines)
        self._process = subprocess.Popen(
            list(self.command),
            cwd=self.folder,
            stdin=self._other_end,
            stdout=self._other_end,
            stderr=self._other_end,
            env={**_without_size(), "TERM": "xterm", **self.environment},
            preexec_fn=_take_terminal,
        )

    @property
    def settings(self) -> list[Any]:
        """Return the settings of the terminal, such as whether it echoes."""
        return termios.tcgetattr(self._other_end)

    def resize(self, columns: int, lines: int) -> None:
        """Change the size, and tell what runs."""
        size = struct.pack("HHHH", lines, columns, 0, 0)
        fcntl.ioctl(self._end, termios.TIOCSWINSZ, size)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._end, text.encode())

    def until(self, pattern: str, start: int = 0) -> int:
        """Read until a pattern is shown after *start*; return where it ends."""
        deadline = time.monotonic() + PATIENCE
        while (found := re.compile(pattern).search(self.shown, start)) is None:
            if not self._read(deadline):
                raise AssertionError(f"no {pattern!r} in {self.shown[start:]!r}")
        return found.end()

    def wait(self) -> int:
        """Read the output until the command ends; return its exit code."""
        deadline = time.monotonic() + PATIENCE
        while self._process.poll() is None:
            if not self._read(deadline, 0.05) and time.monotonic() > deadline:
                raise AssertionError(f"it goes on: {self.shown!r}")
        while self._read(time.monotonic(), 0.0):
            pass
        return self._process.returncode

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def close(self) -> None:
        """Leave nothing behind."""
        self._process.kill()
        self._process.wait()
        os.close(self._end)
        os.close(self._other_end)

    def _read(self, deadline: float, longest: float = PATIENCE) -> bool:
        seconds = max(0.0, min(longest, deadline - time.monotonic()))
        if not select.select([self._end], [], [], seconds)[0]:
            return False
        self.shown += os.read(self._end, 65536).decode(errors="replace")
        return True

"""``make run`` and a server on a terminal, and what happens when it is closed."""

import contextlib
import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from shutil import which
from typing import Any
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from .ports import free_port
from .server import PATIENCE

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def _take_terminal() -> None:
    """Make standard input the controlling terminal, of a session of its own.

    Its signals are not ignored, even if those of the tests are, as under nohup.
    """
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class TerminalCase(SynchronousTestCase):
    """Runs a command as the only job of a terminal."""

    def setUp(self) -> None:
        self.port, self.page_port = free_port(), free_port()
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        self.config = folder / "config.json"
        options = json.loads((ROOT / "config" / "development.json").read_text())
        options["http_server"] = {"address": "127.0.0.1", "port": self.port}
        options["health"] = {"enabled": True}
        self.config.write_text(json.dumps(options))

    def run_on_terminal(
        self, *command: str | Path, prepare: Callable[[], object] = _take_terminal
    ) -> "subprocess.Popen[bytes]":
        """Start a command; its terminal is ``self.terminal``."""
        self.terminal, other_end = pty.openpty()
        process = subprocess.Popen(
            list(map(str, command)),
            cwd=ROOT,
            stdin=other_end,
            stdout=other_end,
            stderr=other_end,
            preexec_fn=prepare,
        )
        os.close(other_end)
        self.addCleanup(self.end, process)
        return process

    def end(self, process: "subprocess.Popen[bytes]") -> None:
        """Leave nothing of the session behind."""
        self.close_terminal()
        for pid in self.session(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.wait(PATIENCE)

    def close_terminal(self) -> None:
        """Close it, as the window of an operator."""
        if self.terminal >= 0:
            os.close(self.terminal)
            self.terminal = -1

    def session(self, leader: int) -> list[int]:
        """Return the processes that run in a session."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == leader and fields[0] != "Z":
                found.append(int(stat.parent.name))
        return found

    def wait(self, condition: Callable[[], Any]) -> None:
        """Wait for a condition, while the terminal shows the output."""
        end = time.monotonic() + PATIENCE
        while not condition():
            self.assertLess(time.monotonic(), end, "waited in vain")
            if self.terminal >= 0:
                os.set_blocking(self.terminal, False)
                with contextlib.suppress(BlockingIOError):
                    os.read(self.terminal, 65536)
            time.sleep(0.02)

    def answers(self, port: int, path: str) -> bool:
        """Whether a port serves."""
        connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    def assertAllGone(self, process: "subprocess.Popen[bytes]") -> None:
        """Check that a session and all that it served ends."""
        self.wait(lambda: process.poll() is not None)
        self.wait(lambda: not self.session(process.pid))
        self.assertFalse(self.answers(self.port, "/health"))
        self.assertFalse(self.answers(self.page_port, "/"))


@skipUnless(sys.platform == "linux", "reads /proc")
@skipUnless(which("make"), "make is not installed")
class MakeTests(TerminalCase):
    """The development server and its page end together."""

    def make(self) -> "subprocess.Popen[bytes]":
        """Return a ``make run`` that serves."""
        process = self.run_on_terminal(
            *("make", "run", f"VENV={BIN.parent}", "-o", f"{BIN.parent}/run.stamp"),
            *(f"CONFIG={self.config}", f"PAGE_PORT={self.page_port}"),
        )
        self.wait(lambda: self.answers(self.port, "/health"))
        self.wait(lambda: self.answers(self.page_port, "/"))
        return process

    def test_closed(self) -> None:
        """When the terminal is closed nothing stays on the ports."""
        process = self.make()
        self.close_terminal()
        self.assertAllGone(process)

    def test_interrupted(self) -> None:
        """Ctrl-C ends both."""
        process = self.make()
        os.write(self.terminal, b"\x03")
        self.assertAllGone(process)

    def test_terminated(self) -> None:
        """SIGTERM to make ends both."""
        process = self.make()
        process.send_signal(signal.SIGTERM)
        self.assertAllGone(process)

    def test_server_ends(self) -> None:
        """If the server ends by itself the page ends, too, with the server's code."""
        self.config.write_text('{"engine": {"type": "x"}}')
        process = self.run_on_terminal(
            *("make", "run", f"VENV={BIN.parent}", "-o", f"{BIN.parent}/run.stamp"),
            *(f"CONFIG={self.config}", f"PAGE_PORT={self.page_port}"),
        )
        self.assertAllGone(process)
        self.assertEqual(process.returncode, 2)


@skipUnless(sys.platform == "linux", "reads /proc")
class ServerTests(TerminalCase):
    """A server that an operator has started by hand."""

    def serve(self, **options: Any) -> "subprocess.Popen[bytes]":
        """Start it."""
        process = self.run_on_terminal(
            BIN / "twistd", "-n", "centrifugo", "-c", self.config, **options
        )
        self.wait(lambda: self.answers(self.port, "/health"))
        return process

    def test_reload(self) -> None:
        """While the terminal is open SIGHUP reloads."""
        process = self.serve()
        self.config.write_text(self.config.read_text().replace("true", '"x"'))
        process.send_signal(signal.SIGHUP)
        shown = b""
        os.set_blocking(self.terminal, True)
        while b"configuration not reloaded" not in shown:
            shown += os.read(self.terminal, 65536)
        self.assertTrue(self.answers(self.port, "/health"))
        self.close_terminal()
        self.assertAllGone(process)
        self.assertEqual(process.returncode, 0)

    def test_nohup(self) -> None:
        """Started with ``nohup`` it stays when the terminal is closed."""

        def prepare() -> None:
            _take_terminal()
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

        process = self.serve(prepare=prepare)
        self.close_terminal()
        self.config.write_text("{")
        process.send_signal(signal.SIGHUP)
        for _ in range(5):
            self.assertTrue(self.answers(self.port, "/health"))
        process.send_signal(signal.SIGTERM)
        self.assertAllGone(process)

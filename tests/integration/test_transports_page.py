"""The examples of the page on transports work."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from threading import Timer
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from .server import PATIENCE, Server
from .test_javascript_sdk import node_command

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"


class TransportsPageTests(SynchronousTestCase):
    """The examples, against the server with the development configuration."""

    def setUp(self) -> None:
        options = json.loads((ROOT / "config" / "development.json").read_text())
        self.server = Server(options).start()
        self.addCleanup(self.server.close)
        self.host = f"127.0.0.1:{self.server.port}"

    def publish(self) -> None:
        """Publish as the quick start does."""
        body = json.dumps({"channel": "news", "data": {"text": "Hello"}}).encode()
        headers = {"X-API-Key": "development"}
        status, _ = self.server.request("POST", "/api/publish", body, headers)
        self.assertEqual(status, 200)

    def run_example(self, command: list[str], folder: Path) -> "subprocess.Popen[str]":
        """Start an example; it ends with the test."""
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "HOST": self.host},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

        def end() -> None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()

        impatience = Timer(PATIENCE, os.killpg, (process.pid, signal.SIGKILL))
        impatience.start()
        self.addCleanup(end)
        self.addCleanup(impatience.cancel)
        return process

    def test_configuration(self) -> None:
        """A server starts with the configuration, and serves the enabled transports."""
        page = (ROOT / "docs" / "transports.rst").read_text()
        (block,) = re.findall(r"code-block:: json\n\n((?:    .*\n)+)", page)
        server = Server(json.loads(block)).start()
        self.addCleanup(server.close)
        for path in ("http_stream", "sse", "uni_http_stream"):
            status, _ = server.request("PUT", f"/connection/{path}")
            self.assertEqual((path, status), (path, 405))
        self.assertEqual(server.request("PUT", "/connection/uni_sse")[0], 404)

    def test_curl(self) -> None:
        """curl prints the connection and the publications."""
        if shutil.which("curl") is None:
            raise SkipTest("curl is not installed")
        listening = self.run_example(["sh", str(EXAMPLES / "listen.sh")], ROOT)
        assert listening.stdout is not None
        self.assertIn(
            "news", json.loads(listening.stdout.readline())["connect"]["subs"]
        )
        self.publish()
        push = json.loads(listening.stdout.readline())
        self.assertEqual(push["pub"]["data"], {"text": "Hello"})

    def test_fallback(self) -> None:
        """The client for JavaScript takes the first transport that it can."""
        node = node_command("javascript_sdk.mjs")
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        modules = Path(node[1]).with_name("node_modules")
        (folder / "node_modules").symlink_to(modules)
        shutil.copy(EXAMPLES / "fallback.mjs", folder)
        listening = self.run_example([node[0], "fallback.mjs", self.host], folder)
        assert listening.stdout is not None
        self.assertTrue(listening.stdout.readline().startswith("connected by "))
        self.assertEqual(listening.stdout.readline(), "subscribed\n")
        self.publish()
        self.assertEqual(listening.stdout.readline(), "{ text: 'Hello' }\n")

"""The example backends, asked by a real server for the JavaScript SDK in a browser."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from .chromium import Chromium, Tab
from .ports import free_port
from .server import Server
from .test_javascript_sdk import node_command

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples" / "backends"
SDK = Path(__file__).parent / "js" / "node_modules" / "centrifuge" / "dist"
#: Seconds that a backend has to start.
PATIENCE = 60.0

#: Connects; resolves to the end of the connection.
REFUSED = """
new Promise((done) => {
  const client = new Centrifuge(%s);
  client.on("disconnected", (ctx) => done([ctx.code, ctx.reason]));
  client.connect();
})
"""
#: Connects, publishes twice and calls twice; resolves to the results.
TALK = """
(async () => {
  const client = new Centrifuge(%s);
  const failure = (promise) => promise.then(() => null, (error) => error.code);
  const published = new Promise((done) => client.on("publication", done));
  const connected = new Promise((done) => client.on("connected", done));
  client.connect();
  await connected;
  const result = {
    empty: await failure(client.publish("news", { text: " " })),
    unreadable: await failure(client.publish("news", [1])),
    unknown: await failure(client.rpc("divide", [1, 2])),
    rpc: (await client.rpc("sum", [1, 2, 3])).data,
  };
  await client.publish("news", { text: " Hello " });
  result.published = (await published).data;
  client.disconnect();
  return result;
})()
"""


class ExampleTests(SynchronousTestCase):
    """Login, a refused client, publications and calls."""

    def setUp(self) -> None:
        self.browser = Chromium()
        node_command("javascript_sdk.mjs")  # so that the SDK is installed
        self.port = free_port()
        self.backend = f"http://127.0.0.1:{self.port}"

    def start(self, *command: str) -> None:
        """Start the backend and the server with the page's configuration."""
        environment = {**os.environ, "PYTHONPATH": str(EXAMPLES)}
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(
            [sys.executable, *command], env=environment, stdout=quiet, stderr=quiet
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        deadline = time.monotonic() + PATIENCE
        while True:
            with socket.socket() as probe:
                if not probe.connect_ex(("127.0.0.1", self.port)):
                    break
            assert process.poll() is None, "the backend has ended"
            assert time.monotonic() < deadline, "the backend does not listen"
            time.sleep(0.05)
        config = (EXAMPLES / "server.json").read_text()
        config = config.replace("http://127.0.0.1:8001", self.backend)
        self.server = Server(json.loads(config)).start()
        self.addCleanup(self.server.close)

    def talk(self, tab: Tab, script: str) -> Any:
        """Run a script with the SDK on the page."""
        tab.run((SDK / "centrifuge.js").read_text())
        return tab.run(script % json.dumps(self.server.url))

    def check(self) -> None:
        """Run the example in the browser."""
        with self.browser.tab() as tab:
            tab.go(f"{self.backend}/no-page")
            refused = self.talk(tab, REFUSED)
            self.assertEqual(refused, [4501, "log in first"])
            tab.go(f"{self.backend}/login/ada")
            tab.sees("You are ada.")
            found = self.talk(tab, TALK)
        expected = {
            "empty": 1000,
            "unreadable": 107,
            "unknown": 1001,
            "rpc": {"sum": 6},
            "published": {"text": "Hello", "from": "ada"},
        }
        self.assertEqual(found, expected)

    def test_django(self) -> None:
        """The backend in Django."""
        self.start(str(EXAMPLES / "django_backend.py"), str(self.port))
        self.check()

    def test_fastapi(self) -> None:
        """The backend in FastAPI."""
        arguments = ("fastapi_backend:app", "--port", str(self.port))
        self.start("-m", "uvicorn", *arguments)
        self.check()

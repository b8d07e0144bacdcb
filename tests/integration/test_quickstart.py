"""The steps of the quick start work as described."""

import json
import subprocess
import sys
from pathlib import Path
from threading import Timer

from twisted.trial.unittest import SynchronousTestCase

from .server import PATIENCE, Server

ROOT = Path(__file__).parents[2]


class QuickStartTests(SynchronousTestCase):
    """Two listeners, one publication by the documented call."""

    def test_listen_and_publish(self) -> None:
        """Both listeners print the publication."""
        options = json.loads((ROOT / "config" / "development.json").read_text())
        server = Server(options).start()
        self.addCleanup(server.close)
        script = str(ROOT / "docs" / "examples" / "listen.py")
        listeners = [
            subprocess.Popen(
                [sys.executable, script, server.url],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            for _ in range(2)
        ]
        impatience = Timer(PATIENCE, lambda: [each.kill() for each in listeners])
        impatience.start()
        try:
            for listener in listeners:
                assert listener.stdout is not None
                self.assertEqual(listener.stdout.readline(), "listening\n")
            body = {"channel": "news", "data": {"text": "Hello"}}
            answer = server.request(
                "POST", "/api/publish", json.dumps(body), {"X-API-Key": "development"}
            )
            self.assertEqual(answer[0], 200)
            for listener in listeners:
                assert listener.stdout is not None
                self.assertEqual(listener.stdout.readline(), "{'text': 'Hello'}\n")
        finally:
            impatience.cancel()
            for listener in listeners:
                listener.kill()
                listener.wait()
                assert listener.stdout is not None
                listener.stdout.close()

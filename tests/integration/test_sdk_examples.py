"""The programs that the page on SDKs shows, against a real server.

They are ``listen.py`` and, in ``docs/examples/sdks``, ``listen.mjs``, ``main.go`` and
``Listen.java``, with ``go.mod`` and ``pom.xml``.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from .server import Server, shared_server
from .test_javascript_sdk import node_command

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples" / "sdks"
OPTIONS = {
    "client": {"allow_anonymous_connect_without_token": True},
    "channel": {
        "without_namespace": {
            "allow_subscribe_for_client": True,
            "allow_subscribe_for_anonymous": True,
        }
    },
}
#: Seconds that a line may take, and a build that downloads a library.
PATIENCE, BUILD = 60.0, 300.0


def needed(program: str) -> str:
    """Return the path of a system program."""
    found = shutil.which(program)
    if found is None:
        raise SkipTest(f"{program} is not installed")
    return found


def built(command: list[str], folder: Path) -> None:
    """Run a build, which may need the registry of its language."""
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=BUILD
    )
    if done.returncode:
        said = (done.stdout + done.stderr)[-300:]
        raise SkipTest(f"{command[0]} cannot build the example here: {said}")


class Listener:
    """A running example, whose lines arrive in a queue."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: Queue[str] = Queue()
        self.reader = Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))

    def line(self) -> str:
        """Return the next line."""
        try:
            return self.lines.get(timeout=PATIENCE)
        except Empty:
            raise AssertionError("the example prints nothing") from None

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        self.reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


class SDKExampleTests(SynchronousTestCase):
    """Each program subscribes, and prints what is published."""

    def setUp(self) -> None:
        self.server: Server = shared_server("sdk-examples", OPTIONS)

    def listen(self, command: list[str], folder: Path = EXAMPLES) -> None:
        """Run a program until it has printed a publication."""
        listener = Listener([*command, self.server.url], folder)
        try:
            self.assertEqual(listener.line(), "listening")
            self.server.api("publish", channel="news", data={"text": "hi"})
            printed = listener.line()
        finally:
            listener.close()
        # Python prints its own form of the value.
        self.assertEqual(json.loads(printed.replace("'", '"')), {"text": "hi"})

    def test_python(self) -> None:
        """centrifuge-python."""
        self.listen([sys.executable, str(EXAMPLES.with_name("listen.py"))])

    def test_javascript(self) -> None:
        """centrifuge-js; the library is found beside the program."""
        node, *_ = node_command("javascript_sdk.mjs")
        modules = Path(__file__).with_name("js") / "node_modules"
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(EXAMPLES / "listen.mjs", folder)
            os.symlink(modules, Path(folder, "node_modules"))
            self.listen([node, "listen.mjs"], Path(folder))

    def test_go(self) -> None:
        """centrifuge-go."""
        go = needed("go")
        with tempfile.TemporaryDirectory() as folder:
            program = str(Path(folder, "listen"))
            built([go, "build", "-o", program, "."], EXAMPLES / "go")
            self.listen([program])

    def test_java(self) -> None:
        """centrifuge-java."""
        maven, java = needed("mvn"), needed("java")
        goals = ["compile", "dependency:build-classpath", "-Dmdep.outputFile=paths"]
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(EXAMPLES / "java", folder, dirs_exist_ok=True)
            built([maven, "--quiet", "--batch-mode", *goals], Path(folder))
            paths = f"target/classes:{Path(folder, 'paths').read_text()}"
            self.listen([java, "-cp", paths, "Listen"], Path(folder))

"""Tests of short-lived processes."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from subprocess import Popen, run
from urllib.request import urlopen

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.workers import die_with_parent
from centrifugo_tx.workers.valkey import remove_orphans

from .certificates import Authority, locked

_SESSION = "import os; print(os.getsid(0) == os.getpid())"

_LEAVE = """
import os
from centrifugo_tx.workers.valkey import SocketFolder
print(SocketFolder.make().path, flush=True)
os.kill(os.getpid(), 9)
"""
#: Prints the modules that are loaded when a server with default options is built.
_BUILD = """
import sys
from twisted.internet import reactor
import centrifugo_tx.launch
from centrifugo_tx.config.load import load
from centrifugo_tx.service import build
build(reactor, load("", {}).config)
print(*sys.modules)
"""
#: Prints the modules that are loaded after a command.
_COMMAND = """
import sys
from centrifugo_tx.cli import main
main(sys.argv[1:])
print(*sys.modules)
"""
#: What a server needs only for some options: libraries, and costly parts of Python.
OPTIONAL = {
    *("aiobotocore", "aiokafka", "botocore", "dotenv", "grpc", "hiredis", "nats"),
    *("opentelemetry", "psycopg", "psycopg_pool", "shtab", "tomli_w", "txredisapi"),
    "yaml",
}
#: What a command needs only to connect, or to read a configuration.
OF_SERVER = {
    *("autobahn", "cryptography", "google", "jwt", "OpenSSL"),
    *("prometheus_client", "twisted.internet", "twisted.web", "zope"),
}


class CommandTests(SynchronousTestCase):
    """The console script (operations, "Console commands")."""

    def test_serve(self) -> None:
        """Files of a folder are served, and the line says where."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "index.html").write_text("a page")
        command = [sys.executable, "-m", "centrifugo_tx", "serve", "-d", str(folder)]
        with Popen(
            [*command, "-a", "127.0.0.1", "-p", "0"], stdout=-1, text=True
        ) as server:
            self.addCleanup(server.kill)
            assert server.stdout is not None
            line = server.stdout.readline()
            self.assertTrue(line.startswith(f"start serving {folder} on 127."), line)
            with urlopen(f"http://{line.split()[-1]}/") as answer:
                self.assertEqual(answer.read(), b"a page")
            server.terminate()

    def modules(self, code: str, *arguments: str) -> set[str]:
        """Return the modules that a program has loaded at its end."""
        ended = run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True
        )
        self.assertEqual(ended.returncode, 0, ended.stderr)
        return set(ended.stdout.split())

    def test_start(self) -> None:
        """A server starts quickly: it loads no library that its options do not need."""
        loaded = self.modules(_BUILD)
        self.assertIn("autobahn", loaded)
        self.assertEqual(loaded & OPTIONAL, set())

    def test_short_commands(self) -> None:
        """Commands that need no server load none of it."""
        for arguments in (["version"], ["completion", "bash"], ["help"]):
            loaded = self.modules(_COMMAND, *arguments)
            self.assertIn("argparse", loaded)
            self.assertEqual(loaded & (OF_SERVER | OPTIONAL) - {"shtab"}, set())

    def test_server(self) -> None:
        """Without a command the server runs, which here finds nothing to run by."""
        ended = run(
            [sys.executable, "-m", "centrifugo_tx", "--engine.type", "x"],
            capture_output=True,
            text=True,
            cwd=self.mktemp_folder(),
        )
        self.assertEqual(ended.returncode, 1)
        self.assertIn('error: engine.type: "x" must be one of', ended.stderr)

    def mktemp_folder(self) -> str:
        """Make a folder and return its path."""
        path = self.mktemp()
        os.mkdir(path)
        return path


class PassphraseTests(SynchronousTestCase):
    """Keys under a passphrase."""

    def setUp(self) -> None:
        self.cert, self.key = Authority().issue("localhost")

    def test_no_questions(self) -> None:
        """Nobody is asked for the passphrase of a key."""
        program = (
            "import sys; from centrifugo_tx.options import TLSOptions;"
            "from centrifugo_tx.tls import server_context;"
            "cert, key = sys.argv[1:];"
            "server_context(TLSOptions(enabled=True, cert_pem=cert, key_pem=key))"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, self.cert, locked(self.key)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            start_new_session=True,
        )
        self.assertEqual(done.returncode, 1)
        self.assertIn("without a passphrase", done.stderr)
        self.assertNotIn("Enter", done.stdout + done.stderr)


class ExitTests(SynchronousTestCase):
    """The exit code."""

    def test_exit_with(self) -> None:
        """The process exits with the code, and its output is not lost."""
        code = (
            "from centrifugo_tx.process import exit_with; exit_with(7); print('said')"
        )
        ended = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True
        )
        self.assertEqual((ended.returncode, ended.stdout), (7, "said\n"))


class LeashTests(SynchronousTestCase):
    """The installed script."""

    def become(self, parent: int) -> str:
        """Return the program that the script becomes."""
        command = [sys.executable, "-I", "-S", die_with_parent.__file__, str(parent)]
        ended = subprocess.run(
            [*command, sys.executable, "-c", _SESSION], capture_output=True, text=True
        )
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))
        return ended.stdout

    def test_becomes(self) -> None:
        """It becomes the program, away from the terminal."""
        self.assertEqual(self.become(os.getpid()), "True\n")

    def test_orphan(self) -> None:
        """When the parent is gone already, it becomes nothing."""
        self.assertEqual(self.become(1), "")


class OrphanTests(SynchronousTestCase):
    """Folders of servers that were killed."""

    def setUp(self) -> None:
        scratch = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, scratch)
        self.patch(tempfile, "tempdir", scratch)

    def test_killed(self) -> None:
        """The lock ends with the process that holds it."""
        left = subprocess.run(
            [sys.executable, "-c", _LEAVE],
            capture_output=True,
            text=True,
            env={**os.environ, "TMPDIR": tempfile.gettempdir()},
        )
        path = Path(left.stdout.strip())
        self.assertTrue(path.is_dir(), left.stderr)
        self.assertEqual(remove_orphans(), [path])

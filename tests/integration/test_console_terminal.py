"""The commands on a terminal, and every example of the page about them."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from .page import blocks_of
from .pseudo_terminal import Terminal, plain
from .server import PATIENCE, Server, shared_server

BIN = str(Path(sys.executable).parent)
SCRIPT = [sys.executable, "-m", "centrifugo_tx"]
PAGE = Path(__file__).parents[2] / "docs" / "console.rst"
#: Escape sequences: any; those that enter and leave the other screen.
ESCAPE, ENTER, LEAVE = "\x1b", "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_OPTIONS: dict[str, Any] = {
    "channel": {
        "without_namespace": {
            "presence": True,
            "history_size": 10,
            "history_ttl": "60s",
            "allow_subscribe_for_client": True,
            "allow_subscribe_for_anonymous": True,
        },
        "namespaces": [
            {
                "name": "map",
                "subscription_type": "map",
                "map": {"mode": "persistent"},
            }
        ],
    },
    "client": {"allow_anonymous_connect_without_token": True},
}


class ConsoleCase(SynchronousTestCase):
    """A server, and a folder with its configuration."""

    def setUp(self) -> None:
        self.server: Server = shared_server("console", _OPTIONS)
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        source = self.server._path("config.json")
        shutil.copy(source, Path(self.folder, "config.json"))

    def terminal(self, *arguments: str, **how: Any) -> Terminal:
        """Run a command on a terminal."""
        terminal = Terminal([*SCRIPT, *arguments], folder=self.folder, **how)
        self.addCleanup(terminal.close)
        return terminal

    def piped(self, *arguments: str) -> str:
        """Return the output of a command in a pipe."""
        done = subprocess.run(
            [*SCRIPT, *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout


class ColourTests(ConsoleCase):
    """Colour is for terminals."""

    def test_info(self) -> None:
        """A table has colour on a terminal, none in a pipe or where none is wanted."""
        terminal = self.terminal("info")
        self.assertEqual(terminal.wait(), 0)
        self.assertIn(ESCAPE, terminal.shown)
        self.assertRegex(plain(terminal.shown), r"^NODE +VERSION +UPTIME +CLIENTS")
        piped = self.piped("info")
        self.assertNotIn(ESCAPE, piped)
        for variable in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
            terminal = self.terminal("info", environment=variable)
            self.assertEqual(terminal.wait(), 0)
            self.assertNotIn(ESCAPE, terminal.shown)
            shown = terminal.shown.splitlines()
            self.assertEqual(shown[0], piped.splitlines()[0])

    def test_json(self) -> None:
        """JSON is the same on a terminal: one line, without colour."""
        for arguments in (
            ["info"],
            ["publish", "news", '{"a": 1}'],
            ["history", "news"],
            ["top", "--once"],
        ):
            terminal = self.terminal(*arguments, "--json")
            self.assertEqual(terminal.wait(), 0, terminal.shown)
            [line] = terminal.shown.splitlines()
            self.assertIsInstance(json.loads(line), dict)

    def test_error(self) -> None:
        """An error is one line."""
        terminal = self.terminal("publish", "unknown:x", "1")
        self.assertEqual(terminal.wait(), 1)
        self.assertIn("error 102: unknown channel", terminal.shown)
        self.assertEqual(terminal.shown.count("\n"), 1)


class LiveTests(ConsoleCase):
    """Commands that go on until a person ends them."""

    def top(self) -> Terminal:
        """Return a table that is shown."""
        terminal = self.terminal("top", "-i", "0.1")
        self.before = terminal.settings
        terminal.until("NODE")
        self.assertTrue(terminal.shown.startswith(ENTER), terminal.shown)
        # Keys are read one by one, and not shown.
        self.assertNotEqual(terminal.settings, self.before)
        return terminal

    def assertRestored(self, terminal: Terminal, code: int) -> None:
        """Check that a command leaves the terminal as it was."""
        self.assertEqual(terminal.wait(), code)
        self.assertTrue(terminal.shown.endswith(LEAVE), terminal.shown[-100:])
        self.assertEqual(terminal.settings, self.before)
        self.assertNotIn("Traceback", terminal.shown)

    def test_quit(self) -> None:
        """Other keys do nothing; ``q`` ends it."""
        terminal = self.top()
        terminal.type("xyz")
        terminal.until("NODE", len(terminal.shown))
        terminal.type("q")
        self.assertRestored(terminal, 0)

    def test_interrupt(self) -> None:
        """Ctrl-C ends it, too."""
        terminal = self.top()
        terminal.type("\x03")
        self.assertRestored(terminal, 0)

    def test_terminate(self) -> None:
        """So does SIGTERM, with the code of that."""
        terminal = self.top()
        terminal.signal(signal.SIGTERM)
        self.assertRestored(terminal, 128 + signal.SIGTERM)

    def next_screen(self, terminal: Terminal, start: int) -> tuple[list[str], int]:
        """Return the rows of the next whole screen behind *start*, and its end."""
        start = terminal.until(r"\x1b\[H", start)
        end = terminal.until(r"\x1b\[J", start)
        # The terminal puts a carriage return before each line feed.
        shown = plain(terminal.shown[start:end]).replace("\r", "")
        return shown.split("\n"), end

    def test_resize(self) -> None:
        """The table fits the window, also when its size changes."""
        terminal = self.top()
        for columns, lines in ((30, 4), (120, 40), (10, 2)):

            def fits(
                rows: list[str], columns: int = columns, lines: int = lines
            ) -> bool:
                is_small = len(rows) <= lines and max(map(len, rows)) <= columns
                return is_small and (columns < 80 or "q: quit" in rows[0])

            terminal.resize(columns, lines)
            # Screens that were drawn before may still be on their way.
            rows, start = self.next_screen(terminal, len(terminal.shown))
            deadline = time.monotonic() + PATIENCE
            while not fits(rows):
                self.assertLess(time.monotonic(), deadline, rows)
                rows, start = self.next_screen(terminal, start)
            rows, start = self.next_screen(terminal, start)
            self.assertTrue(fits(rows), rows)
        terminal.type("q")
        self.assertRestored(terminal, 0)

    def test_subscribe(self) -> None:
        """Publications are plain, lines about the connection less visible."""
        terminal = self.terminal("subscribe", "ticker", "--user", "42")
        terminal.until(r"\x1b\[2msubscribed to ticker\x1b\[0m\r\n")
        publishing = self.terminal("publish", "ticker", '{"price": "\\u001b[31m1"}')
        self.assertEqual(publishing.wait(), 0, publishing.shown)
        terminal.until(r'\n\{"price":"\\u001b\[31m1"\}\r\n')
        terminal.type("\x03")
        self.assertEqual(terminal.wait(), 0)
        self.assertNotIn("Traceback", terminal.shown)


class CompletionTests(ConsoleCase):
    """Completion in a shell on a terminal."""

    def test_bash(self) -> None:
        """bash completes commands and flags when a person presses Tab."""
        bash = shutil.which("bash")
        if bash is None:
            raise SkipTest("needs bash")
        Path(self.folder, "completion").write_text(self.piped("completion", "bash"))
        variables = {"PATH": f"{BIN}:{os.environ['PATH']}", "PS1": "ready> "}
        terminal = Terminal(
            [bash, "--norc", "--noprofile", "-i"],
            environment=variables,
            folder=self.folder,
        )
        self.addCleanup(terminal.close)
        terminal.until("ready> ")
        terminal.type("source ./completion; echo sou''rced\n")
        terminal.until("sourced\r\n")
        terminal.type("centrifugo-tx broad\t")
        at = terminal.until("broadcast ")
        terminal.type("--skip-h\t")
        terminal.until("--skip-history", at)


class PageTests(ConsoleCase):
    """Every example of the page runs."""

    def test_examples(self) -> None:
        """Each command ends well; those that go on are ended as the page says."""
        text = PAGE.read_text()
        blocks = [each.text for each in blocks_of(text) if each.language == "sh"]
        commands = [line.strip() for block in blocks for line in block.splitlines()]
        inline = re.findall(r"``((?:call map_stats|top) [^`]*)``", text)
        self.assertEqual(len(inline), 2)
        commands += [f"centrifugo-tx {each}" for each in inline]
        self.assertGreater(len(commands), 18)
        for line in commands:
            self.assertTrue(line.startswith("centrifugo-tx "), line)
        for folder in (
            *(".local/share/bash-completion/completions", ".zfunc"),
            ".config/fish/completions",
        ):
            Path(self.folder, folder).mkdir(parents=True)
        Path(self.folder, "old.json").write_text('{"allow_subscribe_for_client": true}')
        variables = {"HOME": self.folder, "PATH": f"{BIN}:{os.environ['PATH']}"}
        for line in commands:
            line = line.replace(
                "https://example.com", f"http://127.0.0.1:{self.server.port}"
            )
            line = line.replace("--output config.json", "--output new.json")
            terminal = Terminal(
                ["sh", "-c", f"exec {line}"], folder=self.folder, environment=variables
            )
            self.addCleanup(terminal.close)
            if line == "centrifugo-tx subscribe news":
                terminal.until("subscribed to news")
                terminal.type("\x03")
            self.assertEqual(terminal.wait(), 0, (line, terminal.shown))
            self.assertNotIn("Traceback", terminal.shown)
        for path in re.findall(r"> ~/(\S+)", text):
            self.assertGreater(Path(self.folder, path).stat().st_size, 1000)

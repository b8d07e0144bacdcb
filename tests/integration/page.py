"""Runs the code blocks of a page of the documentation, from top to bottom.

The page runs in a new folder.  A block with a caption is written to a file of that
name; ``config.json`` starts a server with that configuration.  In a block of the
language ``console`` each line that begins with ``$`` is run, and the following lines
are its output; ``...`` matches any text.  With a caption, such a block is a separate
window: its last command keeps running, and may print the lines at any later time.  A
block in Python without a caption runs with the names of the previous ones.

The page uses ``localhost:8000``; the server of the test listens elsewhere.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import Any
from unittest import SkipTest

from attrs import define, field, frozen

from .server import PATIENCE, Server

__all__ = ["DOCS", "Block", "Page", "blocks_of"]

DOCS = Path(__file__).parents[2] / "docs"

_DIRECTIVE = re.compile(
    r"^( *)\.\. code-block:: (\S+)\n((?:\1   :\w+:[^\n]*\n)*)"
    r"\n((?:\1   [^\n]*\n|\n)+)",
    re.MULTILINE,
)
_ADDRESS = re.compile(r"\b(localhost|127\.0\.0\.1):8000\b")


@frozen
class Block:
    """One block of code: its language, its caption or ``""``, and its lines."""

    language: str
    caption: str
    text: str


def blocks_of(page: str) -> list[Block]:
    """Return the code blocks in the text of a page."""
    found = []
    for match in _DIRECTIVE.finditer(page):
        _, language, options, body = match.groups()
        caption = re.search(r":caption: *(.*)", options)
        text = textwrap.dedent(body).strip("\n") + "\n"
        found.append(Block(language, caption[1].strip() if caption else "", text))
    return found


def commands_of(text: str) -> list[tuple[str, list[str]]]:
    """Return the commands of a ``console`` block, each with the lines it prints."""
    found: list[tuple[str, list[str]]] = []
    continued = False
    for line in text.rstrip("\n").split("\n"):
        if continued:
            found[-1] = (f"{found[-1][0]}\n{line}", [])
        elif line.startswith("$ "):
            found.append((line[2:], []))
        else:
            assert found, f"output without a command: {line}"
            found[-1][1].append(line)
            continue
        continued = line.endswith("\\")
    return found


def printed_pattern(lines: list[str]) -> "re.Pattern[str]":
    """Return what matches the output that the page shows."""
    parts = []
    for line in lines:
        if line.strip() == "...":
            parts.append(r"(?:[^\n]*\n)*?")
        else:
            parts.append(
                ".*?".join(map(re.escape, line.rstrip().split("..."))) + r" *\n"
            )
    return re.compile("".join(parts))


@define(eq=False)
class Page:
    """The blocks of one page, and what runs because of them."""

    name: str
    server: Server | None = field(default=None, init=False)
    _folder: "tempfile.TemporaryDirectory[str]" = field(init=False)
    _names: dict[str, Any] = field(factory=dict, init=False)
    _windows: "list[tuple[subprocess.Popen[bytes], Path, list[str]]]" = field(
        factory=list, init=False
    )

    def __attrs_post_init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()

    @property
    def folder(self) -> Path:
        """Return where its files are."""
        return Path(self._folder.name)

    def run(self) -> int:
        """Run all blocks; return how many.

        :raises SkipTest: a block calls curl, which is not there.
        """
        blocks = blocks_of((DOCS / f"{self.name}.rst").read_text())
        consoles = [block.text for block in blocks if block.language == "console"]
        if re.search(r"\bcurl\b", "\n".join(consoles)) and not shutil.which("curl"):
            raise SkipTest("curl is not installed")
        for block in blocks:
            self._run_block(block)
        for _, log, lines in self._windows:
            self._wait_for(log, lines)
        return len(blocks)

    def close(self) -> None:
        """End everything."""
        for process, *_ in self._windows:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if self.server is not None:
            self.server.close()
        self._folder.cleanup()

    def _run_block(self, block: Block) -> None:
        text = block.text
        if block.caption == "config.json":
            self._start_server(json.loads(text))
        elif block.language == "console":
            self._run_console(self._here(text), bool(block.caption))
        elif block.caption:
            (self.folder / block.caption).write_text(self._here(text))
        elif block.language == "python":
            exec(compile(self._here(text), self.name, "exec"), self._names)
        elif block.language == "json":
            json.loads(text)
        else:
            # tests/integration/test_page_blocks.py checks these.
            checked = block.language in ("text", "javascript", "sh")
            assert checked, f"nothing runs {block.language}: {text}"

    def _here(self, text: str) -> str:
        """Return *text* with the address of the server that runs."""
        if self.server is None:
            return text
        return _ADDRESS.sub(f"127.0.0.1:{self.server.port}", text)

    def _start_server(self, options: dict[str, Any]) -> None:
        if self.server is not None:
            self.server.close()
        self.server = Server(options).start()
        port = {"port": self.server.port, **options.get("http_server", {})}
        (self.folder / "config.json").write_text(
            json.dumps({**options, "http_server": port})
        )

    @property
    def _environment(self) -> dict[str, str]:
        programs = Path(sys.executable).parent
        return {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}

    def _run_console(self, text: str, window: bool) -> None:
        commands = commands_of(text)
        if window:
            self._open_window(*commands.pop())
        for command, lines in commands:
            done = subprocess.run(
                ["bash", "-c", command],
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=PATIENCE,
            )
            printed = done.stdout if done.stdout.endswith("\n") else done.stdout + "\n"
            if lines:
                assert printed_pattern(lines).fullmatch(printed), (
                    f"{self.name}: {command}\nprints\n{printed}\nand not\n"
                    + "\n".join(lines)
                )
            else:
                assert done.returncode == 0, f"{self.name}: {command}\n{printed}"

    def _open_window(self, command: str, lines: list[str]) -> None:
        """Start a command that keeps running, and wait for its first line."""
        log = self.folder / f"window-{len(self._windows)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["bash", "-c", command],
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._windows.append((process, log, lines))
        self._wait_for(log, lines[:1])

    def _wait_for(self, log: Path, lines: list[str]) -> None:
        pattern, deadline = printed_pattern(lines), time.monotonic() + PATIENCE
        while not pattern.match(log.read_text()):
            assert time.monotonic() < deadline, (
                f"{self.name}: a window prints\n{log.read_text()}\nand not\n"
                + "\n".join(lines)
            )
            time.sleep(0.02)

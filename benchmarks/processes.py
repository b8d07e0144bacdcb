"""Servers on one core, and the load client on another."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from attrs import define, field

__all__ = ["Load", "Program", "Tools", "configuration", "server_command"]

_HERE = Path(__file__).parent
#: Seconds that a server may take to start.
PATIENCE = 30.0

Command = list[str]


class Tools:
    """The C programs, compiled into a folder."""

    def __init__(self, folder: Path) -> None:
        self.load = str(folder / "load")
        self.sendloop = str(folder / "sendloop")
        sources = sorted(map(str, (_HERE / "load").glob("*.c")))
        _compile(self.load, sources)
        _compile(self.sendloop, [str(_HERE / "baselines" / "sendloop.c")])


def _compile(output: str, sources: list[str]) -> None:
    compiler = os.environ.get("CC", "cc")
    subprocess.run([compiler, "-O2", "-Wall", "-o", output, *sources], check=True)


def configuration(port: int) -> dict[str, Any]:
    """Return the configuration of our server."""
    return {
        "http_server": {"address": "127.0.0.1", "port": port},
        "http_api": {"key": "key"},
        "http_stream": {"enabled": True},
        "sse": {"enabled": True},
        "client": {
            "allow_anonymous_connect_without_token": True,
            "allowed_origins": ["*"],
        },
        "channel": {
            "without_namespace": {
                "allow_subscribe_for_client": True,
                "allow_subscribe_for_anonymous": True,
                "allow_publish_for_client": True,
                "allow_publish_for_anonymous": True,
            }
        },
    }


def server_command(folder: Path, port: int) -> Command:
    """Return the command that starts our server; write its configuration."""
    path = folder / f"{port}.json"
    path.write_text(json.dumps(configuration(port)))
    twistd = str(Path(sys.executable).with_name("twistd"))
    return [twistd, "-n", "--pidfile=", "centrifugo", "--config", str(path)]


def free_port() -> int:
    """Return a port on which no process listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _cores() -> tuple[int, int]:
    """Return the core of servers and the core of the load client."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[0], cores[-1]


@define(eq=False)
class Program:
    """A server that runs as long as the context."""

    name: str
    command: Command
    port: int
    process: "subprocess.Popen[bytes]" = field(init=False)

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.sched_setaffinity(self.process.pid, {_cores()[0]})
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return self
            except ConnectionRefusedError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{self.command} did not start") from None
                time.sleep(0.05)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.wait()


@define(eq=False)
class Load:
    """The load client of one server; see ``load/load.c`` for its commands."""

    _tools: Tools
    _server: Program
    _process: "subprocess.Popen[str]" = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._process = subprocess.Popen(
            [self._tools.load, str(self._server.port), str(self._server.process.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        os.sched_setaffinity(self._process.pid, {_cores()[1]})

    def run(self, command: str) -> dict[str, float]:
        """Run a command; return its measurement."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._server.name}: {command!r} failed")
        measured: dict[str, float] = json.loads(line)
        return measured

    def close(self) -> None:
        """Stop the client, which closes its connections."""
        self._process.communicate()

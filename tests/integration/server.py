"""A server as a process of its own, and what its operator can do with it."""

import atexit
import json
import os
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any

import jwt
from attrs import define, field

from .ports import free_port

__all__ = [
    "API_KEY",
    "SECRET",
    "Server",
    "connection_token",
    "shared_server",
    "subscription_token",
]

API_KEY = "the-key-of-the-api"
SECRET = "the-secret-that-signs-the-tokens"
#: Seconds that a server has to start, and to stop.
PATIENCE = 60.0

_BASE: dict[str, Any] = {
    "http_server": {"address": "127.0.0.1"},
    "http_api": {"key": API_KEY},
    # A client of a test answers pings only while the test reads from it.
    "client": {"token": {"hmac_secret_key": SECRET}, "ping_interval": "300s"},
    "health": {"enabled": True},
}


def connection_token(user: str, **claims: Any) -> str:
    """Return a signed token for *user*."""
    return jwt.encode({"sub": user, **claims}, SECRET, "HS256")


def subscription_token(user: str, channel: str, **claims: Any) -> str:
    """Return a signed token with which *user* may subscribe to *channel*."""
    return connection_token(user, channel=channel, **claims)


def command(config: Path) -> list[str]:
    """Return the command that starts a server."""
    twistd = str(Path(sys.executable).with_name("twistd"))
    return [twistd, "-n", "--pidfile=", "centrifugo", "--config", str(config)]


@define(eq=False)
class Server:
    """A server on a free port of the loopback interface.

    ``options`` are laid over a small configuration with an API key, a token secret
    and the health endpoint.
    """

    options: dict[str, Any] = field(factory=dict)
    #: How requests are encrypted, if they are.
    context: ssl.SSLContext | None = None
    port: int = field(init=False)
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)
    _directory: "tempfile.TemporaryDirectory[str]" = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.port = free_port()
        self._directory = tempfile.TemporaryDirectory()
        config = _merged(_BASE, self.options)
        config = _merged(config, {"http_server": {"port": self.port}})
        self._path("config.json").write_text(json.dumps(config))

    def _path(self, name: str) -> Path:
        return Path(self._directory.name, name)

    @property
    def ports(self) -> list[int]:
        """Return where it listens."""
        return [self.port]

    @property
    def url(self) -> str:
        """Return where clients connect to."""
        return f"ws://127.0.0.1:{self.port}/connection/websocket"

    @property
    def pid(self) -> int:
        """Return the id of the running process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> "Server":
        """Start, and wait until it answers."""
        self.begin()
        return self.wait_healthy()

    def begin(self) -> None:
        """Start, and do not wait."""
        with self._path("log").open("ab") as log:
            self._process = subprocess.Popen(
                command(self._path("config.json")),
                cwd=self._directory.name,
                env=dict(os.environ),  # as a test may have patched it
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait_healthy(self) -> "Server":
        """Wait until it answers."""
        assert self._process is not None
        deadline = time.monotonic() + PATIENCE
        while not self._is_healthy():
            if self._process.poll() is not None or time.monotonic() > deadline:
                log_text = self.log()
                self.close()
                raise AssertionError(f"the server did not start:\n{log_text}")
            time.sleep(0.02)
        return self

    def refusal(self) -> str:
        """Start, and return the error if that fails."""
        done = subprocess.run(
            command(self._path("config.json")),
            cwd=self._directory.name,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode, "it has started, and ended"
        return done.stdout + done.stderr

    def _is_healthy(self) -> bool:
        try:
            return self.request("GET", "/health")[0] == 200
        except (OSError, HTTPException):
            return False

    def stop(self) -> int:
        """Ask it to end, as an operator does; return the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """End it as a crash does."""
        self.signal(signal.SIGKILL)
        self.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self) -> int:
        """Return the exit code, when it has ended."""
        assert self._process is not None
        code = self._process.wait(PATIENCE)
        self._process = None
        return code

    def close(self) -> None:
        """Leave nothing behind."""
        if self._process is not None:
            if (code := self._process.poll()) is not None:
                print(f"a server had ended by itself with {code}:\n{self.log()}")
            self._process.kill()
            self._process.wait(PATIENCE)
            self._process = None
        self._directory.cleanup()

    def open_files(self) -> int:
        """Return how many descriptors it has open."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def log(self) -> str:
        """Return the log."""
        return self._path("log").read_text(errors="replace")

    def complaints(self) -> list[str]:
        """Return the log lines that speak of errors of the server itself."""
        marks = ("Traceback", '"level":"error"', '"level": "error"', '"fatal"')
        return [line for line in self.log().splitlines() if _has_any(line, marks)]

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """Send one HTTP request; return status and body."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        if self.context is not None:
            connection = HTTPSConnection(
                "127.0.0.1", self.port, timeout=PATIENCE, context=self.context
            )
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def api(self, method: str, **request: Any) -> Any:
        """Call a method of the server API; return its result."""
        status, body = self.request(
            "POST",
            f"/api/{method}",
            json.dumps(request).encode(),
            {"X-API-Key": API_KEY, "Content-Type": "application/json"},
        )
        answer = json.loads(body) if status == 200 else {}
        assert "result" in answer, (method, status, body)
        return answer["result"]


_shared: dict[str, Server] = {}


def shared_server(name: str, options: dict[str, Any]) -> Server:
    """Return a running server that all tests with this name share."""
    if name not in _shared:
        _shared[name] = Server(options).start()
        atexit.register(_shared[name].close)
    return _shared[name]


def _has_any(line: str, marks: tuple[str, ...]) -> bool:
    return any(mark in line for mark in marks)


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return *below* with *above* laid over it, section by section."""
    merged = dict(below)
    for name, value in above.items():
        under = merged.get(name)
        if isinstance(under, dict) and isinstance(value, dict):
            merged[name] = _merged(under, value)
        else:
            merged[name] = value
    return merged

"""The servers that are measured, each a process on a processor of its own."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from attrs import define, field

__all__ = ["API_KEY", "Process", "autobahn", "ours", "send_loop", "web"]

HERE = Path(__file__).parent
API_KEY = "benchmark"


@define(eq=False)
class Process:
    """A running server."""

    command: list[str]
    port: int
    _process: "subprocess.Popen[bytes]" = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._process = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=_first_processor,
        )
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise TimeoutError(f"{self.command} did not start")

    def cpu(self) -> float:
        """Return the seconds of processor time used so far."""
        text = Path(f"/proc/{self._process.pid}/schedstat").read_text()
        return int(text.split()[0]) / 1e9

    def memory(self) -> int:
        """Return the resident memory in bytes."""
        text = Path(f"/proc/{self._process.pid}/status").read_text()
        line = next(each for each in text.splitlines() if each.startswith("VmRSS"))
        return int(line.split()[1]) * 1024

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


def _first_processor() -> None:
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {0})


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def ours() -> Process:
    """Start this server, with channels that everybody may use."""
    port = _free_port()
    anonymous = {
        f"allow_{what}": True
        for what in (
            *("subscribe_for_client", "subscribe_for_anonymous"),
            *("publish_for_client", "publish_for_anonymous"),
        )
    }
    config: dict[str, Any] = {
        "http_server": {"address": "127.0.0.1", "port": port},
        "http_api": {"key": API_KEY},
        "client": {"allow_anonymous_connect_without_token": True},
        "channel": {"without_namespace": anonymous},
    }
    path = Path(tempfile.mkdtemp(), "config.json")
    path.write_text(json.dumps(config))
    twistd = str(Path(sys.executable).with_name("twistd"))
    arguments = ["-n", "--pidfile=", "centrifugo", "--config", str(path)]
    return Process([twistd, *arguments], port)


def autobahn() -> Process:
    """Start plain Autobahn."""
    port = _free_port()
    script = str(HERE / "plain_autobahn.py")
    return Process([sys.executable, script, str(port)], port)


def web() -> Process:
    """Start plain Twisted Web."""
    port = _free_port()
    return Process([sys.executable, str(HERE / "plain_web.py"), str(port)], port)


def send_loop(size: int) -> Process:
    """Compile and start the loop in C; frames have *size* bytes of payload."""
    program = Path(tempfile.mkdtemp(), "send_loop")
    source = str(HERE / "send_loop.c")
    subprocess.run(["cc", "-O2", "-o", str(program), source], check=True)
    port = _free_port()
    return Process([str(program), str(port), str(size)], port)

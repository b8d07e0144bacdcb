"""python -m benchmarks.neighbors: one client next to abusive clients.

A client sends a small command every few milliseconds, on the core of the attackers.
The benchmark prints how long that client waits for replies, and how much memory the
server uses meanwhile.
"""

import json
import os
import resource
import socket
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Callable
from http.client import HTTPConnection
from multiprocessing import Event, Process
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from .processes import Program, _cores, free_port, server_command

__all__ = ["ATTACKS", "Attacker", "main"]

#: Seconds between two commands of the neighbor.
PAUSE = 0.005
#: The target of the 99th percentile, in milliseconds.
TARGET = 100.0
SMALL, MEDIUM, LARGE = 1_000, 5_000, 50_000


def frame(payload: bytes, first: int = 0x81) -> bytes:
    """Return a masked frame; its mask is zero (RFC 6455, 5.2)."""
    size = len(payload)
    if size < 126:
        head = bytes((first, 0x80 | size))
    else:
        head = bytes((first, 0x80 | 126)) + size.to_bytes(2, "big")
    return head + bytes(4) + payload


class Attacker:
    """A WebSocket that sends any bytes, and reads only on request."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(
            b"GET /connection/websocket HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        self.data = b""
        while b"\r\n\r\n" not in self.data:
            self.data += self.socket.recv(4096)
        self.data = self.data.partition(b"\r\n\r\n")[2]
        self.send([{"id": 1, "connect": {}}])
        self.receive()

    def send(self, commands: list[dict[str, Any]]) -> None:
        """Send commands in one message."""
        lines = (json.dumps(each, separators=(",", ":")) for each in commands)
        self.socket.sendall(frame("\n".join(lines).encode()))

    def receive(self) -> tuple[int, bytes]:
        """Return the opcode and the payload of one frame."""
        self._read(2)
        size, start = self.data[1] & 127, 2
        if size > 125:
            start += 2 if size == 126 else 8
            self._read(start)
            size = int.from_bytes(self.data[2:start], "big")
        self._read(start + size)
        opcode, payload = self.data[0] & 15, self.data[start : start + size]
        self.data = self.data[start + size :]
        return opcode, payload

    def _read(self, size: int) -> None:
        parts, have = [self.data], len(self.data)
        while have < size:
            part = self.socket.recv(1 << 20)
            if not part:
                raise ConnectionResetError
            parts.append(part)
            have += len(part)
        self.data = b"".join(parts)

    def drain(self) -> None:
        """Read until the server closes the connection."""
        try:
            while self.socket.recv(1 << 20):
                pass
        except OSError:
            pass

    def close(self) -> None:
        """Close the connection without a close frame."""
        self.socket.close()


def many_histories(channel: str, limit: int = 100) -> list[dict[str, Any]]:
    """Return 200 commands that read a channel."""
    request = {"channel": channel, "limit": limit}
    return [{"id": id, "history": request} for id in range(2, 202)]


def many_recoveries(channel: str) -> list[dict[str, Any]]:
    """Return 200 pairs of a subscribe with recovery and an unsubscribe."""
    commands: list[dict[str, Any]] = []
    for id in range(2, 402, 2):
        request = {"channel": channel, "recover": True, "offset": 0}
        commands.append({"id": id, "subscribe": request})
        commands.append({"id": id + 1, "unsubscribe": {"channel": channel}})
    return commands


def unread(port: int, commands: list[dict[str, Any]]) -> None:
    """Request large replies, and read nothing."""
    attacker = Attacker(port)
    attacker.send(commands)
    time.sleep(1)
    attacker.close()


def read(port: int, commands: list[dict[str, Any]]) -> None:
    """Request large replies, and read all of them."""
    attacker = Attacker(port)
    attacker.send(commands)
    for _ in commands:
        if attacker.receive()[0] == 8:
            break
    attacker.close()


def long_messages(port: int) -> None:
    """Send 20 messages of 898 commands each, and read nothing."""
    attacker = Attacker(port)
    request = {"channel": "medium", "limit": 100}
    for _ in range(20):
        attacker.send([{"id": id, "history": request} for id in range(2, 900)])
    time.sleep(1)
    attacker.close()


def small_commands(port: int) -> None:
    """Send 20 messages of 898 commands with short replies, and read the replies."""
    attacker = Attacker(port)
    for _ in range(20):
        commands = [{"id": id, "presence_stats": {"channel": "a"}} for id in range(898)]
        attacker.send([each for each in commands if each["id"]])
    attacker.socket.shutdown(socket.SHUT_WR)
    attacker.drain()
    attacker.close()


def crowd(port: int) -> None:
    """Let 1,000 connections send 200 commands each at the same time."""
    attackers = [Attacker(port) for _ in range(1000)]
    commands = [{"id": id, "presence_stats": {"channel": "a"}} for id in range(2, 202)]
    for each in attackers:
        each.send(commands)
    for each in attackers:
        each.socket.settimeout(60)
    for each in attackers:
        answers = 0
        while answers < len(commands):
            answers += each.receive()[1].count(b'"presence_stats"')
        each.close()


def pings(port: int) -> None:
    """Send pings without reading the pongs."""
    attacker = Attacker(port)
    attacker.socket.settimeout(1)
    try:
        for _ in range(200):
            attacker.socket.sendall(frame(b"x" * 125, 0x89) * 500)
    except OSError:
        pass
    attacker.close()


ATTACKS: dict[str, Callable[[int], None]] = {
    "nothing": lambda port: time.sleep(1),
    "200 histories of 5 MB": lambda port: unread(port, many_histories("large")),
    "200 histories of 500 kB": lambda port: unread(port, many_histories("medium")),
    "the same, read": lambda port: read(port, many_histories("medium")),
    "200 recoveries of 5 MB": lambda port: unread(port, many_recoveries("large")),
    "200 recoveries of 500 kB": lambda port: unread(port, many_recoveries("medium")),
    "the same, all read": lambda port: read(port, many_recoveries("medium")),
    "20 messages, unread": long_messages,
    "20 messages, read": small_commands,
    "1,000 greedy clients": crowd,
    "unread pings": pings,
}


def _attack(name: str, port: int, over: Any) -> None:
    try:
        ATTACKS[name](port)
    finally:
        over.set()


def command(folder: Path, port: int) -> list[str]:
    """Return the command that starts the server; write its configuration."""
    found = server_command(folder, port)
    path = folder / f"{port}.json"
    config = json.loads(path.read_text())
    config["client"]["ping_interval"] = "600s"  # the clients answer no pings
    config["channel"]["without_namespace"] |= {
        "presence": True,
        "allow_presence_for_client": True,
        "allow_presence_for_anonymous": True,
        "history_size": 100,
        "history_ttl": "600s",
        "force_recovery": True,
        "allow_history_for_client": True,
        "allow_history_for_anonymous": True,
    }
    path.write_text(json.dumps(config))
    return found


def fill(port: int) -> None:
    """Publish the history that the attackers read."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    for channel, size in (("small", SMALL), ("medium", MEDIUM), ("large", LARGE)):
        body = json.dumps({"channel": channel, "data": "x" * size})
        for _ in range(100):
            headers = {"X-API-Key": "key"}
            connection.request("POST", "/api/publish", body, headers)
            connection.getresponse().read()
    connection.close()


def resident(pid: int) -> float:
    """Return the resident memory of a process in MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def measure(name: str, server: Program) -> str:
    """Return a line about one attack."""
    neighbor, over = Attacker(server.port), Event()
    before = peak = resident(server.process.pid)
    attack = Process(target=_attack, args=(name, server.port, over))
    attack.start()
    waits: list[float] = []
    while not over.is_set() or len(waits) < 100:
        began = time.perf_counter()
        neighbor.send([{"id": 2, "presence_stats": {"channel": "a"}}])
        neighbor.receive()
        waits.append((time.perf_counter() - began) * 1000)
        peak = max(peak, resident(server.process.pid))
        time.sleep(PAUSE)
    attack.join()
    neighbor.close()
    p99 = quantiles(waits, n=100)[98]
    verdict = "met" if p99 < TARGET else "MISSED"
    return (
        f"  {name:<26} {median(waits):>8.2f} {p99:>8.2f} {max(waits):>8.2f}"
        f" {peak - before:>8.0f}   {len(waits):>6}   {verdict}"
    )


def main() -> None:
    """Start a server, attack it, and print the neighbor's waits."""
    parser = ArgumentParser(prog="python -m benchmarks.neighbors")
    parser.add_argument("attacks", nargs="*", metavar="ATTACK", help=f"of {[*ATTACKS]}")
    names = parser.parse_args().attacks or list(ATTACKS)
    print("How long a neighbor waits (ms), and how much memory the server takes (MB)")
    head = f"  {'attack':<26} {'median':>8} {'p99':>8} {'longest':>8} {'memory':>8}"
    print(f"{head}   {'asked':>6}   p99 under {TARGET:.0f} ms")
    for name in names:
        port = free_port()
        with tempfile.TemporaryDirectory() as folder:
            program = Program("centrifugo-tx", command(Path(folder), port), port)
            with program as server:
                os.sched_setaffinity(0, {_cores()[1]})
                fill(port)
                print(measure(name, server), flush=True)


if __name__ == "__main__":
    sys.exit(main())

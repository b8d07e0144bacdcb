"""``python -m benchmarks``: this server against baselines, in one run, as ratios.

Processor time is the servers' own, from the scheduler.  Variants take turns, since the
speed of a machine drifts; look at the ratios, not at the figures.
"""

import json
import os
import resource
import socket
import sys
import time
from collections.abc import Callable
from multiprocessing import Pipe, Process
from multiprocessing.connection import Connection
from statistics import median
from typing import Any

from . import servers
from .crowd import Crowd, masked

PUBLICATION = {"text": "hello world, this is a message", "author": "alice", "at": 17e8}
DATA = json.dumps(PUBLICATION, separators=(",", ":"))
PUSH = f'{{"push":{{"channel":"news","pub":{{"data":{DATA}}}}}}}'
#: Bytes of a push on the wire (RFC 6455, 5.2).
FRAME = len(PUSH) + (2 if len(PUSH) < 126 else 4)
HELLO = b'{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"news"}}'
COMMAND = b'{"id":7,"publish":{"channel":"nobody","data":{"a":1}}}'


def post(port: int, number: int) -> None:
    """Send publications one after another over one connection."""
    body = json.dumps({"channel": "news", "data": PUBLICATION}).encode()
    request = (
        b"POST /api/publish HTTP/1.1\r\nHost: localhost\r\nX-API-Key: %b\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
        % (servers.API_KEY.encode(), len(body), body)
    )
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for _ in range(number):
            connection.sendall(request)
            answer = connection.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200"), answer[:200]
            while not answer.endswith(b"}"):
                answer += connection.recv(65536)


def _crowd_process(pipe: Connection, port: int, path: str, hello: bytes) -> None:
    """Hold a crowd in a process of its own, because of the limit of open files."""
    crowd = Crowd(port, path)
    while True:
        order, argument = pipe.recv()
        if order == "join":
            crowd.join(argument, hello)
            crowd.hear(0)
        elif order == "trigger":
            crowd.say(argument, crowd.sockets[:1])
            crowd.hear(len(crowd.sockets) * FRAME)
        elif order == "publish":
            post(port, 1)
            crowd.hear(len(crowd.sockets) * FRAME)
        else:
            return
        pipe.send(None)


class Party:
    """A server, and a crowd in another process."""

    def __init__(self, server: servers.Process, path: str, hello: bytes) -> None:
        self.server = server
        self._pipe, other = Pipe()
        self._process = Process(
            target=_crowd_process, args=(other, server.port, path, hello)
        )
        self._process.start()

    def do(self, order: str, argument: Any = None) -> float:
        """Let the crowd act; return the server's processor seconds for it."""
        before = self.server.cpu()
        self._pipe.send((order, argument))
        self._pipe.recv()
        time.sleep(0.02)
        return self.server.cpu() - before

    def end(self) -> None:
        """End both."""
        self._process.kill()
        self._process.join()
        self.server.stop()


def compare(
    title: str, unit: str, rounds: int, variants: dict[str, Callable[[], float]]
) -> None:
    """Let the variants take turns; print medians, and ratios to the first one."""
    figures: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(-1, rounds):
        for name, measure in variants.items():
            figure = measure()
            if turn >= 0:
                figures[name].append(figure)
    first = next(iter(figures.values()))
    print(f"\n{title}")
    for name, found in figures.items():
        ratios = [one / base for one, base in zip(found, first, strict=True)]
        print(
            f"  {name:<28} {median(found):10.2f} {unit}"
            f"   x {median(ratios):5.2f}   ({min(ratios):.2f} to {max(ratios):.2f})"
        )


def fan_out(number: int) -> None:
    """Measure one publication to many."""
    parties = {
        "this server": Party(servers.ours(), "/connection/websocket", HELLO),
        "send() loop in C": Party(servers.send_loop(len(PUSH)), "/", b""),
        "Autobahn sendMessage": Party(servers.autobahn(), "/", b""),
    }
    trigger = {
        "this server": ("publish", None),
        "send() loop in C": ("trigger", masked(b"go")),
        "Autobahn sendMessage": ("trigger", masked(b"go" + PUSH.encode())),
    }
    try:
        for party in parties.values():
            party.do("join", number)
        compare(
            f"Fan-out to {number:,} subscribers",
            "us per subscriber",
            15 if number < 5000 else 9,
            {
                name: lambda name=name: (  # type: ignore[misc]  # bound early
                    parties[name].do(*trigger[name]) * 1e6 / number
                )
                for name in parties
            },
        )
    finally:
        for party in parties.values():
            party.end()


def inbound(at_once: int) -> None:
    """Measure commands: received, executed, answered."""
    crowds: dict[str, tuple[servers.Process, Crowd, int]] = {}
    for name, server, path, hello in (
        ("this server", servers.ours(), "/connection/websocket", HELLO),
        ("plain Autobahn, json", servers.autobahn(), "/", b""),
    ):
        crowd = Crowd(server.port, path)
        crowd.join(500, hello)
        crowd.hear(0)
        before = crowd.received
        crowd.say(masked(COMMAND) * at_once)
        crowd.hear(0)
        crowds[name] = server, crowd, crowd.received - before

    def measure(name: str) -> float:
        server, crowd, expected = crowds[name]
        before = server.cpu()
        crowd.say(masked(COMMAND) * at_once)
        crowd.hear(expected)
        time.sleep(0.02)
        return (server.cpu() - before) * 1e6 / 500 / at_once

    compare(
        f"Publish commands, {at_once} per read",
        "us per command",
        15,
        {name: lambda name=name: measure(name) for name in crowds},  # type: ignore[misc]
    )
    for server, crowd, _ in crowds.values():
        crowd.leave()
        server.stop()


def connects(hello: bytes) -> None:
    """Measure handshakes, with or without the connect command."""
    running = {
        "this server": (servers.ours(), "/connection/websocket", hello),
        "plain Autobahn": (servers.autobahn(), "/", b""),
    }

    def measure(name: str) -> float:
        server, path, said = running[name]
        crowd = Crowd(server.port, path)
        before = server.cpu()
        crowd.join(500, said)
        crowd.leave(abruptly=True)
        time.sleep(0.05)
        return (server.cpu() - before) * 1e6 / 500

    compare(
        "Handshakes" if not hello else "Handshakes with connect and subscribe",
        "us per connection",
        7,
        {name: lambda name=name: measure(name) for name in running},  # type: ignore[misc]
    )
    for server, _, _ in running.values():
        server.stop()


def memory(number: int) -> None:
    """Measure what an idle connection takes."""
    print(f"\nMemory per idle connection, {number:,} connections")
    for name, server, path, hello in (
        (
            "this server, subscribed once",
            servers.ours(),
            "/connection/websocket",
            HELLO,
        ),
        ("plain Autobahn", servers.autobahn(), "/", b""),
    ):
        crowd = Crowd(server.port, path)
        crowd.join(200, hello)
        crowd.hear(0)
        before = server.memory()
        crowd.join(number - 200, hello)
        crowd.hear(0)
        taken = (server.memory() - before) / (number - 200)
        print(f"  {name:<28} {taken:10.0f} bytes")
        crowd.leave()
        server.stop()


def http() -> None:
    """Measure publications over HTTP with keep-alive."""
    running = {"this server": servers.ours(), "Twisted Web, json": servers.web()}

    def measure(name: str) -> float:
        before = running[name].cpu()
        post(running[name].port, 1000)
        return (running[name].cpu() - before) * 1e6 / 1000

    compare(
        "Publications over HTTP",
        "us per request",
        7,
        {name: lambda name=name: measure(name) for name in running},  # type: ignore[misc]
    )
    for server in running.values():
        server.stop()


def main() -> None:
    """Run what the arguments name, or everything."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {1})
    all_of_them: dict[str, Callable[[], None]] = {
        "fanout": lambda: [fan_out(n) for n in (1_000, 10_000)],  # type: ignore
        "inbound": lambda: [inbound(n) for n in (1, 10)],  # type: ignore
        "connects": lambda: [connects(h) for h in (b"", HELLO)],  # type: ignore
        "memory": lambda: memory(10_000),
        "http": http,
    }
    for name in sys.argv[1:] or all_of_them:
        all_of_them[name]()


if __name__ == "__main__":
    main()

"""More clients than a server has descriptors: they wait, and nothing else suffers."""

import os
import resource
import selectors
import socket
import sys
import time
from http.client import HTTPConnection
from typing import Any
from unittest import SkipTest, skipUnless
from unittest.mock import patch

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from . import server as servers
from .redis_servers import free_port, valkey
from .server import PATIENCE, Server
from .websocket import frame

#: Descriptors of each serving process; clients that come at once.
FILES, CLIENTS = 256, 1000
#: Seconds for which the processor time of a full server is counted.
WATCHED = 1.0

_UPGRADE = (
    b"GET /connection/websocket HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
) + frame(b'{"id":1,"connect":{}}')


class FewFilesServer(Server):
    """A server whose processes may have few files open."""

    def begin(self) -> None:
        """Start with a hard limit, which the server cannot raise."""
        usual = servers.command
        shell = ["sh", "-c", f'ulimit -n {FILES}; exec "$@"', "sh"]
        with patch.object(servers, "command", lambda path: [*shell, *usual(path)]):
            super().begin()


@define(eq=False)
class Queue:
    """Clients that all ask at once, and read when a test lets them."""

    port: int
    #: The received bytes of waiting clients, by socket.
    waiting: dict[socket.socket, bytes] = field(factory=dict)
    served: list[socket.socket] = field(factory=list)
    _selector: selectors.DefaultSelector = field(factory=selectors.DefaultSelector)

    def connect_clients(self, count: int) -> None:
        """Connect that many clients, each of which sends its request at once."""
        for _ in range(count):
            client = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
            client.sendall(_UPGRADE)
            client.setblocking(False)
            self.waiting[client] = b""
            self._selector.register(client, selectors.EVENT_READ)

    def read(self, seconds: float) -> int:
        """Read for that time; return how many clients were served."""
        before = len(self.served)
        for key, _ in self._selector.select(seconds):
            client: Any = key.fileobj
            data = client.recv(65536)
            assert data, "the server has closed a connection"
            self.waiting[client] += data
            if b'"connect"' in self.waiting[client]:
                self._selector.unregister(client)
                del self.waiting[client]
                self.served.append(client)
        return len(self.served) - before

    def leave(self) -> None:
        """Close the connections of all served clients."""
        for client in self.served:
            client.close()
        self.served.clear()

    def close(self) -> None:
        """Close all connections."""
        self.leave()
        for client in self.waiting:
            client.close()
        self._selector.close()


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process and of its children that run."""
    total = 0.0
    for each in [pid, *_children(pid)]:
        with open(f"/proc/{each}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def _children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as found:
        return [int(each) for each in found.read().split()]


@skipUnless(sys.platform == "linux", "reads /proc")
class OpenFilesTests(SynchronousTestCase):
    """A thousand clients of a server with 256 descriptors."""

    def setUp(self) -> None:
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        if limits[1] < CLIENTS + FILES:
            raise SkipTest(f"needs {CLIENTS + FILES} open files")
        if limits[0] < CLIENTS + FILES:
            resource.setrlimit(resource.RLIMIT_NOFILE, (CLIENTS + FILES, limits[1]))
            self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, limits)

    def serve(self, **options: Any) -> FewFilesServer:
        """Start a server with an internal port."""
        self.internal = free_port()
        server = FewFilesServer(
            {
                "http_server": {"internal_port": str(self.internal)},
                "client": {
                    "allow_anonymous_connect_without_token": True,
                    "ping_interval": "300s",
                },
                **options,
            }
        )
        self.addCleanup(self.end, server)
        server.begin()
        self.wait(lambda: self.health(server) == 200)
        return server

    def end(self, server: Server) -> None:
        """End a server in an orderly way."""
        if server._process is not None:
            server.stop()
        server.close()

    def wait(self, condition: Any) -> None:
        """Wait until something is so."""
        end = time.monotonic() + PATIENCE
        while not condition():
            self.assertLess(time.monotonic(), end, "waited in vain")
            time.sleep(0.02)

    def health(self, server: Server) -> int:
        """Return the status of the health endpoint, 0 without a connection."""
        connection = HTTPConnection("127.0.0.1", self.internal, timeout=PATIENCE)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status
        except ConnectionError:
            assert server._process is not None and server._process.poll() is None
            return 0
        finally:
            connection.close()

    def all_are_served(self, server: Server, processes: int) -> None:
        """Let all come, and be served in turn."""
        queue = Queue(server.port)
        self.addCleanup(queue.close)
        queue.connect_clients(CLIENTS)
        self.wait(lambda: queue.read(0.1) == 0 and self.pauses(server) == processes)
        while queue.read(0.5):
            pass
        held = len(queue.served)
        # It stops before a turn could accept too many, so how many varies.
        self.assertGreater(held, processes * FILES // 4)
        self.assertLess(held, processes * FILES)
        # The rest waits; the server does not run in circles meanwhile.
        before, began = cpu_seconds(server.pid), time.monotonic()
        time.sleep(WATCHED)
        used = cpu_seconds(server.pid) - before
        self.assertLess(used, 0.5 * (time.monotonic() - began))
        # Operators and backends are still served, on new connections.
        for _ in range(20):
            self.assertEqual(self.health(server), 200)
        # Whoever leaves lets others in, until all have been served.
        done = 0
        end = time.monotonic() + 2 * PATIENCE
        while queue.waiting:
            self.assertLess(time.monotonic(), end, f"{len(queue.waiting)} still wait")
            done += len(queue.served)
            queue.leave()
            queue.read(0.1)
        self.assertEqual(done + len(queue.served), CLIENTS)
        # One line for each process that was short of descriptors.
        self.assertEqual(self.pauses(server), processes, server.log())
        self.assertEqual(server.complaints(), [])

    def pauses(self, server: Server) -> int:
        """Return how often the log says that accepting pauses."""
        return server.log().count("too many open files, pausing accept")

    def test_one_process(self) -> None:
        """One process on two ports."""
        server = self.serve()
        self.assertIn("open files allows 192 clients", server.log())
        self.all_are_served(server, 1)

    def test_workers(self) -> None:
        """Two workers, each with descriptors of its own."""
        valkey()  # or this is skipped
        server = self.serve(workers=2)
        self.all_are_served(server, 2)

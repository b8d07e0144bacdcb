"""Several processes on one port, as an operator starts and ends them."""

import json
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event, Thread
from typing import Any
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from .processes import children, is_gone
from .raw_clients import open_client
from .redis_servers import shared, valkey
from .server import PATIENCE, Server
from .websocket import WebSocket

#: So many that each of two workers gets some: the odds against it are 2 to the 23rd.
MANY = 24

_OPTIONS: dict[str, Any] = {
    "workers": 2,
    "pid_file": "own.pid",
    "prometheus": {"enabled": True},
    "client": {"allow_anonymous_connect_without_token": True},
    "channel": {
        "without_namespace": {
            "allow_subscribe_for_client": True,
            "allow_subscribe_for_anonymous": True,
        }
    },
}


@skipUnless(sys.platform == "linux", "reads /proc")
class WorkersCase(SynchronousTestCase):
    """Two workers, and clients of theirs."""

    def serve(self, **options: Any) -> Server:
        """Start a server, and wait until all its workers serve."""
        server = Server(_OPTIONS | options).start()
        self.addCleanup(self.end, server)
        self.wait(lambda: "2 workers are ready" in server.log())
        return server

    def end(self, server: Server) -> None:
        """End a server in an orderly way, if it runs: a killed one leaves a folder."""
        if server._process is not None:
            server.stop()
        server.close()

    def workers(self, server: Server) -> list[int]:
        """Return the ids of the workers' processes, in the order of their numbers."""
        found = {
            line.split()[-2]: pid
            for pid, line in children(server.pid).items()
            if "centrifugo_tx.workers" in line
        }
        return [found[number] for number in sorted(found)]

    def wait(self, condition: Callable[[], Any], seconds: float = PATIENCE) -> None:
        """Wait until something is so."""
        end = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), end, "waited in vain")
            time.sleep(0.02)

    def client(self, server: Server) -> WebSocket:
        """Return a client that listens to the news."""
        client = WebSocket(server.port)
        self.addCleanup(client.close)
        self.assertIn("connect", client.ask({"id": 1, "connect": {}}))
        reply = client.ask({"id": 2, "subscribe": {"channel": "news"}})
        self.assertIn("subscribe", reply)
        return client

    def crowd(self, server: Server) -> list[WebSocket]:
        """Return clients of both workers."""
        clients = [self.client(server) for _ in range(MANY)]
        one, two = self.counts(server)
        self.assertEqual(one + two, MANY)
        self.assertTrue(one and two, (one, two))
        return clients

    def counts(self, server: Server) -> list[int]:
        """Return how many clients each worker has, as any of them tells Prometheus."""
        status, body = server.request("GET", "/metrics")
        self.assertEqual(status, 200)
        name = rb'centrifugo_node_num_clients{worker="[12]"} (\d+)'
        return [int(count) for count in re.findall(name, body)]

    def assertReached(self, server: Server, clients: list[WebSocket]) -> None:
        """Check that publications through any worker reach the clients of all."""
        for number in range(6):
            server.api("publish", channel="news", data=number)
        for client in clients:
            got = [client.receive()["push"]["pub"]["data"] for _ in range(6)]
            self.assertEqual(got, list(range(6)))


class PrivateValkeyTests(WorkersCase):
    """Nothing but the server is installed and run."""

    def setUp(self) -> None:
        valkey()  # or this is skipped
        # A server that starts tidies up after others, which may be other tests'.
        scratch = tempfile.mkdtemp()  # short, for the sake of the socket's path
        self.addCleanup(shutil.rmtree, scratch, ignore_errors=True)
        self.patch(os, "environ", {**os.environ, "TMPDIR": scratch})

    def test_one_server(self) -> None:
        """All workers accept clients; a publication reaches all; info has both."""
        server = self.serve(node={"name": "n"})
        clients = self.crowd(server)
        self.assertEqual(self.nodes(server), {"n_1", "n_2"})
        self.assertReached(server, clients)
        self.assertEqual(server.complaints(), [])

    def nodes(self, server: Server) -> set[str]:
        """Return the names of all nodes, as one of them knows them."""
        return {node["name"] for node in server.api("info")["nodes"]}

    def test_emulation(self) -> None:
        """Commands beside a stream may come to another worker than the stream did."""
        server = self.serve(http_stream={"enabled": True}, sse={"enabled": True})
        for transport in "http_stream", "sse":
            client = open_client(server.port, transport, "json", "v2")
            self.addCleanup(client.close)
            self.assertIn("session", client.ask("connect"))
            for number in range(MANY):
                result = client.ask("subscribe", channel=f"{transport}{number}")
                self.assertNotIn("error", result)
        self.assertEqual(server.complaints(), [])

    def test_crash(self) -> None:
        """A worker that is killed comes again; who was on the other notices nothing."""
        server = self.serve()
        clients = self.crowd(server)
        before = self.workers(server)
        os.kill(before[0], signal.SIGKILL)
        self.wait(lambda: "worker 1 is ready again" in server.log())
        after = self.workers(server)
        self.assertEqual(after[1], before[1])
        self.assertNotEqual(after[0], before[0])
        lost = [client for client in clients if self.is_closed(client)]
        self.assertTrue(0 < len(lost) < MANY, len(lost))
        kept = [client for client in clients if client not in lost]
        self.assertReached(server, kept + [self.client(server) for _ in lost])

    def is_closed(self, client: WebSocket) -> bool:
        """Whether the server has closed a connection on which it said nothing."""
        raw: socket.socket = client._socket
        raw.setblocking(False)
        try:
            return raw.recv(1) == b""
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True
        finally:
            raw.settimeout(PATIENCE)

    def test_stop(self) -> None:
        """SIGTERM tells all clients, and leaves nothing: no process, file or folder."""
        server = self.serve()
        (folder,) = self.folders(server)
        pid_file = server._path("own.pid")
        self.assertEqual(pid_file.read_text(), f"{server.pid}\n")
        clients, processes = self.crowd(server), children(server.pid)
        self.assertEqual(len(processes), 3)
        server.signal(signal.SIGTERM)
        for client in clients:
            self.assertEqual(client.closing(), (3001, "shutdown"))
        self.assertEqual(server.wait(), 0)
        self.assertTrue(all(is_gone(pid) for pid in processes))
        self.assertFalse(pid_file.exists())
        self.assertFalse(folder.exists())
        self.assertEqual(server.complaints(), [])

    def folders(self, server: Server) -> list[Path]:
        """Return the folders of private Valkeys."""
        return [
            Path(line.split("unixsocket:")[1].strip()).parent
            for line in children(server.pid).values()
            if "unixsocket:" in line
        ]

    def test_stuck(self) -> None:
        """A worker that does not end is killed, and the exit code says so."""
        server = self.serve(shutdown={"timeout": "2s"})
        (folder,) = self.folders(server)
        processes = children(server.pid)
        os.kill(self.workers(server)[0], signal.SIGSTOP)
        self.assertEqual(server.stop(), 1)
        self.assertTrue(all(is_gone(pid) for pid in processes))
        self.assertFalse(folder.exists())
        self.assertIn("worker 1 does not stop in time; killing it", server.log())

    def test_terminal(self) -> None:
        """Ctrl-C, which all processes of a terminal get, is an orderly stop, too."""
        server = self.serve()
        clients, processes = self.crowd(server), children(server.pid)
        for pid in (*self.workers(server), server.pid):
            os.kill(pid, signal.SIGINT)
        for client in clients:
            self.assertEqual(client.closing(), (3001, "shutdown"))
        self.assertEqual(server.wait(), 0)
        self.assertTrue(all(is_gone(pid) for pid in processes))
        self.assertEqual(server.complaints(), [])

    def test_parent_killed(self) -> None:
        """Without the parent the workers tell their clients and end; so does Valkey.

        Its folder goes when the next server starts, and no other folder does.
        """
        other = self.serve()
        server = self.serve()
        clients, processes = self.crowd(server), children(server.pid)
        (folder,), (kept,) = self.folders(server), self.folders(other)
        server.kill()
        for client in clients:
            self.assertEqual(client.closing(), (3001, "shutdown"))
        self.wait(lambda: all(is_gone(pid) for pid in processes))
        self.assertTrue(folder.exists())
        server.start()
        self.assertFalse(folder.exists())
        self.assertTrue(kept.exists())
        self.assertReached(other, [self.client(other)])

    def test_valkey_dies(self) -> None:
        """Valkey comes again, and everything works again; no worker has ended."""
        server = self.serve()
        clients, before = self.crowd(server), self.workers(server)
        (dying,) = set(children(server.pid)) - set(before)
        os.kill(dying, signal.SIGKILL)
        self.wait(lambda: "the private Valkey is ready again" in server.log())
        reached = dict.fromkeys(clients, False)

        def all_reached() -> bool:
            server.request(
                "POST",
                "/api/publish",
                b'{"channel": "news", "data": {}}',
                {"X-API-Key": "the-key-of-the-api"},
            )
            for client in clients:
                client._socket.settimeout(0.01)
                try:
                    reached[client] |= "push" in client.receive()
                except TimeoutError:
                    continue
            return all(reached.values())

        self.wait(all_reached)
        self.assertEqual(self.workers(server), before)

    def test_reload(self) -> None:
        """SIGHUP changes all workers, and those that are started later."""
        server = self.serve()
        path = server._path("config.json")
        text = path.read_text().replace("allow_subscribe_for_anonymous", "presence")
        path.write_text(text)
        server.signal(signal.SIGHUP)
        self.wait(lambda: "configuration reloaded" in server.log())
        self.wait(lambda: self.refusals(server) == MANY)
        os.kill(self.workers(server)[1], signal.SIGKILL)
        self.wait(lambda: "worker 2 is ready again" in server.log())
        self.assertEqual(self.refusals(server), MANY)

    def refusals(self, server: Server) -> int:
        """Return how many of many clients may not subscribe."""
        refused = 0
        for _ in range(MANY):
            client = WebSocket(server.port)
            client.ask({"id": 1, "connect": {}})
            reply = client.ask({"id": 2, "subscribe": {"channel": "news"}})
            refused += reply.get("error", {}).get("code") == 103
            client.close()
        return refused


class RedisTests(WorkersCase):
    """Workers that use a Redis that is there."""

    def test_one_server(self) -> None:
        """They start nothing, and are one server."""
        redis = shared(valkey())
        engine = {
            "type": "redis",
            "redis": {"address": redis.address, "prefix": "workers"},
        }
        server = self.serve(engine=engine)
        self.assertEqual(set(children(server.pid)), set(self.workers(server)))
        clients = self.crowd(server)
        self.assertReached(server, clients)
        for client in clients:
            client.close()
        self.assertEqual(server.stop(), 0)
        self.assertEqual(server.complaints(), [])
        self.assertNotIn("control message failed", server.log())


#: Holds a worker back until a file is there, before it reads any module of ours.
_HOLD = """
import os, sys, time
if sys.orig_argv[1:4] == ["-m", "centrifugo_tx.workers", "2"]:
    deadline = time.monotonic() + 300
    while not os.path.exists("go") and time.monotonic() < deadline:
        time.sleep(0.02)
"""


class HealthTests(WorkersCase):
    """The health endpoint during the start."""

    def test_not_yet(self) -> None:
        """While one worker serves and the other does not yet, the answer is 503."""
        valkey()
        server = Server(_OPTIONS)
        self.addCleanup(self.end, server)
        server._path("sitecustomize.py").write_text(_HOLD)
        self.patch(os, "environ", {**os.environ, "PYTHONPATH": server._path("")})
        server.begin()
        self.wait(lambda: "serving websocket" in server.log())
        for _ in range(5):
            self.assertEqual(server.request("GET", "/health"), (503, b"{}"))
        self.client(server).close()
        self.assertNotIn("workers are ready", server.log())
        server._path("go").touch()
        server.wait_healthy()
        self.assertEqual(server.log().count("serving websocket"), 2)
        for _ in range(MANY):
            self.assertEqual(server.request("GET", "/health"), (200, b"{}"))
        # A later worker need not wait for others.
        os.kill(self.workers(server)[1], signal.SIGKILL)
        self.wait(lambda: "worker 2 is ready again" in server.log())
        for _ in range(MANY):
            self.assertEqual(server.request("GET", "/health"), (200, b"{}"))


class Callers:
    """Threads that connect again and again, whether anybody listens or not."""

    def __init__(self, port: int) -> None:
        self._port, self._over, self.served = port, Event(), 0
        self._threads = [Thread(target=self._call) for _ in range(4)]
        for thread in self._threads:
            thread.start()

    def _call(self) -> None:
        request = b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        while not self._over.wait(0.005):
            try:
                with socket.create_connection(("127.0.0.1", self._port), 5) as caller:
                    caller.sendall(request)
                    self.served += b" 200 " in caller.recv(100)
            except OSError:
                continue

    def stop(self) -> None:
        """End the threads."""
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE)


class ChangeTests(WorkersCase):
    """From one process to several and back on the same port, under load."""

    def change(self, server: Server, workers: int) -> None:
        """Start a server again with another number of workers."""
        path = server._path("config.json")
        options = json.loads(path.read_text())
        path.write_text(json.dumps(options | {"workers": workers}))
        server._path("log").unlink(missing_ok=True)
        server.start()
        self.assertEqual("2 workers are ready" in server.log(), workers == 2)

    def run_through(
        self, numbers: Sequence[int], end: Callable[[Server, list[WebSocket]], object]
    ) -> None:
        """Go through numbers of workers; *end* ends each server but the last."""
        valkey()
        server = Server(_OPTIONS)
        self.addCleanup(self.end, server)
        clients: list[WebSocket] = []
        callers = Callers(server.port)
        self.addCleanup(callers.stop)
        for count, workers in enumerate(numbers):
            if count:
                end(server, clients)
            self.change(server, workers)
            before = callers.served
            self.wait(lambda before=before: callers.served > before + 50)  # type: ignore[misc]
            clients = [self.client(server) for _ in range(MANY)]
            self.assertReached(server, clients)
            self.assertEqual(server.complaints(), [])

    def test_after_a_stop(self) -> None:
        """A server starts where another one has just sent its clients away."""

        def stop(server: Server, clients: list[WebSocket]) -> None:
            server.signal(signal.SIGTERM)
            for client in clients:
                self.assertEqual(client.closing(), (3001, "shutdown"))
            self.assertEqual(server.wait(), 0)

        self.run_through((1, 2, 1), stop)

    def test_after_a_crash(self) -> None:
        """It also starts where another one was killed, as soon as its workers end."""

        def crash(server: Server, clients: list[WebSocket]) -> None:
            processes = children(server.pid)
            server.kill()
            if processes:  # the workers still send their clients away
                for client in clients:
                    self.assertEqual(client.closing(), (3001, "shutdown"))
            self.wait(lambda: all(is_gone(pid) for pid in processes))

        self.run_through((1, 2, 2, 1), crash)


class RefusedStartTests(WorkersCase):
    """A start that is impossible."""

    def refused(self, **options: Any) -> str:
        """Return how a server says that it cannot start."""
        server = Server(_OPTIONS | options)
        self.addCleanup(server.close)
        with self.assertRaises(AssertionError) as caught:
            server.start()
        return str(caught.exception)

    def test_port_taken(self) -> None:
        """A port is taken also if another server with workers has it."""
        valkey()
        port = self.serve().port
        server = Server(_OPTIONS)
        self.addCleanup(server.close)
        path = server._path("config.json")
        path.write_text(path.read_text().replace(f": {server.port}", f": {port}"))
        with self.assertRaises(AssertionError) as caught:
            server.port = port + 1 if port < 65535 else 1  # nobody answers there
            server.start()
        self.assertIn("cannot start: Couldn't listen on", str(caught.exception))
        self.assertNotIn("workers are ready", str(caught.exception))

    def test_worker_fails(self) -> None:
        """When workers cannot start, one fatal line says why."""
        engine = {"type": "redis", "redis": {"address": "redis://127.0.0.1:1/x"}}
        text = self.refused(engine=engine)
        fatal = [line for line in text.splitlines() if '"fatal"' in line]
        self.assertEqual(len(fatal), 1, text)
        self.assertIn("cannot start: worker ", fatal[0])
        self.assertIn("must end in the number of a db", fatal[0])

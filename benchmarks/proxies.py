"""python -m benchmarks.proxies: RPC calls that the backend answers over HTTP.

Compares the server, with its WebSocket clients, to a bare HTTP client of Twisted that
posts the same requests to the same backend: calls per second of CPU time, and latency.
Then it shows the latency of clients while another backend never answers.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from .neighbors import Attacker
from .processes import Program, _cores, free_port

__all__ = ["main"]

#: Calls of one round, clients that make them, and calls that each has under way.
CALLS, CLIENTS, PIPELINE = 4000, 8, 8
#: Calls of one measurement of the latency, and calls that hang meanwhile.
SEQUENTIAL, HANGING = 1000, 200
BODY = json.dumps(
    {
        "client": "9336a229-2400-4ebc-8c50-0a643d22e8a0",
        "transport": "websocket",
        "protocol": "json",
        "encoding": "json",
        "user": "",
        "method": "m",
        "data": {"room": 7},
    },
    separators=(",", ":"),
).encode()
ANSWER = b'{"result":{"data":{"unread":3}}}'


class Answering(asyncio.Protocol):
    """Answers each request at once, except those for ``/hang``."""

    data = b""

    def connection_made(self, transport: Any) -> None:
        """Keep the transport."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer complete requests."""
        self.data += data
        while (end := self.data.find(b"\r\n\r\n")) >= 0:
            head = self.data[:end].lower()
            size = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
            if len(self.data) < end + 4 + size:
                return
            self.data = self.data[end + 4 + size :]
            if b"/hang" not in head[:40]:
                length = f"Content-Length: {len(ANSWER)}\r\n\r\n".encode()
                self.transport.write(b"HTTP/1.1 200 OK\r\n" + length + ANSWER)


async def serve(port: int) -> None:
    """Serve as the backend."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answering, "127.0.0.1", port)
    await server.serve_forever()


def post(url: str) -> None:
    """Post by Twisted's client; print CPU time per call, and latencies."""
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred, gatherResults
    from twisted.internet.task import react
    from twisted.web.client import Agent, FileBodyProducer, HTTPConnectionPool, readBody
    from twisted.web.http_headers import Headers

    pool = HTTPConnectionPool(reactor)
    pool.maxPersistentPerHost = 255
    agent = Agent(reactor, pool=pool)

    async def call() -> None:
        from io import BytesIO

        headers = Headers({"Content-Type": ["application/json"]})
        body = FileBodyProducer(BytesIO(BODY), cooperator=_AtOnce())
        response = await agent.request(b"POST", url.encode(), headers, body)
        assert await readBody(response) == ANSWER

    async def worker(calls: int) -> None:
        for _ in range(calls):
            await call()

    async def run(_: Any) -> None:
        await call()
        at_once = CLIENTS * PIPELINE
        began = time.process_time()
        work = [worker(CALLS // at_once) for _ in range(at_once)]
        await gatherResults([Deferred.fromCoroutine(each) for each in work])
        spent = (time.process_time() - began) / (CALLS // at_once * at_once)
        latencies = []
        for _ in range(SEQUENTIAL):
            began = time.perf_counter()
            await call()
            latencies.append(time.perf_counter() - began)
        print(json.dumps({"cpu": spent, "latencies": latencies}))

    react(lambda r: Deferred.fromCoroutine(run(r)))


class _AtOnce:
    """Runs a task of a body's producer to its end."""

    def cooperate(self, steps: Any) -> Any:
        """Run *steps*."""
        from twisted.internet.defer import succeed

        for _ in steps:
            pass

        class Done:
            def whenDone(self) -> Any:
                return succeed(None)

            def stop(self) -> None:
                """Do nothing: it is over."""

        return Done()


def configuration(port: int, backend: int) -> dict[str, Any]:
    """Return the configuration of the server."""

    def proxy(name: str, path: str) -> dict[str, Any]:
        url = f"http://127.0.0.1:{backend}/{path}"
        return {"name": name, "endpoint": url, "timeout": "60s"}

    namespaces = [
        {"name": name, "proxy_enabled": True, "proxy_name": name}
        for name in ("good", "hang")
    ]
    return {
        "http_server": {"address": "127.0.0.1", "port": port},
        "client": {
            "allow_anonymous_connect_without_token": True,
            "concurrency": PIPELINE,
            "allowed_origins": ["*"],
        },
        "proxies": [proxy("good", "rpc"), proxy("hang", "hang")],
        "rpc": {"namespaces": namespaces, "ping": {"enabled": True}},
    }


def cpu(pid: int) -> float:
    """Return the CPU time that a process has used, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rpc(id: int, method: str = "good:m") -> dict[str, Any]:
    """Return a command."""
    return {"id": id, "rpc": {"method": method, "data": {"room": 7}}}


def server_cpu(server: Program) -> float:
    """Return the CPU time of one proxied call, in seconds."""
    clients = [Attacker(server.port) for _ in range(CLIENTS)]
    began = cpu(server.process.pid)
    for client in clients:
        client.send([rpc(id) for id in range(2, 2 + PIPELINE)])
    each = CALLS // CLIENTS
    for done in range(1, each + 1):
        for client in clients:
            client.receive()
            if done <= each - PIPELINE:
                client.send([rpc(done + PIPELINE + 1)])
    spent = (cpu(server.process.pid) - began) / (each * CLIENTS)
    for client in clients:
        client.close()
    return spent


def latencies(port: int, method: str = "good:m") -> list[float]:
    """Return the latencies of calls that one client makes one after another."""
    client, found = Attacker(port), []
    for id in range(2, 2 + SEQUENTIAL):
        began = time.perf_counter()
        client.send([rpc(id, method)])
        client.receive()
        found.append(time.perf_counter() - began)
    client.close()
    return found


def shown(found: list[float]) -> str:
    """Return percentiles, in milliseconds."""
    cuts = quantiles(found, n=100)
    parts = (f"p{each} {cuts[each - 1] * 1e3:6.2f} ms" for each in (10, 50, 99))
    return "   ".join(parts)


def while_hanging(port: int, method: str) -> list[float]:
    """Return the latencies of calls while calls to another backend hang."""
    hanging = [Attacker(port) for _ in range(HANGING)]
    for client in hanging:
        client.send([rpc(2, "hang:m")])
    found = latencies(port, method)
    for client in hanging:
        client.close()
    return found


def bare(url: str) -> Any:
    """Measure the bare client, on the server's core."""
    command = [sys.executable, "-m", "benchmarks.proxies", "--post", url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    os.sched_setaffinity(process.pid, {_cores()[0]})
    return json.loads(process.communicate()[0])


def main() -> None:
    """Measure, or be one of the processes that are measured."""
    parser = ArgumentParser(prog="python -m benchmarks.proxies", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument("--serve", type=int, help="be the backend, on this port")
    parser.add_argument("--post", help="be the bare client of this URL")
    asked = parser.parse_args()
    if asked.serve:
        asyncio.run(serve(asked.serve))
    elif asked.post:
        post(asked.post)
    else:
        compare(asked.rounds)


def compare(rounds: int) -> None:
    """Measure the server and the bare client in turns, and print both."""
    port, backend = free_port(), free_port()
    answering = [sys.executable, "-m", "benchmarks.proxies", "--serve", str(backend)]
    url = f"http://127.0.0.1:{backend}/rpc"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "config.json")
        path.write_text(json.dumps(configuration(port, backend)))
        twistd = str(Path(sys.executable).with_name("twistd"))
        command = [twistd, "-n", "--pidfile=", "centrifugo", "--config", str(path)]
        with (
            Program("backend", answering, backend) as backend_process,
            Program("server", command, port) as server,
        ):
            for pid in (backend_process.process.pid, 0):
                os.sched_setaffinity(pid, {_cores()[1]})
            server_cpu(server)
            ours: list[float] = []
            plain: list[float] = []
            proxied: list[float] = []
            direct: list[float] = []
            for _ in range(rounds):
                ours.append(server_cpu(server))
                measured = bare(url)
                plain.append(measured["cpu"])
                direct += measured["latencies"]
                proxied += latencies(port)
            print(f"calls per second of CPU time, {rounds} rounds")
            print(f"  server, with clients   {1 / median(ours):8,.0f}")
            print(f"  bare HTTP client       {1 / median(plain):8,.0f}")
            print(f"  ratio                  {median(plain) / median(ours):8.2f}")
            print("latency of one call after another")
            print(f"  through the server     {shown(proxied)}")
            print(f"  bare HTTP client       {shown(direct)}")
            print(f"latency of other clients while {HANGING} calls hang")
            for name, method in (("rpc", "good:m"), ("rpc.ping", "ping")):
                quiet = latencies(port, method)
                beside = while_hanging(port, method)
                print(f"  {name:<10} before      {shown(quiet)}")
                print(f"  {name:<10} meanwhile   {shown(beside)}")


if __name__ == "__main__":
    main()

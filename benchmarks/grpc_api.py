"""Publishes over gRPC next to those over HTTP, on the same server.

``python -m benchmarks.grpc_api PORT COUNT`` is the client over gRPC: it prints the
duration of COUNT publishes in seconds.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from .measures import Bench, Comparison, Figure, Rounds
from .processes import Load, Program, free_port, server_command

__all__ = ["grpc_api"]

HTTP, GRPC = "HTTP", "gRPC"
#: Publishes of a round, and the number of concurrent ones.
COUNT, IN_FLIGHT = 4_000, 16

_DATA = b'{"user":"alice","text":"hello world, this is a message","ts":1700000000000}'


def grpc_api(bench: Bench) -> Iterator[Figure]:
    """Measure publishes per second, and the server's cost of one publish."""
    port = free_port()
    rates: Rounds = {HTTP: [], GRPC: []}
    costs: Rounds = {HTTP: [], GRPC: []}
    http_port = free_port()
    command = server_command(bench.folder, http_port)
    path = Path(command[-1])
    config = json.loads(path.read_text())
    config["grpc_api"] = {"enabled": True, "address": "127.0.0.1", "port": port}
    path.write_text(json.dumps(config))
    body = '{"channel":"nobody","data":' + _DATA.decode() + "}"
    with Program("centrifugo-tx", command, http_port) as server:
        load = Load(bench.tools, server)
        pid = server.process.pid

        def over_http() -> float:
            run = f"post {COUNT} {IN_FLIGHT} /api/publish {body}"
            return load.run(run)["seconds"]

        for turn in range(bench.rounds + 1):
            for name, measure in ((HTTP, over_http), (GRPC, lambda: _client(port))):
                began = _cpu(pid)
                seconds = measure()
                used = _cpu(pid) - began
                if turn:
                    rates[name].append(COUNT / seconds)
                    costs[name].append(used / COUNT * 1e6)
        load.close()
    title = f"Publish requests, {IN_FLIGHT} at once"
    yield Figure(title, "per second", rates, [Comparison(GRPC, HTTP)])
    yield Figure(
        "The same as CPU of the server",
        "µs CPU per publish",
        costs,
        [Comparison(GRPC, HTTP)],
    )


def _cpu(pid: int) -> float:
    """Return the CPU time of a process in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _client(port: int) -> float:
    command = [sys.executable, "-m", __spec__.name, str(port), str(COUNT)]
    root = Path(__file__).parents[1]
    return float(subprocess.check_output(command, text=True, cwd=root))


async def _publish(port: int, count: int) -> float:
    import grpc

    from centrifugo_tx.protocol.proto import api_pb2

    request = api_pb2.PublishRequest(channel="nobody", data=_DATA)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        publish = channel.unary_unary(
            "/centrifugal.centrifugo.api.CentrifugoApi/Publish",
            api_pb2.PublishRequest.SerializeToString,
            api_pb2.PublishResponse.FromString,
        )
        await publish(request)

        async def several() -> None:
            for _ in range(count // IN_FLIGHT):
                response = await publish(request)
                if response.HasField("error"):
                    raise RuntimeError(response.error.message)

        began = time.perf_counter()
        await asyncio.gather(*(several() for _ in range(IN_FLIGHT)))
        return time.perf_counter() - began


if __name__ == "__main__":
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    print(asyncio.run(_publish(int(sys.argv[1]), int(sys.argv[2]))))

